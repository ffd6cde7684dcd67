"""An incremental run costs what changed: requests, buckets, segments, bytes."""

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import Directory, Tenant, churn, faults, generate
from shared.directory.cutting import SEGMENT_ROWS
from shared.directory.schedule import REFRESH_EVERY
from shared.snapshots.shuffle import Cut
from shared.snapshots.state import Published
from tests.incremental.support import (
    RENDERINGS,
    assert_changes_lead,
    assert_same_as_full,
    changes_of,
    follow,
    parts_of,
    published,
    quick_world,
    requests_of_run,
    run,
)
from tests.support.world import World, world

OF_USERS = ("users", "ocsf-users", "sekoia-users")
OF_GROUPS = ("groups", "ocsf-groups")
ALL = (*OF_USERS, *OF_GROUPS, "memberships")


def new_buckets(before: Published, now: Published) -> dict[str, set[int]]:
    """The buckets of each dataset that have another part than before."""
    return {
        dataset: {number for number, part in enumerate(parts) if part != before.parts[dataset][number]}
        for dataset, parts in now.parts.items()
    }


async def changed_buckets(w: World, before: Published) -> dict[str, set[int]]:
    changed = new_buckets(before, await published(w))
    return {dataset: buckets for dataset, buckets in changed.items() if buckets}


async def member(w: World, kept: Published, dataset: str, bucket: int, segment: int) -> bytes:
    """A segment as it is stored."""
    part = kept.parts[dataset][bucket]
    assert part is not None
    start = sum(part.sizes[:segment])
    return await w.sync.output.read_range(part.ref.path, start, part.sizes[segment])


async def test_nothing_changed(account: StorageAccount) -> None:
    """The next number, the very same parts, two requests."""
    tenant = Tenant(generate(users=80, seed=31))
    async with world(tenant, account, bucket_rows=16, DIRECTORY_FORMATS=RENDERINGS) as w:
        first = await run(w)
        kept = await published(w)
        stored = {name async for name in w.sync.output.names("parts/")}
        asked = len(tenant.requests)
        second = await follow(w, first)
        requests = requests_of_run(w, asked)
        later = await published(w)
        assert {name async for name in w.sync.output.names("parts/")} == stored
    assert second.manifest["sequence"] == first.manifest["sequence"] + 1
    assert second.manifest["kind"] == "incremental"
    assert second.changes == []
    assert second.manifest["changes"]["parts"] == []
    for dataset in ALL:
        assert second.manifest["datasets"][dataset]["parts"] == first.manifest["datasets"][dataset]["parts"]
    assert second.datasets == first.datasets
    assert later.parts == kept.parts
    assert (later.hidden, later.edge_tables, later.labels) == (kept.hidden, kept.edge_tables, kept.labels)
    assert [path.split("?")[0] for path in sorted(requests)] == ["/v1.0/groups/delta", "/v1.0/users/delta"]
    assert second.manifest["graph"]["requests"] == 2


async def test_requests_are_the_pages(account: StorageAccount) -> None:
    """No count, no list, nothing twice: a request for each page that has changes."""
    directory = Directory()
    users = [directory.add_user({}) for _ in range(40)]
    group = directory.add_group({})
    tenant = Tenant(directory)
    tenant.delta_page_objects, tenant.delta_page_links = 10, 10
    async with quick_world(tenant, account) as w:
        before = await run(w)
        for user in users[:35]:
            directory.update_user(user, {"city": "Oslo"})
        for user in users[:25]:
            directory.add_member(group, user)
        asked = len(tenant.requests)
        now = await follow(w, before)
        requests = requests_of_run(w, asked)
    assert sum("/users/delta" in path for path in requests) == 4
    assert sum("/groups/delta" in path for path in requests) == 3
    assert len(requests) == 7 == now.manifest["graph"]["requests"]


async def test_one_user_changed(account: StorageAccount) -> None:
    """One bucket of users and of each rendering; no edge, no group."""
    tenant = Tenant(generate(users=100, seed=32))
    async with quick_world(tenant, account, bucket_rows=16, DIRECTORY_FORMATS=RENDERINGS) as w:
        before, kept = await run(w), await published(w)
        user = sorted(tenant.directory.users)[50]
        tenant.directory.update_user(user, {"jobTitle": "Something else"})
        now = await follow(w, before)
        assert await changed_buckets(w, kept) == {dataset: {kept.cut.bucket_of(user)} for dataset in OF_USERS}
        await assert_same_as_full(w, now)
    assert kept.cut.buckets == 8
    assert [change["id"] for change in now.changes] == [user]
    for dataset in OF_USERS:
        assert len(set(parts_of(now, dataset)) - set(parts_of(before, dataset))) == 1
        assert len(parts_of(now, dataset)) == len(parts_of(before, dataset))


async def test_new_member(account: StorageAccount) -> None:
    """The user's bucket, the edge's, the group's."""
    tenant = Tenant(generate(users=100, seed=33))
    directory = tenant.directory
    async with quick_world(tenant, account, bucket_rows=16, DIRECTORY_FORMATS=RENDERINGS) as w:
        before, kept = await run(w), await published(w)
        group = sorted(directory.groups)[3]
        user = next(user for user in sorted(directory.users) if user not in directory.members[group])
        directory.add_member(group, user)
        now = await follow(w, before)
        of_user, of_group = {kept.cut.bucket_of(user)}, {kept.group_cut.bucket_of(group)}
        assert await changed_buckets(w, kept) == {
            **dict.fromkeys((*OF_USERS, "memberships"), of_user),
            **dict.fromkeys(OF_GROUPS, of_group),
        }
        await assert_same_as_full(w, now)
    assert {(change["dataset"], change["id"]) for change in now.changes} == {
        ("users", user),
        ("groups", group),
        ("memberships", f"{group}|member|{user}"),
    }


