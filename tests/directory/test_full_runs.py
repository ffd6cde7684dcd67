"""A full run against a simulated tenant: what is published is what the tenant holds."""

import gzip
import hashlib
import json

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import Directory, Tenant, generate
from tests.directory.expected import (
    Row,
    assert_equals_tenant,
    assert_sorted,
    left_behind,
    whole_second,
)
from tests.support.world import World, world


async def stored_parts(of: World) -> dict[str, list[list[Row]]]:
    """Every part of the current snapshot, by dataset, with its digest, size and rows checked."""
    output = of.sync.output
    pointer = json.loads(await output.read("current.json") or b"")
    manifest = json.loads(await output.read(pointer["manifest"]) or b"")
    entries = {name: entry["parts"] for name, entry in manifest["datasets"].items()}
    entries["changes"] = manifest.get("changes", {}).get("parts", [])
    found: dict[str, list[list[Row]]] = {}
    for dataset, parts in entries.items():
        for part in parts:
            stored = await output.read(part["path"])
            assert stored is not None, part["path"]
            assert hashlib.sha256(stored).hexdigest() == part["sha256"]
            assert len(stored) == part["bytes"]
            lines = gzip.decompress(stored).decode().removesuffix("\n").split("\n")
            assert len(lines) == part["rows"]
            found.setdefault(dataset, []).append([json.loads(line) for line in lines])
    return found


async def test_snapshot_equals_the_tenant(account: StorageAccount) -> None:
    """Several buckets, pages that Graph cuts as it likes, replays, and edges to deleted users."""
    tenant = Tenant(generate(users=150, seed=11))
    tenant.list_page_objects, tenant.delta_page_objects, tenant.delta_page_links = 40, 40, 60
    tenant.delta_scatter = tenant.delta_removed_on_first_pass = True
    tenant.delta_empty_page_every, tenant.delta_replay_every = 3, 4
    async with world(tenant, account, bucket_rows=32, DIRECTORY_FORMATS="ocsf,sekoia") as w:
        started = w.clock.moment
        run_id = await w.run()
        snapshot = await w.snapshot()
        assert_equals_tenant(snapshot, tenant.directory)
        assert_sorted(snapshot, await stored_parts(w))
        names = [name async for name in w.sync.state.container.names("")]
    manifest = snapshot.manifest
    assert (manifest["kind"], manifest["sequence"], manifest["buckets"]) == ("full", 1, 8)
    assert not {"previous_run_id", "changes"} & manifest.keys()
    assert {name: entry["status"] for name, entry in manifest["datasets"].items()} == dict.fromkeys(
        (
            "users",
            "groups",
            "memberships",
            "authentication",
            "ocsf-users",
            "ocsf-groups",
            "sekoia-users",
        ),
        "complete",
    )
    assert manifest["datasets"]["authentication"]["rows"] == sum(
        1 for user in snapshot.datasets["users"] if "authentication" in user
    )
    stamps = {row["changed_at"] for name in ("users", "groups") for row in snapshot.datasets[name]}
    assert stamps == {whole_second(started)}
    uids = {row["user"]["uid"] for row in snapshot.datasets["ocsf-users"]}
    assert uids == {row["user"]["uid"] for row in snapshot.datasets["sekoia-users"]}
    assert uids == set(tenant.directory.users)
    assert {row["resources"][0]["uid"] for row in snapshot.datasets["ocsf-groups"]} == set(
        tenant.directory.groups
    )
    assert run_id == snapshot.pointer["run_id"]
    assert f"published/{run_id}.json" in names


async def test_published_run_leaves_only_what_the_next_one_needs(account: StorageAccount) -> None:
    async with world(Tenant(generate(users=20, seed=1)), account) as w:
        run_id = await w.run()
        names = [name async for name in w.sync.state.container.names("")]
        published = await w.sync.state.published(run_id)
    assert published is not None
    assert left_behind(names, published) == set()


async def test_usage_of_graph_is_what_graph_counted(account: StorageAccount) -> None:
    """But for the two counts that only size the buckets."""
    tenant = Tenant(generate(users=60, seed=2))
    async with world(tenant, account) as w:
        await w.run()
        usage = (await w.snapshot()).manifest["graph"]
    counts = tenant.requests_to(r"/\$count")
    assert usage["requests"] == len(tenant.requests) - len(counts)
    assert usage["resource_units"] == tenant.resource_units - sum(one.resource_units for one in counts)
    assert (usage["throttled"], usage["retried"]) == (0, 0)


