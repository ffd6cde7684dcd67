"""Parts: the same segments are the same bytes, any gzip reader reads them, and each can be had by itself."""

import gzip
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import SnapshotLost
from shared.snapshots.parts import (
    PartPatch,
    PartReader,
    PartRef,
    PartWriter,
    StoredPart,
    open_part,
    read_lines,
    rows_of,
)
from tests.snapshots.memory import MemoryContainer


class Line(msgspec.Struct, omit_defaults=True):
    id: str
    text: str | None = None


lines_decoder = msgspec.json.Decoder(Line)
lines = st.lists(st.builds(Line, st.text(max_size=6), st.none() | st.text(max_size=30)), max_size=60)
turns = st.lists(st.integers(0, 20), max_size=10)
"""How many records each segment has; the rest are one more."""


def many(count: int) -> list[Line]:
    return [Line(f"{number:06}", "x" * (number * 37 % 61)) for number in range(count)]


def segments_of(records: Sequence[Line], sizes: Sequence[int]) -> list[list[Line]]:
    remaining: Iterator[Line] = iter(records)
    return [*(list(islice(remaining, size)) for size in sizes), list(remaining)]


def filled(records: Sequence[Line], sizes: Sequence[int] = ()) -> PartWriter:
    writer = PartWriter()
    for segment in segments_of(records, sizes):
        writer.add(segment)
    return writer


async def stored_form(records: Sequence[Line], sizes: Sequence[int] = ()) -> bytes:
    """Of at least one record."""
    container = MemoryContainer()
    part = await filled(records, sizes).store(container, "parts/users")
    assert part is not None
    assert part.ref.rows == len(records)
    return container.blobs[part.ref.path]


async def opened(
    records: Sequence[Line], sizes: Sequence[int] = ()
) -> tuple[MemoryContainer, StoredPart | None, PartReader]:
    container = MemoryContainer("directory")
    part = await filled(records, sizes).store(container, "parts/users")
    return container, part, await open_part(container, part)


@given(lines.filter(bool), turns)
async def test_standard_gzip_and_json_read_what_was_written(records: list[Line], sizes: list[int]) -> None:
    """Whatever its segments."""
    stored = await stored_form(records, sizes)
    text = gzip.decompress(stored).decode()
    # Only \n ends a line: U+2028 and its like stand in names.
    read = [json.loads(line) for line in text.split("\n") if line]
    assert read == [msgspec.to_builtins(record) for record in records]
    assert text.endswith("\n")


@given(lines.filter(bool), turns)
async def test_gzip_readers_that_go_line_by_line_read_all_segments(
    records: list[Line], sizes: list[int]
) -> None:
    """A reader that stopped at the end of the first member would miss the others."""
    stored = await stored_form(records, sizes)
    with gzip.open(io.BytesIO(stored)) as file:
        assert [json.loads(line) for line in file] == [msgspec.to_builtins(record) for record in records]


@given(lines.filter(bool), turns)
async def test_same_records_in_the_same_segments_are_the_same_bytes(
    records: list[Line], sizes: list[int]
) -> None:
    assert await stored_form(records, sizes) == await stored_form(records, sizes)


@given(lines, turns)
async def test_each_segment_can_be_had_by_itself(records: list[Line], sizes: list[int]) -> None:
    _, part, reader = await opened(records, sizes)
    segments = segments_of(records, sizes)
    assert [reader.segment(number, lines_decoder) for number in range(len(segments))] == segments
    assert reader.all(lines_decoder) == records
    for number, segment in enumerate(segments):
        member, rows = reader.member(number)
        assert rows == len(segment)
        assert bool(member) == bool(segment)
        assert not member or read_lines(member, lines_decoder) == segment
    if part is not None:
        assert part.rows == list(map(len, segments))
        assert part.sizes == [len(reader.member(number)[0]) for number in range(len(segments))]
        assert sum(part.sizes) == part.ref.bytes


