"""Our client on a line to the simulated tenant: real HTTP, the real SDK, a clock that only tests move."""

import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from azure.core.credentials import AccessToken
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.tenant import CLIENT_ID, Tenant, TenantServer
from sandbox.tenant.messages import Record
from shared.graph import queries
from shared.graph.client import Answer, GraphClient
from shared.graph.policy import RetryPolicy, Usage
from tests.support.world import Clock

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation

SCOPE = "https://graph.microsoft.com/.default"
USERS = "/v1.0/users?$select=id&$top=999"
ALICE = "a11ce000-0000-4000-8000-000000000001"
ALICE_NAME = "alice.confidential@contoso.com"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK warns of itself when its request builders are loaded for the first time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning"))


class KeptToken:
    """A credential that keeps its token until it ends, as the real ones do."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._kept: AccessToken | None = None
        self.issued: list[str] = []
        self.renewals = 0
        self.claims: list[str] = []

    async def get_token(self, *_scopes: str, claims: str | None = None, **_: object) -> AccessToken:
        if claims:
            self.claims.append(claims)
        if self._kept is None or claims or self._tenant.clock() >= self._kept.expires_on:
            token = self._tenant.token_for(self._tenant.clients[CLIENT_ID])
            self._kept = AccessToken(token.text, int(self._tenant.clock() + self._tenant.token_lifetime))
            self.issued.append(token.text)
        return self._kept

    async def renew(self) -> None:
        self.renewals += 1
        self._kept = None

    async def close(self) -> None:
        return None


@dataclass
class Line:
    """One client, what it asks, and what it cost."""

    tenant: Tenant
    client: GraphClient
    credential: KeptToken
    clock: Clock
    usage: Usage = field(default_factory=Usage)

    @property
    def origin(self) -> str:
        return self.client.origin

    @property
    def requests(self) -> list[Record]:
        return self.tenant.requests

    async def send(self, request: "RequestInformation", *, attempts: int | None = None) -> Answer:
        return await self.client.send(
            request, self.usage, subject="users", permission="User.Read.All", attempts=attempts
        )

    async def get(self, path: str = USERS, *, attempts: int | None = None) -> Answer:
        return await self.send(queries.follow(self.origin + path), attempts=attempts)


@pytest.fixture(scope="session")
def signing_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(autouse=True)
def one_signing_key(monkeypatch: pytest.MonkeyPatch, signing_key: rsa.RSAPrivateKey) -> None:
    """Making a key takes longer than most of these tests."""
    monkeypatch.setattr(rsa, "generate_private_key", lambda **_: signing_key)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tenant(clock: Clock) -> Tenant:
    """A tenant of one user, on the same clock as the client."""
    made = Tenant(clock=clock.timestamp)
    made.directory.add_user({"id": ALICE, "displayName": "Alice", "userPrincipalName": ALICE_NAME})
    return made


@pytest.fixture
async def line(tenant: Tenant, clock: Clock) -> AsyncIterator[Line]:
    policy = RetryPolicy(now=clock.timestamp, sleep=clock.sleep, jitter=lambda: 0.0)
    credential = KeptToken(tenant)
    async with TenantServer(tenant) as server, GraphClient(credential, server.url, SCOPE, policy) as client:  # type: ignore[arg-type]
        yield Line(tenant, client, credential, clock)


def told(error: BaseException) -> str:
    """Everything that a log of this error would show."""
    return "".join(traceback.format_exception(error)) + repr(error.__dict__)
