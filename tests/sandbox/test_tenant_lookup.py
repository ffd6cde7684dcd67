"""How a validator of credentials finds a user in the simulated Graph, and what it learns of the tenant."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from sandbox.tenant import FEDERATED_DOMAIN, Tenant, generate
from tests.sandbox.tenant_client import Answer, Client, client_of

EVENTUAL = {"ConsistencyLevel": "eventual"}
DELETED = "/directory/deletedItems/microsoft.graph.user"
PRECHECK = (
    "id,userPrincipalName,mail,accountEnabled,userType,creationType,externalUserState,identities,"
    "onPremisesSyncEnabled,onPremisesLastSyncDateTime,lastPasswordChangeDateTime,"
    "signInSessionsValidFromDateTime,passwordPolicies,isManagementRestricted"
)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with client_of(Tenant(generate(300, seed=11))) as client:
        client.with_permissions("User.Read.All")
        directory = client.tenant.directory
        directory.add_user(
            {
                "id": "11111111-2222-3333-4444-555555555555",
                "userPrincipalName": "o'neil@contoso.com",
                "mail": "Sean.ONeil@contoso.com",
                "otherMails": ["sean@example.net"],
                "proxyAddresses": ["SMTP:Sean.ONeil@contoso.com", "smtp:o'neil@contoso.com"],
            }
        )
        yield client


async def found(client: Client, clause: str, path: str = "/users", **options: Any) -> list[str]:
    answer = await filtered(client, clause, path, **options)
    assert answer.status == 200, answer.text
    return [user["id"] for user in answer.json["value"]]


async def filtered(client: Client, clause: str, path: str = "/users", **options: Any) -> Answer:
    more = options.pop("more", "")
    return await client.graph(f"{path}?$filter={quote(clause)}&$select=id{more}", **options)


# --- one user ------------------------------------------------------------------------------------------


async def test_a_user_by_name_has_what_a_precheck_needs(client: Client) -> None:
    user = next(iter(client.tenant.directory.users.values()))
    answer = await client.graph(f"/users/{quote(user['userPrincipalName'].upper())}?$select={PRECHECK}")
    assert answer.status == 200
    assert answer.json["id"] == user["id"]
    assert answer.json.keys() == {"@odata.context", *PRECHECK.split(",")}
    assert answer.json["identities"] == [
        {
            "signInType": "userPrincipalName",
            "issuer": "contoso.onmicrosoft.com",
            "issuerAssignedId": user["userPrincipalName"],
        }
    ]


@pytest.mark.parametrize("key", ["nobody@contoso.com", "sean@example.net", "Sean.ONeil@contoso.com"])
async def test_other_addresses_are_no_name(client: Client, key: str) -> None:
    answer = await client.graph(f"/users/{key}")
    assert (answer.status, answer.code) == (404, "Request_ResourceNotFound")


@pytest.mark.parametrize(
    "clause",
    [
        "mail eq 'sean.oneil@CONTOSO.com'",
        "otherMails/any(m:m eq 'SEAN@example.net')",
        "proxyAddresses/any(p:p eq 'smtp:sean.oneil@contoso.com')",
        "proxyAddresses/any(x:x eq 'smtp:o''neil@contoso.com')",
        "userPrincipalName eq 'o''neil@contoso.com'",
        "mail eq 'x' or proxyAddresses/any(p:p eq 'smtp:o''neil@contoso.com')",
        "startsWith(mail,'sean.o')",
        "proxyAddresses/any(p:startsWith(p,'smtp:o''neil'))",
        "userPrincipalName in ('o''neil@contoso.com','x')",
    ],
)
async def test_a_user_by_any_address(client: Client, clause: str) -> None:
    assert await found(client, clause) == ["11111111-2222-3333-4444-555555555555"]


@pytest.mark.parametrize(
    "clause",
    ["endsWith(mail,'oneil@contoso.com')", "proxyAddresses/any(p:endsWith(p,'oneil@contoso.com'))"],
)
async def test_some_filters_need_both_marks_of_an_advanced_query(client: Client, clause: str) -> None:
    for options in ({}, {"headers": EVENTUAL}, {"more": "&$count=true"}):
        answer = await filtered(client, clause, **options)
        assert (answer.status, answer.code) == (400, "Request_UnsupportedQuery")
        assert "ConsistencyLevel:eventual" in answer.json["error"]["message"]
    assert await found(client, clause, headers=EVENTUAL, more="&$count=true") == [
        "11111111-2222-3333-4444-555555555555"
    ]


@pytest.mark.parametrize(
    ("clause", "code"),
    [
        ("mail eq 'o'neil@contoso.com'", "BadRequest"),
        ("mail eq sean", "BadRequest"),
        ("proxyAddresses eq 'smtp:x'", "Request_UnsupportedQuery"),
        ("mail/any(m:m eq 'x')", "Request_UnsupportedQuery"),
        ("startsWith(otherMails,'x')", "Request_UnsupportedQuery"),
        ("startsWith(employeeId,'1')", "Request_UnsupportedQuery"),
        ("lastPasswordChangeDateTime eq 'x'", "Request_UnsupportedQuery"),
        ("onPremisesImmutableId eq 'x'", "Request_UnsupportedQuery"),
    ],
)
async def test_other_filters_are_refused(client: Client, clause: str, code: str) -> None:
    answer = await filtered(client, clause)
    assert (answer.status, answer.code) == (400, code)


# --- deleted users -------------------------------------------------------------------------------------


async def test_a_deleted_user_has_its_id_before_its_name(client: Client) -> None:
    directory, user_id = client.tenant.directory, "11111111-2222-3333-4444-555555555555"
    directory.delete_user(user_id)
    name = "o''neil@contoso.com"
    assert await found(client, f"userPrincipalName eq '{name}'", DELETED) == []
    prefixed = f"userPrincipalName eq '11111111222233334444555555555555{name}'"
    assert await found(client, prefixed, DELETED) == [user_id]
    assert await found(client, "mail eq 'Sean.ONeil@contoso.com'", DELETED) == [user_id]
    ending = f"endsWith(userPrincipalName,'{name}')"
    assert (await filtered(client, ending, DELETED)).status == 400
    assert await found(client, ending, DELETED, headers=EVENTUAL, more="&$count=true") == [user_id]
    assert (await client.graph(f"/users/{user_id}")).status == 404
    directory.restore_user(user_id)
    assert directory.users[user_id]["userPrincipalName"] == "o'neil@contoso.com"


# --- groups --------------------------------------------------------------------------------------------


async def checked(client: Client, user: str, *group_ids: str) -> Answer:
    return await client.graph(f"/users/{user}/checkMemberGroups", method="POST", json={"groupIds": group_ids})


async def test_membership_is_transitive(client: Client) -> None:
    client.with_permissions("User.Read.All", "GroupMember.Read.All")
    directory, user_id = client.tenant.directory, "11111111-2222-3333-4444-555555555555"
    for name in ("inner", "outer", "other"):
        directory.add_group({"id": name})
    directory.add_member("inner", user_id)
    directory.add_member("outer", "inner", "group")
    directory.add_member("inner", "outer", "group")
    answer = await checked(client, user_id, "other", "outer", "inner", "unknown")
    assert answer.json["value"] == ["outer", "inner"]
    assert answer.headers["x-ms-resource-unit"] == "4"
    assert (await checked(client, quote("o'neil@contoso.com"), "outer")).json["value"] == ["outer"]
    directory.update_group("outer", {"visibility": "HiddenMembership"})
    assert (await checked(client, user_id, "outer")).json["value"] == []
    client.with_permissions("User.Read.All", "GroupMember.Read.All", "Member.Read.Hidden")
    assert (await checked(client, user_id, "outer")).json["value"] == ["outer"]


async def test_membership_needs_both_permissions(client: Client) -> None:
    user = "11111111-2222-3333-4444-555555555555"
    for names in (("User.Read.All",), ("GroupMember.Read.All",)):
        client.with_permissions(*names)
        answer = await checked(client, user, "x")
        assert (answer.status, answer.code) == (403, "Authorization_RequestDenied")
    client.with_permissions("Directory.Read.All")
    assert (await checked(client, user, "x")).status == 200
    assert (await checked(client, "nobody", "x")).status == 404
    assert (await checked(client, user, *map(str, range(21)))).status == 400
    assert (await client.graph(f"/users/{user}/checkMemberGroups", method="POST", json={})).status == 400
    assert (await client.graph(f"/users/{user}/checkMemberGroups")).status == 405


async def test_roles_and_groups_of_a_user(client: Client) -> None:
    directory, user_id = client.tenant.directory, "11111111-2222-3333-4444-555555555555"
    for name in ("inner", "outer", "other"):
        directory.add_group({"id": name})
    directory.add_member("inner", user_id)
    directory.add_member("outer", "inner", "group")
    path = f"/users/{user_id}/transitiveMemberOf"
    answer = await client.graph(f"{path}?$select=id&$top=999")
    assert [each["id"] for each in answer.json["value"]] == ["inner", "outer"]
    client.tenant.directory_roles = {"outer": {"reader"}, "other": {"admin"}}
    assert (await client.graph(path)).json["value"] == [
        {"@odata.type": "#microsoft.graph.directoryRole", "id": "reader"},
        {"@odata.type": "#microsoft.graph.group", "id": "inner"},
        {"@odata.type": "#microsoft.graph.group", "id": "outer"},
    ]
    directory.update_group("inner", {"visibility": "HiddenMembership"})
    assert [each["id"] for each in (await client.graph(path)).json["value"]] == ["reader", "outer"]
    assert (await client.graph("/users/nobody/transitiveMemberOf")).status == 404
    client.with_permissions("GroupMember.Read.All")
    assert (await client.graph(path)).status == 403


async def test_one_row_of_the_registration_report(client: Client) -> None:
    directory = client.tenant.directory
    user_id = next(user["id"] for user in directory.users.values() if user["accountEnabled"])
    path = f"/reports/authenticationMethods/userRegistrationDetails/{user_id}"
    assert (await client.graph(path)).status == 403
    client.with_permissions("AuditLog.Read.All")
    assert (await client.graph(path)).json.items() >= directory.registrations[user_id].items()
    directory.update_user(user_id, {"accountEnabled": False})
    assert (await client.graph(path)).status == 404
    client.tenant.premium = False
    assert (await client.graph(path)).code == "Authentication_RequestFromNonPremiumTenantOrB2CTenant"


# --- the tenant ----------------------------------------------------------------------------------------


async def test_domains_say_where_passwords_are_checked(client: Client) -> None:
    client.with_permissions("Domain.Read.All")
    answer = await client.graph("/domains?$select=id,authenticationType,isVerified,isDefault")
    assert answer.json["value"] == [
        {"id": "contoso.com", "authenticationType": "Managed", "isVerified": True, "isDefault": True},
        {
            "id": "contoso.onmicrosoft.com",
            "authenticationType": "Managed",
            "isVerified": True,
            "isDefault": False,
        },
        {"id": FEDERATED_DOMAIN, "authenticationType": "Federated", "isVerified": True, "isDefault": False},
        {"id": "new.contoso.com", "authenticationType": "Managed", "isVerified": False, "isDefault": False},
    ]
    assert (await client.graph("/domains/CONTOSO.com")).json["isDefault"] is True
    assert (await client.graph("/domains/nowhere.example")).code == "Request_ResourceNotFound"
    assert (await client.graph("/domains?$select=nonsense")).status == 400
    assert (await client.graph("/domains?$top=5")).status == 400


async def test_the_lockout_threshold_is_told_once_it_was_set(client: Client) -> None:
    client.with_permissions("GroupSettings.Read.All")
    assert (await client.graph("/groupSettings")).json["value"] == []
    client.tenant.lockout.threshold_set = 5
    settings = (await client.graph("/groupSettings")).json["value"]
    rules = next(each for each in settings if each["displayName"] == "Password Rule Settings")
    values = {pair["name"]: pair["value"] for pair in rules["values"]}
    assert (values["LockoutThreshold"], values["LockoutDurationInSeconds"]) == ("5", "60")


async def test_the_organization_lists_verified_domains_and_plans(client: Client) -> None:
    client.with_permissions("Organization.Read.All")
    (told,) = (await client.graph("/organization")).json["value"]
    assert [each["name"] for each in told["verifiedDomains"]] == [
        "contoso.com",
        "contoso.onmicrosoft.com",
        FEDERATED_DOMAIN,
    ]
    assert [plan["service"] for plan in told["assignedPlans"]] == ["AADPremiumService"]
    client.tenant.premium = False
    assert (await client.graph("/organization")).json["value"][0]["assignedPlans"] == []


# --- the company ---------------------------------------------------------------------------------------


def test_a_minority_signs_in_in_other_ways() -> None:
    directory = generate(2000, seed=7)
    users = directory.users.values()
    invited = [user for user in users if user.get("creationType") == "Invitation"]
    assert 0 < sum(user["userType"] == "Member" for user in invited) < len(invited) / 4
    assert all(user["identities"][0]["issuer"] == "ExternalAzureAD" for user in invited)
    federated = [user for user in users if user["userPrincipalName"].endswith(f"@{FEDERATED_DOMAIN}")]
    assert 20 < len(federated) < 100
    assert all(user["identities"][0]["issuerAssignedId"] == user["userPrincipalName"] for user in federated)
    assert sum("alias@" in str(user.get("proxyAddresses")) for user in users) > 100
    assert sum(bool(user.get("mail")) and user["mail"] != user["userPrincipalName"] for user in users) > 200
    for user_id, row in directory.registrations.items():
        assert row["userPrincipalName"] == directory.users[user_id]["userPrincipalName"]
        assert row["userType"] == directory.users[user_id]["userType"].lower()
