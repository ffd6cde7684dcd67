"""`python docs/live_probe.py`: asks a real tenant what no simulated one can tell. See live-probe.md.

It only reads, sends at most 40 requests, and shows counts, codes and shortened ids: no name, token or link.
"""

import argparse
import asyncio
import logging
import os
import re
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from enum import StrEnum
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from shared.composition import App
from shared.config import Settings
from shared.errors import (
    ConfigurationError,
    GraphError,
    GraphRefused,
    GraphRequestRejected,
    InvalidPage,
    SecretUnavailable,
    SignInRefused,
)
from shared.graph import queries
from shared.graph.client import Answer, GraphClient
from shared.graph.paging import UNREADABLE, Page, page_decoder, read_page
from shared.graph.policy import Usage
from shared.graph.refusals import LICENCE_CODES
from shared.identity.credentials import graph_credential

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation

MOST_REQUESTS = 40
ATTEMPTS = 2
MOST_A_CALL = ATTEMPTS + 1
"""Both tries, and one more with a new token."""
USER_PAGES = 3
GROUP_PAGES = 5
USERS_IN_BATCH = 3

USERS, GROUPS, AUDIT_LOG = "User.Read.All", "GroupMember.Read.All", "AuditLog.Read.All"
METHODS, LEAVE_DATE = "UserAuthenticationMethod.Read.All", "User-LifeCycleInfo.Read.All"

DELTA_OBJECTS, DELTA_LINKS = 200, 500
DELTA_PAGE = f"about {DELTA_OBJECTS} objects or {DELTA_LINKS} links, whichever comes first"
REFERENCES = "lists of objects with @odata.type and id"
MEMBER_CHANGES = "groups/delta: $deltatoken=latest shows members that came and went"

type Json = dict[str, Any]
type Pages = list[Page[Json]]
type Connect = Callable[[str | None], AbstractAsyncContextManager[GraphClient]]


class Verdict(StrEnum):
    AS_EXPECTED = "as expected"
    DIFFERS = "differs"
    REFUSED = "refused"
    NOT_TRIED = "not tried"


class Seen(NamedTuple):
    text: str
    verdict: Verdict


class Finding(msgspec.Struct):
    """One line of the table."""

    check: str
    expected: str
    seen: str
    verdict: Verdict


class OutOfRequests(GraphError):
    reason = f"the probe's {MOST_REQUESTS} requests are used up"


class BatchItem(msgspec.Struct):
    """An answer in a batch without its body, which nobody needs to see."""

    status: int
    headers: dict[str, str] = {}


class BatchAnswers(msgspec.Struct):
    responses: list[BatchItem]


