"""Graph: every permission taken away, licences, and everything that is neither."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from sandbox.tenant import faults, generate
from shared.config import Settings
from shared.connection.commands import Commands
from shared.connection.graph import REPORT, CollectionCheck, MethodsCheck, OptionalCheck, TokenOnlyCheck
from shared.connection.interface import Row
from shared.connection.sign_in import Granted
from shared.graph.client import GraphClient
from shared.graph.policy import RetryPolicy
from tests.connection.conftest import Connection, troubles
from tests.support.world import TenantCredential

EVERYTHING = {"DIRECTORY_DATASETS": "users,groups,memberships,authentication,sign-in"}


@pytest.fixture(params=["empty", "with people"])
def any_tenant(connection: Connection, request: pytest.FixtureRequest) -> Connection:
    if request.param == "with people":
        connection.tenant.directory = generate(users=20, seed=3)
    return connection


@pytest.mark.parametrize(
    ("permissions", "rows"),
    [
        ({"User.Read.All"}, {"users", "deleted-users", "leave-date", "sign-in-activity"}),
        ({"GroupMember.Read.All", "Group.Read.All"}, {"groups", "memberships", "excluded-group"}),
        ({"Member.Read.Hidden"}, {"hidden-members"}),
        ({"AuditLog.Read.All"}, {"registration-report", "sign-in-activity"}),
        (
            {"AuditLog.Read.All", "UserAuthenticationMethod.Read.All"},
            {"registration-report", "sign-in-activity", "authentication-methods"},
        ),
        ({"Domain.Read.All"}, {"domains"}),
        # The app does without.
        ({"User-LifeCycleInfo.Read.All"}, set()),
        ({"GroupSettings.Read.All"}, set()),
        ({"UserAuthenticationMethod.Read.All"}, set()),
    ],
)
async def test_permission_that_is_taken_away(
    any_tenant: Connection, permissions: set[str], rows: set[str]
) -> None:
    group = next(iter(any_tenant.tenant.directory.groups), None)
    if group is None:
        group = any_tenant.tenant.directory.add_group({"displayName": "Excluded"})
    any_tenant.app.permissions -= permissions
    told = await any_tenant.test(**EVERYTHING, VALIDATION_EXCLUDED_GROUP=group)
    assert troubles(told) == dict.fromkeys(rows, "missing-permission")
    for name in rows:
        if told[name].permission in permissions:
            assert str(told[name].permission) in told[name].detail
            assert "infra/grant-permissions.sh app-registration --tenant" in (told[name].fix or "")
        else:
            assert told[name].detail.startswith("Not checked since `users` is missing-permission.")


@pytest.mark.parametrize(
    ("permission", "row", "what"),
    [
        ("User-LifeCycleInfo.Read.All", "leave-date", "`employee_leave_at` is absent. To have it: infra/"),
        ("GroupSettings.Read.All", "lockout-policy", "the lockout threshold of the cloud counts. To have it"),
        ("UserAuthenticationMethod.Read.All", "authentication-methods", "not needed while `registration-rep"),
    ],
)
async def test_optional_permission_that_is_not_granted_is_told(
    any_tenant: Connection, permission: str, row: str, what: str
) -> None:
    any_tenant.app.permissions.discard(permission)
    told = (await any_tenant.test())[row]
    assert (told.permission, told.status) == (permission, "ok")
    assert what in told.detail
    assert "granted" in told.detail


async def test_grant_for_a_managed_identity_names_it(connection: Connection) -> None:
    identity = connection.tenant.managed_identity
    identity.permissions = {"User.Read.All"}
    told = await connection.test(ENTRA_CREDENTIAL="managed-identity", AZURE_CLIENT_ID=identity.client_id)
    assert told["users"].status == "ok"
    assert told["hidden-members"].fix == (
        f"infra/grant-permissions.sh managed-identity --tenant {connection.tenant.tenant_id} "
        f"--principal-id {identity.object_id} --with hidden-members"
    )


async def test_app_without_any_permission(connection: Connection) -> None:
    """Its token has no claim `roles` then."""
    connection.app.permissions.clear()
    told = await connection.test()
    assert troubles(told).keys() == {
        "users",
        "groups",
        "memberships",
        "hidden-members",
        "deleted-users",
        "leave-date",
        "registration-report",
        "authentication-methods",
        "domains",
    }


async def test_licence(any_tenant: Connection) -> None:
    any_tenant.tenant.premium = False
    told = await any_tenant.test(**EVERYTHING)
    assert troubles(told) == dict.fromkeys(("registration-report", "sign-in-activity"), "missing-licence")
    assert "Microsoft Entra ID P1" in (told["registration-report"].fix or "")
    any_tenant.app.permissions.discard("UserAuthenticationMethod.Read.All")
    assert (await any_tenant.test())["authentication-methods"].status == "missing-permission"


async def test_what_is_granted_again_counts_at_once(connection: Connection) -> None:
    connection.app.permissions.discard("User.Read.All")
    assert (await connection.test())["users"].status == "missing-permission"
    connection.app.permissions.add("User.Read.All")
    assert troubles(await connection.test()) == {}


async def test_refusal_of_what_the_token_has(connection: Connection) -> None:
    connection.tenant.faults.add(
        faults.respond(403, code="Authorization_RequestDenied"), r"/v1.0/groups\?", times=None
    )
    told = await connection.test()
    assert troubles(told) == {"groups": "missing-permission"}
    assert "The token has it" in told["groups"].detail
    assert "grant-permissions" not in (told["groups"].fix or "")


@pytest.mark.parametrize(
    ("fault", "status", "detail"),
    [
        (faults.throttle(300), "unreachable", "says nothing about the permission"),
        (faults.throttle(), "unreachable", "says nothing about the permission"),
        (faults.respond(503), "unreachable", "503"),
        (faults.respond(500), "unreachable", "500"),
        (faults.close(), "unreachable", "could not be reached"),
        (faults.truncate(), "unreachable", "cannot be read"),
        (faults.html(), "unreachable", "HTML"),
        (faults.html(403), "unreachable", "Something between the app and Graph"),
        (faults.respond(401, code="InvalidAuthenticationToken"), "misconfigured", "refused our token"),
        (faults.respond(400, code="BadRequest"), "misconfigured", "rejected"),
        (faults.respond(404, code="ResourceNotFound"), "misconfigured", "rejected"),
    ],
)
async def test_fault_of_one_request_is_no_missing_permission_and_no_other_row_s(
    connection: Connection, fault: faults.Action, status: str, detail: str
) -> None:
    connection.tenant.faults.add(fault, "/v1.0/domains", times=None)
    told = await connection.test()
    assert troubles(told) == {"domains": status}
    assert detail in told["domains"].detail


async def test_graph_that_throttles_everything(connection: Connection) -> None:
    connection.tenant.faults.add(faults.throttle(120), "/v1.0/", times=None)
    told = await connection.test()
    for name, status in troubles(told).items():
        assert (told[name].permission or "").endswith(".All")
        assert status == "unreachable"
    assert {"users", "groups", "memberships", "domains"} <= troubles(told).keys()
    # Its permission stands in the token, and nothing is asked for it.
    assert told["hidden-members"].status == "ok"


async def test_excluded_group_that_is_not_there(connection: Connection) -> None:
    told = await connection.test(VALIDATION_EXCLUDED_GROUP="11111111-2222-4333-8444-555555555555")
    assert troubles(told) == {"excluded-group": "misconfigured"}
    assert "VALIDATION_EXCLUDED_GROUP" in (told["excluded-group"].fix or "")


async def test_user_that_is_deleted_meanwhile(connection: Connection) -> None:
    connection.tenant.directory = generate(users=3, seed=5)
    connection.tenant.faults.add(
        faults.respond(404, code="Request_ResourceNotFound"), "/authentication/methods", times=None
    )
    assert troubles(await connection.test()) == {}


# --- a token that does not tell what is granted -----------------------------------------------------------


@pytest.fixture
async def unread(connection: Connection) -> AsyncIterator[dict[str, Any]]:
    """What checks have in common, with a token that nobody could read."""
    credential: Any = TenantCredential(connection.tenant)
    origin = connection.environment["GRAPH_ENDPOINT"]
    policy = RetryPolicy(attempts=1)
    async with GraphClient(credential, origin, "https://graph.microsoft.com/.default", policy) as client:

        async def graph() -> GraphClient:
            return client

        settings = Settings.from_environment(connection.environment)
        yield {"graph": graph, "granted": Granted(), "commands": Commands(settings)}


async def test_hidden_members_cannot_be_told(unread: dict[str, Any]) -> None:
    check = TokenOnlyCheck(capability="hidden-members", permission="Member.Read.Hidden", **unread)
    finding = await check.run({})
    assert (finding.status, "cannot be told" in finding.detail) == ("ok", True)


async def test_optional_permission_is_asked_for(connection: Connection, unread: dict[str, Any]) -> None:
    check = OptionalCheck(
        capability="leave-date",
        permission="User-LifeCycleInfo.Read.All",
        path="/users?$select=id,employeeLeaveDateTime&$top=1",
        instead="it is absent.",
        **unread,
    )
    assert "Optional" not in (await check.run({})).detail
    connection.app.permissions.discard("User-LifeCycleInfo.Read.All")
    assert "Optional, and not granted: it is absent." in (await check.run({})).detail
    connection.tenant.faults.add(faults.html(403), "/v1.0/users", times=None)
    assert (await check.run({})).status == "unreachable"


async def test_methods_are_asked_for(connection: Connection, unread: dict[str, Any]) -> None:
    connection.tenant.directory = generate(users=3, seed=5)
    users = CollectionCheck(capability="users", permission="User.Read.All", path="/users?$top=1", **unread)
    assert (await users.run({})).status == "ok"
    permission = "UserAuthenticationMethod.Read.All"
    check = MethodsCheck(capability="methods", permission=permission, users=users, **unread)
    works = {REPORT: Row(REPORT, None, "ok", "", None)}
    refused = {REPORT: Row(REPORT, None, "missing-licence", "", None)}
    assert (await check.run(refused)).status == "ok"
    connection.app.permissions.discard(permission)
    assert (await check.run(refused)).status == "missing-permission"
    assert "not needed" in (await check.run(works)).detail
