"""Manifest, pointer and the state of runs: round trips, and writes that race."""

import hashlib
import json
import re

import msgspec
import pytest

from shared.errors import StateUnreadable
from shared.graph.policy import Usage
from shared.snapshots.manifest import (
    POINTER,
    ChangeCounts,
    Changes,
    DatasetEntry,
    GraphUsage,
    Manifest,
    Pointer,
    encode,
    manifest_path,
    read_manifest,
    read_pointer,
)
from shared.snapshots.parts import PartRef, StoredPart
from shared.snapshots.shuffle import Cut, RowFile
from shared.snapshots.state import Built, Checkpoint, OptionalDataset, Published, Run, StateStore
from tests.snapshots.memory import MemoryContainer
from tests.validation import validate_manifest, validate_pointer

AT = "2026-11-21T09:00:00Z"
DIGEST = "ab" * 32
PART = PartRef(f"parts/users/{DIGEST}.jsonl.gz", 2, 77, DIGEST)
STORED = StoredPart(PART, [40, 0, 37, 0], [1, 0, 1, 0])
LABELS = StoredPart(PartRef("kept/labels", 1, 1, DIGEST), [1], [1])


def a_run(run_id: str = "r1", **fields: object) -> Run:
    return msgspec.structs.replace(
        Run(
            run_id=run_id,
            sequence=1,
            kind="full",
            status="collecting",
            started_at=AT,
            cut=Cut(2, 4),
            group_cut=Cut(1, 8),
            datasets=["users", "groups"],
            wanted=["users", "groups", "authentication"],
            formats=["ocsf"],
        ),
        **fields,
    )


def a_manifest(**fields: object) -> Manifest:
    required = ("users", "groups", "memberships")
    return msgspec.structs.replace(
        Manifest(
            schema_version=1,
            run_id="20261121T090000Z-abcdef",
            sequence=1,
            kind="full",
            tenant_id="0c1f6b0e-5a7d-4c52-9a35-6f1d2b9c7e10",
            started_at=AT,
            published_at=AT,
            buckets=2,
            datasets={name: DatasetEntry("complete", AT, 0, []) for name in required}
            | {"users": DatasetEntry("complete", AT, 2, [PART])},
            graph=GraphUsage(3, 4, 1, 2),
        ),
        **fields,
    )


async def test_manifest_comes_back_and_absent_is_absent() -> None:
    container, manifest = MemoryContainer(), a_manifest()
    path = manifest_path(manifest.run_id)
    await container.write(path, encode(manifest))
    assert await read_manifest(container, path) == manifest
    document = json.loads(container.blobs[path])
    assert not {"previous_run_id", "changes"} & document.keys()
    assert "reason" not in document["datasets"]["users"]
    validate_manifest(document)


async def test_manifest_of_a_later_run() -> None:
    counts = {"users": ChangeCounts(0, 1, 0), "groups": ChangeCounts(), "memberships": ChangeCounts()}
    part = PartRef("runs/20261121T090000Z-abcdef/changes-0000.jsonl.gz", 1, 9, DIGEST)
    manifest = a_manifest(
        sequence=2,
        previous_run_id="20261121T080000Z-abcdef",
        changes=Changes(counts, [part]),
    )
    manifest.datasets["sign-in"] = DatasetEntry("unavailable", AT, 0, [], "licence")
    assert msgspec.json.decode(encode(manifest), type=Manifest) == manifest
    validate_manifest(json.loads(encode(manifest)))


async def test_pointer_comes_back_with_its_etag() -> None:
    container = MemoryContainer()
    assert await read_pointer(container) is None
    pointer = Pointer("20261121T090000Z-abcdef", 1, manifest_path("20261121T090000Z-abcdef"), AT)
    etag = await container.write(POINTER, encode(pointer))
    assert await read_pointer(container) == (pointer, etag)
    validate_pointer(json.loads(container.blobs[POINTER]))


def test_counts_add_up() -> None:
    counts = ChangeCounts(1, 2, 3)
    counts.add(ChangeCounts(10, 20, 30))
    assert counts == ChangeCounts(11, 22, 33)


