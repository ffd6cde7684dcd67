"""Parts: the same records are the same bytes, and any gzip reader reads them."""

import gzip
import hashlib
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import SnapshotLost
from shared.snapshots.parts import (
    LINES_AT_ONCE,
    PartRef,
    compress_lines,
    decompress,
    read_lines,
    read_part,
    rows_of,
    write_named_part,
    write_part,
)
from tests.snapshots.memory import MemoryContainer


class Line(msgspec.Struct, omit_defaults=True):
    id: str
    text: str | None = None


lines_decoder = msgspec.json.Decoder(Line)
lines = st.lists(st.builds(Line, st.text(max_size=6), st.none() | st.text(max_size=30)), max_size=60)


@given(lines)
def test_standard_gzip_and_json_read_what_was_written(records: list[Line]) -> None:
    stored = compress_lines(records)
    text = gzip.decompress(stored).decode()
    # Only \n ends a line: U+2028 and its like stand in names.
    read = [json.loads(line) for line in text.split("\n") if line]
    assert read == [msgspec.to_builtins(record) for record in records]
    assert text == "" or text.endswith("\n")
    assert read_lines(stored, lines_decoder) == records
    assert decompress(stored) == text.encode()


@given(lines)
def test_same_records_are_the_same_bytes(records: list[Line]) -> None:
    assert compress_lines(records) == compress_lines(records)


def test_gzip_header_has_neither_time_nor_name() -> None:
    stored = compress_lines([Line("a")])
    assert stored[:4] == b"\x1f\x8b\x08\x00"
    assert stored[4:8] == b"\x00\x00\x00\x00"


@pytest.mark.parametrize("count", [1, LINES_AT_ONCE - 1, LINES_AT_ONCE, LINES_AT_ONCE + 1, 3 * LINES_AT_ONCE])
def test_lines_that_are_encoded_in_turns_are_all_there(count: int) -> None:
    records = [Line(f"{number:06}", "x" * (number % 7)) for number in range(count)]
    assert read_lines(compress_lines(records), lines_decoder) == records


async def test_part_is_named_by_the_digest_of_what_is_stored() -> None:
    container = MemoryContainer()
    part = await write_part(container, "parts/users", [Line("a"), Line("b")])
    assert part is not None
    stored = container.blobs[part.path]
    digest = hashlib.sha256(stored).hexdigest()
    assert part == PartRef(f"parts/users/{digest}.jsonl.gz", 2, len(stored), digest)
    assert await read_part(container, part, lines_decoder) == [Line("a"), Line("b")]


async def test_part_of_no_records_is_not_stored() -> None:
    container = MemoryContainer()
    assert await write_part(container, "parts/users", []) is None
    assert container.blobs == {}


async def test_same_part_is_stored_once() -> None:
    container = MemoryContainer()
    first = await write_part(container, "parts/users", [Line("a")])
    again = await write_part(container, "parts/users", [Line("a")])
    other = await write_part(container, "parts/users", [Line("b")])
    assert first == again != other
    assert len(container.blobs) == 2


async def test_named_part_may_be_written_again() -> None:
    container = MemoryContainer()
    path = "runs/r/changes-0000.jsonl.gz"
    first = await write_named_part(container, path, [Line("a")])
    again = await write_named_part(container, path, [Line("a")])
    assert first == again
    assert first.path == path
    assert first.sha256 == hashlib.sha256(container.blobs[path]).hexdigest()


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
def test_large_parts_shrink_and_come_back(texts: list[str]) -> None:
    records = [Line("same", text) for text in texts] * 3
    assert read_lines(compress_lines(records), lines_decoder) == records
