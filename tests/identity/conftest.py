"""A simulated tenant over TLS, and the app's settings for it."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.certificates import ServerCertificates, make_client_certificate
from sandbox.tenant.configuration import CLIENT_ID, IDENTITY_HEADER, TENANT_ID
from sandbox.tenant.server import TenantServer
from sandbox.tenant.tenant import Tenant
from shared.config import Settings
from shared.identity.credentials import GraphCredential, graph_credential
from shared.identity.own import own_credential
from shared.identity.secrets import SecretStore, secret_store
from tests.support.tls import serving

SCOPE = "https://graph.microsoft.com/.default"


@pytest.fixture
async def server(certificates: ServerCertificates) -> AsyncIterator[TenantServer]:
    context = serving(certificates)
    async with TenantServer(Tenant(), context) as running:
        yield running


@pytest.fixture
def tenant(server: TenantServer) -> Tenant:
    return server.tenant


@dataclass
class Identity:
    """What the app would hold in one process."""

    settings: Settings
    secrets: SecretStore
    graph: GraphCredential


@pytest.fixture
async def identity_of(
    server: TenantServer, certificates: ServerCertificates, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Identity]]:
    """Makes the identity for the tenant's settings with changes, with the real SDKs; closes it at the end."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    # Waiting between the SDK's retries is not what is tested.
    options = {"connection_verify": str(certificates.authority), "retry_backoff_factor": 0}
    opened = AsyncExitStack()

    def make(**changes: str) -> Identity:
        environment = {
            "ENTRA_TENANT_ID": TENANT_ID,
            "ENTRA_CLIENT_ID": CLIENT_ID,
            "KEY_VAULT_URL": server.url,
            "AZURE_AUTHORITY_HOST": server.url,
            "DIRECTORY_STORAGE": "UseDevelopmentStorage=true",
        }
        settings = Settings.from_environment(environment | changes)
        own = own_credential(settings, **options)
        secrets = secret_store(settings, own, **options)
        graph = graph_credential(settings, secrets, own, **options)
        for each in (own, secrets, graph):
            opened.push_async_callback(each.close)
        return Identity(settings, secrets, graph)

    async with opened:
        yield make


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


@pytest.fixture
def client_certificate(tmp_path: Path) -> bytes:
    """Key and certificate, in PEM."""
    return make_client_certificate(tmp_path).read_bytes()