async def test_renamed_group(account: StorageAccount) -> None:
    """The group, its rendering, and the renderings of its members that carry its name: no user, no edge."""
    directory = Directory()
    users = [directory.add_user({}) for _ in range(60)]
    groups = [directory.add_group({"displayName": f"Group {number}"}) for number in range(3)]
    for number, user in enumerate(users):
        directory.add_member(groups[number % 3], user)
    tenant = Tenant(directory)
    members = sorted(directory.members[groups[0]])[:3]
    for user in set(directory.members[groups[0]]) - set(members):
        directory.remove_member(groups[0], user)
    async with quick_world(tenant, account, bucket_rows=4, DIRECTORY_FORMATS=RENDERINGS) as w:
        before, kept = await run(w), await published(w)
        directory.update_group(groups[0], {"displayName": "Another name"})
        now = await follow(w, before)
        of_members = {kept.cut.bucket_of(user) for user in members}
        changed = await changed_buckets(w, kept)
        await assert_same_as_full(w, now)
    assert kept.cut.buckets == 16
    of_group = {kept.group_cut.bucket_of(groups[0])}
    assert changed == {
        **dict.fromkeys(("ocsf-users", "sekoia-users"), of_members),
        **dict.fromkeys(OF_GROUPS, of_group),
    }
    assert [(change["dataset"], change["id"]) for change in now.changes] == [("groups", groups[0])]
    named = [row for row in now.datasets["ocsf-users"] if "Another name" in str(row)]
    assert {row["user"]["uid"] for row in named} == set(members)


async def test_new_description_of_a_group_touches_no_user(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=60, seed=34))
    async with quick_world(tenant, account, bucket_rows=16, DIRECTORY_FORMATS=RENDERINGS) as w:
        before, kept = await run(w), await published(w)
        group = max(tenant.directory.members, key=lambda group: len(tenant.directory.members[group]))
        tenant.directory.update_group(group, {"description": "Something else"})
        await follow(w, before)
        assert (await changed_buckets(w, kept)).keys() <= set(OF_GROUPS)


async def test_segments_that_were_not_touched_are_the_same_bytes(
    account: StorageAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.directory.cutting.SEGMENT_ROWS", 8)
    tenant = Tenant(generate(users=120, seed=35))
    async with quick_world(tenant, account, bucket_rows=64, DIRECTORY_FORMATS=RENDERINGS) as w:
        before, kept = await run(w), await published(w)
        assert kept.cut == Cut(2, 8)
        user = sorted(tenant.directory.users)[5]
        segment = kept.cut.segment_of(user)
        tenant.directory.update_user(user, {"city": "Bergen"})
        await follow(w, before)
        later = await published(w)
        same = different = 0
        for dataset in OF_USERS:
            for bucket in range(kept.cut.buckets):
                for number in range(kept.cut.segments):
                    old = await member(w, kept, dataset, bucket, number)
                    new = await member(w, later, dataset, bucket, number)
                    touched = bucket * kept.cut.segments + number == segment
                    assert (old != new) == touched, (dataset, bucket, number)
                    same, different = same + (old == new), different + (old != new)
    assert (same, different) == (45, 3)
    assert SEGMENT_ROWS == 32


async def test_user_who_moves_between_groups_without_a_change(account: StorageAccount) -> None:
    """An edge that comes and goes between two runs changes nothing."""
    tenant = Tenant(generate(users=40, seed=36))
    directory = tenant.directory
    async with quick_world(tenant, account, bucket_rows=8) as w:
        before, kept = await run(w), await published(w)
        group = sorted(directory.groups)[0]
        user = next(user for user in sorted(directory.users) if user not in directory.members[group])
        directory.add_member(group, user)
        directory.remove_member(group, user)
        now = await follow(w, before)
        assert await changed_buckets(w, kept) == {}
    assert now.changes == []


async def test_parts_of_a_busy_day(account: StorageAccount) -> None:
    """Only what a change names has new parts."""
    tenant = Tenant(generate(users=100, seed=37))
    async with quick_world(tenant, account, bucket_rows=4, SYNC_MAX_REMOVAL_PERCENT="100") as w:
        before, kept = await run(w), await published(w)
        churn(tenant.directory, seed=1, count=8)
        now = await run(w)
        assert_changes_lead(before, now)
        changed = await changed_buckets(w, kept)
    named = {kept.cut.bucket_of(object_id) for object_id in changes_of(now, "users")}
    linked = {kept.cut.bucket_of(edge.split("|")[2]) for edge in changes_of(now, "memberships")}
    grouped = {kept.group_cut.bucket_of(object_id) for object_id in changes_of(now, "groups")}
    assert changed.get("users", set()) == named
    assert changed.get("memberships", set()) == linked
    assert changed.get("groups", set()) == grouped
    assert len(named) < kept.cut.buckets


async def test_authentication_is_not_read_before_it_is_due(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=20, seed=38))
    report = tenant.faults.add(faults.delay(0), "userRegistrationDetails", times=None)
    async with quick_world(tenant, account) as w:
        before = await run(w)
        read = report.hits
        for _ in range(3):
            before = await follow(w, before)
        assert report.hits == read
        await follow(w, before, hours=REFRESH_EVERY["authentication"].total_seconds() / 3600)
        assert report.hits > read