@given(lines.filter(bool), turns, st.data())
async def test_segments_that_are_copied_are_the_same_bytes_as_those_made_anew(
    records: list[Line], sizes: list[int], data: st.DataObject
) -> None:
    """Any of them copied and the rest made anew: the same part."""
    container, part, reader = await opened(records, sizes)
    segments = segments_of(records, sizes)
    patch = PartPatch(reader, len(segments))
    for number, segment in enumerate(segments):
        if data.draw(st.booleans()):
            found = reader.lines(number)
            assert [found[line] for line in range(len(found))] == list(map(msgspec.json.encode, segment))
            assert found.content == msgspec.json.Encoder().encode_lines(segment)
            assert found.begin(len(found)) == len(found.content)
        else:
            patch.put(number, msgspec.json.Encoder().encode_lines(segment), len(segment))
    assert await patch.store(container, "parts/users") == part
    assert len(container.blobs) == 1


async def test_part_without_rows_has_no_segment_with_rows() -> None:
    _, part, reader = await opened([])
    assert part is None
    assert [reader.segment(number, lines_decoder) for number in (0, 7)] == [[], []]
    assert reader.member(7) == (b"", 0)
    assert reader.all(lines_decoder) == []


@pytest.mark.parametrize("sizes", [(), (1,)])
async def test_gzip_headers_have_neither_time_nor_name(sizes: tuple[int, ...]) -> None:
    _, part, reader = await opened([Line("a"), Line("b")], sizes)
    assert part is not None
    for number in range(len(part.sizes)):
        member, _ = reader.member(number)
        assert member[:4] == b"\x1f\x8b\x08\x00"
        assert member[4:8] == b"\x00\x00\x00\x00"


async def test_part_is_named_by_the_digest_of_what_is_stored() -> None:
    container, part, reader = await opened([Line("a"), Line("b")])
    assert part is not None
    stored = container.blobs[part.ref.path]
    digest = hashlib.sha256(stored).hexdigest()
    assert part.ref == PartRef(f"parts/users/{digest}.jsonl.gz", 2, len(stored), digest)
    assert reader.all(lines_decoder) == [Line("a"), Line("b")]


async def test_part_of_no_records_is_not_stored() -> None:
    container = MemoryContainer()
    assert await PartWriter().store(container, "parts/users") is None
    assert await filled([], [3, 0]).store(container, "parts/users") is None
    assert await filled([]).store_as(container, "runs/r/changes-0000.jsonl.gz") is None
    assert container.blobs == {}


async def test_same_part_is_stored_once() -> None:
    container = MemoryContainer()
    first = await filled([Line("a")]).store(container, "parts/users")
    again = await filled([Line("a")]).store(container, "parts/users")
    other = await filled([Line("b")]).store(container, "parts/users")
    assert first == again != other
    assert len(container.blobs) == 2


async def test_named_part_stays_as_it_was_stored_first() -> None:
    """A manifest may name it; another machine may pack the same rows into other bytes."""
    container = MemoryContainer()
    path = "runs/r/changes-0000.jsonl.gz"
    stored = gzip.compress(b'{"id":"a"}\n', 9)
    first = await filled([Line("a")]).store_as(container, path)
    assert first is not None
    assert (first.path, first.rows) == (path, 1)
    assert first.sha256 == hashlib.sha256(container.blobs[path]).hexdigest()
    assert first.bytes == len(container.blobs[path])
    assert container.blobs[path] != stored
    container.blobs[path] = stored
    again = await filled([Line("a")]).store_as(container, path)
    assert again == PartRef(path, 1, len(stored), hashlib.sha256(stored).hexdigest())
    assert container.blobs == {path: stored}


async def test_part_that_is_gone_says_so() -> None:
    part = StoredPart(PartRef("parts/users/x.jsonl.gz", 1, 1, "x"), [1], [1])
    with pytest.raises(SnapshotLost, match=r"parts/users/x\.jsonl\.gz is gone") as raised:
        await open_part(MemoryContainer("directory"), part)
    assert "`directory`" in str(raised.value)


def test_rows_of_parts() -> None:
    assert rows_of([]) == 0
    assert rows_of([None, PartRef("a", 2, 9, "x"), None, PartRef("b", 3, 9, "y")]) == 5


@settings(max_examples=20)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=2000))
async def test_large_parts_come_back(texts: list[str]) -> None:
    records = [Line("same", text) for text in texts] * 3
    assert read_lines(await stored_form(records), lines_decoder) == records


async def test_large_parts_shrink() -> None:
    """Segments as small as a build's do not cost what the compressor finds."""
    records = many(20 * 256)
    stored = await stored_form(records, [256] * 20)
    assert len(stored) < len(gzip.decompress(stored)) / 4