_page = page_decoder(dict[str, Any])
_batch = msgspec.json.Decoder(BatchAnswers)
_guid = re.compile(r"\b([0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
_limit_header = re.compile(r"throttle|rate-?limit|retry-after", re.IGNORECASE)


# --- what an answer says ----------------------------------------------------------------------------


def whether(expected: bool) -> Verdict:
    return Verdict.AS_EXPECTED if expected else Verdict.DIFFERS


def judged[T](answer: T | GraphError, judge: Callable[[T], Seen]) -> Seen:
    return no_answer(answer) if isinstance(answer, GraphError) else judge(answer)


def no_answer(error: GraphError) -> Seen:
    """Status, code and kind: Graph's own words may name somebody."""
    if isinstance(error, GraphRefused | GraphRequestRejected):
        said = re.search(r"\((\d{3}[^)]*)\)", str(error))
        return Seen(f"{said[1] if said else 'refused'} ({error.reason})", Verdict.REFUSED)
    if isinstance(error, InvalidPage):
        return Seen(str(error), Verdict.DIFFERS)
    return Seen(f"no answer: {error.reason}", Verdict.NOT_TRIED)


def answered(_: object) -> Seen:
    return Seen("answered", Verdict.AS_EXPECTED)


def counted(answer: Answer) -> Seen:
    text = answer.body.decode("utf-8-sig", "replace")
    return Seen(text if text.isdecimal() else "no number", whether(text.isdecimal()))


def delta_page_sizes(pages: Pages) -> Seen:
    """Judges the pages that others follow: only those are full."""
    sizes = [(len(page.value), sum(map(links, page.value))) for page in pages]
    text = ", ".join(f"{objects} with {edges} links" for objects, edges in sizes)
    full = [size for size, page in zip(sizes, pages, strict=True) if page.next_link and page.value]
    if not full:
        return Seen(f"{text}: all there is", Verdict.NOT_TRIED)
    return Seen(
        text,
        whether(
            all(
                objects <= DELTA_OBJECTS * 1.1
                and edges <= DELTA_LINKS * 1.1
                and (objects >= DELTA_OBJECTS * 0.9 or edges >= DELTA_LINKS * 0.9)
                for objects, edges in full
            )
        ),
    )


def links(item: Json) -> int:
    return sum(len(value) for name, value in item.items() if "@delta" in name and isinstance(value, list))


def list_page_size(page: Page[Json], size: int) -> Seen:
    rows = len(page.value)
    if page.next_link or rows > size:
        return Seen(f"{rows}", whether(rows == size))
    return Seen(f"{rows}: all there is", Verdict.NOT_TRIED)


def references(pages: Pages, relation: str) -> Seen:
    name = f"{relation}@delta"
    objects = [item for page in pages for item in page.value]
    values = [item[name] for item in objects if name in item]
    if not values:
        return Seen(f"no {name} on {len(objects)} objects: has none of them one?", Verdict.NOT_TRIED)
    if not all(
        isinstance(value, list) and all(isinstance(entry, dict) for entry in value) for value in values
    ):
        return Seen("no lists of objects", Verdict.DIFFERS)
    entries = [entry for value in values for entry in value]
    names = sorted({key for entry in entries for key in entry} - {"@removed"})
    text = f"on {len(values)} of {len(objects)}: lists of up to {max(map(len, values))}, {', '.join(names)}"
    return Seen(text, whether(names == ["@odata.type", "id"]))


def coming_again(pages: Pages) -> Seen:
    known: set[str] = set()
    again: list[Json] = []
    for item in (item for page in pages for item in page.value):
        if item.get("id", "") in known:
            again.append(item)
        known.add(item.get("id", ""))
    if not again:
        return Seen(f"no group came again on {len(pages)} pages", Verdict.NOT_TRIED)
    whole = sum(any(name != "id" and "@" not in name for name in item) for item in again)
    return Seen(f"{len(again)} came again, {whole} with their properties", whether(whole == len(again)))


def top_ignored(page: Page[Json] | GraphError) -> Seen:
    if isinstance(page, GraphRequestRejected):
        return Seen(no_answer(page).text, Verdict.AS_EXPECTED)
    return judged(page, _more_than_ten)


def _more_than_ten(page: Page[Json]) -> Seen:
    if len(page.value) > 10:
        return Seen(f"{len(page.value)} users", Verdict.AS_EXPECTED)
    return Seen(f"{len(page.value)} users", Verdict.DIFFERS if page.next_link else Verdict.NOT_TRIED)


def refused_as_a_whole(with_it: Page[Json] | GraphError, without: Pages | GraphError) -> Seen:
    if not isinstance(with_it, GraphError):
        return Seen("answered: the permission is granted", Verdict.NOT_TRIED)
    seen = no_answer(with_it)
    if isinstance(with_it, GraphRefused) and not isinstance(without, GraphError):
        return Seen(f"{seen.text}; answered without it", Verdict.AS_EXPECTED)
    return seen


def licence_code(answer: object) -> Seen:
    if not isinstance(answer, GraphError):
        return Seen("answered: the tenant has the licence", Verdict.NOT_TRIED)
    seen = no_answer(answer)
    if isinstance(answer, GraphRefused) and answer.reason == "licence":
        return Seen(seen.text, whether(any(code in seen.text for code in LICENCE_CODES)))
    # Without the permission, Graph says nothing of a licence.
    return Seen(seen.text, Verdict.NOT_TRIED)


def at_most_500(page: Page[Json] | GraphError) -> Seen:
    if isinstance(page, GraphRequestRejected):
        return Seen(no_answer(page).text, Verdict.AS_EXPECTED)
    return judged(page, lambda answer: list_page_size(answer, queries.SIGN_IN_PAGE))


def limits(items: list[BatchItem]) -> Seen:
    statuses = Counter(item.status for item in items)
    headers = {
        f"{name.lower()}: {value}"
        for item in items
        for name, value in item.headers.items()
        if _limit_header.search(name)
    }
    named = ", ".join(sorted(headers)) or "no limit header"
    text = f"{', '.join(f'{count} x {status}' for status, count in sorted(statuses.items()))}; {named}"
    if statuses.keys() & {401, 403}:
        return Seen(text, Verdict.REFUSED)
    return Seen(text, whether(set(statuses) == {200} and not headers))


def minted(page: Page[Json]) -> Seen:
    text = f"{len(page.value)} groups, {'a' if page.delta_link else 'no'} delta link"
    return Seen(text, whether(not page.value and page.delta_link is not None))


def member_changes(pages: Pages) -> Seen:
    changes: dict[str, Counter[str]] = {}
    for item in (item for page in pages for item in page.value):
        if edges := item.get("members@delta"):
            counts = changes.setdefault(str(item.get("id")), Counter())
            counts.update("removed" if "@removed" in edge else "added" for edge in edges)
    told = [f"{group}: {n['added']} added, {n['removed']} removed" for group, n in changes.items()]
    text = "; ".join(told[:5]) or "no change of a membership"
    total = sum(changes.values(), Counter[str]())
    return Seen(text, whether(bool(total["added"] and total["removed"])))


# --- what is asked ----------------------------------------------------------------------------------


async def tried[T](request: Awaitable[T]) -> T | GraphError:
    try:
        return await request
    except GraphError as error:
        return error


class Probe:
    """Asks, and collects the findings."""

    def __init__(self, graph: GraphClient) -> None:
        self.graph = graph
        self.usage = Usage()
        self.findings: list[Finding] = []
        self._units: dict[str, list[str]] = {}

    def note(self, check: str, expected: str, seen: Seen) -> None:
        self.findings.append(Finding(check, expected, _guid.sub(r"\1…", seen.text), seen.verdict))

    async def ask_everything(self, keep_link: Path | None) -> None:
        await self.counts()
        users = await self.users()
        await self.groups()
        await self.report()
        await self.sign_ins()
        await self.methods(users)
        await self.deleted_users()
        await self.latest(keep_link)
        self.costs()

    async def counts(self) -> None:
        for collection, permission in (("users", USERS), ("groups", GROUPS)):
            call = f"{collection}/$count"
            answer = await tried(self.answer(call, permission, queries.count(self.graph, collection)))
            self.note(call, "a number", judged(answer, counted))

    async def users(self) -> Pages | GraphError:
        plain = queries.users_delta(self.graph, with_leave_date=False)
        pages = await tried(self.pages("users/delta", USERS, plain, USER_PAGES))
        properties = queries.USER_PROPERTIES.count(",") + 1
        self.note(f"users/delta: $select of {properties} names", "answered", judged(pages, answered))
        self.note("users/delta: size of a page", DELTA_PAGE, judged(pages, delta_page_sizes))
        self.note(
            "users/delta: manager@delta", REFERENCES, judged(pages, partial(references, relation="manager"))
        )

        url = f"{self.graph.origin}/v1.0/users/delta?$top=10&$select=id"
        page = await tried(self.page("users/delta with $top", USERS, queries.follow(url)))
        self.note("users/delta: does $top=10 matter", "no: ignored or refused", top_ignored(page))

        whole = queries.users_delta(self.graph, with_leave_date=True)
        page = await tried(self.page("users/delta with leave date", LEAVE_DATE, whole))
        self.note(
            "users/delta: employeeLeaveDateTime without its permission",
            "the whole request is refused",
            refused_as_a_whole(page, pages),
        )
        return pages

    async def groups(self) -> None:
        request = queries.groups_delta(self.graph)
        pages = await tried(self.pages("groups/delta", GROUPS, request, GROUP_PAGES))
        self.note("groups/delta: size of a page", DELTA_PAGE, judged(pages, delta_page_sizes))
        for relation in ("members", "owners"):
            seen = judged(pages, partial(references, relation=relation))
            self.note(f"groups/delta: {relation}@delta", REFERENCES, seen)
        self.note(
            "groups/delta: a group that comes again", "with its properties", judged(pages, coming_again)
        )

    async def report(self) -> None:
        call = "registration report"
        page = await tried(self.page(call, AUDIT_LOG, queries.registration_details(self.graph)))
        self.note(f"{call}: $top={queries.LIST_PAGE}", "answered", judged(page, answered))
        self.note(f"{call}: error code without a licence", " or ".join(LICENCE_CODES), licence_code(page))
        if isinstance(page, GraphRequestRejected):
            page = await tried(self.page(call, AUDIT_LOG, queries.registration_details(self.graph, None)))
        seen = judged(page, lambda answer: list_page_size(answer, queries.LIST_PAGE))
        self.note(f"{call}: size of a page", f"{queries.LIST_PAGE}", seen)

    async def sign_ins(self) -> None:
        for size in (queries.SIGN_IN_PAGE, queries.LIST_PAGE):
            request = queries.sign_in_activity(self.graph, size)
            page = await tried(self.page("signInActivity", AUDIT_LOG, request))
            if size == queries.SIGN_IN_PAGE:
                expected, seen = f"{size}", judged(page, lambda p: list_page_size(p, queries.SIGN_IN_PAGE))
            else:
                expected, seen = f"{queries.SIGN_IN_PAGE}, or refused", at_most_500(page)
            self.note(f"signInActivity: size of a page with $top={size}", expected, seen)

    async def methods(self, users: Pages | GraphError) -> None:
        objects = [] if isinstance(users, GraphError) else [item for page in users for item in page.value]
        ids = [item["id"] for item in objects if "@removed" not in item and "id" in item][:USERS_IN_BATCH]
        seen = Seen("no user was read", Verdict.NOT_TRIED)
        if ids:
            items = await tried(self.batch([f"/users/{user}/authentication/methods" for user in ids]))
            seen = judged(items, limits)
        self.note(f"authentication/methods of {len(ids)} users in $batch", "200, and no limit header", seen)

    async def deleted_users(self) -> None:
        page = await tried(self.page("deleted users", USERS, queries.deleted_users(self.graph)))
        seen = judged(page, lambda p: Seen(f"{len(p.value)} on the first page", Verdict.AS_EXPECTED))
        self.note("deletedItems of users", "answered", seen)

    async def latest(self, keep_link: Path | None) -> None:
        page = await tried(self._mint())
        self.note("groups/delta: $deltatoken=latest", "no groups, and a delta link", judged(page, minted))
        seen = "run again with --keep-link FILE"
        if keep_link and not isinstance(page, GraphError) and page.delta_link:
            write_secretly(keep_link, page.delta_link)
            seen = "the link is kept; see below"
        self.note(MEMBER_CHANGES, "at least one of each", Seen(seen, Verdict.NOT_TRIED))

    async def _mint(self) -> Page[Json]:
        url = f"{self.graph.origin}/v1.0/groups/delta?$deltatoken=latest&$select={queries.GROUP_PROPERTIES}"
        page = await self.page("groups/delta, latest", GROUPS, queries.follow(url))
        if page.delta_link:
            self.follow(page.delta_link)
        return page

    async def continue_from(self, link: str) -> None:
        """The second step of `latest`, after somebody changed a group by hand."""
        pages = await tried(self._since(link))
        self.note(MEMBER_CHANGES, "at least one of each", judged(pages, member_changes))

    async def _since(self, link: str) -> Pages:
        return await self.pages("groups/delta", GROUPS, self.follow(link), GROUP_PAGES)

    def costs(self) -> None:
        for title, delta in (("a delta page", True), ("other calls", False)):
            units = {call: sorted(set(u)) for call, u in self._units.items() if ("delta" in call) is delta}
            text = ", ".join(f"{call}: {' or '.join(each)}" for call, each in units.items())
            verdict = whether(all(each == ["1"] for each in units.values()))
            self.note(
                f"resource units of {title}",
                "1 each",
                Seen(text, verdict) if units else Seen("no answer", Verdict.NOT_TRIED),
            )

    # --- requests, bounded -----------------------------------------------------------------------

    async def send(self, call: str, permission: str, request: "RequestInformation") -> Answer:
        if self.usage.requests + MOST_A_CALL > MOST_REQUESTS:
            raise OutOfRequests
        return await self.graph.send(
            request, self.usage, subject=call, permission=permission, attempts=ATTEMPTS
        )

    async def answer(self, call: str, permission: str, request: "RequestInformation") -> Answer:
        answer = await self.send(call, permission, request)
        self._charge(call, answer.headers.get("x-ms-resource-unit"))
        return answer

    async def page(self, call: str, permission: str, request: "RequestInformation") -> Page[Json]:
        answer = await self.answer(call, permission, request)
        return read_page(answer.body, _page, call, delta="delta" in call)

    async def pages(self, call: str, permission: str, request: "RequestInformation", most: int) -> Pages:
        """The first pages of a chain; the rest is not asked for."""
        pages = [await self.page(call, permission, request)]
        while (link := pages[-1].next_link) and len(pages) < most:
            pages.append(await self.page(call, permission, self.follow(link)))
        return pages

    def follow(self, link: str) -> "RequestInformation":
        """Raises `InvalidPage` for a link to another host."""
        return queries.follow(self.graph.own_link(link, "the link"))

    async def batch(self, urls: list[str]) -> list[BatchItem]:
        call = "authentication/methods"
        body = [{"id": str(number), "method": "GET", "url": url} for number, url in enumerate(urls)]
        request = queries.batch(self.graph, msgspec.json.encode({"requests": body}))
        answer = await self.send(call, METHODS, request)
        try:
            items = _batch.decode(answer.body).responses
        except UNREADABLE:
            raise InvalidPage(f"{call}: Graph sent an answer to a batch that cannot be read.") from None
        for item in items:
            headers = {name.lower(): value for name, value in item.headers.items()}
            if item.status == 200:
                self._charge(call, headers.get("x-ms-resource-unit"))
        return items

    def _charge(self, call: str, units: str | None) -> None:
        self._units.setdefault(call, []).append(units or "not told")


# --- the command ------------------------------------------------------------------------------------


@asynccontextmanager
async def connected(tenant: str | None) -> AsyncIterator[GraphClient]:
    """Graph as the app's settings say; or, for a tenant by its id, with the sign-in of the Azure CLI."""
    async with AsyncExitStack() as stack:
        if tenant is None:
            app = App(Settings.from_environment(os.environ))
            stack.push_async_callback(app.close)
            yield await app.graph()
            return
        from azure.identity.aio import AzureCliCredential

        kept = {name: os.environ.get(name, "") for name in ("ENTRA_CLOUD", "GRAPH_ENDPOINT")}
        settings = Settings.from_environment(
            kept
            | {
                "ENTRA_TENANT_ID": tenant,
                "ENTRA_CREDENTIAL": "managed-identity",
                # Settings are checked as a whole; no storage is touched.
                "DIRECTORY_STORAGE": "UseDevelopmentStorage=true",
            }
        )
        credential = graph_credential(settings, None, AzureCliCredential(tenant_id=settings.tenant_id))
        stack.push_async_callback(credential.close)
        graph = GraphClient(credential, settings.graph_origin, settings.cloud.graph_scope)
        yield await stack.enter_async_context(graph)


def write_secretly(path: Path, text: str) -> None:
    """A new file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def table(findings: list[Finding]) -> str:
    widths = (36, 30, 40, 11)
    rows = [("check", "expected", "seen", "verdict"), tuple("-" * width for width in widths)]
    rows += [(each.check, each.expected, each.seen, each.verdict) for each in findings]
    lines = []
    for row in rows:
        cells = [textwrap.wrap(text, width) for text, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            padded = (part.ljust(width) for part, width in zip(parts, widths, strict=True))
            lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None, *, connect: Connect = connected) -> int:
    """Exit code 0 whatever was seen, 1 without a sign-in, 2 for wrong arguments."""
    arguments = _arguments(argv)
    try:
        probe = asyncio.run(_probed(arguments, connect))
    except (ConfigurationError, SecretUnavailable, SignInRefused) as error:
        print(f"No sign-in. {error}", file=sys.stderr)
        return 1
    usage = probe.usage
    print(table(probe.findings))
    print(f"\n{usage.requests} requests, all of them read-only; {usage.resource_units} resource units.")
    if arguments.keep_link and arguments.keep_link.exists():
        print(
            f"\n{arguments.keep_link} holds a delta link of this tenant's groups: show it to nobody, and "
            "delete it afterwards.\nNow add a member to a test group and remove another one, wait five "
            "minutes, and run:"
            f"\n  python docs/live_probe.py --continue {arguments.keep_link}"
        )
    if arguments.json:
        told = {
            "requests": usage.requests,
            "resource_units": usage.resource_units,
            "findings": probe.findings,
        }
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")
    return 0


async def _probed(arguments: argparse.Namespace, connect: Connect) -> Probe:
    async with connect(arguments.tenant) as graph:
        probe = Probe(graph)
        if arguments.link is None:
            await probe.ask_everything(arguments.keep_link)
        else:
            await probe.continue_from(arguments.link)
        return probe


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python docs/live_probe.py", description=__doc__)
    parser.add_argument(
        "--tenant",
        metavar="ID",
        help="with the Azure CLI's sign-in to this tenant, not with the app's settings",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings as JSON, too")
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument(
        "--keep-link", type=Path, metavar="FILE", help="keep the link of `latest` in a new file"
    )
    steps.add_argument("--continue", type=Path, dest="kept", metavar="FILE", help="ask what that link shows")
    arguments = parser.parse_args(argv)
    arguments.link = None
    for path in filter(None, (arguments.keep_link, arguments.json)):
        if not path.parent.is_dir():
            parser.error(f"{path.parent} is no folder")
    if arguments.keep_link and arguments.keep_link.exists():
        parser.error(f"{arguments.keep_link} exists already; it is not overwritten")
    if arguments.kept:
        try:
            arguments.link = arguments.kept.read_text().strip()
        except (OSError, UnicodeDecodeError):
            parser.error(f"{arguments.kept} cannot be read")
    return arguments


if __name__ == "__main__":
    # Libraries would warn on the console, some of them with an account's name.
    logging.getLogger().addHandler(logging.NullHandler())
    sys.exit(main())
