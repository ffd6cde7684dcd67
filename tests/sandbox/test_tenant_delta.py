"""Delta queries of the simulated Graph, rule by rule; a reader ends up with what is there."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sandbox.tenant import Directory, Tenant, churn, generate
from tests.sandbox.tenant_client import GROUP_SELECT, USER_SELECT, Client, Mirror, client_of

USERS = f"/users/delta?$select={USER_SELECT}"
GROUPS = f"/groups/delta?$select={GROUP_SELECT}"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with client_of(Tenant(generate(300, seed=11))) as client:
        yield client


@pytest.fixture
async def small() -> AsyncIterator[Client]:
    """Two users, one of them the other's manager, and a group of both."""
    directory = Directory()
    directory.add_user({"id": "ada", "displayName": "Ada", "jobTitle": "Analyst"})
    directory.add_user({"id": "bob", "displayName": "Bob"})
    directory.set_manager("ada", "bob")
    directory.add_group({"id": "crew", "displayName": "Crew"})
    directory.add_member("crew", "ada")
    directory.add_member("crew", "bob")
    directory.add_owner("crew", "bob")
    directory.forget_history()
    async with client_of(Tenant(directory)) as client:
        yield client


def irregular(tenant: Tenant, regular: bool) -> None:
    if regular:
        return
    tenant.delta_page_objects = 17
    tenant.delta_page_links = 23
    tenant.delta_removed_on_first_pass = True
    tenant.delta_empty_page_every = 3
    tenant.delta_scatter = True
    tenant.delta_replay_every = 4


@pytest.mark.parametrize("regular", [True, False])
@pytest.mark.parametrize("seed", range(4))
async def test_first_pages_and_later_rounds_give_the_directory(
    client: Client, regular: bool, seed: int
) -> None:
    irregular(client.tenant, regular)
    mirror = Mirror()
    users = mirror.apply_users(await client.pages(USERS))
    groups = mirror.apply_groups(await client.pages(GROUPS))
    mirror.assert_equals(client.tenant.directory)
    for day in range(3):
        churn(client.tenant.directory, seed=seed * 10 + day, count=60)
        users = mirror.apply_users(await client.pages(users))
        groups = mirror.apply_groups(await client.pages(groups))
        mirror.assert_equals(client.tenant.directory)
    assert [page["value"] for page in await client.pages(users)][-1] == []


async def test_changes_while_reading_come_in_the_next_round(client: Client) -> None:
    tenant, mirror = client.tenant, Mirror()
    irregular(tenant, regular=False)
    links = []
    for start, apply in ((USERS, mirror.apply_users), (GROUPS, mirror.apply_groups)):
        url = client.server.url + "/v1.0" + start
        pages: list[Any] = []
        while url:
            page = (await client.ask(url)).json
            churn(tenant.directory, seed=len(pages), count=3)
            pages.append(page)
            url = page.get("@odata.nextLink", "")
        links.append(apply(pages))
    mirror.apply_users(await client.pages(links[0]))
    mirror.apply_groups(await client.pages(links[1]))
    mirror.assert_equals(tenant.directory)


async def test_pages_have_fixed_sizes_and_one_link_each(client: Client) -> None:
    client.tenant.delta_page_objects = 40
    pages = await client.pages(USERS)
    assert [len(page["value"]) for page in pages] == [40] * 7 + [20]
    assert all(("@odata.nextLink" in page) != ("@odata.deltaLink" in page) for page in pages)
    assert all(page.get("@odata.nextLink", "").startswith(client.server.url) for page in pages[:-1])


async def test_a_group_with_many_members_continues_on_the_next_pages(client: Client) -> None:
    client.tenant.delta_page_links = 50
    pages = await client.pages(GROUPS)
    for page in pages:
        edges = sum(
            len(group.get("members@delta", [])) + len(group.get("owners@delta", []))
            for group in page["value"]
        )
        assert edges <= 50
    seen = Counter(group["id"] for page in pages for group in page["value"])
    largest, times = seen.most_common(1)[0]
    assert times >= 5
    assert all("displayName" in g for page in pages for g in page["value"] if g["id"] == largest)


