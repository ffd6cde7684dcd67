"""Parts: gzip of one JSON object a line, named by the SHA-256 of what is stored.

A part is written segment by segment, and each segment is a gzip member of its own. Members can be strung
together, so a later run copies those in which nothing changed without unpacking them; to a reader it is one
gzip file. The header has no time and no name, so the same lines are the same bytes. ISA-L at level 2 costs an
eighth of zlib's default for a sixth more bytes, and any gzip reader reads it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import accumulate
from typing import Any

import msgspec
from isal import isal_zlib

from shared.errors import SnapshotLost
from shared.snapshots.blobs import BlobContainer

GZIP_LEVEL = 2
GZIP_WINDOW = 16 + 15

CONTENT_TYPE = "application/gzip"

_encoder = msgspec.json.Encoder()


class PartRef(msgspec.Struct, frozen=True, gc=False):
    """How a manifest names a part."""

    path: str
    rows: int
    bytes: int
    sha256: str
    """Of the blob as stored, in hex."""


class StoredPart(msgspec.Struct, frozen=True, gc=False):
    """A part, and where its segments are: what the next run needs to change a few of them."""

    ref: PartRef
    sizes: list[int]
    """Bytes of each segment's gzip member; 0 for a segment without rows."""
    rows: list[int]
    """Rows of each segment."""


class PartWriter:
    """A part in the making. Segments go in, in the order of the part; only their compressed form is kept."""

    def __init__(self) -> None:
        self._content = BytesIO()
        self._sizes: list[int] = []
        self._rows: list[int] = []

    def add(self, records: Sequence[Any]) -> None:
        """The next segment."""
        member = b""
        if records:
            lines = _encoder.encode_lines(records)
            member = isal_zlib.compress(lines, GZIP_LEVEL, GZIP_WINDOW)
        self._content.write(member)
        self._sizes.append(len(member))
        self._rows.append(len(records))

    async def store(self, container: BlobContainer, folder: str) -> StoredPart | None:
        """Store the part under `folder`, named by its digest. None, and nothing stored, if it has no rows.

        A part that is there already is the same part: writing it again is skipped by the store. What was
        stored is no longer held.
        """
        content, self._content = self._content.getvalue(), BytesIO()
        return await _store(container, folder, content, self._sizes, self._rows)

    async def store_as(self, container: BlobContainer, path: str) -> PartRef | None:
        """Store the part under a name of its own, for what belongs to one run. None if it has no rows.

        What has the name already stays: the same rows, stored by another worker, on whose machine they may
        have become other bytes. A manifest may name them by now.
        """
        content = self._content.getvalue()
        if not content:
            return None
        if await container.write(path, content, new=True, content_type=CONTENT_TYPE) is None:
            content = await container.read(path) or content
        return PartRef(path, sum(self._rows), len(content), hashlib.sha256(content).hexdigest())


async def _store(
    container: BlobContainer, folder: str, content: bytes, sizes: list[int], rows: list[int]
) -> StoredPart | None:
    if not content:
        return None
    digest = hashlib.sha256(content).hexdigest()
    path = f"{folder}/{digest}.jsonl.gz"
    await container.write(path, content, new=True, content_type=CONTENT_TYPE)
    return StoredPart(PartRef(path, sum(rows), len(content), digest), sizes, rows)


class Lines:
    """The lines of a segment, in one piece: to split them would copy all of it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._begins = [0]
        find = content.find
        end = find(b"\n")
        while end >= 0:
            self._begins.append(end + 1)
            end = find(b"\n", end + 1)

    def __len__(self) -> int:
        return len(self._begins) - 1

    def begin(self, number: int) -> int:
        """Where a line begins in the content; that after the last one would begin at the end."""
        return self._begins[number]

    def __getitem__(self, number: int) -> bytes:
        """A line, without its end."""
        return self.content[self._begins[number] : self._begins[number + 1] - 1]


class PartReader:
    """A stored part by its segments, each unpacked only when it is asked for."""

    def __init__(self, part: StoredPart | None, content: bytes) -> None:
        self.part = part
        self.content = memoryview(content)
        self.ends = list(accumulate(part.sizes)) if part else []
        """Where each segment ends in the content."""

    def segment[T](self, number: int, decoder: msgspec.json.Decoder[T]) -> list[T]:
        """The records of one segment."""
        member, _ = self.member(number)
        return read_lines(member, decoder) if member else []

    def lines(self, number: int) -> Lines:
        """The lines of one segment, as they are."""
        member, _ = self.member(number)
        return Lines(isal_zlib.decompress(member, wbits=GZIP_WINDOW) if member else b"")

    def member(self, number: int) -> tuple[bytes | memoryview, int]:
        """One segment as it is stored, and its rows."""
        if self.part is None:
            return self.content, 0
        end = self.ends[number]
        return self.content[end - self.part.sizes[number] : end], self.part.rows[number]

    def all[T](self, decoder: msgspec.json.Decoder[T]) -> list[T]:
        """The records of the whole part."""
        return [record for number in range(len(self.ends)) for record in self.segment(number, decoder)]


class PartPatch:
    """A stored part of which some segments are made anew; all between them is copied as it is stored."""

    def __init__(self, before: PartReader, segments: int) -> None:
        """`segments` is their number, which a part without rows does not tell."""
        self._before = before
        self._segments = segments
        self._anew: dict[int, tuple[bytes, int]] = {}

    def put(self, number: int, lines: bytes, rows: int) -> None:
        """A segment, made anew: its lines, and how many they are."""
        member = isal_zlib.compress(lines, GZIP_LEVEL, GZIP_WINDOW) if lines else b""
        self._anew[number] = (member, rows)

    async def store(self, container: BlobContainer, folder: str) -> StoredPart | None:
        """Store the part under `folder`, named by its digest; nothing is stored if no segment was put, or if
        no row is left."""
        part, ends = self._before.part, self._before.ends
        if not self._anew:
            return part
        sizes = list(part.sizes) if part else [0] * self._segments
        rows = list(part.rows) if part else [0] * self._segments
        pieces: list[bytes | memoryview] = []
        copied = 0
        for number in sorted(self._anew):
            member, count = self._anew[number]
            if part:
                pieces.append(self._before.content[copied : ends[number] - sizes[number]])
                copied = ends[number]
            pieces.append(member)
            sizes[number], rows[number] = len(member), count
        pieces.append(self._before.content[copied:])
        return await _store(container, folder, b"".join(pieces), sizes, rows)


def read_lines[T](member: bytes | memoryview, decoder: msgspec.json.Decoder[T]) -> list[T]:
    """The records of one gzip member."""
    return decoder.decode_lines(isal_zlib.decompress(member, wbits=GZIP_WINDOW))


async def open_part(container: BlobContainer, part: StoredPart | None) -> PartReader:
    """A part that a snapshot names; one without rows for None."""
    if part is None:
        return PartReader(None, b"")
    content = await container.read(part.ref.path)
    if content is None:
        raise SnapshotLost(
            f"The published part {part.ref.path} is gone from container `{container.name}`. Somebody deleted "
            "it; readers of the current snapshot miss it too. The next run begins a new history."
        )
    return PartReader(part, content)


def rows_of(parts: Iterable[PartRef | None]) -> int:
    return sum(part.rows for part in parts if part)
