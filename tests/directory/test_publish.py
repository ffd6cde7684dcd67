"""From built buckets to a manifest, and to the pointer, which is replaced last and only by whom may."""

import json
from datetime import UTC, datetime

import msgspec
import pytest

from shared.directory.publish import compose, publish
from shared.errors import EntraConnectorError
from shared.graph.policy import Usage
from shared.snapshots.manifest import ChangeCounts, Manifest, read_pointer
from shared.snapshots.parts import PartRef, StoredPart
from shared.snapshots.shuffle import Cut
from shared.snapshots.state import Built, Checkpoint, OptionalDataset, Published, Run, StateStore
from tests.snapshots.memory import MemoryContainer
from tests.validation import validate_manifest, validate_pointer

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
TENANT = "0c1f6b0e-5a7d-4c52-9a35-6f1d2b9c7e10"
FIRST, SECOND = "20261121T090000Z-aaaaaa", "20261121T100000Z-bbbbbb"


def part(dataset: str, number: int, rows: int) -> StoredPart:
    digest = f"{number:064x}"
    ref = PartRef(f"parts/{dataset}/{digest}.jsonl.gz", rows, rows * 10, digest)
    return StoredPart(ref, [rows * 10, 0, 0, 0], [rows, 0, 0, 0])


def a_run(**fields: object) -> Run:
    run = Run(
        run_id=FIRST,
        sequence=1,
        kind="full",
        status="building",
        stage="groups",
        started_at="2026-11-21T09:00:00Z",
        cut=Cut(2, 4),
        group_cut=Cut(1, 8),
        datasets=["users", "groups", "authentication"],
        wanted=["users", "groups", "authentication"],
        formats=["ocsf"],
    )
    return msgspec.structs.replace(run, **fields)


def checkpoints(authentication: str = "complete") -> dict[str, Checkpoint]:
    def one(dataset: str, minute: int, **fields: object) -> Checkpoint:
        made = Checkpoint(
            dataset=dataset,
            status="complete",
            as_of=f"2026-11-21T09:{minute:02}:00Z",
            usage=Usage(1, 2, 3, 4),
        )
        return msgspec.structs.replace(made, **fields)

    return {
        "users": one("users", 1, delta_link="https://graph/users"),
        "groups": one("groups", 2, delta_link="https://graph/groups"),
        "authentication": one("authentication", 3, status=authentication)
        if authentication == "complete"
        else one("authentication", 3, status=authentication, reason="licence", error="A sentence."),
    }


def members() -> dict[int, Built]:
    return {
        0: Built(
            parts={
                "users": part("users", 1, 3),
                "memberships": part("memberships", 2, 4),
                "ocsf-users": part("ocsf-users", 3, 3),
            },
            changes={"users": ChangeCounts(1, 0, 0), "memberships": ChangeCounts()},
            changes_part=PartRef(f"runs/{SECOND}/changes-0000.jsonl.gz", 1, 10, "ab" * 32),
            hidden=part("hidden", 9, 1),
            authentication_rows=2,
        ),
        1: Built(
            parts={"users": part("users", 4, 2), "memberships": None, "ocsf-users": part("ocsf-users", 5, 2)},
            changes={"users": ChangeCounts(), "memberships": ChangeCounts()},
            authentication_rows=1,
        ),
    }


def groups() -> dict[int, Built]:
    return {
        0: Built(
            parts={"groups": part("groups", 6, 1), "ocsf-groups": part("ocsf-groups", 7, 1)},
            changes={"groups": ChangeCounts()},
            edge_table="kept/edges",
        )
    }


def composed(run: Run, authentication: str = "complete") -> tuple[Manifest, Published]:
    return compose(
        run,
        checkpoints(authentication),
        members(),
        groups(),
        None,
        labels=part("labels", 8, 1),
        tenant_id=TENANT,
        now=NOW,
    )


def test_manifest_of_a_first_run() -> None:
    manifest, _ = composed(a_run())
    document = msgspec.to_builtins(manifest)
    validate_manifest(document)
    assert not {"previous_run_id", "changes"} & document.keys()
    assert document["published_at"] == "2026-11-21T09:30:00Z"
    assert document["buckets"] == 2
    assert {name: (entry["rows"], len(entry["parts"])) for name, entry in document["datasets"].items()} == {
        "users": (5, 2),
        "groups": (1, 1),
        "memberships": (4, 1),
        "ocsf-users": (5, 2),
        "ocsf-groups": (1, 1),
        "authentication": (3, 0),
    }
    assert {name: entry["as_of"][14:16] for name, entry in document["datasets"].items()} == {
        "users": "01",
        "groups": "02",
        "memberships": "02",
        "ocsf-users": "01",
        "ocsf-groups": "02",
        "authentication": "03",
    }
    assert document["graph"] == {"requests": 3, "resource_units": 6, "throttled": 9, "retried": 12}


def test_manifest_of_a_later_run_has_its_changes() -> None:
    manifest, _ = composed(a_run(run_id=SECOND, sequence=2, follows=FIRST, previous_run_id=FIRST))
    document = msgspec.to_builtins(manifest)
    validate_manifest(document)
    assert document["previous_run_id"] == FIRST
    assert document["changes"]["datasets"]["users"] == {"added": 1, "updated": 0, "removed": 0}
    assert len(document["changes"]["parts"]) == 1