async def test_run_is_compare_and_set() -> None:
    state = StateStore(MemoryContainer())
    assert await state.run() is None
    first = await state.save_run(a_run(), None)
    assert first is not None
    assert await state.save_run(a_run("r2"), None) is None
    second = await state.save_run(a_run(status="building"), first)
    assert second is not None
    assert await state.save_run(a_run(status="failed"), first) is None
    stored = await state.run()
    assert stored is not None
    assert stored == (a_run(status="building"), second)


@pytest.mark.parametrize(
    ("status", "under_way"),
    [("collecting", True), ("building", True), ("published", False), ("failed", False), ("held", False)],
)
def test_run_is_under_way_until_it_ends(status: str, under_way: bool) -> None:
    assert a_run(status=status).under_way is under_way


async def test_checkpoint_comes_back_and_is_compare_and_set() -> None:
    state = StateStore(MemoryContainer())
    checkpoint = Checkpoint(
        dataset="users",
        as_of=AT,
        slice=3,
        mode="m",
        begin="https://graph/begin",
        minted="https://graph/minted",
        cursor="https://graph/next",
        delta_link="https://graph/delta",
        files=[RowFile("p", {"users": [1, 2]})],
        rows=5,
        total=9,
        pages=2,
        usage=Usage(1, 2, 3, 4),
        visited=b"\x00\xff",
        restarts=1,
        stalls=2,
        reason="permission",
        error="A sentence.",
    )
    etag = await state.save_checkpoint("r1", checkpoint, None)
    assert await state.checkpoint("r1", "users") == (checkpoint, etag)
    assert await state.save_checkpoint("r1", checkpoint, None) is None
    assert await state.save_checkpoint("r1", checkpoint, "another") is None
    assert await state.save_checkpoint("r1", checkpoint, etag) is not None
    assert await state.checkpoint("r1", "groups") is None
    assert await state.checkpoint("r2", "users") is None


@pytest.mark.parametrize(
    ("status", "ended"), [("reading", False), ("complete", True), ("failed", True), ("unavailable", True)]
)
def test_checkpoint_ends_once_it_is_not_reading(status: str, ended: bool) -> None:
    assert Checkpoint(dataset="users", as_of=AT, status=status).ended is ended  # type: ignore[arg-type]


async def test_what_was_built_is_listed_by_stage() -> None:
    state = StateStore(MemoryContainer())
    built = Built(
        parts={"users": STORED, "memberships": None},
        changes={"users": ChangeCounts(1, 0, 0)},
        changes_part=PART,
        counts=RowFile("p", {"counts": [1]}),
        hidden=STORED,
        edge_table="kept/x",
        authentication_rows=1,
        sign_in_rows=2,
        drift={"users": 3},
    )
    await state.save_built("r1", "members", 0, {0: built, 5: built})
    await state.save_built("r1", "members", 1023, {9000: built})
    await state.save_built("r1", "groups", 7, {7: built})
    assert await state.built_batches("r1", "members") == {0, 1023}
    assert await state.built_batches("r1", "groups") == {7}
    assert await state.built_batches("r2", "members") == set()
    assert await state.built("r1", "members", 0) == {0: built, 5: built}
    assert await state.built("r1", "members", 1023) == {9000: built}
    assert await state.built("r1", "members", 1) is None


def a_published(run_id: str = "r1", **fields: object) -> Published:
    made = Published(
        run_id=run_id,
        full_run_at=AT,
        cut=Cut(2, 4),
        group_cut=Cut(1, 8),
        formats=["ocsf"],
        datasets=["users", "groups", "authentication"],
        parts={"users": [STORED, None], "groups": [None]},
        hidden=[None, STORED],
        edge_tables=["kept/edges"],
        labels=LABELS,
        delta_links={"users": "https://graph/delta"},
        counted={"authentication": [1, 0], "sign-in": [0, 0]},
        optional={"authentication": OptionalDataset("complete", AT, mode="methods")},
    )
    return msgspec.structs.replace(made, **fields)


