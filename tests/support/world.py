"""A simulated tenant, a real Azurite account and the directory sync between them, without a host.

Messages are kept in a list and worked off by `drain`, so that a test decides in which order, how often and
whether at all they arrive. Everything else is real: HTTP, the SDKs, storage.
"""

import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.core.credentials import AccessToken
from azure.storage.blob.aio import BlobServiceClient

from sandbox.azurite import StorageAccount
from sandbox.tenant import CLIENT_ID, TENANT_ID, Tenant, TenantServer
from shared.config import Settings
from shared.directory.status import sync_status
from shared.directory.steps import Step
from shared.directory.sync import DirectorySync
from shared.graph.client import GraphClient
from shared.graph.policy import RetryPolicy
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.state import StateStore
from tests.validation import validate_line, validate_manifest, validate_pointer

MAX_MESSAGES = 10_000


class TenantCredential:
    """Tokens straight from the tenant, so that a test of Graph needs no sign-in."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        token = self._tenant.token_for(self._tenant.clients[CLIENT_ID])
        return AccessToken(token.text, int(datetime.now(UTC).timestamp()) + 3600)

    async def close(self) -> None:
        return None


@dataclass
class MessageList:
    """Stands in for the queue: what was sent, with its delay."""

    waiting: list[tuple[Step, float]] = field(default_factory=list)
    sent: list[tuple[Step, float]] = field(default_factory=list)

    async def send(self, step: Step, delay: float = 0.0) -> None:
        self.waiting.append((step, delay))
        self.sent.append((step, delay))


@dataclass
class Clock:
    """A clock that only a test moves; sleeping moves it."""

    moment: datetime = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return self.moment

    def timestamp(self) -> float:
        return self.moment.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)

    def forward(self, **by: float) -> None:
        self.moment += timedelta(**by)


@dataclass
class Snapshot:
    """What a consumer reads."""

    pointer: dict[str, Any]
    manifest: dict[str, Any]
    datasets: dict[str, list[dict[str, Any]]]
    changes: list[dict[str, Any]]

    def by_id(self, dataset: str) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for row in self.datasets[dataset]}

    def edges(self) -> set[tuple[str, str, str]]:
        return {(e["group_id"], e["relation"], e["member_id"]) for e in self.datasets["memberships"]}


@dataclass
class World:
    tenant: Tenant
    sync: DirectorySync
    messages: MessageList
    clock: Clock
    blobs: BlobServiceClient
    graph: GraphClient

    async def run(self) -> str:
        """Tick the timer and work everything off."""
        run_id = await self.sync.tick()
        await self.drain()
        return run_id

    async def run_full(self) -> str:
        """Ask for a run that reads everything and work it off."""
        run_id = await self.sync.start(full=True)
        await self.drain()
        return run_id

    async def drain(self, pick: Callable[[int], int] = lambda count: 0) -> None:
        """Deliver messages until none is left; `pick` chooses the next by the number of those waiting."""
        for _ in range(MAX_MESSAGES):
            if not self.messages.waiting:
                return
            step, delay = self.messages.waiting.pop(pick(len(self.messages.waiting)))
            self.clock.forward(seconds=delay)
            await self.sync.handle(step)
        raise AssertionError("the run does not end")

    async def status(self) -> dict[str, Any]:
        return await sync_status(self.sync.state, self.sync.output)

    async def snapshot(self, *, validate: bool = True) -> Snapshot:
        """The current snapshot, as a consumer reads it, every line validated."""
        output = self.sync.output

        async def read(path: str) -> bytes:
            content = await output.read(path)
            assert content is not None, path
            return content

        pointer = json.loads(await read("current.json"))
        manifest = json.loads(await read(pointer["manifest"]))
        datasets: dict[str, list[dict[str, Any]]] = {}
        for dataset, entry in manifest["datasets"].items():
            rows = datasets[dataset] = []
            for part in entry["parts"]:
                rows += _lines(await read(part["path"]))
            assert len(rows) == entry["rows"] or not entry["parts"]
        changes = []
        for part in manifest.get("changes", {}).get("parts", []):
            changes += _lines(await read(part["path"]))
        if validate:
            validate_pointer(pointer)
            validate_manifest(manifest)
            for dataset, rows in datasets.items():
                for row in rows:
                    validate_line(dataset, row)
            for change in changes:
                validate_line("changes", change)
        return Snapshot(pointer, manifest, datasets, changes)


def _lines(stored: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(stored).decode().split("\n") if line]


def settings(**overrides: str) -> Settings:
    """Settings for a world; `overrides` by the settings' names."""
    environment = {
        "ENTRA_TENANT_ID": TENANT_ID,
        "ENTRA_CLIENT_ID": CLIENT_ID,
        "ENTRA_CREDENTIAL": "client-secret",
        "KEY_VAULT_URL": "https://vault.example",
        "DIRECTORY_STORAGE": "UseDevelopmentStorage=true",
        **overrides,
    }
    return Settings.from_environment(environment)


@asynccontextmanager
async def world(
    tenant: Tenant, account: StorageAccount, *, bucket_rows: int = 64, **overrides: str
) -> AsyncIterator[World]:
    """Everything started; `overrides` are settings."""
    clock = Clock()
    policy = RetryPolicy(now=clock.timestamp, sleep=clock.sleep, jitter=lambda: 0.0)
    messages = MessageList()
    chosen = settings(**overrides)
    async with (
        TenantServer(tenant) as server,
        BlobServiceClient.from_connection_string(account.connection_string) as blobs,
        GraphClient(TenantCredential(tenant), server.url, chosen.cloud.graph_scope, policy) as graph,  # type: ignore[arg-type]
    ):

        async def client() -> GraphClient:
            return graph

        sync = DirectorySync(
            settings=chosen,
            state=StateStore(BlobContainer(blobs.get_container_client("sync-state"))),
            output=BlobContainer(blobs.get_container_client(chosen.container)),
            queue=messages,  # type: ignore[arg-type]
            graph=client,
            now=clock.now,
            bucket_rows=bucket_rows,
        )
        yield World(tenant, sync, messages, clock, blobs, graph)
