"""Worlds whose storage can be copied and can fail, and workers that die."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import fields, replace
from typing import Any

from shared.directory.steps import Step
from shared.directory.sync import DirectorySync
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.state import StateStore
from tests.snapshots.memory import MemoryContainer
from tests.support.world import MessageList, World


class WorkerDied(BaseException):
    """The process is gone: no `except` of the product sees it."""


class Fuse:
    """Blows at the n-th write or send, counted from 1, once; counts on. 0 never blows."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.count = 0

    def burn(self, what: str) -> None:
        self.count += 1
        if self.count == self.at:
            raise WorkerDied(what)


class FusedContainer(BlobContainer):
    """Hands everything on to another container, and dies before a write."""

    def __init__(self, inner: BlobContainer, fuse: Fuse) -> None:
        self.name = inner.name
        self._inner = inner
        self._fuse = fuse

    async def ensure(self) -> None:
        await self._inner.ensure()

    async def read(self, path: str) -> bytes | None:
        return await self._inner.read(path)

    async def read_with_etag(self, path: str) -> tuple[bytes, str] | None:
        return await self._inner.read_with_etag(path)

    async def read_range(self, path: str, offset: int, length: int) -> bytes:
        return await self._inner.read_range(path, offset, length)

    async def write(self, path: str, content: bytes, **options: Any) -> str | None:
        self._fuse.burn(f"before the write of {path}")
        return await self._inner.write(path, content, **options)

    async def names(self, prefix: str) -> AsyncIterator[str]:
        async for name in self._inner.names(prefix):
            yield name

    async def delete(self, paths: Sequence[str]) -> None:
        self._fuse.burn(f"before the deletion of {len(paths)} blobs")
        await self._inner.delete(paths)


class FusedMessages(MessageList):
    """A queue whose worker dies before a message is sent."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    async def send(self, step: Step, delay: float = 0.0) -> None:
        self._fuse.burn(f"before {step} was sent")
        await super().send(step, delay)


def restarted(sync: DirectorySync, **replaced: Any) -> DirectorySync:
    """The same sync in a new process: nothing that it kept to itself is there."""
    own = {field.name: field for field in fields(sync) if field.name.startswith("_") and field.init}
    forgotten = {
        name: field.default_factory() if callable(field.default_factory) else field.default
        for name, field in own.items()
    }
    return replace(sync, **{**forgotten, **replaced})


def use_memory(world: World) -> tuple[MemoryContainer, MemoryContainer]:
    """Let the world keep its state and its output in memory."""
    state, output = MemoryContainer("sync-state"), MemoryContainer("directory")
    world.sync = restarted(world.sync, state=StateStore(state), output=output)
    return state, output


def use_fuse(world: World, fuse: Fuse) -> None:
    """Let the worker die at a write or a message."""
    messages = FusedMessages(fuse)
    messages.waiting = world.messages.waiting
    world.messages = messages
    world.sync = restarted(
        world.sync,
        state=StateStore(FusedContainer(world.sync.state.container, fuse)),
        output=FusedContainer(world.sync.output, fuse),
        queue=messages,
    )
