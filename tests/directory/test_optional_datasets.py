"""Authentication and sign-in: published where they can be had; else a reason, and no field that claims."""

import logging
import re
from typing import Any

import pytest

import shared.directory.collectors.authentication as by_user
from sandbox.azurite import StorageAccount
from sandbox.tenant import CLIENT_ID, Directory, Tenant, faults, generate
from sandbox.tenant.authentication import reported
from tests.directory.expected import (
    assert_changes_lead,
    assert_equals_tenant,
    expected_users,
    next_run,
    unstamped,
)
from tests.directory.stores import restarted
from tests.support.events import events_in
from tests.support.world import Snapshot, world

PASSWORD = "#microsoft.graph.passwordAuthenticationMethod"


def revoke(tenant: Tenant, *permissions: str) -> None:
    tenant.clients[CLIENT_ID].permissions.difference_update(permissions)


def assert_unavailable(snapshot: Snapshot, dataset: str, reason: str, field: str) -> None:
    entry = snapshot.manifest["datasets"][dataset]
    assert (entry["status"], entry["reason"], entry["rows"], entry["parts"]) == ("unavailable", reason, 0, [])
    assert all(field not in user for user in snapshot.datasets["users"])


async def test_authentication_without_permission(
    account: StorageAccount, caplog: pytest.LogCaptureFixture
) -> None:
    tenant = Tenant(generate(users=20, seed=31))
    revoke(tenant, "AuditLog.Read.All", "UserAuthenticationMethod.Read.All")
    async with world(tenant, account) as w:
        await w.run()
        snapshot = await w.snapshot()
    assert_unavailable(snapshot, "authentication", "permission", "authentication")
    assert_equals_tenant(snapshot, tenant.directory, authentication=False)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    (event,) = events_in([record], "directory.dataset_unavailable")
    assert (event["dataset"], event["reason"]) == ("authentication", "permission")
    said = event["sentence"]
    assert "AuditLog.Read.All" in said
    assert "UserAuthenticationMethod.Read.All" in said


async def test_authentication_without_licence(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=20, seed=31))
    tenant.premium = False
    revoke(tenant, "UserAuthenticationMethod.Read.All")
    async with world(tenant, account) as w:
        await w.run()
        snapshot = await w.snapshot()
    assert_unavailable(snapshot, "authentication", "licence", "authentication")


async def test_authentication_under_throttling(account: StorageAccount) -> None:
    """Given up after a while, since users and groups are worth publishing without it."""
    tenant = Tenant(generate(users=20, seed=31))
    fault = tenant.faults.add(faults.throttle(120), "userRegistrationDetails", times=None)
    async with world(tenant, account) as w:
        await w.run()
        snapshot = await w.snapshot()
        slept = sum(w.clock.slept)
    assert_unavailable(snapshot, "authentication", "throttling", "authentication")
    assert snapshot.manifest["graph"]["throttled"] == fault.hits > 3
    assert slept < 1


async def test_authentication_in_a_spoilt_answer(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=20, seed=31))
    tenant.faults.add(
        faults.respond(200, body='{"value": [{"id": 5}]}'), "userRegistrationDetails", times=None
    )
    async with world(tenant, account) as w:
        await w.run()
        assert_unavailable(await w.snapshot(), "authentication", "invalid", "authentication")


async def test_authentication_comes_back_and_goes(account: StorageAccount) -> None:
    """Users gain and lose the field, and changes say so."""
    tenant = Tenant(generate(users=20, seed=31))
    async with world(tenant, account) as w:
        first = await next_run(w)
        fault = tenant.faults.add(faults.html(502), "userRegistrationDetails", times=None)
        second = await next_run(w, full=True)
        tenant.faults.rules.remove(fault)
        third = await next_run(w, full=True)
    assert_unavailable(second, "authentication", "unreachable", "authentication")
    assert_changes_lead(first, second)
    assert_changes_lead(second, third)
    assert unstamped(third.datasets["users"]) == unstamped(first.datasets["users"])


