"""What leaves the directory, what comes back, and edges that lead nowhere meanwhile."""

from collections.abc import AsyncIterator

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import Directory, Tenant, faults, generate
from tests.incremental.support import assert_same_as_full, changes_of, follow, quick_world, run
from tests.support.world import Snapshot, World


@pytest.fixture
async def w(account: StorageAccount) -> AsyncIterator[World]:
    """A directory of the test's own, in buckets of two."""
    async with quick_world(
        Tenant(Directory()), account, bucket_rows=2, DIRECTORY_FORMATS="ocsf,sekoia"
    ) as started:
        yield started


def people(w: World, number: int) -> list[str]:
    return [w.tenant.directory.add_user({"displayName": f"User {n}"}) for n in range(number)]


def a_group(w: World, *members: str, owners: tuple[str, ...] = ()) -> str:
    """A Microsoft 365 group, which can be restored."""
    group = w.tenant.directory.add_group({"groupTypes": ["Unified"]})
    for member in members:
        w.tenant.directory.add_member(group, member)
    for owner in owners:
        w.tenant.directory.add_owner(group, owner)
    return group


def operations(snapshot: Snapshot, dataset: str) -> dict[str, str]:
    return {object_id: change["operation"] for object_id, change in changes_of(snapshot, dataset).items()}


def assert_no_dangling_edge(snapshot: Snapshot) -> None:
    users, groups = snapshot.by_id("users"), snapshot.by_id("groups")
    for edge in snapshot.datasets["memberships"]:
        assert edge["group_id"] in groups
        assert edge["member_type"] != "user" or edge["member_id"] in users
        assert edge["member_type"] != "group" or edge["member_id"] in groups


async def test_reasons_of_removed_users(w: World) -> None:
    directory = w.tenant.directory
    binned, purged, thrown_out, stays = people(w, 4)
    before = await run(w)
    directory.delete_user(binned)
    directory.purge_user(purged)
    directory.delete_user(thrown_out)
    directory.purge_user(thrown_out)
    now = await follow(w, before)
    changes = changes_of(now, "users")
    assert {user: change["reason"] for user, change in changes.items()} == {
        binned: "soft_deleted",
        purged: "deleted",
        thrown_out: "deleted",
    }
    assert all(change["operation"] == "removed" and "record" not in change for change in changes.values())
    assert set(now.by_id("users")) == {stays}
    later = await follow(w, now)
    assert later.changes == []
    directory.purge_user(binned)
    assert (await follow(w, later)).changes == []  # it was gone already


async def test_restored_user_has_its_groups_back(w: World) -> None:
    """The group's delta says nothing of it: the edges were kept."""
    directory = w.tenant.directory
    user, other = people(w, 2)
    member_of, owner_of = a_group(w, user, other), a_group(w, other, owners=(user,))
    before = await run(w)
    directory.delete_user(user)
    gone = await follow(w, before)
    assert_no_dangling_edge(gone)
    assert gone.by_id("groups")[member_of]["member_count"] == 1
    assert gone.by_id("groups")[owner_of]["owner_count"] == 0
    assert operations(gone, "memberships") == {
        f"{member_of}|member|{user}": "removed",
        f"{owner_of}|owner|{user}": "removed",
    }
    directory.restore_user(user)
    back = await follow(w, gone)
    assert operations(back, "users") == {user: "added"}
    record = back.by_id("users")[user]
    assert (record["groups"], record["owned_groups"]) == ([member_of], [owner_of])
    assert back.by_id("groups")[member_of]["member_count"] == 2
    assert back.datasets["memberships"] == before.datasets["memberships"]
    await assert_same_as_full(w, back)


async def test_edges_that_change_while_their_user_is_deleted(w: World) -> None:
    """Those that were taken away do not come back, and new ones are there."""
    directory = w.tenant.directory
    (user,) = people(w, 1)
    left, kept, joined = a_group(w, user), a_group(w, user), a_group(w)
    before = await run(w)
    directory.delete_user(user)
    before = await follow(w, before)
    directory.remove_member(left, user)
    directory.add_member(joined, user)
    before = await follow(w, before)
    assert before.datasets["memberships"] == []
    directory.restore_user(user)
    now = await follow(w, before)
    assert now.by_id("users")[user]["groups"] == sorted([kept, joined])
    await assert_same_as_full(w, now)


