"""The real host, killed in the middle of an incremental run: started again, a tick ends the run."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient
from azure.storage.queue.aio import QueueClient

from sandbox.azurite import Azurite, StorageAccount
from sandbox.certificates import ServerCertificates
from sandbox.services.app_settings import app_environment
from sandbox.services.sandbox import host_process
from sandbox.tenant import Tenant, TenantServer, churn, faults, generate
from tests.directory.expected import apply_changes, expected_edges, key_of
from tests.end_to_end.command import WARNINGS
from tests.end_to_end.conftest import Deployment, lines
from tests.support.tls import serving

SETTINGS = {"SYNC_SCHEDULE": "0 0 0 1 1 *", "PYTHONWARNINGS": WARNINGS, "SYNC_MAX_REMOVAL_PERCENT": "100"}


@pytest.fixture(scope="module")
def accounts(certificates: ServerCertificates) -> Iterator[Iterator[StorageAccount]]:
    with Azurite(accounts=8, certificates=certificates) as azurite:
        yield iter([azurite.account(number) for number in range(8)])


class Site:
    """A tenant and its storage, where hosts come and go."""

    def __init__(
        self,
        tenant: Tenant,
        url: str,
        account: StorageAccount,
        certificates: ServerCertificates,
        folder: Path,
    ) -> None:
        self.tenant = tenant
        self._account = account
        self._certificates = certificates
        self._folder = folder
        self._environment = app_environment(url, account, certificates, SETTINGS)
        self._hosts = 0

    async def live(self, *, killed_after: float | None = None) -> dict[str, Any]:
        """Start a host and fire the timer. Kill it after so many seconds, or wait until a run is published
        and nothing is under way; its status then."""
        self._hosts += 1
        log = self._folder / f"host-{self._hosts}.log"
        async with host_process(self._environment, log) as host:
            await host.until_ready()
            async with httpx.AsyncClient(base_url=host.url, timeout=30, trust_env=False) as http:
                deployment = Deployment(
                    self.tenant, self._account, self._certificates, self._environment, self._folder
                )
                deployment.host, deployment.http = host, http
                earlier = await deployment.status()
                await deployment.fire_timer()
                if killed_after is not None:
                    await asyncio.sleep(killed_after)
                    assert host._process is not None
                    host._process.kill()
                    await host.wait()
                    return {}
                async with asyncio.timeout(60):
                    while True:
                        status = await deployment.status()
                        moved = earlier["current"] or status["published"] != earlier["published"]
                        if status["current"] is None and moved:
                            return status
                        await asyncio.sleep(0.05)

    async def blobs(self) -> dict[str, bytes]:
        async with ContainerClient.from_connection_string(
            self._account.connection_string,
            "directory",
            connection_verify=str(self._certificates.authority),
        ) as container:
            names = [name async for name in container.list_blob_names()]
            return {name: await (await container.download_blob(name)).readall() for name in names}

    async def poisoned(self) -> int:
        async with QueueClient.from_connection_string(
            self._account.connection_string,
            "directory-sync-poison",
            connection_verify=str(self._certificates.authority),
        ) as queue:
            try:
                return int((await queue.get_queue_properties()).approximate_message_count or 0)
            except ResourceNotFoundError:
                return 0


@pytest.fixture
async def site(
    certificates: ServerCertificates, accounts: Iterator[StorageAccount], tmp_path: Path
) -> AsyncIterator[Site]:
    tenant = Tenant(generate(users=80, seed=96))
    tenant.delta_page_objects = 10
    context = serving(certificates)
    async with TenantServer(tenant, context) as server:
        yield Site(tenant, server.url, next(accounts), certificates, tmp_path)


def state(blobs: dict[str, bytes], manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for dataset in ("users", "groups", "memberships"):
        rows = [row for part in manifest["datasets"][dataset]["parts"] for row in lines(blobs[part["path"]])]
        found[dataset] = {key_of(dataset, row): row for row in rows}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_worker_that_is_killed(site: Site, seed: int) -> None:
    rng = random.Random(seed)
    first = await site.live()
    before = await site.blobs()
    churn(site.tenant.directory, seed=seed, count=60)
    site.tenant.faults.add(faults.delay(0.1), "/delta", times=None)  # so that there is a middle
    for _ in range(2):
        await site.live(killed_after=rng.uniform(0.0, 1.6))
    site.tenant.faults.clear()
    status = await site.live()
    blobs = await site.blobs()
    assert status["published"]["sequence"] in (2, 3, 4)
    assert await site.poisoned() == 0
    manifests = {
        manifest["sequence"]: manifest
        for manifest in (json.loads(blobs[name]) for name in blobs if name.endswith("manifest.json"))
    }
    assert sorted(manifests) == list(range(1, status["published"]["sequence"] + 1))
    state_now = state(before, json.loads(before[first["published"]["manifest"]]))
    for sequence in range(2, status["published"]["sequence"] + 1):
        changes = [
            line for part in manifests[sequence]["changes"]["parts"] for line in lines(blobs[part["path"]])
        ]
        state_now = apply_changes(state_now, changes)
    assert state_now == state(blobs, manifests[status["published"]["sequence"]])
    assert state_now["users"].keys() == site.tenant.directory.users.keys()
    assert state_now["groups"].keys() == site.tenant.directory.groups.keys()
    edges = {key_of("memberships", row) for row in expected_edges(site.tenant.directory)}
    assert state_now["memberships"].keys() == edges
