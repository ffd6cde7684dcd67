"""Rows by bucket: what goes in comes out, in order, whatever the flushes; and buckets split in two."""

import json
import uuid
from collections import Counter, defaultdict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.snapshots.shuffle import RowFile, RowWriter, bucket_of, read_rows
from tests.snapshots.memory import MemoryContainer

FLUSH = None

streams = st.dictionaries(
    st.sampled_from(("users", "edges", "counts")), st.sampled_from((1, 2, 4, 8)), min_size=1, max_size=3
)


@st.composite
def scripts(draw: st.DrawFn) -> tuple[dict[str, int], list[tuple[str, int, object] | None]]:
    """Streams with their buckets, and rows to add with flushes between them."""
    buckets = draw(streams)
    row = st.sampled_from(sorted(buckets)).flatmap(
        lambda name: st.tuples(
            st.just(name),
            st.integers(0, buckets[name] - 1),
            st.one_of(st.integers(), st.text(max_size=20), st.lists(st.integers(), max_size=3)),
        )
    )
    return buckets, draw(st.lists(st.one_of(row, st.just(FLUSH)), max_size=60))


@given(scripts())
async def test_what_goes_in_comes_out_by_bucket_in_order(
    script: tuple[dict[str, int], list[tuple[str, int, object] | None]],
) -> None:
    buckets, actions = script
    container, writer = MemoryContainer(), RowWriter(buckets)
    files: list[RowFile] = []
    expected: dict[tuple[str, int], list[object]] = defaultdict(list)
    for action in [*actions, FLUSH]:
        if action is None:
            file = await writer.flush(container, "runs/r")
            files += [file] if file else []
            assert writer.size == 0
        else:
            name, bucket, value = action
            expected[name, bucket].append(value)
            writer.add(name, bucket, json.dumps(value).encode())
    for name, count in buckets.items():
        for bucket in range(count):
            rows = await read_rows(container, files, name, bucket)
            assert json.loads(rows) == expected[name, bucket]


async def test_flush_of_nothing_stores_nothing() -> None:
    container = MemoryContainer()
    assert await RowWriter({"users": 4}).flush(container, "runs/r") is None
    assert container.blobs == {}


async def test_one_blob_a_flush_named_by_its_content() -> None:
    container = MemoryContainer()
    for _ in range(2):
        writer = RowWriter({"users": 2, "edges": 4})
        writer.add("edges", 3, b"1")
        writer.add("users", 0, msgspec.Raw(b'{"id":"a"}'))
        file = await writer.flush(container, "runs/r/collected/users")
        assert file is not None
        assert list(container.blobs) == [file.path]
        assert file.path.startswith("runs/r/collected/users/")


async def test_stream_or_bucket_that_a_file_lacks_is_empty() -> None:
    container, writer = MemoryContainer(), RowWriter({"users": 2})
    writer.add("users", 1, b"1")
    file = await writer.flush(container, "runs/r")
    assert file is not None
    assert await read_rows(container, [file], "users", 0) == b"[]"
    assert await read_rows(container, [file], "edges", 0) == b"[]"
    assert await read_rows(container, [], "users", 0) == b"[]"


def test_size_counts_what_is_held() -> None:
    writer = RowWriter({"users": 2})
    writer.add("users", 0, b"12345")
    writer.bucket("users", 1).append(b"678")
    writer.grow(3)
    assert writer.size == 8
    assert not writer.full
    writer.grow(1 << 30)
    assert writer.full


@given(st.uuids(version=4), st.integers(0, 9))
def test_bucket_splits_in_two_when_buckets_double(number: uuid.UUID, doublings: int) -> None:
    buckets = 2**doublings
    bucket = bucket_of(str(number), buckets)
    assert 0 <= bucket < buckets
    assert bucket_of(str(number), 2 * buckets) in (bucket, bucket + buckets)
    assert bucket_of(str(number), 1) == 0


def test_bucket_is_the_same_on_every_machine() -> None:
    """Published snapshots depend on it."""
    ids = ("00000000-0000-0000-0000-000000000000", "a", "é", "7b0a3f52-91c4-4b1e-8d6c-2f6a8b4e5d01")
    assert [bucket_of(object_id, 1024) for object_id in ids] == [649, 579, 318, 387]


@pytest.mark.parametrize("buckets", [2, 16, 64])
def test_ids_spread_over_the_buckets(buckets: int) -> None:
    ids = [str(uuid.UUID(int=(0x9E3779B97F4A7C15 * n) % 2**128, version=4)) for n in range(200 * buckets)]
    filled = Counter(bucket_of(object_id, buckets) for object_id in ids)
    assert len(filled) == buckets
    assert min(filled.values()) > 100
    assert max(filled.values()) < 400
