"""A deployment in the middle of a run, or between two: what is stored has another shape."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import Tenant, churn, generate
from shared.directory.steps import Step
from shared.snapshots.state import STATE_VERSION
from tests.directory.stores import restarted
from tests.incremental.support import assert_changes_lead, assert_holds, assert_nothing_left, quick_world, run
from tests.snapshots.memory import MemoryContainer
from tests.support.world import Snapshot, World

OLD_RUN = {
    "state_version": 1,
    "run_id": "20260101T000000Z-abcdef",
    "sequence": 7,
    "kind": "full",
    "status": "collecting",
    "started_at": "2026-01-01T00:00:00Z",
    "buckets": 4,
    "group_buckets": 1,
    "datasets": ["users", "groups"],
    "formats": ["ocsf"],
}
"""As an earlier version wrote it: some fields that are needed now are not there."""


@pytest.fixture
async def w(account: StorageAccount) -> AsyncIterator[World]:
    tenant = Tenant(generate(users=20, seed=91))
    tenant.delta_page_objects = 10
    async with quick_world(tenant, account, bucket_rows=8) as started:
        yield started


def state_of(w: World) -> MemoryContainer:
    container = w.sync.state.container
    assert isinstance(container, MemoryContainer)
    return container


async def overwrite(w: World, path: str, content: Any) -> None:
    """Store JSON, or bytes as they are."""
    await w.sync.state.container.write(
        path, content if isinstance(content, bytes) else json.dumps(content).encode()
    )


async def changed(w: World, path: str, **fields: Any) -> None:
    await overwrite(w, path, {**json.loads(state_of(w).blobs[path]), **fields})


async def restarts(w: World, old: str, before: Snapshot | None) -> Snapshot:
    """The next tick begins a new run, late messages of the old one do nothing, and it is published."""
    late, w.messages.waiting = w.messages.waiting, []
    w.sync = restarted(w.sync)
    await w.status()
    w.clock.forward(hours=7)
    for step, _ in late:
        await w.sync.handle(step)
    run_id = await w.sync.tick()
    assert run_id != old
    for step, _ in late:
        await w.sync.handle(step)
    await w.drain()
    now = await w.snapshot()
    assert now.pointer["run_id"] == run_id
    assert (await w.status())["current"] is None
    assert_holds(now, w.tenant.directory)
    if before is not None:
        assert_changes_lead(before, now)
    await assert_nothing_left(w)
    return now


STAGES = ("collecting", "members", "groups")


async def until(w: World, stage: str) -> str:
    """A run that has got so far."""
    churn(w.tenant.directory, seed=1, count=25)
    w.clock.forward(hours=7)
    run_id = await w.sync.tick()
    while True:
        stored = await w.sync.state.run()
        assert stored is not None
        assert stored[0].under_way
        if stage == (stored[0].status if stored[0].status == "collecting" else stored[0].stage):
            return run_id
        step, _ = w.messages.waiting.pop(0)
        await w.sync.handle(step)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("first", [True, False])
async def test_run_of_another_version(w: World, stage: str, first: bool) -> None:
    before = None if first else await run(w)
    old = await until(w, stage)
    await changed(w, "run.json", state_version=STATE_VERSION - 1)
    await restarts(w, old, before)


@pytest.mark.parametrize("content", [OLD_RUN, {}, [], b"", b"{", b"\x00\xff", OLD_RUN | {"status": "held"}])
@pytest.mark.parametrize("first", [True, False])
async def test_run_that_cannot_be_read(w: World, first: bool, content: Any) -> None:
    before = None if first else await run(w)
    old = await until(w, "collecting")
    await overwrite(w, "run.json", content)
    w.messages.waiting.append((Step(str(OLD_RUN["run_id"]), "collect", dataset="users", slice=0), 0.0))
    await restarts(w, old, before)


async def test_status_tells_of_a_run_that_cannot_be_read(w: World) -> None:
    await overwrite(w, "run.json", OLD_RUN)
    current = (await w.status())["current"]
    assert (current["run_id"], current["status"]) == (OLD_RUN["run_id"], "failed")
    assert "Another version" in current["error"]


@pytest.mark.parametrize("content", [{"dataset": "users"}, b"", b"\x00"])
@pytest.mark.parametrize("stage", STAGES)
async def test_checkpoint_that_cannot_be_read(w: World, stage: str, content: Any) -> None:
    """Of a run of this version: its messages end it, or the next tick does."""
    before = await run(w)
    old = await until(w, stage)
    await overwrite(w, f"runs/{old}/users.json", content)
    while w.messages.waiting and stage != "collecting":
        step, _ = w.messages.waiting.pop(0)
        await w.sync.handle(step)
    w.messages.waiting = []
    w.sync = restarted(w.sync)
    w.clock.forward(hours=7)
    for _ in range(4):
        await w.sync.tick()
        await w.drain()
        if (await w.status())["current"] is None:
            break
    now = await w.snapshot()
    assert now.pointer["run_id"] != old or stage != "collecting"
    assert_holds(now, w.tenant.directory)
    assert_changes_lead(before, now)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("folder", ["", "collected/"])
async def test_working_state_that_was_taken_away(w: World, stage: str, folder: str) -> None:
    before = await run(w)
    old = await until(w, stage)
    container = state_of(w)
    await container.delete([name for name in container.blobs if name.startswith(f"runs/{old}/{folder}")])
    for _ in range(4):
        w.sync = restarted(w.sync)
        w.clock.forward(hours=7)
        await w.sync.tick()
        await w.drain()
        if (await w.status())["current"] is None:
            break
    now = await w.snapshot()
    assert now.pointer["run_id"] != before.pointer["run_id"]
    assert_holds(now, w.tenant.directory)
    assert_changes_lead(before, now)
    await assert_nothing_left(w)


@pytest.mark.parametrize(
    "content", [{"state_version": 1, "run_id": "r"}, {"state_version": STATE_VERSION}, b"", b"{"]
)
async def test_snapshot_of_another_version(w: World, content: Any) -> None:
    """What is known of it cannot be read, so a new history begins, with the next number."""
    before = await run(w)
    await overwrite(w, f"published/{before.pointer['run_id']}.json", content)
    churn(w.tenant.directory, seed=1, count=10)
    now = await run(w)
    assert now.manifest["kind"] == "full"
    assert now.manifest["sequence"] == 2
    assert not {"changes", "previous_run_id", "drift"} & now.manifest.keys()
    assert_holds(now, w.tenant.directory)
    await assert_nothing_left(w)
    later = await run(w)
    assert later.manifest["kind"] == "incremental"
    assert_changes_lead(now, later)


@pytest.mark.parametrize("what", ["labels", "edge_tables", "hidden"])
async def test_kept_state_that_is_gone_is_not_taken_for_empty(w: World, what: str) -> None:
    """The run fails and the snapshot stays; the next run begins a new history."""
    directory = w.tenant.directory
    binned = next(u for u in sorted(directory.users) if any(u in m for m in directory.members.values()))
    directory.delete_user(binned)
    before = await run(w)
    kept = await w.sync.state.published(before.pointer["run_id"])
    assert kept is not None
    paths = {
        "labels": {kept.labels.ref.path} if kept.labels else set(),
        "edge_tables": {path for path in kept.edge_tables if path},
        "hidden": {part.ref.path for part in kept.hidden if part},
    }[what]
    assert paths
    await state_of(w).delete(list(paths))
    directory.restore_user(binned)
    group = sorted(directory.groups)[0]
    directory.update_group(group, {"displayName": "Renamed"})
    w.clock.forward(hours=1)
    await w.run()
    assert (await w.status())["current"]["status"] == "failed"
    assert (await w.snapshot()).pointer == before.pointer
    now = await run(w)
    assert now.manifest["kind"] == "full"
    assert_holds(now, directory)
