"""What incremental runs have in common: how they are started, and what their snapshots have to say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sandbox.azurite import StorageAccount
from sandbox.tenant import Directory, Tenant
from sandbox.tenant.directory import Event
from shared.snapshots.state import Published
from tests.directory.expected import (
    Row,
    assert_changes_lead,
    expected_authentication,
    expected_edges,
    expected_groups,
    expected_users,
    key_of,
    unstamped,
)
from tests.directory.stores import restarted, use_memory
from tests.support.world import Snapshot, World, world

__all__ = [
    "assert_changes_lead",
    "assert_holds",
    "assert_nothing_left",
    "assert_same_as_full",
    "changes_of",
    "configured",
    "follow",
    "parts_of",
    "published",
    "quick_world",
    "requests_of_run",
    "run",
]

RENDERINGS = "ocsf,sekoia"


async def run(w: World, *, full: bool = False, hours: float = 1, validate: bool = True) -> Snapshot:
    """Another run, an hour later; a forced one with `full`."""
    w.clock.forward(hours=hours)
    if full:
        await w.sync.start(full=True)
        await w.drain()
    else:
        await w.run()
    status = await w.status()
    assert status["current"] is None, status
    return await w.snapshot(validate=validate)


async def follow(w: World, before: Snapshot, **options: Any) -> Snapshot:
    """Another run, of which is asserted that it holds what the tenant holds, and its changes lead there."""
    now = await run(w, **options)
    assert_holds(now, w.tenant.directory)
    assert_changes_lead(before, now)
    return now


def configured(w: World, **changes: Any) -> None:
    """Another deployment of the same app, with other settings."""
    w.sync = restarted(w.sync, settings=replace(w.sync.settings, **changes))


def parts_of(snapshot: Snapshot, dataset: str) -> list[str]:
    return [part["path"] for part in snapshot.manifest["datasets"][dataset]["parts"]]


def changes_of(snapshot: Snapshot, dataset: str) -> dict[str, Row]:
    return {change["id"]: change for change in snapshot.changes if change["dataset"] == dataset}


def once_removed(directory: Directory) -> set[str]:
    """Users who were deleted at some time. Graph's delta does not tell it of those whom they manage."""
    return {
        change.id
        for change in directory.changes_since(0)
        if change.kind == "user" and change.event in (Event.DELETED, Event.PURGED)
    }


def living_managers(users: dict[str, Row], directory: Directory) -> dict[str, Row]:
    """As a full run sees them: Graph expands no manager who is deleted."""
    return {
        object_id: {k: v for k, v in user.items() if k != "manager_id" or v in directory.users}
        for object_id, user in users.items()
    }


def assert_holds(
    snapshot: Snapshot, directory: Directory, registrations: dict[str, Row] | None = None
) -> None:
    """The snapshot holds what the tenant holds.

    `registrations` are those of the last look into the report, where it was not in this run. A manager who
    was ever deleted may be named or not, unless the run was a full one.
    """
    known = directory.registrations if registrations is None else registrations
    users = living_managers(expected_users(directory, authentication=False), directory)
    for object_id, user in users.items():
        if (row := expected_authentication(known.get(object_id))) is not None:
            user["authentication"] = row
    found = unstamped(snapshot.datasets["users"])
    if snapshot.manifest["kind"] == "incremental":
        removed = once_removed(directory)
        for object_id in users.keys() & found.keys():
            managers = {users[object_id].get("manager_id"), found[object_id].get("manager_id")}
            if len(managers) == 2 and managers <= removed | {None}:
                users[object_id].pop("manager_id", None)
                found[object_id].pop("manager_id", None)
    wrong = [i for i in users.keys() | found.keys() if users.get(i) != found.get(i)]
    assert not wrong, [(found.get(i), users.get(i)) for i in wrong[:2]]
    assert unstamped(snapshot.datasets["groups"]) == expected_groups(directory)
    rows = sorted(
        snapshot.datasets["memberships"], key=lambda e: (e["group_id"], e["relation"], e["member_id"])
    )
    assert rows == expected_edges(directory)


async def assert_same_as_full(w: World, before: Snapshot) -> Snapshot:
    """A full run right after says the same, to the last byte of the renderings, and nothing had drifted."""
    now = await run(w, full=True, hours=0)
    assert_holds(now, w.tenant.directory)
    assert_changes_lead(before, now)
    assert now.manifest.get("drift") == {"users": 0, "groups": 0, "memberships": 0}, now.changes
    removed = once_removed(w.tenant.directory)
    corrected = set()
    was = before.by_id("users")
    for change in now.changes:
        # The manager is all that an incremental run may have missed.
        assert (change["dataset"], change["operation"]) == ("users", "updated"), change
        own = {"manager_id", "changed_at"}
        new, old = change["record"], was[change["id"]]
        assert {k: v for k, v in new.items() if k not in own} == {
            k: v for k, v in old.items() if k not in own
        }
        assert {new.get("manager_id"), old.get("manager_id")} <= removed | {None}
        corrected.add(change["id"])
    for dataset, rows in now.datasets.items():
        earlier = before.datasets[dataset]
        if dataset == "memberships":  # their order is that of the buckets, whose number may be another
            rows, earlier = (sorted(edges, key=lambda e: key_of(dataset, e)) for edges in (rows, earlier))
        assert [row for row in rows if uid(row) not in corrected] == [
            row for row in earlier if uid(row) not in corrected
        ], dataset
    return now


def uid(row: Row) -> str | None:
    """The id of what a record or a rendering is about."""
    if "id" in row:
        return str(row["id"])
    user: Row = row.get("user", {})
    return user.get("uid")


async def published(w: World) -> Published:
    """What the current run left for the next one."""
    pointer = await w.sync.output.read("current.json")
    assert pointer is not None
    run_id = (await w.snapshot(validate=False)).pointer["run_id"]
    kept = await w.sync.state.published(run_id)
    assert kept is not None
    return kept


async def assert_nothing_left(w: World) -> None:
    """`sync-state` holds what the next run needs, and nothing else."""
    kept = await published(w)
    names = {name async for name in w.sync.state.container.names("")}
    assert names == {"run.json", f"published/{kept.run_id}.json", *kept.kept}


def requests_of_run(w: World, before: int) -> list[str]:
    """The paths that Graph was asked for since so many requests."""
    return [record.path for record in w.tenant.requests[before:] if "/v1.0/" in record.path]


@asynccontextmanager
async def quick_world(tenant: Tenant, account: StorageAccount, **options: Any) -> AsyncIterator[World]:
    """A world whose storage is in memory: for what is about content, in a tenth of the time."""
    async with world(tenant, account, **options) as w:
        use_memory(w)
        yield w
