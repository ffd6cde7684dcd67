"""Rows on their way from the order in which Graph sends them to the bucket in which they are built.

The directory is cut by the leading digits of the objects' ids into **buckets**, the parts that are
published, and each bucket into **segments** of some thirty objects, which are all that a build works on at a
time: they stay in the processor's cache, and the bucket's lines come out sorted by id.

A collector appends each row to the segment of its id. Once enough is in memory, all of it is packed: a
**stretch** of segments at a time is compressed. Once enough packs are in memory, they become one blob: the
packs of bucket 0, of bucket 1, and so on, stream after stream. A build reads its own ranges and unpacks them
stretch by stretch. A blob is named by its content, so that two workers at the same slice never overwrite each
other's.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from itertools import accumulate, batched, pairwise

import msgspec
from isal import isal_zlib

from shared.snapshots.blobs import BlobContainer

FLUSH_BYTES = 12 * 1024 * 1024
"""Uncompressed rows held in memory before they are packed."""

ROW_BYTES = 48
"""What a row takes beside its text: the object around it, and its place in a list."""

FILE_BYTES = 11 * 1024 * 1024
"""Packed rows held in memory before they are set aside. A build reads a range of each file, so that few large
files cost it less than many small ones."""

SMALL_FILE_BYTES = 1024 * 1024

STRETCH_SEGMENTS = 64
"""So many segments of a bucket are packed, and later unpacked, together: some thousand objects."""

COMPRESSION_LEVEL = 1
"""Rows live for minutes. ISA-L's level 0 packs a little faster, unpacks slower, and leaves a third more."""

DIGITS = 4
POSITIONS = 65_536
"""Ids are told apart by their first four hex digits: the most segments that a directory can have."""


_HIGH = {f"{number:02x}": number << 8 for number in range(256)}
_LOW = {f"{number:02x}": number for number in range(256)}


def position_of(object_id: str) -> int:
    """Where an id lies among all that there can be, from 0 up to `POSITIONS`. Positions rise with the ids."""
    try:
        return _HIGH[object_id[:2]] | _LOW[object_id[2:4]]
    except KeyError:
        return _odd_position(object_id)


def _odd_position(object_id: str) -> int:
    """Of an id that begins with no four lower-case hex digits: it still sorts among the others."""
    digits = "0123456789abcdef"
    position, width = 0, POSITIONS
    for character in object_id[:DIGITS].ljust(DIGITS, "0"):
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
    def stretch(self) -> int:
        """Segments whose rows are compressed together on their way."""
        return min(self.segments, STRETCH_SEGMENTS)

    @property
    def stretches(self) -> int:
        """In each bucket."""
        return self.segments // self.stretch

    @property
    def total(self) -> int:
        """Segments of all buckets."""
        return self.buckets * self.segments

    @property
    def shift(self) -> int:
        """`position_of(object_id) >> shift` is the segment of an id: what `segment_of` does, for those who
        ask a million times."""
        return POSITIONS.bit_length() - self.total.bit_length()

    def segment_of(self, object_id: str) -> int:
        """Counted through all buckets."""
        return position_of(object_id) >> self.shift

    def bucket_of(self, object_id: str) -> int:
        return self.segment_of(object_id) // self.segments


class RowFile(msgspec.Struct, gc=False):
    """One blob of set-aside rows: its path, and for each stream the length of every bucket's range."""

    path: str
    streams: dict[str, list[int]]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(map(sum, self.streams.values()))


class RowWriter:
    """Collects rows by stream and segment. `streams` says how each stream is cut."""

    def __init__(self, streams: dict[str, Cut]) -> None:
        self._cuts = streams
        self._segments: dict[str, list[list[bytes | msgspec.Raw]]] = {
            name: [[] for _ in range(cut.total)] for name, cut in streams.items()
        }
        self._packs: dict[str, list[tuple[bytes, list[int]]]] = {name: [] for name in streams}
        """By stream, pack after pack: the compressed rows of all stretches, and where each of them ends."""
        self.size = 0
        """Bytes of memory that rows take, as far as the writer was told."""
        self.packed = 0
        """Bytes held in packs."""

    def stream(self, name: str) -> tuple[int, list[list[bytes | msgspec.Raw]]]:
        """A stream's shift and its segments: append encoded JSON to that of `position_of(id) >> shift`, and
        report its size to `grow`."""
        return self._cuts[name].shift, self._segments[name]

    def add(self, stream: str, object_id: str, row: bytes | msgspec.Raw) -> None:
        """Add one encoded JSON value to the segment of this id."""
        shift, segments = self.stream(stream)
        segments[position_of(object_id) >> shift].append(row)
        self.grow(1, len(memoryview(row)))

    def grow(self, rows: int, size: int) -> None:
        """Tell of rows that were appended to a segment directly, and of the bytes of their texts."""
        self.size += rows * ROW_BYTES + size

    @property
    def full(self) -> bool:
        """Whether it is time to `pack`."""
        return self.size >= FLUSH_BYTES

    @property
    def heavy(self) -> bool:
        """Whether it is time to `flush`."""
        return self.packed >= FILE_BYTES

    def pack(self) -> None:
        """Compress all rows, stretch by stretch, and hold on to them in this form."""
        for name, segments in self._segments.items():
            cut = self._cuts[name]
            pieces = []
            for start in range(0, cut.total, cut.stretch):
                joined = [b",".join(rows) for rows in segments[start : start + cut.stretch]]
                piece = b""
                if any(joined):
                    head = struct.pack(f"<{cut.stretch}I", *map(len, joined))
                    piece = isal_zlib.compress(b"".join((head, *joined)), COMPRESSION_LEVEL)
                pieces.append(piece)
            if any(pieces):
                pack = b"".join(pieces)
                self._packs[name].append((pack, list(accumulate(map(len, pieces), initial=0))))
                self.packed += len(pack)
            for rows in segments:
                rows.clear()
        self.size = 0

    async def flush(self, container: BlobContainer, folder: str) -> RowFile | None:
        """Set all rows aside as one blob and forget them. None if there were none."""
        self.pack()
        pieces: list[bytes | memoryview] = []
        lengths: dict[str, list[int]] = {}
        for name, packs in self._packs.items():
            stretches = self._cuts[name].stretches
            lengths[name] = []
            for first in range(0, self._cuts[name].buckets * stretches, stretches):
                last = first + stretches
                sizes = [b - a for _, ends in packs for a, b in pairwise(ends[first : last + 1])]
                if any(sizes):
                    pieces.append(struct.pack(f"<I{len(sizes)}I", len(packs), *sizes))
                    pieces += [memoryview(pack)[ends[first] : ends[last]] for pack, ends in packs]
                    lengths[name].append(4 + 4 * len(sizes) + sum(sizes))
                else:
                    lengths[name].append(0)
            packs.clear()
        self.packed = 0
        content = b"".join(pieces)
        pieces.clear()
        if not content:
            return None
        path = f"{folder}/{hashlib.sha256(content).hexdigest()}.rows"
        await container.write(path, content, new=True, content_type="application/octet-stream")
        return RowFile(path=path, streams=lengths)


