"""Pages: what is believed, what is refused, and that any way to cut a collection gives the same objects."""

import json
from collections.abc import Callable, Sequence
from itertools import chain
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.tenant import Tenant, TenantServer, faults
from sandbox.tenant.faults import Action, Answer
from sandbox.tenant.messages import Call, Reply, json_reply
from shared.directory.collectors.deleted_users import DeletedUsersCollector
from shared.directory.collectors.interface import PagedCollector, Progress, SliceContext
from shared.directory.collectors.users import UsersCollector
from shared.directory.users import read_users
from shared.errors import InvalidPage
from shared.graph.paging import RAW_PAGE, VisitedLinks, decode_objects, read_page
from shared.snapshots.shuffle import Cut, RowWriter
from shared.snapshots.state import Checkpoint, Run
from tests.graph.conftest import ALICE, Line, told

PAGES = r"/delta|/deletedItems|/users\?.*expand"
BEGIN = "/v1.0/users/delta"
"""Where an incremental run begins, as far as these tests care."""


def context_of(line: Line, collector: PagedCollector, *, begin: bool = False) -> SliceContext:
    """A slice of one bucket that never needs storage; with `begin` one of a delta, else of a list."""
    run = cast("Run", SimpleNamespace(cut=Cut(1, 16)))  # all that reading a page needs of a run
    link = line.origin + BEGIN if begin else None
    return SliceContext(
        run=run,
        checkpoint=Checkpoint(
            dataset=collector.dataset, as_of="2026-11-21T09:00:00Z", begin=link, cursor=link
        ),
        graph=line.client,
        rows=RowWriter(collector.streams(run)),
        visited=VisitedLinks(),
        state=cast("Any", None),
        output=cast("Any", None),
        previous_users=[],
        users=None,
    )


async def read_chain(line: Line, collector: PagedCollector, *, begin: bool = False) -> SliceContext:
    context = context_of(line, collector, begin=begin)
    for _ in range(1_000):
        if await collector.step(context) is Progress.ENDED:
            return context
    raise AssertionError("the chain does not end")


def user_ids(context: SliceContext) -> set[str]:
    _, segments = context.rows.stream("users")
    return set(read_users(b"[" + b",".join(map(bytes, chain.from_iterable(segments))) + b"]")[0])


# --- one page -------------------------------------------------------------------------------------

LINKS = b'{"value": [], "@odata.nextLink": "n", "@odata.deltaLink": "d"}'
NEXT = b'{"value": [], "@odata.nextLink": "n"}'
DELTA = b'{"value": [], "@odata.deltaLink": "d"}'
NEITHER = b'{"value": []}'


@pytest.mark.parametrize(
    ("body", "delta", "words"),
    [
        pytest.param(LINKS, True, "both a next link and a delta link", id="both links"),
        pytest.param(LINKS, False, "both a next link and a delta link", id="both links in a list"),
        pytest.param(NEITHER, True, "neither", id="neither link"),
        pytest.param(b'{"value": [], "@odata.nextLink": null}', True, "neither", id="a link of null"),
        pytest.param(b'{"value": [], "@odata.deltaLink": ""}', True, "neither", id="an empty link"),
        pytest.param(DELTA, False, "a delta link for a list", id="a delta link in a list"),
        pytest.param(b'{"@odata.nextLink": "n"}', True, "`value`", id="no value"),
        pytest.param(b'{"value": null, "@odata.nextLink": "n"}', True, "Expected `array`", id="value null"),
        pytest.param(b'{"value": {}, "@odata.nextLink": "n"}', True, "Expected `array`", id="value no list"),
        pytest.param(b'{"value": [], "@odata.nextLink": 5}', True, "Expected `str", id="a number for a link"),
        pytest.param(b'{"error": {"code": "x"}}', True, "`value`", id="an error with 200"),
        pytest.param(b'{"value": [{"id": "1"}', True, "cannot be read", id="half of a page"),
        pytest.param(b"", True, "cannot be read", id="nothing"),
        pytest.param(b"null", True, "cannot be read", id="null"),
        pytest.param(b"[]", True, "cannot be read", id="a list"),
        pytest.param(b"\xff\xfe", True, "cannot be read", id="no UTF-8"),
        pytest.param(b"  <!DOCTYPE html><p>Sign in", True, "it is HTML", id="HTML"),
        pytest.param(NEXT + NEXT, True, "cannot be read", id="two pages in one"),
    ],
)
def test_what_is_no_page(body: bytes, delta: bool, words: str) -> None:
    with pytest.raises(InvalidPage, match=f"^users: .*{words}"):
        read_page(body, RAW_PAGE, "users", delta=delta)


