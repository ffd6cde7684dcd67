"""Parts: the same records in the same turns are the same bytes, and any gzip reader reads them."""

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import SnapshotLost
from shared.snapshots.parts import (
    LINES_AT_ONCE,
    PartRef,
    PartWriter,
    decompress,
    read_lines,
    read_part,
    rows_of,
)
from tests.snapshots.memory import MemoryContainer


class Line(msgspec.Struct, omit_defaults=True):
    id: str
    text: str | None = None


lines_decoder = msgspec.json.Decoder(Line)
lines = st.lists(st.builds(Line, st.text(max_size=6), st.none() | st.text(max_size=30)), max_size=60)
turns = st.lists(st.integers(0, 20), max_size=10)
"""How many records are added at a time; the rest follow at once."""


def many(count: int) -> list[Line]:
    return [Line(f"{number:06}", "x" * (number * 37 % 61)) for number in range(count)]


def filled(records: Sequence[Line], sizes: Sequence[int] = ()) -> PartWriter:
    writer = PartWriter()
    remaining: Iterator[Line] = iter(records)
    for size in sizes:
        writer.add(list(islice(remaining, size)))
    writer.add(list(remaining))
    return writer


async def stored_form(records: Sequence[Line], sizes: Sequence[int] = ()) -> bytes:
    """Of at least one record."""
    container = MemoryContainer()
    part = await filled(records, sizes).store(container, "parts/users")
    assert part is not None
    assert part.rows == len(records)
    return container.blobs[part.path]


@given(lines.filter(bool), turns)
async def test_standard_gzip_and_json_read_what_was_written(records: list[Line], sizes: list[int]) -> None:
    """Whatever the turns in which it was added."""
    stored = await stored_form(records, sizes)
    text = gzip.decompress(stored).decode()
    # Only \n ends a line: U+2028 and its like stand in names.
    read = [json.loads(line) for line in text.split("\n") if line]
    assert read == [msgspec.to_builtins(record) for record in records]
    assert text.endswith("\n")
    assert read_lines(stored, lines_decoder) == records
    assert decompress(stored) == text.encode()


@given(lines.filter(bool), turns)
async def test_same_records_in_the_same_turns_are_the_same_bytes(
    records: list[Line], sizes: list[int]
) -> None:
    """A build has the same turns again: they are its segments."""
    assert await stored_form(records, sizes) == await stored_form(records, sizes)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), max_size=5), st.integers(1, LINES_AT_ONCE))
async def test_turns_of_whole_rounds_are_the_same_bytes_as_one_turn(rounds: list[int], rest: int) -> None:
    """Other turns give the same lines in other bytes: the compressor takes what it is given at a time."""
    sizes = [number * LINES_AT_ONCE for number in rounds]
    records = many(sum(sizes) + rest)
    assert await stored_form(records, sizes) == await stored_form(records)


async def test_gzip_header_has_neither_time_nor_name() -> None:
    stored = await stored_form([Line("a")])
    assert stored[:4] == b"\x1f\x8b\x08\x00"
    assert stored[4:8] == b"\x00\x00\x00\x00"


@pytest.mark.parametrize("count", [1, LINES_AT_ONCE - 1, LINES_AT_ONCE, LINES_AT_ONCE + 1, 3 * LINES_AT_ONCE])
async def test_lines_that_are_encoded_in_turns_are_all_there(count: int) -> None:
    records = many(count)
    assert read_lines(await stored_form(records), lines_decoder) == records
    assert read_lines(await stored_form(records, [100] * (count // 100)), lines_decoder) == records


async def test_part_is_named_by_the_digest_of_what_is_stored() -> None:
    container = MemoryContainer()
    part = await filled([Line("a"), Line("b")]).store(container, "parts/users")
    assert part is not None
    stored = container.blobs[part.path]
    digest = hashlib.sha256(stored).hexdigest()
    assert part == PartRef(f"parts/users/{digest}.jsonl.gz", 2, len(stored), digest)
    assert await read_part(container, part, lines_decoder) == [Line("a"), Line("b")]


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


async def test_named_part_may_be_written_again() -> None:
    container = MemoryContainer()
    path = "runs/r/changes-0000.jsonl.gz"
    first = await filled([Line("a")]).store_as(container, path)
    again = await filled([Line("a")]).store_as(container, path)
    assert first is not None
    assert first == again
    assert (first.path, first.rows) == (path, 1)
    assert first.sha256 == hashlib.sha256(container.blobs[path]).hexdigest()
    assert first.bytes == len(container.blobs[path])
    other = await filled([Line("b"), Line("c")]).store_as(container, path)
    assert other is not None
    assert await read_part(container, other, lines_decoder) == [Line("b"), Line("c")]
    assert list(container.blobs) == [path]


async def test_part_that_is_gone_says_so() -> None:
    part = PartRef("parts/users/x.jsonl.gz", 1, 1, "x")
    with pytest.raises(SnapshotLost, match=r"parts/users/x\.jsonl\.gz is gone") as raised:
        await read_part(MemoryContainer("directory"), part, lines_decoder)
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
    records = many(20 * LINES_AT_ONCE)
    stored = await stored_form(records)
    assert len(stored) < len(decompress(stored)) / 4