@pytest.mark.parametrize("rounds", [1, 2])
async def test_deleted_and_restored_user(w: World, rounds: int) -> None:
    """In one round nothing happened; in two it left and came."""
    directory = w.tenant.directory
    user, _ = people(w, 2)
    a_group(w, user)
    before = await run(w)
    directory.delete_user(user)
    if rounds == 2:
        before = await follow(w, before)
    directory.restore_user(user)
    now = await follow(w, before)
    assert operations(now, "users") == ({} if rounds == 1 else {user: "added"})
    await assert_same_as_full(w, now)


@pytest.mark.parametrize("rounds", [1, 2])
async def test_user_who_was_created_and_deleted(w: World, rounds: int) -> None:
    directory = w.tenant.directory
    people(w, 2)
    group = a_group(w)
    before = await run(w)
    (user,) = people(w, 1)
    directory.add_member(group, user)
    if rounds == 2:
        before = await follow(w, before)
    directory.delete_user(user)
    now = await follow(w, before)
    assert_no_dangling_edge(now)
    assert operations(now, "users") == ({} if rounds == 1 else {user: "removed"})
    directory.restore_user(user)
    back = await follow(w, now)
    assert back.by_id("users")[user]["groups"] == [group]


async def test_groups_deleted_and_restored(w: World) -> None:
    """With the groups in it and around it."""
    directory = w.tenant.directory
    one, two = people(w, 2)
    group = a_group(w, one, two, owners=(one,))
    around, inside = a_group(w), a_group(w, two)
    directory.add_member(around, group, "group")
    directory.add_member(group, inside, "group")
    before = await run(w)
    directory.delete_group(group)
    gone = await follow(w, before)
    assert_no_dangling_edge(gone)
    assert operations(gone, "groups") == {group: "removed", around: "updated"}
    assert gone.by_id("groups")[around]["member_count"] == 0
    assert gone.by_id("users")[one]["groups"] == gone.by_id("users")[one]["owned_groups"] == []
    directory.restore_group(group)
    back = await follow(w, gone)
    assert operations(back, "groups") == {group: "added", around: "updated"}
    assert back.datasets["memberships"] == before.datasets["memberships"]
    assert "reason" not in changes_of(gone, "groups")[group]
    await assert_same_as_full(w, back)


async def test_group_comes_back_without_the_member_that_left_before_its_deletion(w: World) -> None:
    """No round says that the edge is gone: the group is told as removed, later as a whole."""
    directory = w.tenant.directory
    stays, left = people(w, 2)
    group = a_group(w, stays, left)
    before = await run(w)
    directory.remove_member(group, left)
    directory.delete_group(group)
    gone = await follow(w, before)
    directory.restore_group(group)
    back = await follow(w, gone)
    assert back.edges() == {(group, "member", stays)}
    await assert_same_as_full(w, back)


async def test_restored_group_of_which_no_edge_is_told_has_those_that_were_kept(w: World) -> None:
    """Should Graph send only its properties."""
    directory = w.tenant.directory
    (user,) = people(w, 1)
    group = a_group(w, user)
    before = await run(w)
    directory.delete_group(group)
    gone = await follow(w, before)
    directory.restore_group(group)

    def without_edges(page: dict[str, list[dict[str, object]]], _: object) -> None:
        for one in page["value"]:
            one.pop("members@delta", None)

    w.tenant.faults.add(faults.edit(without_edges), "/groups/delta")
    back = await follow(w, gone)
    assert back.edges() == {(group, "member", user)}


