"""A tenant over TLS, an account of Azurite, and the Test connector between them, in this process."""

import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates
from sandbox.tenant import CLIENT_ID, Tenant, TenantServer
from sandbox.tenant.configuration import IDENTITY_HEADER, TENANT_ID, VALIDATION_CLIENT_ID, Client
from shared.composition import ClientOptions, connection_rows
from shared.connection.interface import Row
from shared.graph.policy import RetryPolicy
from tests.support.tls import serving


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK warns of itself when its request builders are loaded for the first time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning"))
            # So does the one for tables, when it reads an error in XML.
            item.add_marker(pytest.mark.filterwarnings("ignore:Testing an element's truth value"))


type Rows = dict[str, Row]


@dataclass
class Connection:
    """The app's environment, which a test may change, and what a call answers."""

    tenant: Tenant
    environment: dict[str, str]
    sdk: dict[str, Any]
    tls: ssl.SSLContext
    deadline_seconds: float = 60.0
    told: list[Row] = field(default_factory=list)
    """Every row of every call."""

    @property
    def app(self) -> Client:
        """The app registration that reads the directory."""
        return self.tenant.clients[CLIENT_ID]

    @property
    def validation_app(self) -> Client:
        return self.tenant.clients[VALIDATION_CLIENT_ID]

    async def test(self, **changes: str) -> Rows:
        """The rows by capability."""
        options = ClientOptions(
            sdk=self.sdk,
            graph=RetryPolicy(attempts=2, first_backoff=0.0, longest_wait=0.0),
            tls=self.tls,
        )
        rows = await connection_rows(self.environment | changes, options, self.deadline_seconds)
        self.told += rows
        by_capability = {row.capability: row for row in rows}
        assert len(by_capability) == len(rows)
        for row in rows:
            assert row.detail.endswith((".", ")")) or "To renew it: " in row.detail or "To have" in row.detail
            assert bool(row.fix) == (row.status != "ok"), row
        return by_capability


def troubles(rows: Rows) -> dict[str, str]:
    """The rows that are not ok, by their status."""
    return {row.capability: row.status for row in rows.values() if row.status != "ok"}


@pytest.fixture(scope="session")
def signing_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(autouse=True)
def one_signing_key(monkeypatch: pytest.MonkeyPatch, signing_key: rsa.RSAPrivateKey) -> None:
    """Making a key for each tenant takes longer than what is tried in it."""
    monkeypatch.setattr(rsa, "generate_private_key", lambda **_: signing_key)


@pytest.fixture
async def connection(
    certificates: ServerCertificates, account: StorageAccount, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Connection]:
    """An empty tenant with everything granted, and an empty account."""
    context = serving(certificates)
    tenant = Tenant()
    tenant.clients[CLIENT_ID].permissions |= {"Domain.Read.All", "GroupSettings.Read.All"}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(TenantServer(tenant, context))
        # Graph by plain HTTP: its transport takes no certificate authority but the process's.
        graph = await stack.enter_async_context(TenantServer(tenant))
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        yield Connection(
            tenant,
            {
                "ENTRA_TENANT_ID": TENANT_ID,
                "ENTRA_CLIENT_ID": CLIENT_ID,
                "VALIDATION_CLIENT_ID": VALIDATION_CLIENT_ID,
                "KEY_VAULT_URL": server.url,
                "AZURE_AUTHORITY_HOST": server.url,
                "GRAPH_ENDPOINT": graph.url,
                "DIRECTORY_STORAGE": account.connection_string,
            },
            {"connection_verify": str(certificates.authority), "retry_total": 0},
            ssl.create_default_context(cafile=str(certificates.authority)),
        )


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Everything that anybody logs, at DEBUG, with its extra fields and tracebacks."""
    caplog.set_level(logging.DEBUG)
    formatter = logging.Formatter()

    def everything() -> str:
        return "\n".join(
            formatter.format(record) + json.dumps(record.__dict__, default=repr)
            for record in caplog.get_records("call")
        )

    return everything
