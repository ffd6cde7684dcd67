"""A tenant served over TLS, and a client that trusts it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from sandbox.certificates import ServerCertificates
from sandbox.tenant import Tenant, TenantServer
from tests.sandbox.tenant_client import Client
from tests.support.tls import serving, trusting


@asynccontextmanager
async def tls_client(tenant: Tenant, certificates: ServerCertificates) -> AsyncIterator[Client]:
    """Without a token."""
    context = serving(certificates)
    trust = trusting(certificates)
    connector = aiohttp.TCPConnector(ssl=trust)
    async with TenantServer(tenant, context) as server, aiohttp.ClientSession(connector=connector) as session:
        yield Client(session, server, None)
