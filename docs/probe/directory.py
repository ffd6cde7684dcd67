"""What the directory sync asks of Graph, and what only a real tenant can tell about it."""

import os
import re
from collections import Counter
from collections.abc import Set
from functools import partial
from pathlib import Path

from docs.probe.findings import Findings, Seen, Verdict, answered, judged, no_answer, whether
from docs.probe.requests import BatchItem, Json, Pages, Requests, tried
from shared.errors import GraphError, GraphRefused, GraphRequestRejected
from shared.graph import queries
from shared.graph.client import Answer
from shared.graph.paging import Page
from shared.graph.refusals import LICENCE_CODES

USER_PAGES = 3
GROUP_PAGES = 5
LIST_PAGES = 3
USERS_IN_BATCH = 3

USERS, GROUPS, AUDIT_LOG = "User.Read.All", "GroupMember.Read.All", "AuditLog.Read.All"
METHODS, LEAVE_DATE = "UserAuthenticationMethod.Read.All", "User-LifeCycleInfo.Read.All"

DELTA_OBJECTS, DELTA_LINKS = 200, 500
DELTA_PAGE = f"about {DELTA_OBJECTS} objects or {DELTA_LINKS} links, whichever comes first"
REFERENCES = "lists of objects with @odata.type and id"
USERS_LIST = "users with managers"
MEMBER_CHANGES = "groups/delta: $deltatoken=latest shows members that came and went"

_LIMIT_HEADER = re.compile(r"throttle|rate-?limit|retry-after", re.IGNORECASE)


# --- what an answer says ----------------------------------------------------------------------------


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
        if _LIMIT_HEADER.search(name)
    }
    named = ", ".join(sorted(headers)) or "no limit header"
    text = f"{', '.join(f'{count} x {status}' for status, count in sorted(statuses.items()))}; {named}"
    if statuses.keys() & {401, 403}:
        return Seen(text, Verdict.REFUSED)
    return Seen(text, whether(set(statuses) == {200} and not headers))


def minted(page: Page[Json], collection: str) -> Seen:
    text = f"{len(page.value)} {collection}, {'a' if page.delta_link else 'no'} delta link"
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


def same_managers(listed: Pages, delta: Pages) -> Seen:
    """Of the users on both sides, who have a manager on one."""
    by_list = {
        item.get("id"): (item.get("manager") or {}).get("id") for page in listed for item in page.value
    }
    by_delta: dict[str | None, str | None] = {}
    for item in (item for page in delta for item in page.value if "@removed" not in item):
        edges = [edge for edge in _edges(item, "manager@delta") if "@removed" not in edge]
        by_delta[item.get("id")] = edges[-1].get("id") if edges else by_delta.get(item.get("id"))
    both = [
        (by_list[user], by_delta[user])
        for user in by_list.keys() & by_delta.keys()
        if by_list[user] or by_delta[user]
    ]
    same = sum(one == other for one, other in both)
    if not both:
        return Seen("nobody on both sides has a manager", Verdict.NOT_TRIED)
    return Seen(f"{same} of {len(both)} the same", whether(same == len(both)))


def _edges(item: Json, name: str) -> list[Json]:
    edges = item.get(name)
    return [edge for edge in edges if isinstance(edge, dict)] if isinstance(edges, list) else []