@pytest.mark.parametrize(
    ("formats", "datasets"),
    [
        ("", set()),
        ("ocsf", {"ocsf-users", "ocsf-groups"}),
        ("sekoia", {"sekoia-users"}),
        ("sekoia,ocsf", {"ocsf-users", "ocsf-groups", "sekoia-users"}),
    ],
)
async def test_formats_that_are_asked_for_are_written(
    account: StorageAccount, formats: str, datasets: set[str]
) -> None:
    tenant = Tenant(generate(users=12, seed=3))
    async with world(tenant, account, DIRECTORY_FORMATS=formats) as w:
        await w.run()
        snapshot = await w.snapshot()
    plain = {"users", "groups", "memberships", "authentication"}
    assert set(snapshot.datasets) == plain | datasets
    for dataset in datasets:
        assert len(snapshot.datasets[dataset]) == len(
            tenant.directory.groups if dataset == "ocsf-groups" else tenant.directory.users
        )


async def test_empty_tenant(account: StorageAccount) -> None:
    async with world(Tenant(Directory()), account) as w:
        await w.run()
        first = await w.snapshot()
        await w.run()
        second = await w.snapshot()
        await w.run_full()
        third = await w.snapshot()
    for snapshot in (first, second, third):
        assert {
            name: entry["rows"] for name, entry in snapshot.manifest["datasets"].items()
        } == dict.fromkeys(
            ("users", "groups", "memberships", "authentication", "ocsf-users", "ocsf-groups"), 0
        )
        assert all(not entry["parts"] for entry in snapshot.manifest["datasets"].values())
    for snapshot in (second, third):
        assert snapshot.manifest["changes"] == {
            "datasets": {
                name: {"added": 0, "updated": 0, "removed": 0} for name in ("users", "groups", "memberships")
            },
            "parts": [],
        }
    assert [one.manifest["kind"] for one in (first, second, third)] == ["full", "incremental", "full"]


async def test_user_and_group_with_no_optional_value(account: StorageAccount) -> None:
    directory = Directory()
    bare = {"businessPhones": None, "displayName": None, "accountEnabled": None, "userType": None}
    user = directory.add_user(bare | {"createdDateTime": None, "userPrincipalName": "a@contoso.com"})
    group = directory.add_group({"displayName": None, "groupTypes": [], "createdDateTime": None})
    async with world(Tenant(directory), account, DIRECTORY_FORMATS="ocsf,sekoia") as w:
        await w.run()
        snapshot = await w.snapshot()
    (row,) = snapshot.datasets["users"]
    assert set(row) == {"id", "user_principal_name", "groups", "owned_groups", "changed_at"}
    assert (row["id"], row["groups"], row["owned_groups"]) == (user, [], [])
    (row,) = snapshot.datasets["groups"]
    assert row["id"] == group
    assert (row["member_count"], row["owner_count"]) == (0, 0)
    assert "display_name" not in row
    assert len(snapshot.datasets["ocsf-users"]) == len(snapshot.datasets["sekoia-users"]) == 1


async def test_members_of_every_kind(account: StorageAccount) -> None:
    """Untyped and unknown ones, a cycle, a group in itself, a deleted user, a deleted group."""
    directory = Directory()
    user, deleted = (directory.add_user({}) for _ in range(2))
    one, other, gone = (directory.add_group({"groupTypes": ["Unified"]}) for _ in range(3))
    for kind in ("device", "servicePrincipal", "orgContact"):
        directory.add_member(one, directory.add_other(kind, {}), kind)
    directory.add_member(one, user, None)
    directory.add_member(one, directory.add_other("agent", {}), "agent")
    directory.add_member(one, other, "group")
    directory.add_member(one, one, "group")
    directory.add_member(other, one, "group")
    directory.add_member(other, gone, "group")
    directory.add_member(gone, user)
    directory.add_member(other, deleted)
    directory.add_owner(other, deleted)
    directory.add_owner(other, user)
    directory.delete_user(deleted)
    directory.delete_group(gone)
    async with world(Tenant(directory), account, bucket_rows=1) as w:
        await w.run()
        snapshot = await w.snapshot()
    assert_equals_tenant(snapshot, directory)
    groups = snapshot.by_id("groups")
    assert (groups[one]["member_count"], groups[other]["member_count"]) == (7, 1)
    assert groups[other]["owner_count"] == 1
    assert snapshot.by_id("users")[user]["groups"] == [one]


async def test_group_with_ten_thousand_members(account: StorageAccount) -> None:
    """Its edges come on twenty pages and more, and lie in many buckets."""
    directory = Directory()
    group = directory.add_group({"displayName": "Everybody"})
    for number in range(10_000):
        user = directory.add_user({"id": f"00000000-0000-4000-8000-{number:012}"})
        directory.add_member(group, user)
    tenant = Tenant(directory)
    tenant.delta_page_objects = 999
    async with world(tenant, account, bucket_rows=4096, DIRECTORY_FORMATS="") as w:
        await w.run()
        snapshot = await w.snapshot(validate=False)
    assert len(tenant.requests_to("/groups/delta")) >= 20
    assert snapshot.datasets["groups"][0]["member_count"] == 10_000
    assert snapshot.manifest["buckets"] == 4
    assert snapshot.edges() == {(group, "member", user) for user in directory.users}
    assert all(user["groups"] == [group] for user in snapshot.datasets["users"])
