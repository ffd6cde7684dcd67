"""A tenant served over TLS, and a client that trusts it."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from sandbox.certificates import ServerCertificates
from sandbox.tenant import Tenant, TenantServer
from tests.sandbox.tenant_client import Client


@asynccontextmanager
async def tls_client(tenant: Tenant, certificates: ServerCertificates) -> AsyncIterator[Client]:
    """Without a token."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    trust = ssl.create_default_context(cafile=str(certificates.authority))
    connector = aiohttp.TCPConnector(ssl=trust)
    async with TenantServer(tenant, context) as server, aiohttp.ClientSession(connector=connector) as session:
        yield Client(session, server, None)
