"""Authentication and sign-ins have a cadence of their own: no delta tells of them."""

from collections.abc import AsyncIterator

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import CLIENT_ID, Directory, Tenant, faults, generate
from tests.directory.expected import expected_sign_in
from tests.incremental.support import (
    assert_changes_lead,
    assert_holds,
    changes_of,
    quick_world,
    run,
)
from tests.support.world import Snapshot, World

REPORT = "userRegistrationDetails"
SIGN_INS = "signInActivity"


@pytest.fixture
async def w(account: StorageAccount) -> AsyncIterator[World]:
    tenant = Tenant(generate(users=24, seed=61))
    options = {"DIRECTORY_DATASETS": "users,groups,memberships,authentication,sign-in"}
    async with quick_world(tenant, account, bucket_rows=8, **options) as started:
        yield started


def asked(w: World, path: str) -> int:
    return len(w.tenant.requests_to(path))


def manifest_of(snapshot: Snapshot, dataset: str) -> dict[str, object]:
    return dict(snapshot.manifest["datasets"][dataset])


async def test_each_is_read_when_it_is_due(w: World) -> None:
    snapshot = await run(w)
    reads = []
    for _ in range(9):
        before = asked(w, REPORT), asked(w, SIGN_INS)
        snapshot = await run(w, hours=3, validate=False)
        reads.append((asked(w, REPORT) > before[0], asked(w, SIGN_INS) > before[1]))
    assert [report for report, _ in reads] == [False, True] * 4 + [False]
    assert [number for number, (_, sign_ins) in enumerate(reads) if sign_ins] == [7]
    assert snapshot.manifest["datasets"]["authentication"]["status"] == "complete"


async def test_values_and_their_time_stay_until_then(w: World) -> None:
    directory = w.tenant.directory
    before = await run(w)
    user = next(user for user in directory.users if user in directory.registrations)
    row = directory.registrations[user]
    directory.registrations[user] = row | {"isMfaRegistered": not row["isMfaRegistered"]}
    now = await run(w)
    assert now.changes == []
    assert manifest_of(now, "authentication") == manifest_of(before, "authentication")
    assert manifest_of(now, "sign-in") == manifest_of(before, "sign-in")
    directory.update_user(user, {"city": "Oslo"})
    told = await run(w)
    assert told.by_id("users")[user]["authentication"] == before.by_id("users")[user]["authentication"]
    assert told.by_id("users")[user].get("sign_in") == before.by_id("users")[user].get("sign_in")


async def test_change_of_authentication_alone_is_an_update(w: World) -> None:
    directory = w.tenant.directory
    before = await run(w)
    changed, left, unchanged = [user for user in sorted(directory.users) if user in directory.registrations][
        :3
    ]
    row = directory.registrations[changed]
    directory.registrations[changed] = row | {"isMfaRegistered": not row["isMfaRegistered"]}
    del directory.registrations[left]
    now = await run(w, hours=7)
    assert_changes_lead(before, now)
    assert {user: change["operation"] for user, change in changes_of(now, "users").items()} == {
        changed: "updated",
        left: "updated",
    }
    users = now.by_id("users")
    assert "authentication" not in users[left]
    assert users[changed]["changed_at"] == now.manifest["started_at"] != users[unchanged]["changed_at"]
    as_of = now.manifest["datasets"]["authentication"]["as_of"]
    assert as_of >= now.manifest["started_at"]
    count = sum("authentication" in user for user in now.datasets["users"])
    assert now.manifest["datasets"]["authentication"]["rows"] == count


async def test_change_of_a_sign_in_alone_is_an_update(w: World) -> None:
    directory = w.tenant.directory
    before = await run(w)
    user = sorted(directory.users)[0]
    directory.sign_ins[user] = {"lastSignInDateTime": "2026-11-20T10:00:00Z"}
    now = await run(w, hours=25)
    assert_changes_lead(before, now)
    assert set(changes_of(now, "users")) == {user}
    assert now.by_id("users")[user]["sign_in"] == expected_sign_in(directory.sign_ins[user])


async def test_rows_are_counted_on_when_nothing_is_read(w: World) -> None:
    """Users come and go; the number of those with values follows."""
    directory = w.tenant.directory
    await run(w)
    covered = [user for user in sorted(directory.users) if user in directory.registrations][:3]
    for user in covered:
        directory.delete_user(user)
    now = await run(w)
    for dataset, field in (("authentication", "authentication"), ("sign-in", "sign_in")):
        count = sum(field in user for user in now.datasets["users"])
        assert now.manifest["datasets"][dataset]["rows"] == count