async def test_a_property_that_was_never_set_is_omitted_first_and_null_later(small: Client) -> None:
    small.tenant.directory.update_user("bob", {"mobilePhone": None})
    (page,) = await small.pages("/users/delta?$select=displayName,jobTitle,mobilePhone")
    by_id = {user["id"]: user for user in page["value"]}
    assert by_id == {
        "ada": {"id": "ada", "displayName": "Ada", "jobTitle": "Analyst"},
        "bob": {"id": "bob", "displayName": "Bob", "mobilePhone": None},
    }
    small.tenant.directory.update_user("bob", {"displayName": "Robert"})
    (page,) = await small.pages(page["@odata.deltaLink"])
    assert page["value"] == [{"id": "bob", "displayName": "Robert", "jobTitle": None, "mobilePhone": None}]


async def test_only_selected_properties_and_relations_are_tracked(small: Client) -> None:
    directory = small.tenant.directory
    (users,) = await small.pages("/users/delta?$select=displayName")
    (groups,) = await small.pages("/groups/delta?$select=displayName")
    directory.update_user("ada", {"jobTitle": "Countess"})
    directory.set_manager("ada", None)
    directory.remove_member("crew", "ada")
    assert (await small.pages(users["@odata.deltaLink"]))[0]["value"] == []
    assert (await small.pages(groups["@odata.deltaLink"]))[0]["value"] == []
    directory.update_group("crew", {"displayName": "Team"})
    (page,) = await small.pages(groups["@odata.deltaLink"])
    assert page["value"] == [{"id": "crew", "displayName": "Team"}]


async def test_members_and_owners_are_told_as_they_change(small: Client) -> None:
    directory = small.tenant.directory
    (page,) = await small.pages("/groups/delta?$select=displayName,members,owners")
    user = {"@odata.type": "#microsoft.graph.user"}
    assert page["value"] == [
        {
            "id": "crew",
            "displayName": "Crew",
            "members@delta": [{**user, "id": "ada"}, {**user, "id": "bob"}],
            "owners@delta": [{**user, "id": "bob"}],
        }
    ]
    directory.remove_member("crew", "ada")
    directory.add_member("crew", "laptop", "device")
    directory.add_member("crew", "mystery", None)
    directory.add_member("crew", "guest")
    directory.remove_member("crew", "guest")
    directory.remove_owner("crew", "bob")
    gone = {"@removed": {"reason": "deleted"}}
    (page,) = await small.pages(page["@odata.deltaLink"])
    assert page["value"] == [
        {
            "id": "crew",
            "displayName": "Crew",
            "members@delta": [
                {**user, "id": "ada", **gone},
                {"@odata.type": "#microsoft.graph.device", "id": "laptop"},
                {"id": "mystery"},
                {**user, "id": "guest", **gone},
            ],
            "owners@delta": [{**user, "id": "bob", **gone}],
        }
    ]


async def test_a_manager_is_told_when_it_changes(small: Client) -> None:
    directory = small.tenant.directory
    (page,) = await small.pages("/users/delta?$select=displayName,manager")
    by_id = {user["id"]: user for user in page["value"]}
    bob = {"@odata.type": "#microsoft.graph.user", "id": "bob"}
    assert by_id["ada"]["manager@delta"] == [bob]
    assert "manager@delta" not in by_id["bob"]
    directory.update_user("ada", {"displayName": "Ada L"})
    (page,) = await small.pages(page["@odata.deltaLink"])
    assert page["value"] == [{"id": "ada", "displayName": "Ada L"}]
    directory.set_manager("ada", None)
    (page,) = await small.pages(page["@odata.deltaLink"])
    assert page["value"][0]["manager@delta"] == [{**bob, "@removed": {"reason": "deleted"}}]
    directory.set_manager("ada", "bob")
    (page,) = await small.pages(page["@odata.deltaLink"])
    assert page["value"][0]["manager@delta"] == [bob]