@pytest.mark.parametrize(
    ("body", "delta"),
    [
        pytest.param(NEXT, True, id="a next link"),
        pytest.param(DELTA, True, id="a delta link"),
        pytest.param(NEXT, False, id="a list that goes on"),
        pytest.param(NEITHER, False, id="a list that ends"),
    ],
)
def test_what_is_a_page(body: bytes, delta: bool) -> None:
    assert read_page(body, RAW_PAGE, "users", delta=delta).value == []


class _Named(msgspec.Struct):
    name: str


def test_an_object_that_cannot_be_read_is_not_quoted() -> None:
    rows = b'[{"name": "Alice Confidential"}, {"name": ["Bob Confidential"]}]'

    with pytest.raises(InvalidPage, match=r"users: .*\$\[1\]\.name") as raised:
        decode_objects(rows, msgspec.json.Decoder(list[_Named]), "users")

    assert "Confidential" not in told(raised.value)


def test_visited_links_survive_in_a_checkpoint() -> None:
    visited = VisitedLinks()
    for number in range(100):
        visited.visit(f"https://graph/{number}", "users")

    restored = VisitedLinks(visited.digests())

    assert len(visited.digests()) == 800
    restored.visit("https://graph/100", "users")
    with pytest.raises(InvalidPage, match="second time") as raised:
        restored.visit("https://graph/7", "users")
    assert "graph/7" not in str(raised.value)


# --- chains ---------------------------------------------------------------------------------------


def next_link(link: Callable[[Call], str]) -> Action:
    """A page that says it goes on there."""

    def change(page: dict[str, Any], call: Call) -> None:
        page.pop("@odata.deltaLink", None)
        page["@odata.nextLink"] = link(call)

    return faults.edit(change)


def other_page(call: Call) -> str:
    return f"{call.origin}{call.path}?p={2 if call.query.get('p') == '1' else 1}"


def final_link(link: str) -> Action:
    def change(page: dict[str, Any], _call: Call) -> None:
        page["@odata.deltaLink"] = link

    return faults.edit(change)


COLLECTORS = pytest.mark.parametrize(
    ("collector", "begin"),
    [
        pytest.param(UsersCollector(), True, id="delta"),
        pytest.param(DeletedUsersCollector(), False, id="list"),
    ],
)


@COLLECTORS
@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        pytest.param(faults.self_link(), 2, id="to itself"),
        pytest.param(
            next_link(lambda call: f"{call.origin}{call.path}?$skiptoken=same"), 2, id="to one page"
        ),
        pytest.param(
            next_link(lambda call: f"{call.origin}{call.path}?p={call.query.get('p') != '1':d}"),
            3,
            id="in a ring",
        ),
    ],
)
async def test_links_that_go_round_end_the_dataset(
    line: Line, collector: PagedCollector, begin: bool, fault: Action, requests: int
) -> None:
    async def any_page(call: Call, _answer: Answer) -> Reply:
        return await fault(call, page)

    async def page() -> Reply:
        return json_reply({"value": [{"id": ALICE}]})

    line.tenant.faults.add(any_page, PAGES, times=None)

    with pytest.raises(InvalidPage, match=f"{collector.dataset}.*second time"):
        await read_chain(line, collector, begin=begin)

    assert len(line.requests) == requests


@COLLECTORS
async def test_a_link_to_another_host_gets_neither_a_request_nor_a_token(
    line: Line, collector: PagedCollector, begin: bool
) -> None:
    async with TenantServer(other := Tenant()) as elsewhere:
        link = f"{elsewhere.url}/v1.0/users/delta?$skiptoken=s3cr3t"
        line.tenant.faults.add(faults.foreign_link(link), PAGES)

        with pytest.raises(InvalidPage, match=f"{collector.dataset}: .*127.0.0.1.*not followed") as raised:
            await read_chain(line, collector, begin=begin)

    assert other.requests == []
    assert "s3cr3t" not in told(raised.value)


