"""The parts of one bucket in which single records change: the records' own, and each rendering of them.

A line that does not change stays bytes: it is neither decoded nor encoded. Only segments with a changed line
are compressed anew. Renderings have a line for each record, in the same order, so what is done to a line of
the records is done to the line of the same number there.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from shared.snapshots.blobs import BlobContainer
from shared.snapshots.parts import Lines, PartPatch, PartReader, StoredPart, open_part
from shared.snapshots.shuffle import Cut

_ID = b'{"id":"'
"""How a line of a record begins."""

type _Edit[R] = tuple[int, bool, R | None]
"""At which line, whether there is one to replace, and the record that comes there, if one does."""

_encode = msgspec.json.Encoder().encode
_any_record = msgspec.json.Decoder(dict[str, Any])


class Segment[R]:
    """The records of one segment by id, decoded only when they are asked for."""

    def __init__(self, lines: Lines, decoder: msgspec.json.Decoder[R]) -> None:
        self.lines = lines
        self.ids = [_id_of(lines, number) for number in range(len(lines))]
        """Sorted."""
        self._decoder = decoder

    def find(self, object_id: str) -> tuple[int, bool]:
        """Where the record is, or would be, and whether it is there."""
        at = bisect_left(self.ids, object_id)
        return at, at < len(self.ids) and self.ids[at] == object_id

    def __contains__(self, object_id: str) -> bool:
        return self.find(object_id)[1]

    def records(self, wanted: Iterable[str]) -> dict[str, R]:
        """Those of the wanted records that are there."""
        found = {}
        for object_id in wanted:
            at, there = self.find(object_id)
            if there:
                found[object_id] = self._decoder.decode(self.lines[at])
        return found


class PatchedBucket[R]:
    """One bucket of records and its renderings, while a run changes some of them."""

    def __init__(
        self,
        dataset: str,
        before: PartReader,
        renderings: Mapping[str, tuple[StoredPart | None, Callable[[R], Any]]],
        decoder: msgspec.json.Decoder[R],
        cut: Cut,
        bucket: int,
    ) -> None:
        """`before` is the last snapshot's part of the records; each rendering comes with its own."""
        self._dataset = dataset
        self._before = before
        self._renderings = renderings
        self._decoder = decoder
        self._cut = cut
        self._first = bucket * cut.segments
        self._segments: dict[int, Segment[R]] = {}
        self._edits: dict[int, tuple[Lines, list[_Edit[R]]]] = {}
        """By segment: its lines before, and what becomes of them."""

    def number_of(self, object_id: str) -> int:
        """The segment of an id, which is one of this bucket."""
        return self._cut.segment_of(object_id) - self._first

    def segment(self, number: int) -> Segment[R]:
        """A segment as the last snapshot has it."""
        segment = self._segments.get(number)
        if segment is None:
            segment = self._segments[number] = Segment(self._before.lines(number), self._decoder)
        return segment

    def __contains__(self, object_id: str) -> bool:
        """Whether the last snapshot has the record."""
        return object_id in self.segment(self.number_of(object_id))

    def change(self, number: int, now: Mapping[str, R], gone: Collection[str]) -> None:
        """Put these records into a segment, in place of those that have their ids, and take others away.

        To be done once for each segment, and last.
        """
        segment = self._segments.pop(number)
        edits = [(*segment.find(one), now.get(one)) for one in sorted({*now, *gone})]
        if edits:
            self._edits[number] = (segment.lines, edits)

    async def store(self, output: BlobContainer) -> dict[str, StoredPart | None]:
        """The parts by dataset; one in which no line changed is the last snapshot's."""
        parts = {self._dataset: await self._store(output, self._dataset, self._before, _encode)}
        for name, (part, render) in self._renderings.items():
            parts[name] = part
            if self._edits:
                before = await open_part(output, part)
                parts[name] = await self._store(output, name, before, partial(_line_of, render))
        return parts

    async def _store(
        self, output: BlobContainer, dataset: str, before: PartReader, encode: Callable[[R], bytes]
    ) -> StoredPart | None:
        patch = PartPatch(before, self._cut.segments)
        for number, (records, edits) in self._edits.items():
            had = records if dataset == self._dataset else before.lines(number)
            pieces: list[bytes] = []
            copied, rows = 0, len(had)
            for at, there, record in edits:
                pieces.append(had.content[copied : had.begin(at)])
                copied = had.begin(at + there)
                rows -= there
                if record is not None:
                    pieces += (encode(record), b"\n")
                    rows += 1
            lines = b"".join((*pieces, had.content[copied:]))
            if lines != had.content:
                patch.put(number, lines, rows)
        return await patch.store(output, f"parts/{dataset}")


def _line_of[R](render: Callable[[R], Any], record: R) -> bytes:
    return _encode(render(record))


def _id_of(lines: Lines, number: int) -> str:
    begin = lines.begin(number) + len(_ID)
    written = lines.content[begin : lines.content.index(b'"', begin)]
    # An id that is no GUID may be written with escapes.
    return str(_any_record.decode(lines[number])["id"]) if b"\\" in written else written.decode()
