"""Faults on demand, as a client sees them on the wire; and the control of a tenant in another process."""

import json
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from time import monotonic

import aiohttp
import pytest

from sandbox.tenant import CLIENT_ID, Tenant, faults, generate
from tests.sandbox.tenant_client import Client, client_of

DELTA = "/users/delta?$select=id,displayName"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    tenant = Tenant(generate(300, seed=11))
    tenant.delta_page_objects = 100
    async with client_of(tenant) as client:
        yield client


async def test_a_rule_skips_hits_and_is_used_up(client: Client) -> None:
    rule = client.tenant.faults.add(faults.respond(500), r"/users/delta", skip=1, times=2)
    statuses = [(await client.graph(DELTA)).status for _ in range(5)]
    assert statuses == [200, 500, 500, 200, 200]
    assert rule.hits == 2
    client.tenant.faults.add(faults.respond(503), r"/groups", method="GET", every=2, times=None)
    assert [(await client.graph("/groups")).status for _ in range(4)] == [503, 200, 503, 200]
    assert (await client.graph(DELTA)).status == 200
    client.tenant.faults.clear()
    assert (await client.graph("/groups")).status == 200
    assert [record.status for record in client.tenant.requests[:5]] == statuses


@pytest.mark.parametrize("value", ["7", "2.128", "300"])
async def test_throttling_says_how_long(client: Client, value: str) -> None:
    client.tenant.faults.add(faults.throttle(value))
    answer = await client.graph(DELTA)
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (429, "TooManyRequests", value)
    assert (await client.graph(DELTA)).status == 200


async def test_throttling_by_date_and_without_a_word(client: Client) -> None:
    client.tenant.faults.add(faults.throttle_until(60))
    client.tenant.faults.add(faults.throttle())
    answer = await client.graph(DELTA)
    assert parsedate_to_datetime(answer.headers["Retry-After"]).tzinfo is not None
    assert "Retry-After" not in (await client.graph(DELTA)).headers


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_server_errors(client: Client, status: int) -> None:
    client.tenant.faults.add(faults.respond(status, headers={"Retry-After": "1"}))
    answer = await client.graph(DELTA)
    assert (answer.status, answer.headers["Retry-After"], answer.text) == (status, "1", "")


@pytest.mark.parametrize("status", [200, 502])
async def test_a_gateway_answers_with_html(client: Client, status: int) -> None:
    client.tenant.faults.add(faults.html(status))
    answer = await client.graph(DELTA)
    assert (answer.status, answer.json) == (status, None)
    assert answer.text.startswith("<!DOCTYPE html>")


async def test_gone_expired_and_other_refusals(client: Client) -> None:
    client.tenant.faults.add(faults.gone())
    client.tenant.faults.add(faults.expired_page_token())
    client.tenant.faults.add(faults.respond(400, code="Request_BadRequest"))
    answer = await client.graph(DELTA)
    assert (answer.status, answer.headers["Location"]) == (
        410,
        f"{client.server.url}/v1.0/users/delta?$deltatoken=",
    )
    assert (await client.graph(DELTA)).code == "Directory_ExpiredPageToken"
    assert (await client.graph(DELTA)).code == "Request_BadRequest"


async def test_a_body_that_stops_half_way_is_complete_for_http(client: Client) -> None:
    client.tenant.faults.add(faults.truncate())
    with pytest.raises(json.JSONDecodeError):
        await client.graph(DELTA)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_connection_that_breaks_in_the_body(client: Client, encoding: str) -> None:
    client.tenant.faults.add(faults.reset())
    with pytest.raises(aiohttp.ClientError):
        await client.graph(DELTA, headers={"Accept-Encoding": encoding})
    assert (await client.graph(DELTA)).status == 200


async def test_a_connection_that_closes_before_the_answer(client: Client) -> None:
    client.tenant.faults.add(faults.close(), times=None)
    with pytest.raises(aiohttp.ClientError):
        await client.graph("/$batch", method="POST", json={"requests": []})
    assert client.tenant.requests[-1].status == 0


async def test_slow_answers_are_whole(client: Client) -> None:
    client.tenant.faults.add(faults.drip(0.01))
    client.tenant.faults.add(faults.delay(0.2))
    start = monotonic()
    assert len((await client.graph(DELTA)).json["value"]) == 100
    middle = monotonic()
    assert len((await client.graph(DELTA)).json["value"]) == 100
    assert middle - start > 0.15
    assert monotonic() - middle > 0.15