@pytest.mark.parametrize("begin", [True, False], ids=["at the end", "at the beginning of a list"])
async def test_a_delta_link_to_another_host_is_not_kept(line: Line, begin: bool) -> None:
    line.tenant.faults.add(final_link("https://graph.evil.example/v1.0/users/delta?$deltatoken=x"), PAGES)

    context = context_of(line, UsersCollector(), begin=begin)
    with pytest.raises(InvalidPage, match=r"users: .*graph\.evil\.example"):
        await UsersCollector().step(context)

    assert context.checkpoint.delta_link is None
    assert context.checkpoint.minted is None


async def test_empty_and_repeated_pages_are_no_end(line: Line) -> None:
    people = {line.tenant.directory.add_user({}) for _ in range(7)} | {ALICE}
    line.tenant.delta_page_objects = 2
    line.tenant.delta_empty_page_every = 1
    line.tenant.delta_replay_every = 2

    context = await read_chain(line, UsersCollector(), begin=True)

    assert user_ids(context) == people
    assert context.checkpoint.pages > 8
    assert context.checkpoint.delta_link


async def test_a_list_is_followed_by_what_changed_while_it_was_read(line: Line) -> None:
    """Whoever came, went or changed meanwhile, before or after its page was read, is as it is at the end."""
    directory = line.tenant.directory
    first, *_, last = [directory.add_user({}) for _ in range(7)]
    line.tenant.list_page_objects = 2

    async def meanwhile(_call: Call, answer: Answer) -> Reply:
        directory.delete_user(first)
        directory.update_user(last, {"city": "Oslo"})
        directory.add_user({"id": "new"})
        return await answer()

    line.tenant.faults.add(meanwhile, r"/users\?.*skiptoken", skip=1)
    context = await read_chain(line, UsersCollector())

    assert user_ids(context) == set(directory.users)
    asked = [request.path for request in line.requests]
    assert ["deltatoken=latest" in path for path in asked] == [True] + [False] * (len(asked) - 1)
    assert ["/delta" in path for path in asked[1:]] == [False] * 4 + [True]
    assert context.checkpoint.delta_link
    assert context.checkpoint.delta_link != context.checkpoint.minted


PEOPLE = [f"{number:02}" for number in range(12)]


def served(pages: Sequence[Sequence[str]]) -> Action:
    """A delta chain of just these pages."""

    async def act(call: Call, _answer: Answer) -> Reply:
        number = int(call.query.get("$skiptoken", 0))
        link = f"{call.origin}{call.path}?$skiptoken={number + 1}"
        last = number + 1 == len(pages)
        page = {
            "value": [{"id": person, "displayName": f"Person {person}"} for person in pages[number]],
            "@odata.deltaLink" if last else "@odata.nextLink": link,
        }
        return json_reply(page)

    return act


@given(st.lists(st.lists(st.sampled_from(PEOPLE), max_size=5), max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_split_into_pages_gives_the_same_objects(
    line: Line, pages: list[list[str]], random: Any
) -> None:
    """Whatever comes twice, and wherever pages are empty: the set is the same, and no page is asked twice."""
    missing = [person for person in PEOPLE if not any(person in page for page in pages)]
    random.shuffle(missing)
    at = random.randint(0, len(pages))
    pages = [*pages[:at], missing, *pages[at:]]
    line.tenant.faults.clear()
    line.tenant.faults.add(served(pages), times=None)
    line.tenant.requests.clear()

    context = await read_chain(line, UsersCollector(), begin=True)

    assert user_ids(context) == set(PEOPLE)
    assert len(line.requests) == len(pages) == context.checkpoint.pages
    assert context.checkpoint.rows == sum(map(len, pages))


def test_objects_are_decoded_without_what_we_do_not_use() -> None:
    page = {
        "value": [{"id": "1", "extension_0f_x": {"deep": [1]}}],
        "@odata.nextLink": "n",
        "@odata.context": "c",
    }
    assert len(read_page(json.dumps(page).encode(), RAW_PAGE, "users", delta=True).value) == 1
