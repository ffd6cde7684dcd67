"""Lists, counts, reports, batches and limits of the simulated Graph, and what it refuses."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from sandbox.tenant import CLIENT_ID, RateLimit, Tenant, generate
from tests.sandbox.tenant_client import Client, client_of

EVENTUAL = {"ConsistencyLevel": "eventual"}
REPORT = "/reports/authenticationMethods/userRegistrationDetails"
INSUFFICIENT = (403, "Authorization_RequestDenied")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with client_of(Tenant(generate(300, seed=11))) as client:
        yield client


def any_user(client: Client) -> str:
    return next(iter(client.tenant.directory.users))


def any_group(client: Client) -> str:
    return next(iter(client.tenant.directory.groups))


# --- who may ask ---------------------------------------------------------------------------------------


async def test_a_valid_token_for_graph_is_needed(client: Client) -> None:
    tenant, good = client.tenant, client.token
    application = tenant.clients[CLIENT_ID]
    client.token = None
    answer = await client.graph("/users")
    assert (answer.status, answer.code) == (401, "InvalidAuthenticationToken")
    assert "Bearer" in answer.headers["WWW-Authenticate"]
    for token in (
        tenant.token_for(application, "https://vault.azure.net").text,
        Tenant().token_for(application).text,
        f"{good}x",
        "nonsense",
    ):
        client.token = token
        assert (await client.graph("/users")).status == 401
    tenant.token_lifetime = -1
    client.token = tenant.token_for(application).text
    answer = await client.graph("/users")
    assert answer.status == 401
    assert "expired" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("path", "permission"),
    [
        ("/users", "User.Read.All"),
        ("/users/delta", "User.Read.All"),
        ("/users/{user}", "Directory.Read.All"),
        ("/users/$count", "User.Read.All"),
        ("/groups", "GroupMember.Read.All"),
        ("/groups/delta", "Group.Read.All"),
        ("/groups/delta", "Directory.Read.All"),
        ("/groups/{group}", "Group.Read.All"),
        ("/groups/{group}/members", "GroupMember.Read.All"),
        ("/groups/{group}/owners", "Group.Read.All"),
        ("/groups/$count", "Group.Read.All"),
        ("/users/{user}/authentication/methods", "UserAuthenticationMethod.Read.All"),
        ("/directory/deletedItems/microsoft.graph.user", "User.Read.All"),
        ("/organization", "Organization.Read.All"),
        ("/domains", "Domain.Read.All"),
        ("/domains/contoso.com", "Domain.Read.All"),
        ("/groupSettings", "GroupSettings.Read.All"),
        ("/groupSettings", "Directory.Read.All"),
    ],
)
async def test_each_resource_needs_its_permission(client: Client, path: str, permission: str) -> None:
    path = path.format(user=any_user(client), group=any_group(client))
    client.with_permissions("Mail.Read")
    answer = await client.graph(path, headers=EVENTUAL)
    assert (answer.status, answer.code) == INSUFFICIENT
    assert answer.json["error"]["message"] == "Insufficient privileges to complete the operation."
    client.with_permissions(permission)
    assert (await client.graph(path, headers=EVENTUAL)).status == 200


async def test_a_revoked_permission_acts_at_once_and_a_granted_one_with_the_next_token(
    client: Client,
) -> None:
    application = client.tenant.clients[CLIENT_ID]
    application.permissions.discard("User.Read.All")
    assert (await client.graph("/users")).status == 403
    application.permissions.add("GroupSettings.Read.All")
    assert (await client.graph("/groupSettings")).status == 403
    client.token = client.tenant.token_for(application).text
    assert (await client.graph("/groupSettings")).status == 200


@pytest.mark.parametrize("path", [REPORT, "/users?$select=id,signInActivity"])
async def test_reports_need_a_permission_and_a_licence(client: Client, path: str) -> None:
    client.with_permissions("User.Read.All")
    answer = await client.graph(path)
    assert (answer.status, answer.code) == (403, "Authentication_MSGraphPermissionMissing")
    client.with_permissions("User.Read.All", "AuditLog.Read.All")
    assert (await client.graph(path)).status == 200
    client.tenant.premium = False
    answer = await client.graph(path)
    assert (answer.status, answer.code) == (403, "Authentication_RequestFromNonPremiumTenantOrB2CTenant")
    assert answer.json["error"]["message"] == "Neither tenant is B2C or tenant doesn't have premium license"


# --- lists ---------------------------------------------------------------------------------------------


async def test_users_page_by_100_and_up_to_999(client: Client) -> None:
    assert [len(page["value"]) for page in await client.pages("/users")] == [100, 100, 100]
    pages = await client.pages("/users?$top=999&$select=id,displayName,jobTitle")
    assert [len(page["value"]) for page in pages] == [300]
    assert {user["id"] for user in pages[0]["value"]} == client.tenant.directory.users.keys()
    assert all(set(user) == {"id", "displayName", "jobTitle"} for user in pages[0]["value"])
    pages = await client.pages("/users?$top=130&$select=id")
    assert len({user["id"] for page in pages for user in page["value"]}) == 300


@pytest.mark.parametrize("top", ["0", "1000", "-1", "many"])
async def test_page_sizes_out_of_range_are_refused(client: Client, top: str) -> None:
    answer = await client.graph(f"/users?$top={top}")
    assert answer.status == 400
    assert "Must be between 1 and 999" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "query",
    [
        "$select=id,nonsense",
        "$expand=memberOf",
        "$expand=manager($levels=2)",
        "$filter=jobTitle eq 'x'",
        "$filter=id gt 'x'",
        "$filter=id eq 'a' or mail eq 'b' and mail eq 'c'",
        "$orderby=displayName",
        "$search=%22displayName:a%22",
        "$skip=10",
        "$skiptoken=nonsense",
        "$skiptoken=nonsense.1",
    ],
)
async def test_lists_refuse(client: Client, query: str) -> None:
    assert (await client.graph(f"/users?{query}")).status == 400


async def test_unknown_segments_methods_and_objects(client: Client) -> None:
    answer = await client.graph("/nonsense")
    assert (answer.status, answer.code) == (400, "BadRequest")
    assert (await client.graph("/users", method="POST")).status == 405
    for path in ("/users/nobody", "/groups/none", "/groups/none/members", "/directory/deletedItems/x"):
        answer = await client.graph(path)
        assert (answer.status, answer.code) == (404, "Request_ResourceNotFound")


async def test_users_are_found_by_filter_and_by_name(client: Client) -> None:
    user = client.tenant.directory.users[any_user(client)]
    upn = user["userPrincipalName"]
    for text in (
        f"id eq '{user['id']}'",
        f"userPrincipalName eq '{upn.upper()}'",
        f"mail eq '{upn}' or userPrincipalName eq 'nobody'",
        f"id in ('{user['id']}', 'x')",
        f"proxyAddresses/any(p:p eq 'smtp:{upn}')",
        f"accountEnabled eq true and id eq '{user['id']}'",
    ):
        (page,) = await client.pages(f"/users?$filter={text}&$select=id")
        assert [found["id"] for found in page["value"]] == [user["id"]], text
    quoted = client.tenant.directory.add_user({"userPrincipalName": "d'arc@contoso.com"})
    (page,) = await client.pages("/users?$filter=userPrincipalName eq 'd''arc@contoso.com'")
    assert page["value"][0]["id"] == quoted
    assert (await client.graph(f"/users/{upn}")).json["id"] == user["id"]


async def test_manager_comes_by_expansion(client: Client) -> None:
    (page,) = await client.pages("/users?$top=999&$select=id&$expand=manager($select=id)")
    managers = {user["id"]: user["manager"]["id"] for user in page["value"] if "manager" in user}
    assert managers == client.tenant.directory.managers


async def test_counts_need_the_header_of_advanced_queries(client: Client) -> None:
    assert (await client.graph("/users/$count")).status == 400
    answer = await client.graph("/users/$count", headers=EVENTUAL)
    assert answer.text == "300"
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert (await client.graph("/groups/$count", headers=EVENTUAL)).text == str(
        len(client.tenant.directory.groups)
    )
    first = await client.graph("/users?$count=true", headers=EVENTUAL)
    assert first.json["@odata.count"] == 300
    assert "@odata.count" not in (await client.graph("/users?$count=true")).json
    link = first.json["@odata.nextLink"]
    assert (await client.ask(link)).status == 400
    assert "@odata.count" not in (await client.ask(link, headers=EVENTUAL)).json


async def test_sign_in_activity_pages_by_500_at_most() -> None:
    async with client_of(Tenant(generate(700, seed=1))) as client:
        pages = await client.pages("/users?$select=id,signInActivity&$top=999")
    assert [len(page["value"]) for page in pages] == [500, 200]
    with_activity = [user for page in pages for user in page["value"] if "signInActivity" in user]
    assert len(with_activity) == len(client.tenant.directory.sign_ins)


async def test_members_by_type_and_visibility(client: Client) -> None:
    directory = client.tenant.directory
    mixed = next(
        g for g, group in directory.groups.items() if group["displayName"] == "Printers and partners"
    )
    plain = (await client.pages(f"/groups/{mixed}/members"))[0]["value"]
    assert "#microsoft.graph.servicePrincipal" not in {item.get("@odata.type") for item in plain}
    complete = (await client.graph(f"/groups/{mixed}/members?$count=true", headers=EVENTUAL)).json["value"]
    assert len(complete) == len(directory.members[mixed]) == len(plain) + 1
    cast = (await client.pages(f"/groups/{mixed}/members/microsoft.graph.user?$select=id&$top=999"))[0]
    assert len(cast["value"]) == 1
    device = next(item for item in complete if item.get("@odata.type") == "#microsoft.graph.device")
    assert device["displayName"] is None  # its type is not readable for this caller
    hidden = next(g for g, group in directory.groups.items() if group.get("visibility") == "HiddenMembership")
    assert (await client.pages(f"/groups/{hidden}/members"))[0]["value"]
    client.with_permissions("Group.Read.All")
    assert not (await client.pages(f"/groups/{hidden}/members"))[0]["value"]
    staff = next(g for g, group in directory.groups.items() if group["displayName"] == "All Staff")
    named = (await client.pages(f"/groups/{staff}/members?$select=id,displayName"))[0]["value"]
    assert all(item["displayName"] is None for item in named)


async def test_lists_of_members_leave_deleted_users_out(client: Client) -> None:
    directory = client.tenant.directory
    group_id = next(g for g, members in directory.members.items() if len(members) > 100)
    deleted = next(m for m, kind in directory.members[group_id].items() if kind == "user")
    directory.delete_user(deleted)
    listed = [m["id"] for page in await client.pages(f"/groups/{group_id}/members") for m in page["value"]]
    assert deleted not in listed
    assert set(listed) == directory.members[group_id].keys() - directory.deleted_users.keys()


async def test_expanded_members_stop_at_twenty(client: Client) -> None:
    pages = await client.pages("/groups?$top=999&$select=id&$expand=members($select=id)")
    sizes = [len(group["members"]) for page in pages for group in page["value"]]
    assert max(sizes) == 20


async def test_deleted_users_are_in_the_recycle_bin(client: Client) -> None:
    directory, user_id = client.tenant.directory, any_user(client)
    before = len(directory.deleted_users)
    directory.delete_user(user_id)
    for cast in ("microsoft.graph.user", "graph.user"):
        (page,) = await client.pages(f"/directory/deletedItems/{cast}?$select=id,deletedDateTime")
        assert len(page["value"]) == before + 1
    answer = await client.graph(f"/directory/deletedItems/{user_id}")
    assert answer.json["deletedDateTime"]
    directory.purge_user(user_id)
    assert (await client.graph(f"/directory/deletedItems/{user_id}")).status == 404


# --- authentication ------------------------------------------------------------------------------------


async def test_the_report_covers_enabled_users(client: Client) -> None:
    directory = client.tenant.directory
    pages = await client.pages(f"{REPORT}?$top=100")
    rows = [row for page in pages for row in page["value"]]
    assert {row["id"] for row in rows} == {u for u, user in directory.users.items() if user["accountEnabled"]}
    directory.update_user(rows[0]["id"], {"accountEnabled": False})
    after = [row["id"] for page in await client.pages(REPORT) for row in page["value"]]
    assert rows[0]["id"] not in after
    (page,) = await client.pages(f"{REPORT}?$filter=isMfaRegistered eq false&$top=999")
    assert page["value"]
    assert not any(row["isMfaRegistered"] for row in page["value"])


async def test_methods_of_one_user(client: Client) -> None:
    user_id = any_user(client)
    answer = await client.graph(f"/users/{user_id}/authentication/methods")
    assert answer.json["value"] == client.tenant.directory.methods[user_id]
    assert answer.json["value"][0]["@odata.type"] == "#microsoft.graph.passwordAuthenticationMethod"
    assert (await client.graph("/users/nobody/authentication/methods")).status == 404


# --- batches -------------------------------------------------------------------------------------------


def batch_of(*urls: str, **fields: Any) -> dict[str, Any]:
    return {"requests": [{"id": str(n), "method": "GET", "url": url, **fields} for n, url in enumerate(urls)]}


async def test_a_batch_answers_each_item_in_any_order(client: Client) -> None:
    users = list(client.tenant.directory.users)[:19]
    urls = [f"/users/{user}/authentication/methods" for user in users] + ["users/nobody"]
    answer = await client.graph("/$batch", method="POST", json=batch_of(*urls))
    assert answer.status == 200
    responses = {item["id"]: item for item in answer.json["responses"]}
    assert [item["id"] for item in answer.json["responses"]] != sorted(responses, key=int)
    for number, user in enumerate(users):
        assert responses[str(number)]["status"] == 200
        assert responses[str(number)]["body"]["value"] == client.tenant.directory.methods[user]
        assert responses[str(number)]["headers"]["x-ms-resource-unit"] == "1"
    assert responses["19"]["status"] == 404
    assert responses["19"]["body"]["error"]["code"] == "Request_ResourceNotFound"
    (record,) = client.tenant.requests
    assert record.resource_units == 20
    assert len(record.items) == 20


async def test_names_in_a_batch_may_be_encoded(client: Client) -> None:
    user = next(iter(client.tenant.directory.users.values()))
    url = f"/users/{quote(user['userPrincipalName'], safe='')}?$select=id"
    answer = await client.graph("/$batch", method="POST", json=batch_of(url))
    assert answer.json["responses"][0]["body"]["id"] == user["id"]


@pytest.mark.parametrize(
    "body",
    [
        batch_of(*["/users"] * 21),
        batch_of(),
        {"requests": [{"id": "1", "method": "GET", "url": "/users"}] * 2},
        batch_of("https://graph.microsoft.com/v1.0/users"),
        {"requests": [{"method": "GET", "url": "/users"}]},
        {"requests": "none"},
        [],
        batch_of("/users", dependsOn=["later"]),
    ],
)
async def test_a_malformed_batch_is_refused(client: Client, body: Any) -> None:
    assert (await client.graph("/$batch", method="POST", json=body)).status == 400


async def test_an_item_that_depends_on_a_failed_one_is_not_tried(client: Client) -> None:
    body = batch_of("/users/nobody", "/organization")
    body["requests"][1]["dependsOn"] = ["0"]
    answer = await client.graph("/$batch", method="POST", json=body)
    assert {item["id"]: item["status"] for item in answer.json["responses"]} == {"0": 404, "1": 424}


async def test_a_batch_without_a_token_is_refused(client: Client) -> None:
    client.token = None
    answer = await client.graph("/$batch", method="POST", json=batch_of("/users"))
    assert answer.status == 401


# --- cost and limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "units"),
    [
        ("/users", 2),
        ("/users?$select=id", 1),
        ("/users?$expand=manager", 3),
        ("/users?$top=5", 1),
        ("/users?$top=5&$select=id", 1),
        ("/groups/{group}/members", 3),
        ("/groups/{group}/members?$select=id&$top=999", 2),
        ("/users/delta?$select=id", 1),
        ("/organization", 1),
    ],
)
async def test_what_requests_cost(client: Client, path: str, units: int) -> None:
    answer = await client.graph(path.format(group=any_group(client)))
    assert answer.headers["x-ms-resource-unit"] == str(units)
    assert client.tenant.resource_units == units


async def test_a_spent_bucket_throttles_and_says_for_how_long(client: Client) -> None:
    client.tenant.throttle = RateLimit(10, 1000)
    for _ in range(4):
        answer = await client.graph("/users")
        assert answer.status == 200
    assert "x-ms-throttle-limit-percentage" not in answer.headers
    answer = await client.graph("/users")
    assert float(answer.headers["x-ms-throttle-limit-percentage"]) > 0.8
    answer = await client.graph("/users")
    assert (answer.status, answer.code) == (429, "TooManyRequests")
    assert 100 < float(answer.headers["Retry-After"]) <= 200
    assert "." in answer.headers["Retry-After"]
    assert answer.headers["x-ms-throttle-information"]
    assert "x-ms-resource-unit" not in answer.headers


async def test_reports_and_sign_ins_have_their_own_limits(client: Client) -> None:
    client.tenant.report_throttle = RateLimit(1, 1000)
    client.tenant.sign_in_throttle = RateLimit(1, 1000)
    for path in (REPORT, "/users?$select=signInActivity"):
        assert (await client.graph(path)).status == 200
        assert (await client.graph(path)).status == 429
    assert (await client.graph("/users")).status == 200


async def test_large_answers_are_compressed_on_request(client: Client) -> None:
    answer = await client.graph("/users", headers={"Accept-Encoding": "gzip, deflate"})
    assert answer.headers["Content-Encoding"] == "gzip"
    answer = await client.graph("/users", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in answer.headers


async def test_requests_are_recorded(client: Client) -> None:
    await client.graph("/users?%24select=id", headers={"client-request-id": "mine"})
    client.token = None
    await client.graph("/groups")
    first, second = client.tenant.requests
    assert (first.method, first.path, first.status) == ("GET", "/v1.0/users?$select=id", 200)
    assert (first.has_authorization, first.resource_units, first.client_request_id) == (True, 1, "mine")
    assert (second.status, second.has_authorization, second.resource_units) == (401, False, 0)
    assert client.tenant.requests_to(r"select=id") == [first]
