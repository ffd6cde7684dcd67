"""Every request as the tenant gets it: it refuses what Graph would refuse."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from sandbox.tenant import Tenant
from sandbox.tenant.faults import Answer
from sandbox.tenant.messages import Call, Reply, query_of
from shared.errors import GraphRefused
from shared.graph import queries
from shared.graph.client import GraphClient
from tests.graph.conftest import Line

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation

type Make = Callable[[GraphClient], RequestInformation]

USERS = queries.USER_PROPERTIES
REPORT = "/v1.0/reports/authenticationMethods/userRegistrationDetails"


def count_of(collection: str) -> Make:
    return lambda graph: queries.count(graph, collection)


class Overheard:
    """Lets every request through and keeps it as it came."""

    def __init__(self, tenant: Tenant) -> None:
        self.calls: list[Call] = []
        tenant.faults.add(self._listen, times=None)

    async def _listen(self, call: Call, answer: Answer) -> Reply:
        self.calls.append(call)
        return await answer()


@pytest.mark.parametrize(
    ("make", "path", "query"),
    [
        pytest.param(
            lambda graph: queries.users_delta(graph, with_leave_date=True),
            "/v1.0/users/delta()",
            {"$select": f"{USERS},employeeLeaveDateTime"},
            id="users with their leave date",
        ),
        pytest.param(
            lambda graph: queries.users_delta(graph, with_leave_date=False),
            "/v1.0/users/delta()",
            {"$select": USERS},
            id="users",
        ),
        pytest.param(
            queries.groups_delta, "/v1.0/groups/delta()", {"$select": queries.GROUP_PROPERTIES}, id="groups"
        ),
        pytest.param(queries.registration_details, REPORT, {"$top": "999"}, id="registration report"),
        pytest.param(
            lambda graph: queries.registration_details(graph, None), REPORT, {}, id="report in Graph's pages"
        ),
        pytest.param(
            lambda graph: queries.sign_in_activity(graph, queries.SIGN_IN_PAGE),
            "/v1.0/users",
            {"$select": "id,signInActivity", "$top": "500"},
            id="sign-ins",
        ),
        pytest.param(
            lambda graph: queries.sign_in_activity(graph, queries.SIGN_IN_PAGE_FALLBACK),
            "/v1.0/users",
            {"$select": "id,signInActivity", "$top": "120"},
            id="sign-ins where the older limit holds",
        ),
        pytest.param(
            queries.deleted_users,
            "/v1.0/directory/deletedItems/graph.user",
            {"$select": "id", "$top": "999"},
            id="deleted users",
        ),
        pytest.param(lambda graph: queries.count(graph, "users"), "/v1.0/users/$count", {}, id="users"),
        pytest.param(lambda graph: queries.count(graph, "groups"), "/v1.0/groups/$count", {}, id="count"),
    ],
)
async def test_graph_takes_the_request(line: Line, make: Make, path: str, query: dict[str, str]) -> None:
    overheard = Overheard(line.tenant)

    answer = await line.send(make(line.client))

    (call,) = overheard.calls
    assert answer.body
    assert (call.method, call.path, dict(call.query)) == ("GET", path, query)
    assert call.headers["Accept"].startswith(("application/json", "text/plain"))
    assert "Prefer" not in call.headers
    assert len(call.url) < 2_000, "some proxies cut longer ones"


async def test_the_leave_date_is_what_needs_a_permission_of_its_own(line: Line) -> None:
    next(iter(line.tenant.clients.values())).permissions.discard("User-LifeCycleInfo.Read.All")

    await line.send(queries.users_delta(line.client, with_leave_date=False))
    with pytest.raises(GraphRefused):
        await line.send(queries.users_delta(line.client, with_leave_date=True))


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("$skiptoken=abc.1", id="plain"),
        pytest.param("%24skiptoken=abc", id="an encoded name"),
        pytest.param("$skiptoken=a%2Bb%2Fc%3D%3D%26d%23e%25f%20g&$top=999", id="encoded characters"),
        pytest.param("$skiptoken=a%2Eb%2Dc%7Ed%24e", id="characters that the SDK decodes in names"),
        pytest.param("$skiptoken=X'44'&q=a,b;c:d@e!(f)*", id="characters that need no encoding"),
        pytest.param("$skiptoken=" + 3_000 * "x", id="a long one"),
    ],
)
async def test_a_link_is_followed_whole(line: Line, query: str) -> None:
    """Every parameter as it was sent. On the wire, characters that need no encoding may lose theirs: the
    transport writes a URL in its own form, which means the same (RFC 3986, 6.2.2)."""
    heard: list[Call] = []

    async def listen(call: Call, _answer: Answer) -> Reply:
        heard.append(call)
        return Reply(body=b"{}")

    line.tenant.faults.add(listen)
    link = f"{line.origin}/v1.0/users?{query}"

    await line.send(queries.follow(link))

    (call,) = heard
    assert call.path == "/v1.0/users"
    assert call.query == query_of(link)


async def test_a_batch_is_a_post_of_json(line: Line) -> None:
    overheard = Overheard(line.tenant)
    items = b'{"requests": [{"id": "0", "method": "GET", "url": "/users?$select=id"}]}'

    await line.send(queries.batch(line.client, items))

    (call,) = overheard.calls
    assert (call.method, call.path, call.body) == ("POST", "/v1.0/$batch", items)
    assert call.headers["Content-Type"] == "application/json"
