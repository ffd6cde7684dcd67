"""Twenty requests in one: each item is answered, throttled and refused on its own."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.tenant import faults
from sandbox.tenant.faults import Action
from sandbox.tenant.messages import Call, Record
from shared.errors import (
    GraphError,
    GraphRefused,
    GraphRequestRejected,
    GraphThrottled,
    GraphUnreachable,
    InvalidPage,
)
from shared.graph.batch import Ask, ask_many, get_many
from shared.graph.policy import Usage
from tests.graph.conftest import Line

PEOPLE = [f"{number:08}-0000-4000-8000-000000000000" for number in range(45)]
METHODS_OF = {person: f"/users/{person}/authentication/methods" for person in PEOPLE}
OUTER = r"^/v1\.0/\$batch$"


@pytest.fixture(autouse=True)
def people(line: Line) -> None:
    """45 users, each with one method that no other has."""
    for person in PEOPLE:
        line.tenant.directory.add_user({"id": person})
        line.tenant.directory.methods[person] = [{"id": f"method of {person}"}]


async def ask(line: Line, count: int) -> dict[str, bytes | GraphRequestRejected]:
    urls = dict(list(METHODS_OF.items())[:count])
    return await get_many(
        line.client, urls, line.usage, subject="authentication methods", permission="Methods.Read"
    )


def batches(line: Line) -> list[tuple[Record, ...]]:
    """The items of each batch that the tenant got."""
    return [request.items for request in line.requests]


def of(number: int) -> str:
    """Which item a fault is for."""
    return f"^/users/{PEOPLE[number]}/"


def spoil(line: Line, number: int, action: Action, times: int | None = 1) -> None:
    line.tenant.faults.add(action, of(number), times=times, batched=True)


async def test_each_key_gets_its_own_body_whatever_the_order(line: Line) -> None:
    answers = await ask(line, 45)

    assert [len(items) for items in batches(line)] == [20, 20, 5]
    for person, body in answers.items():
        assert isinstance(body, bytes)
        assert f"method of {person}".encode() in body
    assert list(METHODS_OF)[:45] == sorted(answers)


@pytest.mark.parametrize("seed", range(5))
async def test_any_order_of_answers_will_do(line: Line, seed: int) -> None:
    line.tenant.batch_order = random.Random(seed)
    answers = await ask(line, 7)
    assert all(f"method of {person}".encode() in body for person, body in answers.items())  # type: ignore[operator]


async def test_nothing_to_ask_is_not_asked(line: Line) -> None:
    assert await ask(line, 0) == {}
    assert line.requests == []


async def test_cost_and_limits_are_those_of_the_items(line: Line) -> None:
    spoil(line, 3, faults.add_headers({"x-ms-throttle-limit-percentage": "0.9"}))

    await ask(line, 20)
    await ask(line, 1)

    assert line.usage == Usage(requests=2, resource_units=21)
    assert line.clock.slept == pytest.approx([0.5])


@pytest.mark.parametrize(
    ("action", "wait", "throttled"),
    [
        pytest.param(faults.throttle("2.128"), 2.128, 1, id="429 with its own wait"),
        pytest.param(faults.throttle(0), 0, 1, id="429, at once"),
        pytest.param(faults.throttle(), 0.5, 1, id="429 without a wait"),
        pytest.param(faults.respond(500), 0.5, 0, id="500"),
        pytest.param(faults.html(502), 0.5, 0, id="502"),
        pytest.param(faults.throttle(7, status=503), 7, 0, id="503 with a wait"),
        pytest.param(faults.respond(504), 0.5, 0, id="504"),
    ],
)
async def test_only_the_item_that_failed_is_asked_again(
    line: Line, action: Action, wait: float, throttled: int
) -> None:
    spoil(line, 2, action)

    answers = await ask(line, 5)

    assert list(map(len, batches(line))) == [5, 1]
    assert [item.path for item in batches(line)[1]] == [METHODS_OF[PEOPLE[2]]]
    assert all(isinstance(body, bytes) for body in answers.values())
    assert sum(line.clock.slept) == pytest.approx(wait)
    assert (line.usage.retried, line.usage.throttled) == (1, throttled)


@pytest.mark.parametrize("seed", range(5))
async def test_the_longest_wait_of_all_items_counts(line: Line, seed: int) -> None:
    line.tenant.batch_order = random.Random(seed)
    for number, action in enumerate((faults.throttle(3), faults.throttle(11), faults.respond(503))):
        spoil(line, number, action)

    answers = await ask(line, 20)

    assert len(answers) == 20
    assert list(map(len, batches(line))) == [20, 3]
    assert line.clock.slept == pytest.approx([11])
    assert line.usage.throttled == 2


@pytest.mark.parametrize(
    ("action", "tries", "error", "retry_after"),
    [
        pytest.param(faults.throttle(300), 1, GraphThrottled, 300, id="429, five minutes"),
        pytest.param(faults.throttle(300, status=503), 1, GraphThrottled, 300, id="503, five minutes"),
        pytest.param(faults.throttle(2), 5, GraphThrottled, 2, id="429 for ever"),
        pytest.param(faults.respond(503), 5, GraphUnreachable, None, id="503 for ever"),
    ],
)
async def test_a_lasting_fault_of_one_item_ends_the_slice(
    line: Line, action: Action, tries: int, error: type[GraphError], retry_after: float | None
) -> None:
    spoil(line, 1, action, times=None)

    with pytest.raises(error, match="authentication methods") as raised:
        await ask(line, 3)

    assert len(line.requests) == line.usage.requests == tries
    assert getattr(raised.value, "retry_after", None) == retry_after
    if tries == 1:
        assert line.clock.slept == []


async def test_an_item_that_is_gone_is_its_own_rejection(line: Line) -> None:
    line.tenant.directory.purge_user(PEOPLE[4])

    answers = await ask(line, 6)

    rejected = answers.pop(PEOPLE[4])
    assert isinstance(rejected, GraphRequestRejected)
    assert rejected.status == 404
    assert all(isinstance(body, bytes) for body in answers.values())
    assert len(line.requests) == 1


async def test_an_item_that_is_refused_refuses_all(line: Line) -> None:
    next(iter(line.tenant.clients.values())).permissions.discard("UserAuthenticationMethod.Read.All")

    with pytest.raises(GraphRefused, match=r"authentication methods.*Methods\.Read") as raised:
        await ask(line, 3)

    assert raised.value.reason == "permission"
    assert len(line.requests) == 1


@pytest.mark.parametrize(
    ("action", "tries"),
    [
        pytest.param(faults.throttle(2), 2, id="429"),
        pytest.param(faults.respond(503), 2, id="503"),
        pytest.param(faults.close(), 2, id="a closed connection: a POST is repeated by nobody but us"),
        pytest.param(faults.reset(), 2, id="a reset"),
    ],
)
async def test_the_batch_itself_may_fail_like_any_request(line: Line, action: Action, tries: int) -> None:
    line.tenant.faults.add(action, OUTER)

    answers = await ask(line, 3)

    assert len(answers) == 3
    assert len(line.requests) == line.usage.requests == tries


def responses(change: Callable[[list[Any]], object]) -> Action:
    def act(content: dict[str, Any], _call: Call) -> None:
        change(content["responses"])

    return faults.edit(act)


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(responses(lambda items: items.pop()), id="a missing item"),
        pytest.param(responses(lambda items: items.append(items[0])), id="an item twice"),
        pytest.param(responses(lambda items: items[0].update(id=items[1]["id"])), id="an id twice"),
        pytest.param(responses(lambda items: items[0].update(id="99")), id="an id that was not sent"),
        pytest.param(responses(lambda items: items[0].update(id="first")), id="an id that is no number"),
        pytest.param(responses(lambda items: items[0].update(id=0)), id="an id that is no text"),
        pytest.param(responses(lambda items: items[0].pop("status")), id="no status"),
        pytest.param(faults.respond(200, body='{"value": []}'), id="no batch"),
        pytest.param(faults.html(), id="HTML"),
        pytest.param(faults.truncate(), id="half of it"),
    ],
)
async def test_an_answer_that_is_not_whole_is_invalid(line: Line, action: Action) -> None:
    line.tenant.faults.add(action, OUTER)

    with pytest.raises(InvalidPage, match="authentication methods"):
        await ask(line, 4)


async def test_an_item_needs_neither_headers_nor_a_body(line: Line) -> None:
    def strip(items: list[Any]) -> None:
        for item in items:
            item.pop("headers")
            item.pop("body")

    line.tenant.faults.add(responses(strip), OUTER)

    assert await ask(line, 2) == {PEOPLE[0]: b"null", PEOPLE[1]: b"null"}


async def test_a_missing_permission_is_looked_for_in_a_new_token(line: Line) -> None:
    """What is granted meanwhile does not wait for the token to end."""
    spoil(line, 0, faults.respond(403, code="Authorization_RequestDenied"))
    with pytest.raises(GraphRefused):
        await ask(line, 3)
    assert line.credential.renewals == 1
    await ask(line, 3)
    assert len(set(line.credential.issued)) == 2


async def test_a_batch_also_sends_bodies_and_headers(line: Line) -> None:
    group = line.tenant.directory.add_group({"displayName": "Crew"})
    line.tenant.directory.add_member(group, PEOPLE[0], "user")
    asked = {
        person: Ask(f"/users/{person}/checkMemberGroups", body={"groupIds": [group]}) for person in PEOPLE[:2]
    }
    counted = Ask("/users?$count=true&$top=1&$select=id", headers={"ConsistencyLevel": "eventual"})
    answers = await ask_many(
        line.client, asked | {"counted": counted}, line.usage, subject="members", permission="Members.Read"
    )
    assert [group.encode() in bytes(answers[person]) for person in PEOPLE[:2]] == [True, False]  # type: ignore[arg-type]
    assert b'"@odata.count":' in bytes(answers["counted"])  # type: ignore[arg-type]