async def test_pages_with_wrong_links(client: Client) -> None:
    rules = client.tenant.faults
    rules.add(faults.without_links())
    rules.add(faults.both_links())
    rules.add(faults.self_link())
    rules.add(faults.foreign_link("https://example.invalid/v1.0/users/delta?$skiptoken=1"))
    page = (await client.graph(DELTA)).json
    assert not {"@odata.nextLink", "@odata.deltaLink"} & page.keys()
    page = (await client.graph(DELTA)).json
    assert {"@odata.nextLink", "@odata.deltaLink"} < page.keys()
    page = (await client.graph(DELTA)).json
    assert page["@odata.nextLink"] == f"{client.server.url}/v1.0{DELTA}"
    page = (await client.graph(DELTA)).json
    assert page["@odata.nextLink"].startswith("https://example.invalid/")


async def test_a_replayed_page_comes_again_and_the_chain_goes_on(client: Client) -> None:
    client.tenant.faults.add(faults.replay(), r"skiptoken", skip=1)
    pages = await client.pages(DELTA)
    assert len(pages) == 4
    assert pages[2]["value"] == pages[3]["value"]
    assert pages[2]["@odata.nextLink"]
    assert "@odata.deltaLink" in pages[3]


async def test_one_object_may_be_anything(client: Client) -> None:
    client.tenant.faults.add(faults.replace_object({"id": 7, "displayName": ["no"]}, index=3))
    page = (await client.graph(DELTA)).json
    assert page["value"][3] == {"id": 7, "displayName": ["no"]}
    client.tenant.faults.add(faults.edit(lambda page, call: page["value"].reverse()))
    assert (await client.graph(DELTA)).json["value"][-1]["id"] == page["value"][0]["id"]


async def test_headers_are_added(client: Client) -> None:
    client.tenant.faults.add(faults.add_headers({"x-ms-throttle-limit-percentage": "1.2"}))
    assert (await client.graph(DELTA)).headers["x-ms-throttle-limit-percentage"] == "1.2"


async def test_items_of_a_batch_are_throttled_on_their_own(client: Client) -> None:
    client.tenant.faults.add(faults.throttle("3"), r"/users", batched=True, times=2)
    requests = [{"id": str(n), "method": "GET", "url": "/users?$top=1"} for n in range(5)]
    answer = await client.graph("/$batch", method="POST", json={"requests": requests})
    assert answer.status == 200
    throttled = [item for item in answer.json["responses"] if item["status"] == 429]
    assert sorted(item["id"] for item in throttled) == ["0", "1"]
    assert all(item["headers"]["Retry-After"] == "3" for item in throttled)
    assert (await client.graph("/users")).status == 200


# --- control -------------------------------------------------------------------------------------------


async def test_the_control_changes_the_company(client: Client) -> None:
    answer = await client.ask("/_sandbox/churn", "POST", json={"seed": 1, "count": 30})
    assert answer.status == 200
    assert sum(answer.json["events"].values()) == 30
    assert answer.json["changes"] == len(list(client.tenant.directory.changes_since(0)))
    again = await client.ask("/_sandbox/churn", "POST")
    assert again.json["changes"] > 0
    assert client.tenant.requests == []


async def test_the_control_switches_faults(client: Client) -> None:
    rule = {"action": "throttle", "arguments": {"retry_after": "2.128"}, "path": "/users", "times": None}
    assert (await client.ask("/_sandbox/faults", "POST", json=[rule])).json == {"rules": 1}
    assert (await client.graph("/users")).headers["Retry-After"] == "2.128"
    assert (await client.ask("/_sandbox/faults", "DELETE")).json == {"rules": 0}
    assert (await client.graph("/users")).status == 200
    for wrong in (
        {"action": "nonsense"},
        {"action": "html", "arguments": {"x": 1}},
        {"action": "close", "x": 1},
    ):
        assert (await client.ask("/_sandbox/faults", "POST", json=wrong)).status == 400


async def test_the_control_grants_revokes_and_counts(client: Client) -> None:
    body = {
        "client_id": CLIENT_ID,
        "grant": ["Domain.Read.All"],
        "revoke": ["User.Read.All"],
        "premium": False,
    }
    answer = await client.ask("/_sandbox/permissions", "POST", json=body)
    assert "Domain.Read.All" in answer.json["permissions"]
    assert "User.Read.All" not in client.tenant.clients[CLIENT_ID].permissions
    assert client.tenant.premium is False
    assert (await client.ask("/_sandbox/permissions", "POST", json={"client_id": "x"})).status == 400
    assert (await client.graph("/users")).status == 403
    stats = (await client.ask("/_sandbox/stats")).json
    assert (stats["requests"], stats["by_status"], stats["users"]) == (1, {"403": 1}, 300)
    assert (await client.ask("/_sandbox/nonsense")).status == 404
    assert (await client.ask("/nonsense")).status == 404
