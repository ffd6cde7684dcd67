"""Rows on their way from the order in which Graph sends them to the bucket in which they are built.

The directory is cut by the leading digits of the objects' ids into **buckets**, the parts that are
published, and each bucket into **segments** of some hundred objects, which are all that a build works on at a
time: they stay in the processor's cache, and the bucket's lines come out sorted by id.

A collector appends each row to the segment of its id. Once enough is in memory, all of it becomes one blob:
the compressed rows of bucket 0, of bucket 1, and so on, stream after stream. A build reads its own ranges.
One blob a flush, however many buckets; named by its content, so that two workers at the same slice never
overwrite each other's.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec
from isal import isal_zlib

from shared.snapshots.blobs import BlobContainer

FLUSH_BYTES = 12 * 1024 * 1024
"""Uncompressed rows held in memory before they are set aside."""

COMPRESSION_LEVEL = 0
"""Rows live for minutes. ISA-L's fastest level still shrinks them to a seventh."""

DIGITS = 4
POSITIONS = 65_536
"""Ids are told apart by their first four hex digits: the most segments that a directory can have."""


class SegmentTable(dict[str, int]):
    """The segment of an id by its first `DIGITS` characters. Numbers rise with the ids."""

    def __init__(self, total: int) -> None:
        super().__init__(
            (f"{position:0{DIGITS}x}", position * total // POSITIONS) for position in range(POSITIONS)
        )
        self._total = total

    def __missing__(self, prefix: str) -> int:
        """The same for what is no lower-case GUID, so that it still sorts among the others."""
        segment = self[prefix] = _position(prefix) * self._total // POSITIONS
        return segment


def _position(prefix: str) -> int:
    digits = "0123456789abcdef"
    position, width = 0, POSITIONS
    for character in prefix.ljust(DIGITS, "0"):
        width //= len(digits)
        if character in digits:
            position += digits.index(character) * width
            continue
        # Between two digits, or beyond them all: whatever follows, it is at that end.
        below = sum(character > digit for digit in digits)
        return max(0, position + below * width - 1) if below else position
    return position


class Cut(msgspec.Struct, frozen=True):
    """How a kind of object is cut. Both numbers are powers of two; their product is at most `POSITIONS`."""

    buckets: int
    segments: int
    """In each bucket."""

    @property
    def total(self) -> int:
        """Segments of all buckets."""
        return self.buckets * self.segments

    def table(self) -> SegmentTable:
        """Finds the segment of an id, counted through all buckets: `table[object_id[:DIGITS]]`."""
        return _table(self.total)

    def bucket_of(self, object_id: str) -> int:
        return self.table()[object_id[:DIGITS]] // self.segments


_table = lru_cache(maxsize=16)(SegmentTable)


class RowFile(msgspec.Struct, gc=False):
    """One blob of set-aside rows: its path, and for each stream the length of every bucket's range."""

    path: str
    streams: dict[str, list[int]]


class RowWriter:
    """Collects rows by stream and segment. `streams` says how each stream is cut."""

    def __init__(self, streams: dict[str, Cut]) -> None:
        self._cuts = streams
        self._segments: dict[str, list[list[bytes | msgspec.Raw]]] = {
            name: [[] for _ in range(cut.total)] for name, cut in streams.items()
        }
        self.size = 0
        """Bytes held, as far as the writer was told."""

    def stream(self, name: str) -> tuple[SegmentTable, list[list[bytes | msgspec.Raw]]]:
        """A stream's segments and how to find them: append encoded JSON, and report its size to `grow`."""
        return self._cuts[name].table(), self._segments[name]

    def add(self, stream: str, object_id: str, row: bytes | msgspec.Raw) -> None:
        """Add one encoded JSON value to the segment of this id."""
        table, segments = self.stream(stream)
        segments[table[object_id[:DIGITS]]].append(row)
        self.size += len(memoryview(row))

    def grow(self, size: int) -> None:
        """Tell of rows that were appended to a segment directly."""
        self.size += size

    @property
    def full(self) -> bool:
        return self.size >= FLUSH_BYTES

    async def flush(self, container: BlobContainer, folder: str) -> RowFile | None:
        """Set all rows aside as one blob and forget them. None if there were none."""
        pieces: list[bytes] = []
        lengths: dict[str, list[int]] = {}
        for name, segments in self._segments.items():
            cut = self._cuts[name]
            lengths[name] = []
            for start in range(0, cut.total, cut.segments):
                joined = [b",".join(rows) for rows in segments[start : start + cut.segments]]
                piece = b""
                if any(joined):
                    head = struct.pack(f"<{cut.segments}I", *map(len, joined))
                    piece = isal_zlib.compress(b"".join((head, *joined)), COMPRESSION_LEVEL)
                lengths[name].append(len(piece))
                pieces.append(piece)
            for rows in segments:
                rows.clear()
        self.size = 0
        content = b"".join(pieces)
        if not content:
            return None
        path = f"{folder}/{hashlib.sha256(content).hexdigest()}.rows"
        await container.write(path, content, new=True, content_type="application/octet-stream")
        return RowFile(path=path, streams=lengths)


class BucketRows:
    """The rows of one bucket of one stream; those of a segment in the order in which they were added."""

    def __init__(self, segments: int, pieces: list[bytes]) -> None:
        self._segments = segments
        self._pieces: list[list[bytes]] = []
        for piece in pieces:
            offset = 4 * segments
            rows = []
            for length in struct.unpack_from(f"<{segments}I", piece):
                rows.append(piece[offset : offset + length])
                offset += length
            self._pieces.append(rows)

    def has(self, number: int) -> bool:
        """Whether a segment has rows."""
        return any(rows[number] for rows in self._pieces)

    def any(self) -> bool:
        return bool(self._pieces)

    def segment(self, number: int) -> bytes:
        """The rows of one segment (0 is the bucket's first), as one JSON array."""
        return b"[" + b",".join([rows[number] for rows in self._pieces if rows[number]]) + b"]"

    def __iter__(self) -> Iterator[bytes]:
        return map(self.segment, range(self._segments))

    def all(self) -> bytes:
        """All rows of the bucket, flush by flush and in each by segment, as one JSON array."""
        return b"[" + b",".join([rows for piece in self._pieces for rows in piece if rows]) + b"]"


async def read_rows(
    container: BlobContainer, files: Iterable[RowFile], stream: str, cut: Cut, bucket: int
) -> BucketRows:
    """All rows of one stream and bucket."""
    pieces: list[bytes] = []
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
        pieces.append(isal_zlib.decompress(await container.read_range(file.path, offset, lengths[bucket])))
    return BucketRows(cut.segments, pieces)
