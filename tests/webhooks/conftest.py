"""A clock that stands still, a vault with a webhook secret, and a sign-in service with keys of our own."""

import ssl
from collections.abc import AsyncIterator

import pytest
from azure.data.tables.aio import TableClient

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates
from shared.tables import Table
from shared.webhooks.replay import TABLE
from tests.identity.conftest import identity_of, logged, server, tenant
from tests.support import tls
from tests.webhooks.support import Clock, KeyServer

__all__ = ["identity_of", "logged", "server", "tenant"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trusting(certificates: ServerCertificates) -> ssl.SSLContext:
    """TLS as the app has it, with the sandbox's authority."""
    return tls.trusting(certificates)


@pytest.fixture
async def key_server(certificates: ServerCertificates) -> AsyncIterator[KeyServer]:
    async with KeyServer(certificates) as running:
        yield running


@pytest.fixture
async def table(account: StorageAccount) -> AsyncIterator[Table]:
    async with TableClient.from_connection_string(account.connection_string, TABLE) as client:
        made = Table(client)
        await made.ensure()
        yield made
