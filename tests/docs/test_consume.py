"""`docs/consume.md`: its code is run as it stands there, against what the sync publishes."""

import asyncio
import copy
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from sandbox.azurite import StorageAccount
from sandbox.tenant import Tenant, churn, generate
from tests.directory.expected import next_run, state_of
from tests.support.world import Snapshot, World, world

PAGE = Path(__file__).parents[2] / "docs" / "consume.md"
USERS = 120
BUCKET_ROWS = 64

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


def sample_event() -> Any:
    (block,) = blocks("json")
    (event,) = json.loads(block)
    return event


@contextmanager
def container_of(account: StorageAccount) -> Iterator[ContainerClient]:
    """What the page gets from a token, here by connection string."""
    with ContainerClient.from_connection_string(account.connection_string, "directory") as container:
        yield container


def run_page(container: ContainerClient) -> dict[str, Any]:
    """All blocks, one after the other; the names that they leave."""
    names: dict[str, Any] = {"__name__": "consume"}
    for number, block in enumerate(blocks("python")):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
        if "DefaultAzureCredential(" in block:
            assert names["container"].url == "https://contoso.blob.core.windows.net/directory"
            names["container"].close()
            names["container"] = container
    return names


@pytest.fixture
def tenant() -> Tenant:
    tenant = Tenant(generate(users=USERS, seed=5))
    directory = tenant.directory
    for user, registration in list(directory.registrations.items())[:10]:
        registration |= {"isAdmin": True, "isMfaRegistered": False}
        directory.update_user(user, {"accountEnabled": user[0] not in "0123"})
    return tenant


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Parts of several gzip members, as those of a large tenant; and a folder to download to."""
    monkeypatch.setattr("shared.directory.cutting.SEGMENT_ROWS", 8)
    monkeypatch.chdir(tmp_path)


def members_of(stored: bytes) -> int:
    count = 0
    while stored:
        member = zlib.decompressobj(31)
        member.decompress(stored)
        stored = member.unused_data
        count += 1
    return count


async def test_page_runs_as_it_stands(tenant: Tenant, account: StorageAccount, tmp_path: Path) -> None:
    async with world(tenant, account, bucket_rows=BUCKET_ROWS) as w:
        snapshot = await next_run(w)
    with container_of(account) as container:
        names = await asyncio.to_thread(run_page, container)

    assert len(snapshot.manifest["datasets"]["users"]["parts"]) > 1
    assert names["users"] == snapshot.by_id("users")
    known = [user for user in snapshot.datasets["users"] if "authentication" in user]
    assert 0 < len(known) < USERS
    without = sorted(one["display_name"] for one in known if not one["authentication"]["is_mfa_registered"])
    assert sorted(names["without_mfa"]) == without
    assert names["how"] == "snapshot"
    assert names["copy"].records == state_of(snapshot)

    admins = [
        (user["user_principal_name"], user.get("last_password_change_at"))
        for user in known
        if user["account_enabled"]
        and user["authentication"]["is_admin"]
        and not user["authentication"]["is_mfa_registered"]
    ]
    assert 0 < len(admins) < 10
    assert names["admins"] == sorted(admins)
    assert names["members"] == [(one,) for one in sorted(nested(snapshot, names["group"]["id"]))]
    files = list((tmp_path / "snapshot" / "parts" / "users").iterdir())
    assert all(members_of(file.read_bytes()) > 1 for file in files)


def nested(snapshot: Snapshot, group_id: str) -> set[str]:
    """Users in the group, or in a group in it."""
    found, waiting, seen = set(), [group_id], {group_id}
    while waiting:
        inner = waiting.pop()
        for edge in snapshot.datasets["memberships"]:
            if edge["group_id"] != inner or edge["relation"] != "member":
                continue
            if edge["member_type"] == "user":
                found.add(edge["member_id"])
            elif edge["member_id"] not in seen:
                seen.add(edge["member_id"])
                waiting.append(edge["member_id"])
    return found


async def test_duckdb_reads_every_member_of_every_part(tenant: Tenant, account: StorageAccount) -> None:
    """And finds the members of all groups, in groups in groups too."""
    async with world(tenant, account, bucket_rows=BUCKET_ROWS) as w:
        groups = list(tenant.directory.groups)
        for inner, outer in pairwise(groups[:10]):
            tenant.directory.add_member(outer, inner, "group")
        snapshot = await next_run(w)

    def ask(container: ContainerClient) -> None:
        names = run_page(container)
        duckdb, folder, manifest = names["duckdb"], names["folder"], names["manifest"]
        for dataset in ("users", "groups", "memberships", "ocsf-users", "ocsf-groups"):
            files = names["download"](container, manifest, dataset, folder)
            query = "SELECT count(*) FROM read_json(?, format = 'newline_delimited')"
            assert duckdb.execute(query, [files]).fetchall() == [(manifest["datasets"][dataset]["rows"],)]
        files = names["download"](container, manifest, "memberships", folder)
        for group in groups[:10]:
            found = duckdb.execute(names["MEMBERS_WITH_NESTED_GROUPS"], [files, group]).fetchall()
            assert {member for (member,) in found} == nested(snapshot, group)

    with container_of(account) as container:
        await asyncio.to_thread(ask, container)


async def test_field_that_nobody_has_is_null(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=30, seed=6))
    async with world(tenant, account, DIRECTORY_DATASETS="users,groups,memberships") as w:
        snapshot = await next_run(w)
    with container_of(account) as container:
        names = await asyncio.to_thread(run_page, container)
    assert not any("authentication" in user for user in snapshot.datasets["users"])
    assert names["admins"] == names["without_mfa"] == []


async def changed_run(w: World, day: int, *, full: bool = False) -> Snapshot:
    churn(w.tenant.directory, seed=day, count=20)
    return await next_run(w, full=full)


async def test_copy_follows_the_changes(tenant: Tenant, account: StorageAccount) -> None:
    async with world(tenant, account, bucket_rows=BUCKET_ROWS) as w:
        await next_run(w)
        with container_of(account) as container:
            names = await asyncio.to_thread(run_page, container)
            catch_up: Callable[..., str] = names["catch_up"]
            ours = names["copy"]
            assert catch_up(container, ours) == "nothing"
            for runs in (1, 3):
                for day in range(runs):
                    snapshot = await changed_run(w, day)
                    assert snapshot.manifest["kind"] == "incremental"
                assert catch_up(container, ours) == "changes"
                assert ours.records == state_of(snapshot)
                assert ours.run_id == snapshot.pointer["run_id"]
            snapshot = await changed_run(w, 9, full=True)
            assert snapshot.manifest["kind"] == "full"
            assert catch_up(container, ours) == "changes"
            assert ours.records == state_of(snapshot)


@pytest.mark.parametrize("gone", ["manifest", "changes", "history", "run"])
async def test_copy_is_read_anew_where_the_way_back_is_broken(
    tenant: Tenant, account: StorageAccount, gone: str
) -> None:
    async with world(tenant, account, bucket_rows=BUCKET_ROWS) as w:
        await next_run(w)
        with container_of(account) as container:
            names = await asyncio.to_thread(run_page, container)
            ours = names["copy"]
            between = await changed_run(w, 1)
            run_id = between.pointer["run_id"]
            if gone == "history":
                await w.sync.state.forget(run_id)
            snapshot = await changed_run(w, 2)
            assert ("previous_run_id" in snapshot.manifest) == (gone != "history")
            if gone == "manifest":
                container.delete_blob(f"runs/{run_id}/manifest.json")
            elif gone == "changes":
                container.delete_blob(between.manifest["changes"]["parts"][0]["path"])
            elif gone == "run":
                ours.run_id = "20260101T000000Z-000000"
            assert names["catch_up"](container, ours) == "snapshot"
            assert ours.records == state_of(snapshot)
            assert ours.run_id == snapshot.pointer["run_id"]


async def test_what_was_tampered_with_is_not_read(
    tenant: Tenant, account: StorageAccount, tmp_path: Path
) -> None:
    async with world(tenant, account, bucket_rows=BUCKET_ROWS) as w:
        await next_run(w)
    with container_of(account) as container:
        names = await asyncio.to_thread(run_page, container)
        manifest = names["manifest"]
        part = manifest["datasets"]["users"]["parts"][0]
        content = container.download_blob(part["path"]).readall()
        container.upload_blob(part["path"], content[:-1], overwrite=True)

        with pytest.raises(ValueError, match="is not what the manifest says"):
            list(names["read_dataset"](container, manifest, "users"))
        elsewhere = tmp_path / "elsewhere"
        with pytest.raises(ValueError, match="is not what the manifest says"):
            names["download"](container, manifest, "users", elsewhere)
        assert not list(elsewhere.rglob("*.gz"))

        # As a reader that knows only one member of a file would see it.
        first = zlib.decompressobj(31)
        first.decompress(content)
        alone = content[: len(content) - len(first.unused_data)]
        container.upload_blob(part["path"], alone, overwrite=True)
        part = part | {"sha256": hashlib.sha256(alone).hexdigest()}
        with pytest.raises(ValueError, match="was not read to its end"):
            names["read_part"](container, part)


async def test_events_are_reacted_to_once(tenant: Tenant, account: StorageAccount) -> None:
    async with world(tenant, account, bucket_rows=BUCKET_ROWS) as w:
        await next_run(w)
        with container_of(account) as container:
            names = await asyncio.to_thread(run_page, container)
            react, ours, nowhere = names["react"], names["copy"], None
            first = sample_event()
            assert first["subject"] == names["POINTER"]
            assert react(container, ours, [first]) == "nothing"  # what it announces was read already
            assert ours.sequencer == first["data"]["sequencer"]

            # None of these is a reason to look at the storage.
            later = copy.deepcopy(first)
            later["data"]["sequencer"] = "00000000000004420000000000028964"
            deleted = later | {"eventType": "Microsoft.Storage.BlobDeleted"}
            other = later | {"subject": first["subject"].replace("current.json", "runs/1/manifest.json")}
            for events in ([], [first], [first, first], [deleted], [deleted, other, first]):
                assert react(nowhere, ours, events) == "nothing"

            snapshot = await changed_run(w, 1)
            assert react(container, ours, [other, later, first, later]) == "changes"
            assert ours.records == state_of(snapshot)
            assert react(nowhere, ours, [later]) == react(nowhere, ours, [first]) == "nothing"


def test_event_is_one_of_the_pointer() -> None:
    """The filters of the subscription let it through."""
    prefix, suffix = re.findall(r"^subject (?:begins|ends) with +(\S+)$", PAGE.read_text(), re.M)
    subject = sample_event()["subject"]
    assert subject.startswith(prefix)
    assert subject.endswith(suffix)
