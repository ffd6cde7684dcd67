"""Rows on their way from the order in which Graph sends them to the bucket in which they are built.

A collector appends each row to a stream and a bucket. Once enough is in memory, all of it becomes one blob:
the compressed rows of bucket 0, of bucket 1, and so on, stream after stream. A build reads its own ranges.
One blob a flush, however many buckets; named by its content, so that two workers at the same slice never
overwrite each other's.
"""

import hashlib
import zlib
from collections.abc import Iterable

import msgspec
from isal import isal_zlib

from shared.snapshots.blobs import BlobContainer

FLUSH_BYTES = 24 * 1024 * 1024
"""Uncompressed rows held in memory before they are set aside."""

COMPRESSION_LEVEL = 0
"""Rows live for minutes. ISA-L's fastest level still shrinks them to a seventh."""


def bucket_of(object_id: str, buckets: int) -> int:
    """The bucket of an object; `buckets` is a power of two.

    A CRC is enough to spread random ids, and it stays the same on every machine and version. Its low bits
    are used, so that a directory that outgrows its buckets splits each one in two.
    """
    return zlib.crc32(object_id.encode()) & (buckets - 1)


class RowFile(msgspec.Struct, gc=False):
    """One blob of set-aside rows: its path, and for each stream the length of every bucket's range."""

    path: str
    streams: dict[str, list[int]]


class RowWriter:
    """Collects rows by stream and bucket. `streams` maps a stream's name to its number of buckets."""

    def __init__(self, streams: dict[str, int]) -> None:
        self._rows: dict[str, list[list[bytes | msgspec.Raw]]] = {
            name: [[] for _ in range(buckets)] for name, buckets in streams.items()
        }
        self.size = 0
        """Bytes held, as far as `add` was told."""

    def bucket(self, stream: str, bucket: int) -> list[bytes | msgspec.Raw]:
        """The rows of one bucket; append encoded JSON values to it, and report their size to `grow`."""
        return self._rows[stream][bucket]

    def stream(self, stream: str) -> list[list[bytes | msgspec.Raw]]:
        """All buckets of one stream."""
        return self._rows[stream]

    def add(self, stream: str, bucket: int, row: bytes | msgspec.Raw) -> None:
        self._rows[stream][bucket].append(row)
        self.size += len(memoryview(row))

    def grow(self, size: int) -> None:
        """Tell of rows that were appended to a bucket directly."""
        self.size += size

    @property
    def full(self) -> bool:
        return self.size >= FLUSH_BYTES

    async def flush(self, container: BlobContainer, folder: str) -> RowFile | None:
        """Set all rows aside as one blob and forget them. None if there were none."""
        pieces: list[bytes] = []
        lengths: dict[str, list[int]] = {}
        for name, buckets in self._rows.items():
            lengths[name] = []
            for rows in buckets:
                piece = isal_zlib.compress(b",".join(rows), COMPRESSION_LEVEL) if rows else b""
                lengths[name].append(len(piece))
                pieces.append(piece)
                rows.clear()
        self.size = 0
        content = b"".join(pieces)
        if not content:
            return None
        path = f"{folder}/{hashlib.sha256(content).hexdigest()}.rows"
        await container.write(path, content, new=True, content_type="application/octet-stream")
        return RowFile(path=path, streams=lengths)


async def read_rows(container: BlobContainer, files: Iterable[RowFile], stream: str, bucket: int) -> bytes:
    """All rows of one stream and bucket, in the order in which they were added, as one JSON array."""
    arrays: list[bytes] = []
    for file in files:
        lengths = file.streams.get(stream)
        if not lengths or not lengths[bucket]:
            continue
        offset = 0
        for name, other in file.streams.items():
            if name == stream:
                break
            offset += sum(other)
        offset += sum(lengths[:bucket])
        arrays.append(isal_zlib.decompress(await container.read_range(file.path, offset, lengths[bucket])))
    return b"[" + b",".join(arrays) + b"]"
