"""The app's engine as the bench runs it: its clients and SDKs, real HTTP, real Azurite, default settings.

The token is a constant, and so is the date: `changed_at` is part of what is published, and two runs are to
publish the same bytes. `STORAGE` holds the connection string.
"""

import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, override

from azure.core.credentials import AccessToken

from bench.processes.measure import Stopwatch
from bench.results import StorageUse, Touched
from shared.config import Settings
from shared.directory.building import Builder
from shared.directory.sync import DirectorySync
from shared.formats import formats_named
from shared.formats.interface import RenderContext
from shared.graph import queries
from shared.graph.client import GraphClient
from shared.graph.policy import Usage
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.manifest import Manifest, read_manifest, read_pointer
from shared.snapshots.state import Run, Stage, StateStore
from shared.storage_clients import StorageClients

STORAGE = "BENCH_STORAGE"
_ANYBODY = "00000000-0000-4000-8000-000000000001"
_FIRST_RUN = datetime(2026, 12, 31, 9, tzinfo=UTC)
_BETWEEN_RUNS = timedelta(hours=1)


class ConstantCredential:
    """A token for a server that asks for none."""

    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("token", int(time.time()) + 3600)


class CountedContainer(BlobContainer):
    """A container that counts what is read and written."""

    use: StorageUse

    @override
    async def read_with_etag(self, path: str) -> tuple[bytes, str] | None:
        content = await super().read_with_etag(path)
        self.use.reads += 1
        self.use.bytes_read += len(content[0]) if content else 0
        return content

    @override
    async def read_range(self, path: str, offset: int, length: int) -> bytes:
        self.use.reads += 1
        self.use.bytes_read += length
        return await super().read_range(path, offset, length)

    @override
    async def write(self, path: str, content: bytes, **options: Any) -> str | None:
        self.use.writes += 1
        self.use.bytes_written += len(content)
        return await super().write(path, content, **options)


class TimedSync(DirectorySync):
    """The engine, with those phases set apart that have no message of their own."""

    stopwatch: Stopwatch

    @override
    async def _builder_of(self, run: Run) -> Builder:
        with self.stopwatch.during("prepare build"):
            return await super()._builder_of(run)

    @override
    async def _plan(self, run: Run, stage: Stage) -> None:
        with self.stopwatch.during("plan"):
            await super()._plan(run, stage)

    @override
    async def _publish(self, run: Run) -> None:
        with self.stopwatch.during("publish"):
            await super()._publish(run)


class Engine:
    """The engine and what stands around it, ready to work."""

    def __init__(self, sync: DirectorySync, storage: StorageClients, use: StorageUse) -> None:
        self.sync = sync
        self.use = use
        """What was read and written so far."""
        self._storage = storage

    async def run(self) -> Run:
        stored = await self.sync.state.run()
        if stored is None:
            raise RuntimeError("There is no run.")
        return stored[0]

    async def manifest(self) -> Manifest:
        """Of the last run. Raises RuntimeError if that did not end well."""
        run = await self.run()
        pointer = await read_pointer(self.sync.output)
        manifest = await read_manifest(self.sync.output, pointer[0].manifest) if pointer else None
        if manifest is None or manifest.run_id != run.run_id:
            raise RuntimeError(f"The run did not end well: {run.status}, {run.error}")
        return manifest

    async def touched(self) -> Touched:
        """The buckets that the last run built."""
        run = await self.run()
        return Touched(
            members=len(run.buckets("members")),
            all_members=run.cut.buckets,
            groups=len(run.buckets("groups")),
            all_groups=run.group_cut.buckets,
        )

    async def stored(self) -> int:
        """Bytes in all containers."""
        sizes = 0
        for container in (self.sync.output, self.sync.state.container):
            async for blob in self._storage.container(container.name).list_blobs():
                sizes += blob.size or 0
        return sizes

    async def digest(self) -> str:
        """One SHA-256 over the content of all published parts, read back, in the order of the manifest."""
        whole = hashlib.sha256()
        for name, entry in (await self.manifest()).datasets.items():
            for part in entry.parts:
                content = await self.sync.output.read(part.path) or b""
                whole.update(f"{name} {part.path} {hashlib.sha256(content).hexdigest()}\n".encode())
        return whole.hexdigest()


@asynccontextmanager
async def engine(
    origin: str, formats: str | None, queue: Any, stopwatch: Stopwatch, *, number: int = 0
) -> AsyncIterator[Engine]:
    """The engine, once it has loaded what it needs. `formats` None is the app's default.

    `number` counts the runs into this account from 0; each has its own date.
    """
    settings = Settings.from_environment(
        {
            "ENTRA_TENANT_ID": _ANYBODY,
            "ENTRA_CLIENT_ID": _ANYBODY,
            "ENTRA_CREDENTIAL": "client-secret",
            "KEY_VAULT_URL": "https://vault.example",
            "DIRECTORY_STORAGE": os.environ[STORAGE],
        }
        | ({} if formats is None else {"DIRECTORY_FORMATS": formats})
    )
    use = StorageUse()
    date = _FIRST_RUN + number * _BETWEEN_RUNS
    async with (
        AsyncExitStack() as stack,
        GraphClient(ConstantCredential(), origin, settings.cloud.graph_scope) as graph,  # type: ignore[arg-type]
    ):
        storage = StorageClients(settings.storage, _no_identity, stack)

        async def client() -> GraphClient:
            return graph

        def container(name: str) -> CountedContainer:
            counted = CountedContainer(storage.container(name))
            counted.use = use
            return counted

        sync = TimedSync(
            settings=settings,
            state=StateStore(container("sync-state")),
            output=container(settings.container),
            queue=queue,
            graph=client,
            now=lambda: date,
        )
        sync.stopwatch = stopwatch
        await _load(sync, graph)
        use.reads = use.writes = use.bytes_read = use.bytes_written = 0
        yield Engine(sync, storage, use)


def _no_identity() -> NoReturn:
    raise NotImplementedError("the connection string has a key")


async def _load(sync: DirectorySync, graph: GraphClient) -> None:
    """Import what is imported when it is first needed, and connect: that is paid once a process."""
    await graph.send(queries.count(graph, "users"), Usage(), subject="users", permission="none")
    queries.users_delta(graph, with_leave_date=True)
    queries.users_list(graph, with_leave_date=True)
    queries.groups_delta(graph)
    queries.registration_details(graph)
    formats_named(sync.settings.formats, RenderContext(_ANYBODY, sync.settings.cloud, {}))
    for container in (sync.output, sync.state.container):
        await container.ensure()
        await container.write("bench", b"{}")
        await container.read("bench")
        await container.delete(["bench"])