def test_dataset_that_could_not_be_had_is_unavailable_with_its_reason() -> None:
    manifest, _ = composed(a_run(), "unavailable")
    document = msgspec.to_builtins(manifest)
    validate_manifest(document)
    assert document["datasets"]["authentication"] == {
        "status": "unavailable",
        "reason": "licence",
        "as_of": "2026-11-21T09:03:00Z",
        "rows": 0,
        "parts": [],
    }


def test_next_run_gets_the_parts_by_bucket_and_the_delta_links() -> None:
    _, published = composed(a_run())
    assert published.parts["memberships"] == [part("memberships", 2, 4), None]
    assert published.parts["groups"] == [part("groups", 6, 1)]
    assert published.hidden == [part("hidden", 9, 1), None]
    assert published.delta_links == {"users": "https://graph/users", "groups": "https://graph/groups"}
    assert (published.edge_tables, published.labels) == (["kept/edges"], part("labels", 8, 1))
    assert published.counted == {"authentication": [2, 1], "sign-in": [0, 0]}
    assert (published.cut, published.group_cut) == (Cut(2, 4), Cut(1, 8))
    assert (published.run_id, published.full_run_at) == (FIRST, "2026-11-21T09:00:00Z")
    assert published.optional == {"authentication": OptionalDataset("complete", "2026-11-21T09:03:00Z")}
    # How many buckets there were is how many parts there are, empty ones included.
    assert {dataset: len(parts) for dataset, parts in published.parts.items()} == {
        "users": 2,
        "memberships": 2,
        "ocsf-users": 2,
        "groups": 1,
        "ocsf-groups": 1,
    }


def test_bucket_that_an_incremental_run_did_not_build_is_as_it_was() -> None:
    """So is what it did not read."""
    _, before = composed(a_run())
    later = a_run(run_id=SECOND, sequence=2, kind="incremental", follows=FIRST, previous_run_id=FIRST)
    later.started_at, later.datasets = "2026-11-21T10:00:00Z", ["users", "groups"]
    known = checkpoints()
    rebuilt = Built(
        parts={"users": part("users", 8, 1), "memberships": None, "ocsf-users": part("ocsf-users", 8, 1)},
        changes={"users": ChangeCounts(0, 0, 1), "memberships": ChangeCounts()},
        changes_part=PartRef(f"runs/{SECOND}/changes-0001.jsonl.gz", 1, 10, "cd" * 32),
        authentication_rows=0,
    )
    manifest, published = compose(
        later,
        {name: known[name] for name in later.datasets},
        {1: rebuilt},
        {},
        before,
        labels=part("labels", 9, 2),
        tenant_id=TENANT,
        now=NOW,
    )
    document = msgspec.to_builtins(manifest)
    validate_manifest(document)
    assert (document["kind"], document["changes"]["datasets"]["users"]["removed"]) == ("incremental", 1)
    assert {name: (entry["rows"], len(entry["parts"])) for name, entry in document["datasets"].items()} == {
        "users": (4, 2),
        "groups": (1, 1),
        "memberships": (4, 1),
        "ocsf-users": (4, 2),
        "ocsf-groups": (1, 1),
        "authentication": (2, 0),
    }
    assert document["datasets"]["authentication"]["as_of"] == "2026-11-21T09:03:00Z"
    assert published.parts == before.parts | {
        "users": [part("users", 1, 3), part("users", 8, 1)],
        "ocsf-users": [part("ocsf-users", 3, 3), part("ocsf-users", 8, 1)],
    }
    assert (published.hidden, published.edge_tables) == (before.hidden, before.edge_tables)
    assert published.counted == {"authentication": [2, 0], "sign-in": [0, 0]}
    assert (published.full_run_at, published.optional) == (before.full_run_at, before.optional)
    assert published.labels == part("labels", 9, 2)


async def test_pointer_names_the_manifest_that_is_stored() -> None:
    state, output = StateStore(MemoryContainer()), MemoryContainer()
    manifest, published = composed(a_run())
    assert await publish(manifest, published, state, output, follows=None) == manifest
    pointer = json.loads(output.blobs["current.json"])
    validate_pointer(pointer)
    assert json.loads(output.blobs[pointer["manifest"]]) == msgspec.to_builtins(manifest)
    assert await state.published(FIRST) == published


async def test_publication_may_be_repeated_and_a_manifest_is_never_rewritten() -> None:
    state, output = StateStore(MemoryContainer()), MemoryContainer()
    first, published = composed(a_run())
    await publish(first, published, state, output, follows=None)
    stored = dict(output.blobs)
    again = msgspec.structs.replace(first, published_at="2026-11-21T11:00:00Z")
    assert await publish(again, published, state, output, follows=None) == first
    assert output.blobs == stored


async def test_pointer_is_written_after_everything_that_it_stands_for() -> None:
    order: list[str] = []

    class Noted(MemoryContainer):
        async def write(self, path: str, content: bytes, **options: object) -> str | None:
            order.append(path)
            return await super().write(path, content, **options)  # type: ignore[arg-type]

    manifest, published = composed(a_run())
    await publish(manifest, published, StateStore(Noted("state")), Noted("output"), follows=None)
    assert order == [f"runs/{FIRST}/manifest.json", f"published/{FIRST}.json", "current.json"]


async def test_run_that_does_not_follow_the_current_snapshot_is_not_published() -> None:
    state, output = StateStore(MemoryContainer()), MemoryContainer()
    await publish(*composed(a_run()), state, output, follows=None)
    late = a_run(run_id=SECOND, sequence=2)
    with pytest.raises(EntraConnectorError):
        await publish(*composed(late), state, output, follows=None)
    current = await read_pointer(output)
    assert current is not None
    assert current[0].run_id == FIRST
