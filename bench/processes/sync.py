"""One full sync by the real engine: real SDKs over HTTP, real Azurite, default settings.

Only two things are stand-ins: the token is a constant, and messages wait in a list, worked off in order.
`STORAGE` holds the connection string.
"""

import argparse
import asyncio
import os
import sys
import time
from collections import deque
from typing import Any, override

import msgspec
from azure.core.credentials import AccessToken
from azure.storage.blob.aio import BlobServiceClient

from bench.processes.measure import CollectorWatch, Stopwatch, peak_bytes
from bench.processes.sampler import Sampler
from bench.results import SyncCost
from shared.config import Settings
from shared.directory.build import Builder
from shared.directory.steps import Step
from shared.directory.sync import DirectorySync
from shared.graph import queries
from shared.graph.client import GraphClient
from shared.graph.policy import Usage
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.manifest import read_manifest, read_pointer
from shared.snapshots.state import Run, StateStore

MODELS = "msgraph.generated.models."
STORAGE = "BENCH_STORAGE"
_ANYBODY = "00000000-0000-4000-8000-000000000001"


class ConstantCredential:
    """A token for a server that asks for none."""

    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("token", int(time.time()) + 3600)


class MessageList:
    """Stands in for the queue."""

    def __init__(self) -> None:
        self.waiting: deque[Step] = deque()

    async def send(self, step: Step, delay: float = 0.0) -> None:
        assert not delay, "nothing throttles here"
        self.waiting.append(step)


class TimedSync(DirectorySync):
    """The engine, with the two phases set apart that have no message of their own."""

    stopwatch: Stopwatch

    @override
    async def _builder_of(self, run: Run) -> Builder:
        with self.stopwatch.during("prepare build"):
            return await super()._builder_of(run)

    @override
    async def _publish(self, run: Run) -> None:
        with self.stopwatch.during("publish"):
            await super()._publish(run)


async def measure(origin: str, formats: str | None, *, profiled: bool) -> SyncCost:
    """Run one full sync into an empty account. `formats` None is the app's default."""
    stopwatch = Stopwatch()
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
    messages = MessageList()
    async with (
        BlobServiceClient.from_connection_string(os.environ[STORAGE]) as blobs,
        GraphClient(ConstantCredential(), origin, settings.cloud.graph_scope) as graph,  # type: ignore[arg-type]
    ):

        async def client() -> GraphClient:
            return graph

        sync = TimedSync(
            settings=settings,
            state=StateStore(BlobContainer(blobs.get_container_client("sync-state"))),
            output=BlobContainer(blobs.get_container_client(settings.container)),
            queue=messages,  # type: ignore[arg-type]
            graph=client,
        )
        sync.stopwatch = stopwatch
        await graph.send(queries.count(graph, "users"), Usage(), subject="users", permission="none")
        await sync.output.ensure()
        start_peak = peak_bytes()
        collector = CollectorWatch()
        sampler = Sampler(stopwatch) if profiled else None
        began = time.perf_counter()
        with stopwatch.during("start of the run"):
            await sync.tick()
        while messages.waiting:
            step = messages.waiting.popleft()
            with stopwatch.during(f"{step.action} {step.dataset or step.stage or ''}".strip()):
                await sync.handle(step)
        wall = time.perf_counter() - began
        profile = sampler.stop() if sampler else None
        peak = peak_bytes()
        rows = await _published(sync)
    phases = dict(stopwatch.cpu)
    return SyncCost(
        formats=",".join(settings.formats),
        start_cpu=phases.pop("start"),
        phases=phases,
        garbage_collection=collector.cpu,
        wall=wall,
        start_peak=start_peak,
        peak=peak,
        model_modules=sum(name.startswith(MODELS) for name in sys.modules),
        rows=rows,
        profile=profile,
    )


async def _published(sync: DirectorySync) -> dict[str, int]:
    pointer = await read_pointer(sync.output)
    manifest = await read_manifest(sync.output, pointer[0].manifest) if pointer else None
    if manifest is None:
        stored = await sync.state.run()
        raise RuntimeError(f"The run did not end well: {stored[0].error if stored else 'there is none'}")
    return {name: entry.rows for name, entry in manifest.datasets.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.processes.sync", description=__doc__)
    parser.add_argument("--origin", required=True)
    parser.add_argument("--formats", help="DIRECTORY_FORMATS; may be empty")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    cost = asyncio.run(measure(arguments.origin, arguments.formats, profiled=arguments.profile))
    print(msgspec.json.encode(cost).decode())


if __name__ == "__main__":
    main()