@pytest.mark.parametrize(("dataset", "field"), [("authentication", "authentication"), ("sign-in", "sign_in")])
async def test_what_becomes_unavailable_vanishes_once(w: World, dataset: str, field: str) -> None:
    """It is asked for again every time, and is back when it is granted."""
    directory = w.tenant.directory
    before = await run(w)
    had = {user["id"] for user in before.datasets["users"] if field in user}
    client = w.tenant.clients[CLIENT_ID]
    permissions = set(client.permissions)
    client.permissions -= {"AuditLog.Read.All", "UserAuthenticationMethod.Read.All"}
    gone = await run(w, hours=25)
    assert_changes_lead(before, gone)
    entry = manifest_of(gone, dataset)
    assert (entry["status"], entry["reason"], entry["rows"]) == ("unavailable", "permission", 0)
    assert not any(field in user for user in gone.datasets["users"])
    assert set(changes_of(gone, "users")) >= had
    still = await run(w)
    assert still.changes == []
    assert manifest_of(still, dataset)["status"] == "unavailable"
    directory.update_user(sorted(directory.users)[0], {"city": "Oslo"})
    client.permissions |= permissions
    w.tenant.faults.clear()
    back = await run(w)
    assert_changes_lead(still, back)
    assert {user["id"] for user in back.datasets["users"] if field in user} == had
    assert manifest_of(back, dataset)["status"] == "complete"


async def test_unavailable_while_it_is_not_due_is_not_noticed(w: World) -> None:
    before = await run(w)
    w.tenant.faults.add(faults.respond(403, code="Authorization_RequestDenied"), REPORT, times=None)
    now = await run(w)
    assert now.changes == []
    assert manifest_of(now, "authentication") == manifest_of(before, "authentication")


# --- the users' own methods ---------------------------------------------------------------------------------


@pytest.fixture
async def by_user(account: StorageAccount, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """No report; a budget of four users a run, in one bucket."""
    monkeypatch.setattr("shared.directory.collectors.authentication.METHODS_BUDGET", 4)
    directory = Directory()
    for number in range(10):
        user = directory.add_user({"id": f"{number}0000000-0000-4000-8000-000000000000"})
        directory.methods[user] = [
            {"@odata.type": "#microsoft.graph.fido2AuthenticationMethod", "id": "1"},
        ]
    tenant = Tenant(directory)
    tenant.clients[CLIENT_ID].permissions.discard("AuditLog.Read.All")
    tenant.clients[CLIENT_ID].permissions.add("UserAuthenticationMethod.Read.All")
    async with quick_world(tenant, account, bucket_rows=64) as started:
        yield started


def known(snapshot: Snapshot) -> set[str]:
    return {user["id"][0] for user in snapshot.datasets["users"] if "authentication" in user}


def read_now(snapshot: Snapshot) -> set[str]:
    return {
        user["id"][0]
        for user in snapshot.datasets["users"]
        if user.get("authentication", {}).get("as_of") == snapshot.manifest["started_at"]
    }


async def test_budget_goes_round(by_user: World) -> None:
    """Those of whom nothing is known, then the oldest knowledge."""
    w = by_user
    first = await run(w)
    assert known(first) == set("0123")
    second = await run(w)
    assert second.manifest["kind"] == "incremental"
    assert_changes_lead(first, second)
    assert known(second) == set("01234567")
    third = await run(w)
    assert known(third) == set("0123456789")
    assert read_now(third) == set("8901")
    fourth = await run(w)
    assert read_now(fourth) == set("2345")


async def test_new_and_changed_users_come_first(by_user: World) -> None:
    w = by_user
    directory = w.tenant.directory
    await run(w)
    directory.update_user("10000000-0000-4000-8000-000000000000", {"city": "Oslo"})
    directory.update_user("90000000-0000-4000-8000-000000000000", {"city": "Oslo"})
    new = directory.add_user({"id": "f0000000-0000-4000-8000-000000000000"})
    directory.methods[new] = []
    now = await run(w)
    assert read_now(now) >= set("19f")
    assert now.by_id("users")[new]["authentication"]["is_mfa_registered"] is False


async def test_knowledge_goes_with_the_user(by_user: World) -> None:
    w = by_user
    directory = w.tenant.directory
    first = await run(w)
    user = sorted(directory.users)[0]
    directory.delete_user(user)
    second = await run(w)
    assert known(second) == set("1234567")
    assert_changes_lead(first, second)


async def test_report_that_is_granted_later(by_user: World) -> None:
    """It replaces what the methods said, of everybody."""
    w = by_user
    before = await run(w)
    directory = w.tenant.directory
    w.tenant.clients[CLIENT_ID].permissions.add("AuditLog.Read.All")
    now = await run(w, full=True)
    assert_changes_lead(before, now)
    assert_holds(now, directory)


async def test_full_run_keeps_what_the_methods_said(by_user: World) -> None:
    w = by_user
    before = await run(w)
    now = await run(w, full=True)
    assert known(now) == set("01234567")
    assert_changes_lead(before, now)
    assert now.manifest["drift"] == {"users": 0, "groups": 0, "memberships": 0}


async def test_full_run_says_the_same(w: World) -> None:
    before = await run(w)
    w.tenant.directory.update_user(sorted(w.tenant.directory.users)[0], {"city": "Oslo"})
    now = await run(w)
    assert_changes_lead(before, now)
    full = await run(w, full=True, hours=0)
    assert full.changes == []
    assert full.datasets == now.datasets
