"""What the tests of all schemes share: a clock, a vault, a server of keys, and a look at each refusal."""

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace, TracebackType
from typing import Any, Self, cast

import jwt
import pytest
from aiohttp import web
from azure.core.exceptions import ResourceNotFoundError
from azure.keyvault.secrets.aio import SecretClient
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.certificates import ServerCertificates
from shared.errors import CallerRefused, EntraConnectorError
from shared.identity.secrets import SecretStore
from shared.webhooks.interface import WebhookScheme
from tests.support.tls import serving

BODY = b'{"credentials": [{"id": "1", "username": "ada@contoso.com", "password": "hunter2\xc3\xa9"}]}'


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


class Vault:
    """A Key Vault client with one secret, whose values are its versions, newest first. Counts reads."""

    vault_url = "https://acme.vault.azure.net"

    def __init__(self, *values: str) -> None:
        self.values = list(values)
        self.listings = 0

    def store(self) -> SecretStore:
        return SecretStore(cast(SecretClient, self), 300)

    async def list_properties_of_secret_versions(self, name: str) -> AsyncIterator[SimpleNamespace]:
        self.listings += 1
        if not self.values:
            raise ResourceNotFoundError("no such secret")
        for number in range(len(self.values)):
            yield SimpleNamespace(
                enabled=True, not_before=None, expires_on=None, created_on=None, version=str(number)
            )

    async def get_secret(self, name: str, version: str) -> SimpleNamespace:
        return SimpleNamespace(value=self.values[int(version)])


async def refusal[Error: EntraConnectorError = CallerRefused](
    scheme: WebhookScheme,
    headers: Mapping[str, str],
    body: bytes = BODY,
    *,
    kind: type[Error] = CallerRefused,  # type: ignore[assignment]
    secrets: tuple[str, ...] = (),
) -> Error:
    """What the scheme raises. Whatever it is, it quotes nothing of the request and no secret."""
    with pytest.raises(kind) as raised:
        await scheme.authenticate(headers, body)
    error = raised.value
    said = "".join(traceback.format_exception_only(error))
    assert error.__cause__ is None
    assert error.__context__ is None
    for private in (*secrets, *headers.values()):
        assert len(private) < 8 or private not in said
    assert "hunter2" not in said
    return error


class KeyServer:
    """A sign-in service's set of keys, over TLS. It answers with `content` and `status` once `go` is set."""

    def __init__(self, certificates: ServerCertificates) -> None:
        self._certificates = certificates
        self._runner: web.AppRunner | None = None
        self.url = ""
        self.requests: list[str] = []
        self.content: bytes = b""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.go = asyncio.Event()
        self.go.set()
        self.asked = asyncio.Event()

    def publish(self, *keys: "SigningKey") -> None:
        self.content = json.dumps({"keys": [key.public for key in keys]}).encode()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=serving(self._certificates))
        await site.start()
        (address,) = self._runner.addresses
        self.url = f"https://127.0.0.1:{address[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        self.asked.set()
        await self.go.wait()
        return web.Response(body=self.content, status=self.status, headers=self.headers)


class SigningKey:
    """A key that tokens are signed with."""

    def __init__(self, key_id: str, bits: int = 2048) -> None:
        self.key_id = key_id
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        self.public: dict[str, Any] = {
            **jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True),
            "kid": key_id,
            "use": "sig",
        }

    def sign(self, claims: Mapping[str, Any], algorithm: str = "RS256", **headers: Any) -> str:
        """A token with whatever claims: `jwt.encode` would refuse the odd ones."""
        payload = json.dumps(claims).encode()
        return jwt.api_jws.encode(
            payload, self.private, algorithm=algorithm, headers={"kid": self.key_id} | headers
        )
