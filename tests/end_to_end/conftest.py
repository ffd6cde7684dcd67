"""The app under the local host, in front of a simulated tenant that the test holds in its hands."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.storage.blob.aio import ContainerClient

from sandbox.azurite import Azurite, StorageAccount
from sandbox.certificates import ServerCertificates
from sandbox.services.app_settings import app_environment
from sandbox.services.child import Child
from sandbox.services.sandbox import host_process
from sandbox.tenant import Tenant, TenantServer, generate
from tests.end_to_end.command import WARNINGS
from tests.sandbox.host_process import assert_clean
from tests.support.tls import serving

ACCOUNTS = 8
PUBLISH_SECONDS = 20


@pytest.fixture(scope="module")
def storage(certificates: ServerCertificates) -> Iterator[Iterator[StorageAccount]]:
    """Empty accounts of an Azurite that asks for tokens."""
    with Azurite(accounts=ACCOUNTS, certificates=certificates) as azurite:
        yield iter([azurite.account(number) for number in range(ACCOUNTS)])


@dataclass
class Deployment:
    """A tenant, and the app that reads it."""

    tenant: Tenant
    account: StorageAccount
    certificates: ServerCertificates
    environment: dict[str, str]
    directory: Path
    """For the logs of the host."""
    host: Child = field(init=False)
    http: httpx.AsyncClient = field(init=False)
    _starts: Iterator[int] = field(default_factory=count)
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self, **changes: str | None) -> None:
        """Start the app, with changed settings; None takes one away."""
        changed = {**self.environment, **changes}
        environment = {name: value for name, value in changed.items() if value is not None}
        host = host_process(environment, self.directory / f"host{next(self._starts)}.log")
        self.host = await self._running.enter_async_context(host)
        url = await self.host.until_ready()
        http = httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)
        self.http = await self._running.enter_async_context(http)

    async def stop(self) -> None:
        """Stop the app, whose end and whose log have to be clean."""
        await self._running.aclose()
        assert self.host.exit_code == 0
        assert_clean(self.host.log.read_text())

    async def fire_timer(self) -> None:
        answer = await self.http.post("/admin/functions/directory_timer", json={"input": ""})
        answer.raise_for_status()

    async def status(self) -> dict[str, Any]:
        answer = await self.http.get("/api/directory/status")
        return dict(answer.raise_for_status().json())

    async def until(self, member: str, **expected: str | int) -> dict[str, Any]:
        """Wait until this member of the status is there, with these values in it; return it."""
        status: dict[str, Any] = {}
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                while True:
                    status = await self.status()
                    found = status[member]
                    if found and all(found.get(name) == value for name, value in expected.items()):
                        return dict(found)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{status}\n{self.host.log.read_text()}") from None

    async def blobs(self) -> dict[str, bytes]:
        """Everything in the published container."""
        async with ContainerClient.from_connection_string(
            self.account.connection_string,
            "directory",
            connection_verify=str(self.certificates.authority),
        ) as container:
            names = [name async for name in container.list_blob_names()]
            return {name: await (await container.download_blob(name)).readall() for name in names}


def lines(part: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(part).splitlines()]


@asynccontextmanager
async def deployed(
    tenant: Tenant, account: StorageAccount, certificates: ServerCertificates, directory: Path
) -> AsyncIterator[Deployment]:
    """Identity-based storage, the secret in Key Vault, everything over TLS; the app is not started yet."""
    context = serving(certificates)
    async with TenantServer(tenant, context) as server:
        settings = {"SYNC_SCHEDULE": "0 0 0 1 1 *", "PYTHONWARNINGS": WARNINGS}
        environment = app_environment(server.url, account, certificates, settings)
        deployment = Deployment(tenant, account, certificates, environment, directory)
        yield deployment


@pytest.fixture
async def deployment(
    certificates: ServerCertificates, storage: Iterator[StorageAccount], tmp_path: Path
) -> AsyncIterator[Deployment]:
    """As it is deployed, and running."""
    tenant = Tenant(generate(users=60, seed=3))
    async with deployed(tenant, next(storage), certificates, tmp_path) as made:
        await made.start()
        yield made
        await made.stop()