def write_secretly(path: Path, text: str) -> None:
    """A new file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


# --- what is asked ----------------------------------------------------------------------------------


class DirectoryQuestions:
    """Asks, and notes what was seen."""

    def __init__(self, requests: Requests, findings: Findings) -> None:
        self.ask = requests
        self.graph = requests.graph
        self.note = findings.note

    async def counts(self) -> None:
        for collection, permission in (("users", USERS), ("groups", GROUPS)):
            call = f"{collection}/$count"
            answer = await tried(self.ask.answer(call, permission, queries.count(self.graph, collection)))
            self.note(call, "a number", judged(answer, counted))

    async def users(self) -> Pages | GraphError:
        plain = queries.users_delta(self.graph, with_leave_date=False)
        pages = await tried(self.ask.pages("users/delta", USERS, plain, USER_PAGES))
        properties = queries.USER_PROPERTIES.count(",") + 1
        self.note(f"users/delta: $select of {properties} names", "answered", judged(pages, answered))
        self.note("users/delta: size of a page", DELTA_PAGE, judged(pages, delta_page_sizes))
        self.note(
            "users/delta: manager@delta", REFERENCES, judged(pages, partial(references, relation="manager"))
        )

        page = await tried(
            self.ask.page("users/delta with $top", USERS, self.ask.get("users/delta?$top=10&$select=id"))
        )
        self.note("users/delta: does $top=10 matter", "no: ignored or refused", top_ignored(page))

        whole = queries.users_delta(self.graph, with_leave_date=True)
        page = await tried(self.ask.page("users/delta with leave date", LEAVE_DATE, whole))
        self.note(
            "users/delta: employeeLeaveDateTime without its permission",
            "the whole request is refused",
            refused_as_a_whole(page, pages),
        )
        return pages

    async def users_list(self, delta: Pages | GraphError) -> Pages | GraphError:
        """As a full run reads users: a link that begins now, then the list."""
        latest = queries.users_delta_latest(self.graph, with_leave_date=False)
        page = await tried(self.ask.page("users/delta, latest", USERS, latest))
        seen = judged(page, partial(minted, collection="users"))
        self.note("users/delta: $deltatoken=latest", "no users, and a delta link", seen)

        listed = queries.users_list(self.graph, with_leave_date=False)
        pages = await tried(self.ask.pages(USERS_LIST, USERS, listed, LIST_PAGES))
        size = queries.LIST_PAGE
        seen = judged(pages, lambda pages: list_page_size(pages[0], size))
        self.note(f"{USERS_LIST}: size of a page with $top={size}", f"{size}", seen)
        seen = judged(pages, lambda pages: judged(delta, partial(same_managers, pages)))
        self.note(f"{USERS_LIST}: who is whose", "the same as in users/delta", seen)
        return pages

    async def groups(self) -> Pages | GraphError:
        request = queries.groups_delta(self.graph)
        pages = await tried(self.ask.pages("groups/delta", GROUPS, request, GROUP_PAGES))
        self.note("groups/delta: size of a page", DELTA_PAGE, judged(pages, delta_page_sizes))
        for relation in ("members", "owners"):
            seen = judged(pages, partial(references, relation=relation))
            self.note(f"groups/delta: {relation}@delta", REFERENCES, seen)
        self.note(
            "groups/delta: a group that comes again", "with its properties", judged(pages, coming_again)
        )
        return pages

    async def report(self) -> None:
        call = "registration report"
        page = await tried(self.ask.page(call, AUDIT_LOG, queries.registration_details(self.graph)))
        self.note(f"{call}: $top={queries.LIST_PAGE}", "answered", judged(page, answered))
        self.note(f"{call}: error code without a licence", " or ".join(LICENCE_CODES), licence_code(page))
        if isinstance(page, GraphRequestRejected):
            page = await tried(self.ask.page(call, AUDIT_LOG, queries.registration_details(self.graph, None)))
        seen = judged(page, lambda answer: list_page_size(answer, queries.LIST_PAGE))
        self.note(f"{call}: size of a page", f"{queries.LIST_PAGE}", seen)

    async def sign_ins(self) -> None:
        for size in (queries.SIGN_IN_PAGE, queries.LIST_PAGE):
            request = queries.sign_in_activity(self.graph, size)
            page = await tried(self.ask.page("signInActivity", AUDIT_LOG, request))
            if size == queries.SIGN_IN_PAGE:
                expected, seen = f"{size}", judged(page, lambda p: list_page_size(p, queries.SIGN_IN_PAGE))
            else:
                expected, seen = f"{queries.SIGN_IN_PAGE}, or refused", at_most_500(page)
            self.note(f"signInActivity: size of a page with $top={size}", expected, seen)

    async def methods(self, users: Pages | GraphError) -> None:
        objects = [] if isinstance(users, GraphError) else [item for page in users for item in page.value]
        ids = [item["id"] for item in objects if "@removed" not in item and "id" in item][:USERS_IN_BATCH]
        call, seen = "authentication/methods", Seen("no user was read", Verdict.NOT_TRIED)
        if ids:
            items = await tried(self.ask.batch(call, METHODS, [f"/users/{user}/{call}" for user in ids]))
            seen = judged(items, limits)
        self.note(f"{call} of {len(ids)} users in $batch", "200, and no limit header", seen)

    async def deleted_users(self) -> None:
        page = await tried(self.ask.page("deleted users", USERS, queries.deleted_users(self.graph)))
        seen = judged(page, lambda p: Seen(f"{len(p.value)} on the first page", Verdict.AS_EXPECTED))
        self.note("deletedItems of users", "answered", seen)

    async def latest(self, keep_link: Path | None) -> None:
        page = await tried(self._mint())
        self.note(
            "groups/delta: $deltatoken=latest",
            "no groups, and a delta link",
            judged(page, partial(minted, collection="groups")),
        )
        seen = "run again with --keep-link FILE"
        if keep_link and not isinstance(page, GraphError) and page.delta_link:
            write_secretly(keep_link, page.delta_link)
            seen = "the link is kept; see below"
        self.note(MEMBER_CHANGES, "at least one of each", Seen(seen, Verdict.NOT_TRIED))

    async def _mint(self) -> Page[Json]:
        request = self.ask.get(f"groups/delta?$deltatoken=latest&$select={queries.GROUP_PROPERTIES}")
        page = await self.ask.page("groups/delta, latest", GROUPS, request)
        if page.delta_link:
            self.ask.follow(page.delta_link)
        return page

    async def continue_from(self, link: str) -> None:
        """The second step of `latest`, after somebody changed a group by hand."""
        pages = await tried(self._since(link))
        self.note(MEMBER_CHANGES, "at least one of each", judged(pages, member_changes))

    async def _since(self, link: str) -> Pages:
        return await self.ask.pages("groups/delta", GROUPS, self.ask.follow(link), GROUP_PAGES)

    def costs(self) -> None:
        """To be asked last."""
        calls = self.ask.units.keys()
        delta = {call for call in calls if "delta" in call}
        self._cost("a delta page", "1", delta)
        # 2, one less for $select, one more for $expand.
        self._cost(f"a page of {USERS_LIST}", "2", calls & {USERS_LIST})
        self._cost("other calls", "1", calls - delta - {USERS_LIST})

    def _cost(self, title: str, units: str, calls: Set[str]) -> None:
        told = {call: sorted(set(self.ask.units[call])) for call in self.ask.units if call in calls}
        text = ", ".join(f"{call}: {' or '.join(each)}" for call, each in told.items())
        verdict = whether(all(each == [units] for each in told.values()))
        seen = Seen(text, verdict) if told else Seen("no answer", Verdict.NOT_TRIED)
        self.note(f"resource units of {title}", f"{units} each", seen)
