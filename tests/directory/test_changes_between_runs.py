"""The law of changes: a snapshot and the changes of the next run give the next one, whatever happened."""

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sandbox.azurite import StorageAccount
from sandbox.tenant import Directory, Tenant, churn, faults, generate
from tests.directory.expected import (
    Row,
    assert_changes_lead,
    assert_equals_tenant,
    next_run,
    whole_second,
)
from tests.directory.stores import restarted, use_memory
from tests.incremental.support import assert_holds
from tests.support.world import Snapshot, world

UNTIL_REFRESHED = 7
"""Hours after which every run reads what no delta tells."""


def parts_of(snapshot: Snapshot, dataset: str) -> list[str]:
    return [part["path"] for part in snapshot.manifest["datasets"][dataset]["parts"]]


def changes_of(snapshot: Snapshot, dataset: str) -> dict[str, Row]:
    return {change["id"]: change for change in snapshot.changes if change["dataset"] == dataset}


@pytest.mark.parametrize("full", [True, False])
async def test_changes_after_a_busy_day(account: StorageAccount, full: bool) -> None:
    tenant = Tenant(generate(users=120, seed=21))
    tenant.delta_page_objects = 50
    async with world(tenant, account, bucket_rows=32, SYNC_MAX_REMOVAL_PERCENT="100") as w:
        before = await next_run(w)
        for day in range(1, 3):
            churn(tenant.directory, seed=day, count=60)
            now = await next_run(w, full=full, hours=UNTIL_REFRESHED)
            assert now.manifest["kind"] == ("full" if full else "incremental")
            assert_holds(now, tenant.directory)
            assert_changes_lead(before, now)
            assert now.changes
            before = now


async def test_nothing_happened(account: StorageAccount) -> None:
    """No change, and the very parts of the run before."""
    async with world(Tenant(generate(users=60, seed=22)), account, DIRECTORY_FORMATS="ocsf,sekoia") as w:
        before = await next_run(w)
        now = await next_run(w, full=True)
    assert now.changes == []
    assert now.manifest["changes"]["parts"] == []
    assert now.datasets == before.datasets
    for dataset in now.datasets:
        assert parts_of(now, dataset) == parts_of(before, dataset), dataset


async def test_change_of_one_user_touches_one_bucket(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=100, seed=23))
    async with world(tenant, account, bucket_rows=16) as w:
        before = await next_run(w)
        user = sorted(tenant.directory.users)[7]
        tenant.directory.update_user(user, {"jobTitle": "Something else"})
        now = await next_run(w, full=True)
        started = now.manifest["started_at"]
    assert now.manifest["buckets"] == 8
    for dataset in ("users", "ocsf-users"):
        assert len(set(parts_of(now, dataset)) - set(parts_of(before, dataset))) == 1, dataset
    for dataset in ("groups", "memberships", "ocsf-groups"):
        assert parts_of(now, dataset) == parts_of(before, dataset), dataset
    (change,) = now.changes
    assert (change["dataset"], change["operation"], change["id"]) == ("users", "updated", user)
    assert change["record"]["job_title"] == "Something else"
    was = before.by_id("users")
    for object_id, row in now.by_id("users").items():
        assert row["changed_at"] == (started if object_id == user else was[object_id]["changed_at"])


async def test_new_member_updates_the_user_the_group_and_the_edge(account: StorageAccount) -> None:
    directory = Directory()
    user, group = directory.add_user({}), directory.add_group({})
    async with world(Tenant(directory), account) as w:
        await w.run()
        directory.add_member(group, user)
        now = await next_run(w)
    assert {(c["dataset"], c["operation"], c["id"]) for c in now.changes} == {
        ("users", "updated", user),
        ("groups", "updated", group),
        ("memberships", "added", f"{group}|member|{user}"),
    }


async def test_reason_of_a_removal(account: StorageAccount) -> None:
    directory = Directory()
    binned, purged, stays = (directory.add_user({}) for _ in range(3))
    group = directory.add_group({})
    for user in (binned, purged, stays):
        directory.add_member(group, user)
    async with world(Tenant(directory), account, SYNC_MAX_REMOVAL_PERCENT="100") as w:
        before = await next_run(w)
        directory.delete_user(binned)
        directory.purge_user(purged)
        now = await next_run(w, full=True)
        assert_changes_lead(before, now)
        users = changes_of(now, "users")
        assert {user: (c["operation"], c.get("reason")) for user, c in users.items()} == {
            binned: ("removed", "soft_deleted"),
            purged: ("removed", "deleted"),
        }
        assert all("reason" not in c for c in now.changes if c["dataset"] != "users")
        assert now.by_id("groups")[group]["member_count"] == 1

        directory.restore_user(binned)
        restored = await next_run(w, full=True)
        assert_changes_lead(now, restored)
        assert_equals_tenant(restored, directory)
    assert changes_of(restored, "users")[binned]["operation"] == "added"
    assert restored.by_id("users")[binned]["groups"] == [group]
    assert restored.by_id("users")[binned]["changed_at"] == restored.manifest["started_at"]
    assert f"{group}|member|{binned}" in changes_of(restored, "memberships")


