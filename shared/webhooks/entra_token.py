"""A token of Entra, that the caller got for this app as an application: `Authorization: Bearer …`.

Both versions of Entra's access tokens are taken. Which one a caller gets is a setting of the app registration
that it asks a token for (`requestedAccessTokenVersion`):

    version   issuer                            audience                             client
    1.0       https://sts.windows.net/<tenant>/ the identifier URI, or the client id `appid`
    2.0       <authority>/<tenant>/v2.0         always the client id                 `azp`

Source: https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
"""

import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, override

import msgspec

from shared.config import Settings, WebhookAuth
from shared.errors import CallerRefused
from shared.webhooks.headers import checked_call_id, lowered
from shared.webhooks.interface import Caller, WebhookScheme
from shared.webhooks.signing_keys import SigningKeys

LONGEST_TOKEN = 16 * 1024
LEEWAY_SECONDS = 60

_V1_ISSUERS = {"china": "https://sts.chinacloudapi.cn"}
_V1_ISSUER = "https://sts.windows.net"
"""Source: https://learn.microsoft.com/answers/questions/1190472/what-are-the-token-issuers-for-the-sovereign-cloud"""

_GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_CLIENT_ID_AUDIENCE = re.compile(rf"(?:api://)?({_GUID})", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedToken:
    """What a token must say."""

    tenant_id: str
    issuers: Mapping[str, frozenset[str]]
    """By the token's version."""
    audiences: frozenset[str]
    clients: frozenset[str]
    """Empty for any client that holds the role."""
    role: str | None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        tenant, cloud = settings.tenant_id, settings.cloud.name
        return cls(
            tenant_id=tenant,
            issuers={
                "1.0": frozenset({f"{_V1_ISSUERS.get(cloud, _V1_ISSUER)}/{tenant}/"}),
                "2.0": frozenset(
                    f"{origin}/{tenant}/v2.0" for origin in (settings.authority, settings.cloud.authority)
                ),
            },
            audiences=_audiences(settings.webhook_audience or ""),
            clients=frozenset(settings.webhook_allowed_clients),
            role=settings.webhook_role,
        )


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What we read of a token whose signature is right."""

    ver: str
    iss: str
    tid: str
    aud: str
    nbf: int
    exp: int
    appid: str | None = None
    azp: str | None = None
    oid: str | None = None
    sub: str | None = None
    idtyp: str | None = None
    scp: str | None = None
    roles: list[str] = []

    @property
    def client(self) -> str | None:
        """The client id that the token was issued to."""
        client = self.azp if self.ver == "2.0" else self.appid
        return client.lower() if client is not None and re.fullmatch(_GUID, client.lower()) else None

    @property
    def is_of_application(self) -> bool:
        """`idtyp` says so where the app registration asks for it. Else a user's access token has a scope, and
        an application is its own subject, which a user is not, in an id token either."""
        if self.scp is not None:
            return False
        if self.idtyp is not None:
            return self.idtyp == "app"
        return self.oid is not None and self.oid == self.sub


class EntraTokenScheme(WebhookScheme):
    """Callers that are applications of the same tenant. `clock` gives seconds since the epoch."""

    name: ClassVar[WebhookAuth] = "entra-token"

    def __init__(
        self, expected: ExpectedToken, keys: SigningKeys, clock: Callable[[], float] = time.time
    ) -> None:
        self._expected = expected
        self._keys = keys
        self._clock = clock

    @classmethod
    def of_tenant(
        cls,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> Self:
        """The scheme for the settings' tenant. `tls` is for a sign-in service of the sandbox."""
        url = f"{settings.authority}/{settings.tenant_id}/discovery/v2.0/keys"
        return cls(ExpectedToken.from_settings(settings), SigningKeys(url, clock, tls), clock)

    @override
    async def authenticate(self, headers: Mapping[str, str], body: bytes) -> Caller:
        given = lowered(headers)
        token = _bearer(given.get("authorization", ""))
        key = await self._keys.get(_key_id(token))
        if key is None:
            raise CallerRefused("The token is signed with a key that the tenant does not have.")
        claims = _verified(token, key)
        check_times(claims, self._clock())
        client = check_claims(claims, self._expected)
        call_id = given.get("webhook-id") or given.get("idempotency-key")
        return Caller(client, checked_call_id(call_id) if call_id else None)


def check_times(claims: Claims, now: float) -> None:
    """Whether the token holds now. Raises `CallerRefused`."""
    if not claims.nbf - LEEWAY_SECONDS <= now < claims.exp + LEEWAY_SECONDS:
        raise CallerRefused("The token is expired, or does not hold yet.")


def check_claims(claims: Claims, expected: ExpectedToken) -> str:
    """The client id that the token was issued to. Raises `CallerRefused` for one that may not call."""
    if claims.iss not in expected.issuers.get(claims.ver, ()) or claims.tid != expected.tenant_id:
        raise CallerRefused("The token was not issued by the tenant's sign-in service.")
    if claims.aud not in expected.audiences:
        raise CallerRefused("The token is for another audience than WEBHOOK_AUDIENCE.")
    if not claims.is_of_application:
        raise CallerRefused("The token is a user's, not an application's.")
    client = claims.client
    if client is None:
        raise CallerRefused("The token does not name the client that it was issued to.")
    if expected.clients and client not in expected.clients:
        raise CallerRefused(f"The client {client} is not in WEBHOOK_ALLOWED_CLIENTS.")
    if expected.role is not None and expected.role not in claims.roles:
        raise CallerRefused(f"The client {client} does not hold the app role in WEBHOOK_ROLE.")
    return client


def _audiences(setting: str) -> frozenset[str]:
    """What `aud` may be. `api://<client id>` and the bare client id name the same app registration: version
    2.0 always has the second, version 1.0 what the caller asked for. Another URI stands for itself."""
    if match := _CLIENT_ID_AUDIENCE.fullmatch(setting):
        client_id = match[1].lower()
        return frozenset({setting, client_id, f"api://{client_id}"})
    return frozenset({setting})


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token:
        raise CallerRefused("The header Authorization with a bearer token is absent.")
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise CallerRefused("The bearer token is no token of Entra.")
    return token


def _key_id(token: str) -> str:
    """The id of the key in a header that nobody has verified yet."""
    import jwt

    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        header = {}
    key_id = header.get("kid")
    if header.get("alg") != "RS256" or not isinstance(key_id, str):
        raise CallerRefused(
            "The bearer token is no token of Entra: it is not signed by RS256 and a key's id."
        )
    return key_id


def _verified(token: str, key: Any) -> Claims:
    """The claims of a token whose signature is right. What they say is checked by us: PyJWT knows the real
    clock only."""
    import jwt

    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=["RS256"],
            options={
                "enforce_minimum_key_length": True,
                "verify_aud": False,
                "verify_exp": False,
                "verify_iat": False,
                "verify_iss": False,
                "verify_jti": False,
                "verify_nbf": False,
                "verify_sub": False,
            },
        )
        return msgspec.convert(claims, Claims)
    except jwt.PyJWTError:
        wrong = "signature does not fit the tenant's key"
    except msgspec.ValidationError:
        wrong = "claims are not those of an access token"
    # Raised here, not above, so that no error that was made of the token is chained to it.
    raise CallerRefused(f"The token's {wrong}.")
