"""Parts: gzip of one JSON object a line, named by the SHA-256 of what is stored.

The gzip header has no time and no name, so the same lines, added in the same turns, are the same bytes.
ISA-L at level 2 costs an eighth of zlib's default for a sixth more bytes, and any gzip reader reads it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from isal import isal_zlib

from shared.errors import SnapshotLost
from shared.snapshots.blobs import BlobContainer

GZIP_LEVEL = 2
GZIP_WINDOW = 16 + 15
LINES_AT_ONCE = 256
"""Records are encoded and compressed this many at a time, so that no whole part is held uncompressed."""

CONTENT_TYPE = "application/gzip"

_encoder = msgspec.json.Encoder()


class PartRef(msgspec.Struct, frozen=True, gc=False):
    """How a manifest names a part."""

    path: str
    rows: int
    bytes: int
    sha256: str
    """Of the blob as stored, in hex."""


class PartWriter:
    """A part in the making. Records go in, in the order of the part; only their compressed form is kept.

    How many are added at a time shows in the bytes, save where each turn but the last is a multiple of
    `LINES_AT_ONCE`.
    """

    def __init__(self) -> None:
        self._compressor = isal_zlib.compressobj(GZIP_LEVEL, wbits=GZIP_WINDOW)
        self._pieces: list[bytes] = []
        self.rows = 0

    def add(self, records: Sequence[Any]) -> None:
        for start in range(0, len(records), LINES_AT_ONCE):
            lines = _encoder.encode_lines(records[start : start + LINES_AT_ONCE])
            self._pieces.append(self._compressor.compress(lines))
        self.rows += len(records)

    async def store(self, container: BlobContainer, folder: str) -> PartRef | None:
        """Store the part under `folder`, named by its digest. None, and nothing stored, if it has no rows.

        A part that is there already is the same part: writing it again is skipped by the store.
        """
        if not self.rows:
            return None
        stored, digest = self._finish()
        path = f"{folder}/{digest}.jsonl.gz"
        await container.write(path, stored, new=True, content_type=CONTENT_TYPE)
        return PartRef(path=path, rows=self.rows, bytes=len(stored), sha256=digest)

    async def store_as(self, container: BlobContainer, path: str) -> PartRef | None:
        """Store the part under a name of its own, for what belongs to one run. None if it has no rows."""
        if not self.rows:
            return None
        stored, digest = self._finish()
        await container.write(path, stored, content_type=CONTENT_TYPE)
        return PartRef(path=path, rows=self.rows, bytes=len(stored), sha256=digest)

    def _finish(self) -> tuple[bytes, str]:
        stored = b"".join([*self._pieces, self._compressor.flush()])
        return stored, hashlib.sha256(stored).hexdigest()


def decompress(stored: bytes) -> bytes:
    """The lines of a stored part."""
    return bytes(isal_zlib.decompress(stored, wbits=GZIP_WINDOW))


def read_lines[T](stored: bytes, decoder: msgspec.json.Decoder[T]) -> list[T]:
    """The records of a stored part."""
    return decoder.decode_lines(decompress(stored))


async def read_part[T](container: BlobContainer, part: PartRef, decoder: msgspec.json.Decoder[T]) -> list[T]:
    """The records of a part that a manifest names."""
    stored = await container.read(part.path)
    if stored is None:
        raise SnapshotLost(
            f"The published part {part.path} is gone from container `{container.name}`. Somebody deleted it; "
            "readers of the current snapshot miss it too. The next run begins a new history."
        )
    return read_lines(stored, decoder)


def rows_of(parts: Iterable[PartRef | None]) -> int:
    return sum(part.rows for part in parts if part)
