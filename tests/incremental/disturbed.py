"""Workers that die, storage that fails, and a host that delivers again what was not worked off."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from azure.core.exceptions import (
    HttpResponseError,
    ResourceModifiedError,
    ServiceRequestError,
    ServiceResponseError,
)

from shared.directory.sync import LAST_ATTEMPT
from shared.errors import StorageUnavailable
from shared.graph.client import GraphClient
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.state import StateStore
from tests.directory.stores import Fuse, WorkerDied, restarted
from tests.support.world import World

MOST_TICKS = 12


class FusedGraph:
    """Graph's client of a worker that dies before a request."""

    def __init__(self, inner: GraphClient, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def send(self, *arguments: Any, **options: Any) -> Any:
        self._fuse.burn("before a request to Graph")
        return await self._inner.send(*arguments, **options)


def use_fused_graph(w: World, fuse: Fuse) -> None:
    async def client() -> Any:
        return FusedGraph(w.graph, fuse)

    w.sync = restarted(w.sync, graph=client)


# --- storage that fails, below the adapter ------------------------------------------------------------------


class Weather:
    """How storage behaves: each call may fail before or after it did what was asked."""

    def __init__(self, seed: int, chance: float) -> None:
        self._random = random.Random(seed)
        self.chance = chance
        self.failures = 0

    async def call(self, action: Callable[[], Awaitable[Any]], *, conditional: bool) -> Any:
        if self._random.random() >= self.chance:
            return await action()
        self.failures += 1
        kind = self._random.choice(["429", "503", "refused", "lost", "lost", "412", "412"])
        if kind in ("429", "503"):
            error = HttpResponseError(f"{kind} from the storage account")
            error.status_code = int(kind)
            raise error
        if kind == "refused":
            raise ServiceRequestError("no connection")
        answer = await action()
        if kind == "412" and conditional:
            # The SDK's own retry of a write whose answer was lost: it meets what it wrote.
            raise ResourceModifiedError("the condition is not met")
        if kind == "lost":
            raise ServiceResponseError("the answer did not come")
        return answer


class StormyClient:
    """The SDK's client of a container, in such a weather."""

    def __init__(self, inner: Any, weather: Weather) -> None:
        self._inner = inner
        self._weather = weather

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def download_blob(self, *arguments: Any, **options: Any) -> Any:
        return await self._weather.call(
            lambda: self._inner.download_blob(*arguments, **options), conditional=False
        )

    async def delete_blob(self, *arguments: Any, **options: Any) -> Any:
        return await self._weather.call(
            lambda: self._inner.delete_blob(*arguments, **options), conditional=False
        )

    def get_blob_client(self, path: str) -> "StormyBlob":
        return StormyBlob(self._inner.get_blob_client(path), self._weather)

    async def list_blob_names(self, **options: Any) -> AsyncIterator[str]:
        async def nothing() -> None:
            return None

        await self._weather.call(nothing, conditional=False)
        async for name in self._inner.list_blob_names(**options):
            yield name


class StormyBlob:
    def __init__(self, inner: Any, weather: Weather) -> None:
        self._inner = inner
        self._weather = weather

    async def upload_blob(self, *arguments: Any, **options: Any) -> Any:
        return await self._weather.call(
            lambda: self._inner.upload_blob(*arguments, **options), conditional="match_condition" in options
        )


def use_storm(w: World, weather: Weather) -> Callable[[], None]:
    """Let the world's storage fail now and then. What it returns brings back the calm."""
    calm = w.sync

    def container(of: BlobContainer) -> BlobContainer:
        return BlobContainer(StormyClient(w.blobs.get_container_client(of.name), weather))  # type: ignore[arg-type]

    w.sync = restarted(
        w.sync, state=StateStore(container(calm.state.container)), output=container(calm.output)
    )

    def stop() -> None:
        w.sync = restarted(calm)

    return stop


# --- the host -----------------------------------------------------------------------------------------------


async def live_through(
    w: World, sequence: int, *, pick: Callable[[int], int] = lambda count: 0, doubled: bool = False
) -> int:
    """Tick and deliver as the host does until this sequence is published. How many messages were given up.

    A message that fails comes again, five times; a worker that dies is replaced by a new one, and its message
    comes again as well.
    """
    given_up = 0
    for _ in range(MOST_TICKS):
        try:
            await w.sync.tick()
        except StorageUnavailable:
            pass
        except WorkerDied:
            w.sync = restarted(w.sync)
        deliveries: dict[int, int] = {}
        while w.messages.waiting:
            message = w.messages.waiting.pop(pick(len(w.messages.waiting)))
            step, delay = message
            w.clock.forward(seconds=delay)
            count = deliveries[id(message)] = deliveries.get(id(message), 0) + 1
            try:
                await w.sync.handle(step, count)
                if doubled:
                    await w.sync.handle(step, count)
            except StorageUnavailable:
                if count < LAST_ATTEMPT:
                    w.messages.waiting.append(message)
                else:
                    given_up += 1
            except WorkerDied:
                w.sync = restarted(w.sync)
                w.messages.waiting.append(message)
        status = await calm_status(w)
        if status["current"] is None and (status["published"] or {}).get("sequence", 0) >= sequence:
            return given_up
    raise AssertionError(f"not published after {MOST_TICKS} ticks: {await calm_status(w)}")


async def calm_status(w: World) -> dict[str, Any]:
    while True:
        try:
            return await w.status()
        except StorageUnavailable:
            continue
