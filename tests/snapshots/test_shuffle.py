"""Rows by bucket and segment: what goes in comes out, in order, and ids are cut alike on every machine."""

import json
import random
import uuid
from collections import Counter, defaultdict
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.snapshots.shuffle import (
    DIGITS,
    POSITIONS,
    ROW_BYTES,
    STRETCH_SEGMENTS,
    Cut,
    RowFile,
    RowWriter,
    position_of,
    read_rows,
)
from tests.snapshots.memory import MemoryContainer

FLUSH = None

guids = st.uuids().map(str)
ids = st.one_of(
    guids,
    guids.map(str.upper),
    st.text("0123456789abcdef", max_size=DIGITS + 1),
    st.text("\x00/0129:@AFG`afg~é\U0001f600", max_size=DIGITS + 1),
    st.text(max_size=DIGITS + 1),
)
"""Graph's ids are GUIDs. Nothing breaks, and all stays sorted, if one is not."""

totals = st.sampled_from([2**doublings for doublings in range(17)])
small_cuts = st.builds(
    Cut, st.sampled_from((1, 2, 4, 8)), st.sampled_from((1, 2, 4, 8, 2 * STRETCH_SEGMENTS))
)
streams = st.dictionaries(st.sampled_from(("users", "edges", "counts")), small_cuts, min_size=1, max_size=3)


# --- how ids are cut ------------------------------------------------------------------------------


@given(totals, st.lists(ids, max_size=40))
def test_segments_rise_with_ids_whatever_these_are(total: int, some: list[str]) -> None:
    segments = [Cut(1, total).segment_of(object_id) for object_id in sorted(some)]
    assert segments == sorted(segments)
    assert all(0 <= segment < total for segment in segments)


def test_segments_rise_with_ids_on_both_sides_of_every_digit() -> None:
    """Every id of up to four of these: digits, their neighbours, and the far ends."""
    characters = "\x00/09:@AFG`afg~é\U0001f600"
    prefixes = sorted(
        "".join(chosen) for length in range(DIGITS + 1) for chosen in product(characters, repeat=length)
    )
    positions = [position_of(prefix) for prefix in prefixes]
    assert positions == sorted(positions)
    assert (positions[0], positions[-1]) == (0, POSITIONS - 1)


@given(totals, guids)
def test_segment_of_a_guid_is_its_numeric_position(total: int, guid: str) -> None:
    """All of a GUID's 2**128 values, cut evenly."""
    assert Cut(1, total).segment_of(guid) == uuid.UUID(guid).int * total // 2**128