async def test_dataset_that_is_not_asked_for_is_not_read(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=20, seed=31))
    async with world(tenant, account, DIRECTORY_DATASETS="users,groups,memberships") as w:
        await w.run()
        snapshot = await w.snapshot()
    assert not {"authentication", "sign-in"} & snapshot.manifest["datasets"].keys()
    assert tenant.requests_to("userRegistrationDetails|/authentication/|signInActivity") == []
    assert_equals_tenant(snapshot, tenant.directory, authentication=False)


# --- each user's own methods ----------------------------------------------------------------------


def methods_of(tenant: Tenant, user: str) -> list[str]:
    """What the user has, told by the sandbox in the report's words, as far as types tell it."""
    names = {name for method in tenant.directory.methods.get(user, []) for name in reported(method)}
    # Which kind of app or key it is, the type of a method does not say.
    names.discard("microsoftAuthenticatorPasswordless")
    if "passKeyDeviceBoundAuthenticator" in names:
        names = names - {"passKeyDeviceBoundAuthenticator"} | {"fido2SecurityKey"}
    return sorted(names)


def asked_for(tenant: Tenant) -> list[str]:
    """The users whose methods were asked for, in order."""
    items = [item for record in tenant.requests for item in record.items]
    found = [re.search(r"/users/([^/]+)/authentication/methods", str(item)) for item in items]
    return [match[1] for match in found if match]


async def test_methods_of_each_user_where_the_report_needs_a_licence(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=45, seed=32))
    tenant.premium = False
    async with world(tenant, account, bucket_rows=16) as w:
        run_id = await w.run()
        snapshot = await w.snapshot()
        started = snapshot.manifest["started_at"]
    assert run_id
    assert snapshot.manifest["datasets"]["authentication"]["status"] == "complete"
    assert snapshot.manifest["datasets"]["authentication"]["rows"] == 45
    assert sorted(asked_for(tenant)) == sorted(tenant.directory.users)
    for user, row in snapshot.by_id("users").items():
        methods = methods_of(tenant, user)
        assert row["authentication"] == {
            "is_mfa_registered": bool(set(methods) - {"email", "temporaryAccessPass"}),
            "methods": methods,
            "source": "methods",
            "as_of": started,
        }