async def test_group_that_is_gone_for_good(w: World) -> None:
    directory = w.tenant.directory
    (user,) = people(w, 1)
    group = directory.add_group({})
    directory.add_member(group, user)
    directory.add_owner(group, user)
    before = await run(w)
    directory.delete_group(group)
    now = await follow(w, before)
    assert now.datasets["groups"] == now.datasets["memberships"] == []
    await assert_same_as_full(w, now)


async def test_members_that_are_no_users(w: World) -> None:
    directory = w.tenant.directory
    (user,) = people(w, 1)
    group, other = a_group(w), a_group(w)
    before = await run(w)
    things = {
        kind: directory.add_other(kind, {}) for kind in ("device", "servicePrincipal", "orgContact", "agent")
    }
    for kind, thing in things.items():
        directory.add_member(group, thing, kind)
    directory.add_member(group, user, None)  # untyped
    directory.add_member(group, group, "group")
    directory.add_member(group, other, "group")
    directory.add_owner(group, things["servicePrincipal"], "servicePrincipal")
    now = await follow(w, before)
    kinds = {e["member_id"]: e["member_type"] for e in now.datasets["memberships"]}
    assert kinds[user] == "user"
    assert kinds[things["agent"]] == "unknown"
    assert now.by_id("groups")[group]["member_count"] == 7
    for kind, thing in things.items():
        directory.remove_member(group, thing)
        assert kind in things
    later = await follow(w, now)
    assert later.by_id("groups")[group]["member_count"] == 3
    await assert_same_as_full(w, later)


async def test_edge_that_comes_and_goes_in_any_order(w: World) -> None:
    directory = w.tenant.directory
    one, two = people(w, 2)
    group = a_group(w, one)
    before = await run(w)
    directory.add_member(group, two)
    directory.remove_member(group, two)
    directory.remove_member(group, one)
    directory.add_member(group, one)
    now = await follow(w, before)
    assert now.changes == []
    await assert_same_as_full(w, now)


async def test_pages_that_come_twice(w: World) -> None:
    directory = w.tenant.directory
    users = people(w, 9)
    group = a_group(w, *users[:3])
    w.tenant.delta_page_objects, w.tenant.delta_page_links = 2, 2
    w.tenant.delta_replay_every, w.tenant.delta_scatter = 1, True
    before = await run(w)
    for user in users[:3]:
        directory.remove_member(group, user)
    for user in users[3:]:
        directory.add_member(group, user)
    directory.delete_user(users[0])
    directory.update_user(users[1], {"city": "Oslo"})
    now = await follow(w, before)
    await assert_same_as_full(w, now)


async def test_user_who_left_and_came_back_on_one_chain(w: World) -> None:
    """A tombstone and the whole object, in both orders; the last word counts."""
    directory = w.tenant.directory
    first, second = people(w, 2)
    before = await run(w)
    directory.update_user(first, {"city": "Oslo"})
    directory.delete_user(second)

    def both(page: dict[str, list[dict[str, object]]], _: object) -> None:
        gone: dict[str, object] = {"id": first, "@removed": {"reason": "changed"}}
        lively: dict[str, object] = {"id": second, "displayName": "For a moment"}
        page["value"] = [gone, lively, *page["value"]]

    w.tenant.faults.add(faults.edit(both), "/users/delta")
    now = await follow(w, before)
    assert changes_of(now, "users")[second]["reason"] == "soft_deleted"
    assert set(now.by_id("users")) == {first}


async def test_everybody_leaves_and_returns(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=30, seed=41))
    directory = tenant.directory
    async with quick_world(tenant, account, bucket_rows=8, SYNC_MAX_REMOVAL_PERCENT="100") as w:
        first = await run(w)
        everybody = list(directory.users)
        for user in everybody:
            directory.delete_user(user)
        empty = await follow(w, first)
        assert empty.datasets["users"] == []
        assert not any(e["member_type"] == "user" for e in empty.datasets["memberships"])
        for user in everybody:
            directory.restore_user(user)
        back = await follow(w, empty, hours=7)  # what is known of authentication went with them
        assert back.datasets["memberships"] == first.datasets["memberships"]
        await assert_same_as_full(w, back)
