"""What no delta had told, as a full run finds it: none in an honest tenant."""

import logging
from collections.abc import AsyncIterator

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import Tenant, churn, faults, generate
from sandbox.tenant.faults import Action
from sandbox.tenant.messages import Call, JsonObject
from tests.incremental.support import assert_changes_lead, assert_holds, follow, quick_world, run
from tests.support.events import events_in
from tests.support.world import Snapshot, World

NONE = {"users": 0, "groups": 0, "memberships": 0}


@pytest.fixture
async def w(account: StorageAccount) -> AsyncIterator[World]:
    tenant = Tenant(generate(users=40, seed=71))
    options = {"DIRECTORY_FORMATS": "ocsf", "SYNC_MAX_REMOVAL_PERCENT": "100"}
    async with quick_world(tenant, account, bucket_rows=8, **options) as started:
        yield started


def drop(object_id: str) -> Action:
    """A page without this object."""

    def change(page: JsonObject, _: Call) -> None:
        page["value"] = [one for one in page["value"] if one["id"] != object_id]

    return faults.edit(change)


async def full(w: World, before: Snapshot, **options: float) -> Snapshot:
    now = await run(w, full=True, **options)  # type: ignore[arg-type]
    assert_holds(now, w.tenant.directory)
    assert_changes_lead(before, now)
    return now


async def test_first_run_knows_of_none(w: World) -> None:
    assert "drift" not in (await run(w)).manifest


@pytest.mark.parametrize("day", range(3))
async def test_none_in_an_honest_history(w: World, day: int) -> None:
    """Whether changes were taken up by incremental runs before, or come with the full run."""
    before = await run(w)
    for number in range(2):
        churn(w.tenant.directory, seed=day * 10 + number, count=30)
        before = await follow(w, before, hours=7)
    churn(w.tenant.directory, seed=day * 10 + 5, count=30)
    now = await full(w, before)
    assert now.manifest["drift"] == NONE
    assert "drift" not in (await follow(w, now, hours=7)).manifest


async def test_none_when_it_changes_during_the_run(w: World) -> None:
    before = await run(w)
    directory = w.tenant.directory

    async def happen(_: Call, answer: object) -> object:
        reply = await answer()  # type: ignore[operator]
        churn(directory, seed=1, count=20)
        return reply

    w.tenant.faults.add(happen, r"/v1.0/users\?|/groups/delta", times=2)  # type: ignore[arg-type]
    now = await run(w, full=True)
    assert now.manifest["drift"] == NONE
    assert_changes_lead(before, now)
    later = await follow(w, now, hours=7)
    assert (await full(w, later)).manifest["drift"] == NONE


async def test_values_that_no_delta_tracks_are_none(w: World) -> None:
    before = await run(w)
    directory = w.tenant.directory
    for user in list(directory.registrations)[:5]:
        del directory.registrations[user]
    now = await full(w, before)
    assert now.changes
    assert now.manifest["drift"] == NONE


async def test_user_that_changed_behind_the_log(w: World, caplog: pytest.LogCaptureFixture) -> None:
    """Found and corrected by the next full run, and told."""
    before = await run(w)
    directory = w.tenant.directory
    changed, other = sorted(directory.users)[:2]
    directory.users[changed] = directory.users[changed] | {"city": "Elsewhere"}
    directory.update_user(other, {"city": "Oslo"})
    missed = await run(w)
    assert missed.by_id("users")[changed].get("city") != "Elsewhere"
    with caplog.at_level(logging.INFO):
        now = await full(w, missed)
    assert now.manifest["drift"] == NONE | {"users": 1}
    (event,) = events_in(caplog.records, "directory.run_published")
    assert event["drift"] == NONE | {"users": 1}
    assert now.by_id("users")[changed]["city"] == "Elsewhere"
    assert before.pointer != now.pointer
    assert (await full(w, now)).manifest["drift"] == NONE


async def test_objects_that_came_and_went_behind_the_log(w: World) -> None:
    before = await run(w)
    directory = w.tenant.directory
    gone = sorted(directory.users)[0]
    groups = sum(gone in sides for sides in (*directory.members.values(), *directory.owners.values()))
    stranger = {**directory.users[gone], "id": "ffff0000-0000-4000-8000-000000000000"}
    directory.users[str(stranger["id"])] = stranger
    directory.deleted_users[gone] = directory.users.pop(gone)
    now = await full(w, before)
    assert now.manifest["drift"]["users"] == 2
    assert now.manifest["drift"]["memberships"] == groups


async def test_edge_and_group_behind_the_log(w: World) -> None:
    before = await run(w)
    directory = w.tenant.directory
    one, two = sorted(directory.groups)[:2]
    user = next(user for user in sorted(directory.users) if user not in directory.members[one])
    directory.members[one][user] = "user"
    directory.groups[two] = directory.groups[two] | {"description": "Nobody told"}
    now = await full(w, before)
    assert now.manifest["drift"] == {"users": 0, "groups": 1, "memberships": 1}


@pytest.mark.parametrize("dataset", ["users", "groups"])
async def test_object_that_graph_left_out_of_a_page(w: World, dataset: str) -> None:
    """Once the link has moved on, no delta tells of it again."""
    directory = w.tenant.directory
    before = await run(w)
    if dataset == "users":
        lost = sorted(directory.users)[3]
        directory.update_user(lost, {"city": "Elsewhere"})
    else:
        lost = sorted(directory.groups)[3]
        directory.update_group(lost, {"description": "Elsewhere"})
    w.tenant.faults.add(drop(lost), f"/{dataset}/delta.*deltatoken=(?!latest)")
    missed = await run(w)
    assert lost not in {change["id"] for change in missed.changes}
    now = await full(w, missed)
    assert now.manifest["drift"] == NONE | {dataset: 1}
    assert before.pointer != now.pointer


async def test_unknown_where_the_deltas_cannot_be_read(w: World) -> None:
    before = await run(w)
    churn(w.tenant.directory, seed=3, count=5)
    w.tenant.faults.add(faults.respond(500), "/users/delta.*deltatoken=(?!latest)", times=None)
    w.clock.forward(hours=1)
    await w.sync.start(full=True)
    for _ in range(60):
        if not w.messages.waiting:
            break
        step, delay = w.messages.waiting.pop(0)
        w.clock.forward(seconds=delay)
        if step.dataset == "users-reported" and delay:
            break
        await w.sync.handle(step)
    w.tenant.faults.clear()
    w.tenant.expire_delta_tokens()
    await w.sync.tick()
    await w.drain()
    now = await w.snapshot()
    assert now.pointer != before.pointer
    assert "drift" not in now.manifest