class BucketRows:
    """The rows of one bucket of one stream; those of a segment in the order in which they were added.

    They stay compressed; those of one stretch are unpacked at a time.
    """

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self._packs: list[list[bytes]] = []
        """Each by stretch."""
        self._stretch = -1
        self._unpacked: list[tuple[bytes, list[int]]] = []
        """The current stretch, pack by pack: its rows, and where those of each segment begin, and the end."""

    def add(self, content: bytes) -> None:
        """The bucket's range of one more file. Each stretch becomes a piece of its own, so that it can go."""
        self._packs += _packs_of(content, self._cut.stretches)

    def filled(self) -> list[int]:
        """The segments that have rows."""
        found = []
        for start in range(0, self._cut.segments, self._cut.stretch):
            self._move_to(start)
            lying = {
                at
                for _, begins in self._unpacked
                for at, (begin, end) in enumerate(pairwise(begins))
                if begin < end
            }
            found += [start + at for at in sorted(lying)]
        return found

    def segment(self, number: int) -> bytes:
        """The rows of one segment (0 is the bucket's first), as one JSON array."""
        at = self._move_to(number)
        rows = [content[begins[at] : begins[at + 1]] for content, begins in self._unpacked]
        return b"[" + b",".join(filter(None, rows)) + b"]"

    def __iter__(self) -> Iterator[bytes]:
        return map(self.segment, range(self._cut.segments))

    def all(self) -> bytes:
        """All rows of the bucket, pack by pack and in each by segment, as one JSON array."""
        rows = (
            content[begin:end]
            for pack in self._packs
            for content, begins in map(self._unpack, filter(None, pack))
            for begin, end in pairwise(begins)
        )
        return b"[" + b",".join(filter(None, rows)) + b"]"

    def drained(self) -> Iterator[bytes]:
        """The same, once: what was handed out is forgotten, so that what is made of it has room."""
        for number in range(self._cut.segments):
            rows = self.segment(number)
            if (number + 1) % self._cut.stretch == 0:
                for pack in self._packs:
                    pack[self._stretch] = b""
                self._unpacked = []
            yield rows

    def _move_to(self, number: int) -> int:
        """Unpack the stretch of a segment. Returns where in it the segment is."""
        stretch, at = divmod(number, self._cut.stretch)
        if stretch != self._stretch:
            self._unpacked = []
            self._unpacked = [self._unpack(pack[stretch]) for pack in self._packs if pack[stretch]]
            self._stretch = stretch
        return at

    def _unpack(self, piece: bytes) -> tuple[bytes, list[int]]:
        content = isal_zlib.decompress(piece)
        stretch = self._cut.stretch
        return content, list(accumulate(struct.unpack_from(f"<{stretch}I", content), initial=4 * stretch))


def _packs_of(content: bytes, stretches: int) -> list[list[bytes]]:
    """The packs in the range of one bucket, each by stretch."""
    (count,) = struct.unpack_from("<I", content)
    lengths = struct.unpack_from(f"<{count * stretches}I", content, 4)
    offset = 4 + 4 * len(lengths)
    pieces = []
    for length in lengths:
        pieces.append(content[offset : offset + length])
        offset += length
    return [list(pack) for pack in batched(pieces, stretches, strict=True)]


async def read_rows(
    container: BlobContainer,
    files: Iterable[RowFile],
    stream: str,
    cut: Cut,
    bucket: int,
    kept: dict[str, bytes] | None = None,
) -> BucketRows:
    """All rows of one stream and bucket. With `kept`, small files are read as a whole, once, and kept there:
    what changed in an hour costs a request, and not one for each bucket."""
    rows = BucketRows(cut)
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
        if kept is None or file.size > SMALL_FILE_BYTES:
            rows.add(await container.read_range(file.path, offset, lengths[bucket]))
            continue
        if file.path not in kept:
            kept[file.path] = await container.read_range(file.path, 0, file.size)
        rows.add(kept[file.path][offset : offset + lengths[bucket]])
    return rows
