"""A run that would remove much is held, until it is accepted or a full run sees the same."""

import json
import logging
from collections.abc import AsyncIterator

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import Directory, Tenant, faults
from sandbox.tenant.messages import Call, JsonObject
from tests.incremental.support import (
    assert_changes_lead,
    assert_holds,
    assert_nothing_left,
    configured,
    published,
    quick_world,
    run,
)
from tests.support.events import events_in
from tests.support.world import Snapshot, World


def tenant_of(users: int, groups: int = 0) -> Tenant:
    directory = Directory()
    for number in range(users):
        directory.add_user({"id": f"{number:08x}-0000-4000-8000-000000000000"})
    for _ in range(groups):
        directory.add_group({})
    return Tenant(directory)


@pytest.fixture
async def w(account: StorageAccount) -> AsyncIterator[World]:
    async with quick_world(tenant_of(200), account, bucket_rows=64, DIRECTORY_FORMATS="") as started:
        yield started


def remove(w: World, number: int) -> None:
    for user in sorted(w.tenant.directory.users)[:number]:
        w.tenant.directory.delete_user(user)


async def hold(w: World, *, full: bool = False) -> tuple[str, Snapshot]:
    """Sixty of two hundred users go, in a run that is held. Its id, and the snapshot that stays."""
    before = await run(w)
    remove(w, 60)
    w.clock.forward(hours=1)
    held = await (w.sync.start(full=True) if full else w.sync.tick())
    await w.drain()
    assert (await w.status())["held"]["run_id"] == held
    return held, before


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize(
    ("users", "removed", "percent", "is_held"),
    [
        (250, 50, 20, False),  # exactly a fifth
        (250, 51, 20, True),
        (100, 49, 20, False),  # too few to matter
        (100, 50, 20, True),
        (60, 60, 100, False),
        (60, 50, 0, True),
    ],
)
async def test_boundary(
    account: StorageAccount, users: int, removed: int, percent: int, is_held: bool, full: bool
) -> None:
    options = {"DIRECTORY_FORMATS": "", "SYNC_MAX_REMOVAL_PERCENT": str(percent)}
    async with quick_world(tenant_of(users), account, bucket_rows=256, **options) as w:
        before = await run(w)
        remove(w, removed)
        w.clock.forward(hours=1)
        await (w.sync.start(full=True) if full else w.sync.tick())
        await w.drain()
        status = await w.status()
        now = await w.snapshot()
    assert (status["held"] is not None) == is_held
    assert (now.pointer == before.pointer) == is_held


@pytest.mark.parametrize("dataset", ["groups", "memberships"])
async def test_each_dataset_is_guarded(account: StorageAccount, dataset: str) -> None:
    directory = Directory()
    users = [directory.add_user({}) for _ in range(60)]
    groups = [directory.add_group({}) for _ in range(60)]
    for user in users:
        directory.add_member(groups[0], user)
    async with quick_world(Tenant(directory), account, DIRECTORY_FORMATS="") as w:
        await run(w)
        if dataset == "groups":
            for group in groups[1:56]:
                directory.delete_group(group)
        else:
            for user in users[:55]:
                directory.remove_member(groups[0], user)
        w.clock.forward(hours=1)
        await w.run()
        reason = (await w.status())["held"]["reason"]
    assert f"55 of 60 {dataset}" in reason
    assert reason.count(" of ") == 1


@pytest.mark.parametrize("full", [True, False])
async def test_held_run_changes_nothing_that_is_seen(
    w: World, caplog: pytest.LogCaptureFixture, full: bool
) -> None:
    before = await run(w)
    kept = await published(w)
    seen = {name async for name in w.sync.output.names("")}
    remove(w, 60)
    w.clock.forward(hours=1)
    with caplog.at_level(logging.ERROR):
        held = await (w.sync.start(full=True) if full else w.sync.tick())
        await w.drain()
    status = await w.status()
    assert status["held"]["run_id"] == status["current"]["run_id"] == held
    assert status["current"]["status"] == "held"
    assert f"SYNC_ACCEPT_SHRINK={held}" in status["held"]["reason"]
    assert "60 of 200 users" in status["held"]["reason"]
    assert status["published"]["run_id"] == before.pointer["run_id"]
    (event,) = events_in(caplog.records, "directory.run_held")
    assert event["run_id"] == held
    assert event["would_remove"]["users"] == 60
    assert event["sentence"] == status["held"]["reason"]
    assert await w.snapshot() == before
    assert await published(w) == kept
    new = {name async for name in w.sync.output.names("")} - seen
    assert not any(name.endswith("manifest.json") for name in new)