async def test_removal_has_a_reason_and_a_restored_user_is_whole(small: Client) -> None:
    directory = small.tenant.directory
    (users,) = await small.pages("/users/delta?$select=displayName,manager")
    (groups,) = await small.pages("/groups/delta?$select=members")
    directory.delete_user("ada")
    (users,) = await small.pages(users["@odata.deltaLink"])
    assert users["value"] == [{"id": "ada", "@removed": {"reason": "changed"}}]
    (groups,) = await small.pages(groups["@odata.deltaLink"])
    assert groups["value"] == []  # soft-deleted users stay in their groups
    directory.restore_user("ada")
    (users,) = await small.pages(users["@odata.deltaLink"])
    bob = {"@odata.type": "#microsoft.graph.user", "id": "bob"}
    assert users["value"] == [{"id": "ada", "displayName": "Ada", "manager@delta": [bob]}]
    directory.delete_user("ada")
    directory.purge_user("ada")
    (users,) = await small.pages(users["@odata.deltaLink"])
    assert users["value"] == [{"id": "ada", "@removed": {"reason": "deleted"}}]
    (groups,) = await small.pages(groups["@odata.deltaLink"])
    assert [edge["id"] for edge in groups["value"][0]["members@delta"]] == ["ada"]


async def test_soft_deleted_objects_may_come_in_the_first_round(small: Client) -> None:
    small.tenant.directory.delete_user("ada")
    assert len((await small.pages("/users/delta"))[0]["value"]) == 1
    small.tenant.delta_removed_on_first_pass = True
    (page,) = await small.pages("/users/delta?$select=displayName")
    assert {"id": "ada", "@removed": {"reason": "changed"}} in page["value"]


async def test_latest_gives_only_a_link_that_tracks_members(small: Client) -> None:
    (page,) = await small.pages("/groups/delta?$deltatoken=latest&$select=displayName,members")
    assert page["value"] == []
    small.tenant.directory.remove_member("crew", "ada")
    (page,) = await small.pages(page["@odata.deltaLink"])
    assert page["value"][0]["members@delta"][0]["@removed"] == {"reason": "deleted"}


async def test_a_filter_on_ids_narrows_every_round(small: Client) -> None:
    (page,) = await small.pages("/users/delta?$select=displayName&$filter=id eq 'ada' or id eq 'none'")
    assert [user["id"] for user in page["value"]] == ["ada"]
    small.tenant.directory.update_user("bob", {"displayName": "B"})
    assert (await small.pages(page["@odata.deltaLink"]))[0]["value"] == []


@pytest.mark.parametrize("name", ["delta", "delta()", "microsoft.graph.delta", "microsoft.graph.delta()"])
@pytest.mark.parametrize("kind", ["users", "groups"])
async def test_all_ways_to_write_the_path(small: Client, kind: str, name: str) -> None:
    answer = await small.ask(f"/v1.0//{kind}/{name}?%24select=displayName")
    assert answer.status == 200
    assert set(answer.json["value"][0]) == {"id", "displayName"}


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("$select=displayName,nonsense", 400, "BadRequest"),
        ("$top=10", 400, "Request_UnsupportedQuery"),
        ("$expand=manager", 400, "Request_UnsupportedQuery"),
        ("$orderby=displayName", 400, "Request_UnsupportedQuery"),
        ("$search=%22a%22", 400, "Request_UnsupportedQuery"),
        ("$count=true", 400, "Request_UnsupportedQuery"),
        ("$select=signInActivity", 400, "Request_UnsupportedQuery"),
        ("$select=aboutMe", 501, "NotImplemented"),
        ("$filter=displayName eq 'Ada'", 400, "Request_UnsupportedQuery"),
        ("$filter=" + " or ".join(["id eq 'a'"] * 51), 400, "Request_UnsupportedQuery"),
        ("$deltatoken=nonsense", 400, "BadRequest"),
        ("$skiptoken=nonsense.1", 400, "Directory_ExpiredPageToken"),
        ("$skiptoken=nonsense", 400, "BadRequest"),
    ],
)
async def test_delta_refuses(small: Client, query: str, status: int, code: str) -> None:
    answer = await small.graph(f"/users/delta?{query}")
    assert (answer.status, answer.code) == (status, code)
    assert answer.json["error"]["innerError"]["request-id"] == answer.headers["request-id"]