async def test_published_comes_back() -> None:
    state = StateStore(MemoryContainer())
    published = a_published()
    await state.save_published(published)
    assert await state.published("r1") == published
    assert await state.published("r2") is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(msgspec.json.encode(a_published(state_version=1)), id="another version"),
        pytest.param(b'{"run_id": "r1", "parts": {}}', id="a shape of before versions"),
        pytest.param(b'{"state_version": 2}', id="half of it"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_published_of_another_version_is_as_if_it_were_not_there(content: bytes) -> None:
    container = MemoryContainer()
    await container.write("published/r1.json", content)
    assert await StateStore(container).published("r1") is None


async def test_published_that_is_forgotten_is_gone() -> None:
    container = MemoryContainer()
    state = StateStore(container)
    for run_id in ("r1", "r2"):
        await state.save_published(a_published(run_id))
    await state.forget("r1")
    assert await state.published("r1") is None
    assert await state.published("r2") == a_published("r2")


async def test_what_is_kept_is_stored_once_under_its_digest() -> None:
    container = MemoryContainer()
    state = StateStore(container)
    first, again, other = [await state.keep(content) for content in (b"a", b"a", b"b")]
    assert first == again != other
    assert {path: container.blobs[path] for path in (first, other)} == {first: b"a", other: b"b"}
    assert first == f"kept/{hashlib.sha256(b'a').hexdigest()}"


def test_published_knows_all_that_it_needs_to_be_kept() -> None:
    assert a_published().kept == {STORED.ref.path, "kept/edges", "kept/labels"}
    assert a_published(hidden=[None, None], edge_tables=[None]).kept == {"kept/labels"}


@pytest.mark.parametrize("content", [b"", b"{}", b'{"run_id": 5}', b'{"run_id": "r1", "status": "asleep"}'])
async def test_run_that_cannot_be_read_counts_as_failed(content: bytes) -> None:
    """So that the next one can take its place."""
    container = MemoryContainer()
    await container.write("run.json", content)
    stored = await StateStore(container).run()
    assert stored is not None
    run, etag = stored
    assert (run.status, run.under_way, run.state_version) == ("failed", False, 0)
    assert run.error is not None
    assert await StateStore(container).save_run(a_run("r2"), etag) is not None


@pytest.mark.parametrize("path", ["runs/r1/users.json", "runs/r1/built/members-0000.json"])
async def test_state_that_cannot_be_read_says_which(path: str) -> None:
    container = MemoryContainer()
    state = StateStore(container)
    await container.write(path, b'{"dataset": 5}')
    with pytest.raises(StateUnreadable, match=re.escape(path)):
        await (state.checkpoint("r1", "users") if "users" in path else state.built("r1", "members", 0))


async def left_by_three_runs() -> tuple[MemoryContainer, StateStore]:
    """Each with its own working state, and all with what they share."""
    container = MemoryContainer()
    state = StateStore(container)
    await container.write("kept/labels", b"x")
    for run_id in ("r1", "r2", "r3"):
        await state.save_checkpoint(run_id, Checkpoint(dataset="users", as_of=AT), None)
        await container.write(f"{StateStore.collected_folder(run_id, 'users')}/x.rows", b"x")
        hidden = StoredPart(PartRef(f"kept/{run_id}", 1, 1, "x"), [1], [1])
        await container.write(hidden.ref.path, b"x")
        await state.save_published(a_published(run_id, hidden=[hidden], edge_tables=[None]))
    return container, state


async def test_sweep_leaves_the_run_and_what_follows_need() -> None:
    container, state = await left_by_three_runs()
    await state.save_run(a_run("r3"), None)
    swept = await state.sweep(keep_run="r3", keep_published="r2")
    assert swept == 6
    assert set(container.blobs) == {
        "run.json",
        "runs/r3/users.json",
        "runs/r3/collected/users/x.rows",
        "published/r2.json",
        # A run that is under way may have written these to keep them.
        "kept/labels",
        "kept/r1",
        "kept/r2",
        "kept/r3",
    }


async def test_sweep_at_the_end_of_a_run_leaves_what_the_next_one_needs() -> None:
    container, state = await left_by_three_runs()
    await state.save_run(a_run("r3", status="published"), None)
    assert await state.sweep(keep_run=None, keep_published="r2") == 10
    assert set(container.blobs) == {"run.json", "published/r2.json", "kept/labels", "kept/r2"}
    assert await state.sweep(keep_run=None, keep_published=None) == 3
    assert set(container.blobs) == {"run.json"}


async def test_sweep_at_the_end_of_a_run_spares_one_that_began_meanwhile() -> None:
    container, state = await left_by_three_runs()
    await state.save_run(a_run("r4"), None)
    before = set(container.blobs)
    assert await state.sweep(keep_run=None, keep_published="r3") == 0
    assert set(container.blobs) == before