@pytest.mark.parametrize("full", [True, False])
async def test_accepted_run_is_published_without_reading_again(w: World, full: bool) -> None:
    held, before = await hold(w, full=full)
    configured(w, accept_shrink=held)
    asked = len(w.tenant.requests)
    assert await w.sync.tick() == held
    await w.drain()
    assert len(w.tenant.requests) == asked
    now = await w.snapshot()
    assert now.pointer["run_id"] == held
    assert (await w.status())["held"] is None
    assert_holds(now, w.tenant.directory)
    assert_changes_lead(before, now)
    await assert_nothing_left(w)
    later = await run(w)  # the setting stays; it means that run only
    assert later.changes == []
    remove(w, 60)
    w.clock.forward(hours=1)
    await w.run()
    assert (await w.status())["held"]["run_id"] not in (held, None)


async def test_another_id_accepts_nothing(w: World) -> None:
    held, before = await hold(w)
    configured(w, accept_shrink=before.pointer["run_id"])
    assert await w.sync.tick() != held


@pytest.mark.parametrize("full", [True, False])
async def test_full_run_that_agrees_is_published(w: World, full: bool) -> None:
    held, before = await hold(w, full=full)
    w.clock.forward(hours=1)
    confirming = await w.sync.tick()
    assert confirming != held
    status = await w.status()
    assert status["current"]["kind"] == "full"
    assert status["held"]["run_id"] == held  # until it is decided
    await w.drain()
    now = await w.snapshot()
    assert now.pointer["run_id"] == confirming
    assert (await w.status())["held"] is None
    assert_holds(now, w.tenant.directory)
    assert_changes_lead(before, now)
    await assert_nothing_left(w)


async def test_full_run_that_disagrees_is_an_ordinary_one(w: World) -> None:
    """They were deleted by mistake, and are back."""
    _, before = await hold(w)
    for user in list(w.tenant.directory.deleted_users):
        w.tenant.directory.restore_user(user)
    now = await run(w)
    assert now.manifest["kind"] == "full"
    assert now.changes == []
    assert_changes_lead(before, now)
    assert (await w.status())["held"] is None


async def test_full_run_that_would_remove_much_more_is_held_again(w: World) -> None:
    """A look that finds still less confirms nothing."""
    held, before = await hold(w)

    def nobody(page: JsonObject, _: Call) -> None:
        page["value"] = []

    w.tenant.faults.add(faults.edit(nobody), r"/v1.0/users\?")
    w.clock.forward(hours=1)
    again = await w.run()
    status = await w.status()
    assert status["held"]["run_id"] == again != held
    assert "200 of 200 users" in status["held"]["reason"]
    assert (await w.snapshot()).pointer == before.pointer
    now = await run(w)  # Graph is itself again, and sixty are fewer than that
    assert_holds(now, w.tenant.directory)
    assert_changes_lead(before, now)


async def test_what_happens_meanwhile_is_judged_by_itself(w: World) -> None:
    """Ten more are no reason to hold the run that confirms sixty."""
    _, before = await hold(w)
    remove(w, 10)
    now = await run(w)
    assert_holds(now, w.tenant.directory)
    assert_changes_lead(before, now)


async def test_confirmation_that_fails_is_tried_again(w: World) -> None:
    held, before = await hold(w)
    w.tenant.faults.add(faults.respond(403, code="Authorization_RequestDenied"), "/groups/delta")
    w.clock.forward(hours=1)
    await w.run()
    status = await w.status()
    assert (status["current"]["status"], status["held"]["run_id"]) == ("failed", held)
    now = await run(w, full=True)
    assert_changes_lead(before, now)
    assert (await w.status())["held"] is None


async def test_accepted_while_it_is_being_confirmed(w: World) -> None:
    """The setting comes after the next run has begun: that one is meant as well."""
    held, before = await hold(w)
    remove(w, 60)  # so that it would not agree
    w.clock.forward(hours=1)
    confirming = await w.sync.tick()
    configured(w, accept_shrink=held)
    await w.drain()
    now = await w.snapshot()
    assert now.pointer["run_id"] == confirming
    assert_changes_lead(before, now)


async def test_nothing_is_held_without_a_snapshot_to_compare_with(w: World) -> None:
    await run(w)
    remove(w, 150)
    pointer = json.loads(await w.sync.output.read("current.json") or b"")
    await w.sync.state.forget(pointer["run_id"])
    now = await run(w)
    assert "previous_run_id" not in now.manifest
    assert len(now.datasets["users"]) == 50