async def test_a_token_of_the_other_resource_is_refused(small: Client) -> None:
    (page,) = await small.pages("/users/delta")
    link = page["@odata.deltaLink"].replace("/users/", "/groups/")
    assert (await small.ask(link)).status == 400


async def test_an_aged_token_is_gone(small: Client) -> None:
    now = 1_000_000.0
    tenant = Tenant(small.tenant.directory, clock=lambda: now)
    async with client_of(tenant) as client:
        (page,) = await client.pages(USERS)
        link = page["@odata.deltaLink"]
        now += 6.9 * 24 * 3600
        client.with_permissions("User.Read.All")
        assert (await client.ask(link)).status == 200
        now += 0.2 * 24 * 3600
        client.with_permissions("User.Read.All")
        answer = await client.ask(link)
        assert answer.status == 410
        location = answer.headers["Location"]
        assert location == f"{client.server.url}/v1.0/users/delta?$deltatoken="
        assert len((await client.pages(location))[0]["value"]) == 2
        tenant.delta_expiry = "syncStateNotFound"
        answer = await client.ask(link)
        assert (answer.status, answer.code) == (400, "syncStateNotFound")


async def test_tokens_expire_at_once_on_demand_and_with_a_new_tenant(small: Client) -> None:
    (page,) = await small.pages(USERS)
    link = page["@odata.deltaLink"]
    small.tenant.expire_delta_tokens()
    assert (await small.ask(link)).status == 410
    (page,) = await small.pages(USERS)
    assert (await small.ask(page["@odata.deltaLink"])).status == 200
    async with client_of(Tenant(small.tenant.directory)) as other:
        foreign = page["@odata.deltaLink"].replace(small.server.url, other.server.url)
        assert (await other.ask(foreign)).status == 410


async def test_hidden_members_need_their_own_permission(client: Client) -> None:
    hidden = next(
        group_id
        for group_id, group in client.tenant.directory.groups.items()
        if group.get("visibility") == "HiddenMembership"
    )
    query = f"/groups/delta?$select=displayName,members&$filter=id eq '{hidden}'"
    assert len((await client.pages(query))[0]["value"][0]["members@delta"]) == 6
    client.with_permissions("Group.Read.All")
    (page,) = await client.pages(query)
    assert "members@delta" not in page["value"][0]
    client.tenant.directory.add_member(hidden, "newcomer")
    (page,) = await client.pages(page["@odata.deltaLink"])
    assert "members@delta" not in page["value"][0]


async def test_leave_dates_need_their_own_permission(small: Client) -> None:
    small.with_permissions("User.Read.All")
    answer = await small.graph("/users/delta?$select=id,employeeLeaveDateTime")
    assert (answer.status, answer.code) == (403, "Authorization_RequestDenied")
    small.with_permissions("User.Read.All", "User-LifeCycleInfo.Read.All")
    assert (await small.graph("/users/delta?$select=id,employeeLeaveDateTime")).status == 200


async def test_empty_pages_come_first_and_between(client: Client) -> None:
    client.tenant.delta_empty_page_every = 2
    client.tenant.delta_page_objects = 50
    pages = await client.pages(USERS)
    assert [len(page["value"]) for page in pages] == [0, 50, 50, 0, 50, 50, 0, 50, 50]


async def test_scattering_puts_the_same_group_on_distant_pages(client: Client) -> None:
    client.tenant.delta_scatter = True
    client.tenant.delta_page_links = 50
    pages = await client.pages(GROUPS)
    everyone = max(client.tenant.directory.members, key=lambda g: len(client.tenant.directory.members[g]))
    places = [n for n, page in enumerate(pages) for group in page["value"] if group["id"] == everyone]
    assert len(places) > 20
    assert places[-1] - places[0] >= 5