async def test_methods_within_a_budget_oldest_knowledge_first(
    account: StorageAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twenty users, eight a run; the rest keep what is known of them, and the unknown claim nothing."""
    monkeypatch.setattr(by_user, "METHODS_BUDGET", 8)
    tenant = Tenant(generate(users=20, seed=33))
    tenant.premium = False
    read: list[set[str]] = []
    known: dict[str, dict[str, Any]] = {}
    async with world(tenant, account, bucket_rows=1000) as w:
        for _ in range(4):
            tenant.requests.clear()
            snapshot = await next_run(w, full=True)
            read.append(set(asked_for(tenant)))
            assert len(read[-1]) == 8
            users = snapshot.by_id("users")
            for user, row in users.items():
                if user in read[-1]:
                    known[user] = row["authentication"]
                    assert known[user]["as_of"] == snapshot.manifest["started_at"]
                else:
                    assert row.get("authentication") == known.get(user)
            assert snapshot.manifest["datasets"]["authentication"]["rows"] == len(known)
    assert not read[0] & read[1]
    assert read[0] | read[1] | read[2] == set(tenant.directory.users)
    # The third run has four unknown users, then those of the first run; the fourth goes on there.
    assert read[2] - read[0] == set(tenant.directory.users) - read[0] - read[1]
    assert read[0] - read[2] <= read[3]


async def test_knowledge_is_carried_over_when_buckets_change(
    account: StorageAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = Tenant(generate(users=20, seed=33))
    tenant.premium = False
    async with world(tenant, account, bucket_rows=1000) as w:
        before = (await next_run(w)).by_id("users")
        monkeypatch.setattr(by_user, "METHODS_BUDGET", 1)
        w.sync = restarted(w.sync, bucket_rows=8)
        tenant.requests.clear()
        now = (await next_run(w, full=True)).by_id("users")
    asked = asked_for(tenant)
    assert 0 < len(asked) < 20
    for user, row in now.items():
        if user not in asked:
            assert row["authentication"] == before[user]["authentication"]


async def test_user_deleted_before_its_methods_were_read(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=10, seed=34))
    tenant.premium = False
    user = sorted(tenant.directory.users)[0]
    tenant.faults.add(
        faults.respond(404, code="Request_ResourceNotFound"), f"/users/{user}/auth", batched=True, times=None
    )
    async with world(tenant, account) as w:
        await w.run()
        users = (await w.snapshot()).by_id("users")
    assert "authentication" not in users[user]
    assert sum("authentication" in row for row in users.values()) == 9


async def test_user_with_a_password_only(account: StorageAccount) -> None:
    tenant = Tenant(Directory())
    tenant.premium = False
    user = tenant.directory.add_user({})
    tenant.directory.methods[user] = [{"@odata.type": PASSWORD, "id": "p"}]
    async with world(tenant, account) as w:
        await w.run()
        row = (await w.snapshot()).by_id("users")[user]
    assert (row["authentication"]["methods"], row["authentication"]["is_mfa_registered"]) == ([], False)


# --- sign-in --------------------------------------------------------------------------------------

WITH_SIGN_IN = "users,groups,memberships,authentication,sign-in"


async def test_sign_ins(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=60, seed=35))
    async with world(tenant, account, bucket_rows=16, DIRECTORY_DATASETS=WITH_SIGN_IN) as w:
        await w.run()
        snapshot = await w.snapshot()
    assert_equals_tenant(snapshot, tenant.directory, sign_in=True)
    entry = snapshot.manifest["datasets"]["sign-in"]
    expected = expected_users(tenant.directory, sign_in=True)
    assert entry["rows"] == sum("sign_in" in user for user in expected.values()) > 0
    assert (entry["status"], entry["parts"]) == ("complete", [])


async def test_sign_ins_in_small_pages_where_the_tenant_takes_no_others(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=130, seed=35))
    refusal = faults.respond(400, code="Request_BadRequest", message="$top is too large.")
    tenant.faults.add(refusal, r"signInActivity.*top=500|top=500.*signInActivity", times=None)
    async with world(tenant, account, DIRECTORY_DATASETS=WITH_SIGN_IN) as w:
        await w.run()
        snapshot = await w.snapshot()
    assert_equals_tenant(snapshot, tenant.directory, sign_in=True)
    assert len([r for r in tenant.requests_to("signInActivity") if r.status == 200]) == 2


@pytest.mark.parametrize(
    ("premium", "permission", "reason"),
    [(False, True, "licence"), (True, False, "permission")],
)
async def test_sign_ins_that_are_refused(
    account: StorageAccount, premium: bool, permission: bool, reason: str
) -> None:
    tenant = Tenant(generate(users=12, seed=36))
    tenant.premium = premium
    if not permission:
        revoke(tenant, "AuditLog.Read.All")
    async with world(tenant, account, DIRECTORY_DATASETS=WITH_SIGN_IN) as w:
        await w.run()
        assert_unavailable(await w.snapshot(), "sign-in", reason, "sign_in")


async def test_leave_date_where_it_may_be_read_and_where_not(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=60, seed=37))
    expected = expected_users(tenant.directory)
    assert any("employee_leave_at" in user for user in expected.values())
    revoke(tenant, "User-LifeCycleInfo.Read.All")
    async with world(tenant, account) as w:
        await w.run()
        snapshot = await w.snapshot()
    for user in expected.values():
        user.pop("employee_leave_at", None)
    assert unstamped(snapshot.datasets["users"]) == expected