def test_every_segment_has_as_many_ids() -> None:
    prefixes = [f"{position:0{DIGITS}x}" for position in range(POSITIONS)]
    for total in (1, 2, 64, POSITIONS):
        cut = Cut(1, total)
        filled = Counter(cut.segment_of(prefix) for prefix in prefixes)
        assert filled == dict.fromkeys(range(total), POSITIONS // total)


@given(ids, st.integers(0, 9), st.sampled_from((1, 2, 4)))
def test_bucket_splits_in_two_when_buckets_double(object_id: str, doublings: int, segments: int) -> None:
    cut, doubled = Cut(2**doublings, segments), Cut(2 ** (doublings + 1), 1)
    bucket = cut.bucket_of(object_id)
    assert 0 <= bucket < cut.buckets
    assert doubled.bucket_of(object_id) in (2 * bucket, 2 * bucket + 1)
    assert Cut(1, segments).bucket_of(object_id) == 0


@given(ids, st.integers(0, 6), st.integers(0, 6))
def test_bucket_is_the_same_however_many_segments_it_has(object_id: str, doublings: int, more: int) -> None:
    buckets, segments = 2**doublings, 2**more
    cut = Cut(buckets, segments)
    assert cut.total == buckets * segments
    assert cut.bucket_of(object_id) == Cut(buckets, 1).bucket_of(object_id)
    first = cut.bucket_of(object_id) * segments
    assert first <= cut.segment_of(object_id) < first + segments


def test_bucket_is_the_same_on_every_machine() -> None:
    """Published snapshots depend on it."""
    some = (
        "00000000-0000-0000-0000-000000000000",
        "-",
        "a",
        "A",
        "é",
        "7b0a3f52-91c4-4b1e-8d6c-2f6a8b4e5d01",
    )
    assert [Cut(1024, 4).bucket_of(object_id) for object_id in some] == [0, 0, 640, 639, 1023, 492]


@pytest.mark.parametrize("buckets", [2, 16, 64])
def test_ids_spread_over_the_buckets(buckets: int) -> None:
    numbers = random.Random(7)
    guids = [str(uuid.UUID(int=numbers.getrandbits(128), version=4)) for _ in range(200 * buckets)]
    filled = Counter(Cut(buckets, 1).bucket_of(guid) for guid in guids)
    assert len(filled) == buckets
    assert min(filled.values()) > 100
    assert max(filled.values()) < 400


# --- rows -----------------------------------------------------------------------------------------

type Row = tuple[str, str, object]
"""Stream, id and value."""


@st.composite
def scripts(draw: st.DrawFn) -> tuple[dict[str, Cut], list[Row | None]]:
    """Streams with their cuts, and rows to add with flushes between them."""
    cuts = draw(streams)
    value = st.one_of(st.integers(), st.text(max_size=20), st.lists(st.integers(), max_size=3))
    row = st.tuples(st.sampled_from(sorted(cuts)), ids, value)
    return cuts, draw(st.lists(st.one_of(row, st.just(FLUSH)), max_size=60))


async def written(
    container: MemoryContainer, cuts: dict[str, Cut], actions: list[Row | None]
) -> list[RowFile]:
    writer = RowWriter(cuts)
    files: list[RowFile] = []
    for action in [*actions, FLUSH]:
        if action is None:
            file = await writer.flush(container, "runs/r")
            files += [file] if file else []
            assert writer.size == 0
        else:
            name, object_id, value = action
            writer.add(name, object_id, json.dumps(value).encode())
    return files


@given(scripts())
async def test_what_goes_in_comes_out_by_segment_in_order(
    script: tuple[dict[str, Cut], list[Row | None]],
) -> None:
    """A segment's rows come as they were added; a bucket's flush by flush, and in each by segment."""
    cuts, actions = script
    container = MemoryContainer()
    files = await written(container, cuts, actions)
    by_segment: dict[tuple[str, int], list[object]] = defaultdict(list)
    by_bucket: dict[tuple[str, int], list[tuple[int, int, object]]] = defaultdict(list)
    flushes = 0
    for action in actions:
        if action is None:
            flushes += 1
            continue
        name, object_id, value = action
        segment = cuts[name].segment_of(object_id)
        by_segment[name, segment].append(value)
        by_bucket[name, cuts[name].bucket_of(object_id)].append((flushes, segment, value))
    for name, cut in cuts.items():
        for bucket in range(cut.buckets):
            rows = await read_rows(container, files, name, cut, bucket)
            first = bucket * cut.segments
            expected = [by_segment[name, first + number] for number in range(cut.segments)]
            assert [json.loads(rows.segment(number)) for number in range(cut.segments)] == expected
            assert [json.loads(segment) for segment in rows] == expected
            in_turn = sorted(by_bucket[name, bucket], key=lambda row: row[:2])
            assert json.loads(rows.all()) == [value for _, _, value in in_turn]
            assert [json.loads(segment) for segment in rows.drained()] == expected
            assert json.loads(rows.all()) == []


@given(scripts())
async def test_packs_of_one_file_hold_what_as_many_files_would(
    script: tuple[dict[str, Cut], list[Row | None]],
) -> None:
    cuts, actions = script
    container = MemoryContainer()
    files = await written(container, cuts, actions)
    writer = RowWriter(cuts)
    for action in actions:
        if action is None:
            writer.pack()
        else:
            name, object_id, value = action
            writer.add(name, object_id, json.dumps(value).encode())
    file = await writer.flush(container, "runs/r")
    assert (file is None) == (not files)
    assert writer.packed == 0
    for name, cut in cuts.items():
        for bucket in range(cut.buckets):
            expected = await read_rows(container, files, name, cut, bucket)
            rows = await read_rows(container, [file] if file else [], name, cut, bucket)
            assert list(rows) == list(expected)
            assert rows.all() == expected.all()
            # Also from the end, and of a file that is read as a whole.
            kept: dict[str, bytes] = {}
            again = await read_rows(container, [file] if file else [], name, cut, bucket, kept)
            filled: list[int] = []
            for number in reversed(range(cut.segments)):
                assert again.segment(number) == expected.segment(number)
                if again.segment(number) != b"[]":
                    filled.insert(0, number)
            assert again.filled() == expected.filled() == filled
            assert kept == ({file.path: container.blobs[file.path]} if file and filled else {})


@given(small_cuts, st.lists(st.one_of(ids, st.just(FLUSH)), max_size=60))
async def test_segments_that_are_sorted_one_by_one_are_the_directory_sorted(
    cut: Cut, some: list[str | None]
) -> None:
    """All that a build knows of the order of ids."""
    container = MemoryContainer()
    actions: list[Row | None] = [None if one is None else ("users", one, one) for one in some]
    files = await written(container, {"users": cut}, actions)
    found: list[str] = []
    for bucket in range(cut.buckets):
        for segment in await read_rows(container, files, "users", cut, bucket):
            found += sorted(json.loads(segment))
    assert found == sorted(one for one in some if one is not None)


async def test_flush_of_nothing_stores_nothing() -> None:
    container = MemoryContainer()
    assert await RowWriter({"users": Cut(4, 2)}).flush(container, "runs/r") is None
    assert container.blobs == {}


async def test_one_blob_a_flush_named_by_its_content() -> None:
    container = MemoryContainer()
    for _ in range(2):
        writer = RowWriter({"users": Cut(2, 4), "edges": Cut(4, 2)})
        writer.add("edges", "f0", b"1")
        writer.add("users", "00", msgspec.Raw(b'{"id":"a"}'))
        file = await writer.flush(container, "runs/r/collected/users")
        assert file is not None
        assert list(container.blobs) == [file.path]
        assert file.path.startswith("runs/r/collected/users/")


async def test_stream_bucket_or_segment_that_a_file_lacks_is_empty() -> None:
    container, cut = MemoryContainer(), Cut(2, 2)
    writer = RowWriter({"users": cut})
    writer.add("users", "f0", b"1")
    file = await writer.flush(container, "runs/r")
    assert file is not None
    for files, stream, bucket in (([file], "users", 0), ([file], "edges", 0), ([], "users", 0)):
        rows = await read_rows(container, files, stream, cut, bucket)
        assert rows.all() == b"[]"
        assert list(rows) == [b"[]", b"[]"]
    assert list(await read_rows(container, [file], "users", cut, 1)) == [b"[]", b"[1]"]


async def test_rows_that_were_appended_directly_are_rows_like_others() -> None:
    container, cut = MemoryContainer(), Cut(2, 2)
    writer = RowWriter({"users": cut})
    writer.add("users", "c1", b"1")
    shift, segments = writer.stream("users")
    segments[position_of("c2") >> shift].append(b"2")
    segments[position_of("0") >> shift].append(msgspec.Raw(b"0"))
    file = await writer.flush(container, "runs/r")
    assert file is not None
    assert segments == [[], [], [], []]
    assert list(await read_rows(container, [file], "users", cut, 0)) == [b"[0]", b"[]"]
    assert list(await read_rows(container, [file], "users", cut, 1)) == [b"[]", b"[1,2]"]


def test_size_counts_what_is_held() -> None:
    writer = RowWriter({"users": Cut(2, 1)})
    writer.add("users", "0", b"12345")
    writer.stream("users")[1][1].append(b"678")
    writer.grow(1, 3)
    assert writer.size == 8 + 2 * ROW_BYTES
    assert not writer.full
    writer.grow(1, 1 << 30)
    assert writer.full


def test_packs_are_held_until_they_are_heavy() -> None:
    writer = RowWriter({"users": Cut(2, 1)})
    writer.add("users", "0", b"12345")
    writer.pack()
    assert (writer.size, writer.full, writer.heavy) == (0, False, False)
    assert writer.packed > 0
    writer.packed = 1 << 30
    assert writer.heavy
