"""A container of Blob storage in memory: the operations of `BlobContainer`, with its conditional writes.

For what is about the bytes and their order. Whether storage itself behaves so is `test_blobs.py`'s matter.
"""

from collections.abc import AsyncIterator, Sequence
from itertools import count

from shared.errors import StateUnreadable
from shared.snapshots.blobs import BlobContainer


class MemoryContainer(BlobContainer):
    """`blobs` holds the content by path and may be read and changed at will."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.blobs: dict[str, bytes] = {}
        self._etags: dict[str, str] = {}
        self._numbers = count(1)

    def saved(self) -> tuple[dict[str, bytes], dict[str, str]]:
        """What `restore` takes back."""
        return dict(self.blobs), dict(self._etags)

    def restore(self, saved: tuple[dict[str, bytes], dict[str, str]]) -> None:
        self.blobs, self._etags = dict(saved[0]), dict(saved[1])

    async def ensure(self) -> None:
        return None

    async def read(self, path: str) -> bytes | None:
        return self.blobs.get(path)

    async def read_with_etag(self, path: str) -> tuple[bytes, str] | None:
        if path not in self.blobs:
            return None
        return self.blobs[path], self._etags.setdefault(path, f"etag-{next(self._numbers)}")

    async def read_range(self, path: str, offset: int, length: int) -> bytes:
        if path not in self.blobs:
            raise StateUnreadable(f"{path} is gone from container `{self.name}`.")
        return self.blobs[path][offset : offset + length]

    async def write(
        self,
        path: str,
        content: bytes,
        *,
        etag: str | None = None,
        new: bool = False,
        content_type: str = "application/json",
    ) -> str | None:
        stored = await self.read_with_etag(path)
        if (new and stored is not None) or (etag is not None and (stored is None or stored[1] != etag)):
            return None
        self.blobs[path] = content
        self._etags[path] = f"etag-{next(self._numbers)}"
        return self._etags[path]

    async def names(self, prefix: str) -> AsyncIterator[str]:
        for name in sorted(self.blobs):
            if name.startswith(prefix):
                yield name

    async def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            self.blobs.pop(path, None)
            self._etags.pop(path, None)