async def test_reason_is_left_out_where_the_recycle_bin_cannot_be_read(account: StorageAccount) -> None:
    tenant = Tenant(Directory())
    user = tenant.directory.add_user({})
    tenant.directory.add_user({})
    async with world(tenant, account, SYNC_MAX_REMOVAL_PERCENT="100") as w:
        await w.run()
        tenant.directory.delete_user(user)
        tenant.faults.add(faults.respond(403, code="Authorization_RequestDenied"), "deletedItems", times=None)
        now = await next_run(w, full=True)
    assert changes_of(now, "users") == {user: {"dataset": "users", "operation": "removed", "id": user}}


async def test_buckets_grow_and_shrink(account: StorageAccount) -> None:
    """However they split and join, changes are exact and what did not change keeps its time."""
    tenant = Tenant(generate(users=80, seed=24))
    async with world(tenant, account, bucket_rows=64) as w:
        before = await next_run(w)
        for day, (rows, buckets) in enumerate([(8, 16), (8, 16), (60, 2), (1000, 1), (16, 8)]):
            w.sync = restarted(w.sync, bucket_rows=rows)
            churn(tenant.directory, seed=day, count=4)
            now = await next_run(w, full=True)
            assert now.manifest["buckets"] == buckets
            assert_equals_tenant(now, tenant.directory)
            assert_changes_lead(before, now)
            changed = changes_of(now, "users").keys() | changes_of(now, "groups").keys()
            for dataset in ("users", "groups"):
                was = before.by_id(dataset)
                for object_id, row in now.by_id(dataset).items():
                    if object_id not in changed:
                        assert row["changed_at"] == was[object_id]["changed_at"]
            before = now


async def test_buckets_grow_and_nothing_happened(account: StorageAccount) -> None:
    async with world(Tenant(generate(users=40, seed=25)), account, bucket_rows=1000) as w:
        await w.run()
        w.sync = restarted(w.sync, bucket_rows=4)
        now = await next_run(w, full=True)
    assert now.manifest["buckets"] > 1
    assert now.changes == []


async def test_format_that_is_switched_on_later_is_written_whole(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=30, seed=26))
    async with world(tenant, account, DIRECTORY_FORMATS="") as w:
        before = await next_run(w)
        async with world(tenant, account, DIRECTORY_FORMATS="ocsf") as other:
            other.clock.forward(hours=3)
            now = await next_run(other)
    assert "ocsf-users" not in before.datasets
    assert len(now.datasets["ocsf-users"]) == len(tenant.directory.users)
    assert now.changes == []
    for user in now.datasets["users"]:
        assert user["changed_at"] == before.manifest["started_at"]


async def test_changed_at_is_the_start_of_the_run(account: StorageAccount) -> None:
    directory = Directory()
    first, second = directory.add_user({}), directory.add_user({})
    async with world(Tenant(directory), account) as w:
        one = whole_second(w.clock.moment)
        await w.run()
        w.clock.forward(hours=2)
        directory.update_user(second, {"city": "Oslo"})
        two = whole_second(w.clock.moment)
        await w.run()
        users = (await w.snapshot()).by_id("users")
    assert (users[first]["changed_at"], users[second]["changed_at"]) == (one, two)


@hypothesis_settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    company=st.integers(0, 10_000),
    users=st.integers(0, 40),
    days=st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(0, 40), st.booleans()), min_size=1, max_size=3
    ),
    rows=st.lists(st.sampled_from((4, 16, 64)), min_size=4, max_size=4),
)
async def test_law_of_changes(
    account: StorageAccount,
    company: int,
    users: int,
    days: list[tuple[int, int, bool]],
    rows: list[int],
) -> None:
    """Any company, any days, any numbers of buckets, runs of either kind."""
    tenant = Tenant(generate(users=users, seed=company))
    tenant.delta_page_objects, tenant.delta_page_links = 7, 11
    tenant.delta_scatter = company % 2 == 0
    async with world(
        tenant, account, bucket_rows=rows[0], DIRECTORY_FORMATS="", SYNC_MAX_REMOVAL_PERCENT="100"
    ) as w:
        use_memory(w)
        first = before = await next_run(w)
        assert_equals_tenant(first, tenant.directory)
        for number, (seed, count, full) in enumerate(days, 1):
            churn(tenant.directory, seed=seed, count=count)
            w.sync = restarted(w.sync, bucket_rows=rows[number])
            now = await next_run(w, full=full, hours=UNTIL_REFRESHED)
            assert_holds(now, tenant.directory)
            assert_changes_lead(before, now)
            before = now
