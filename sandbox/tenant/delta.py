"""Delta queries: what changed since a position, cut into pages as Graph cuts them.

When a chain starts, all its pages are planned as lists of ids and edges, so that a change during the chain
neither loses nor doubles anything: it comes in the next round. Properties are read when a page is sent.
"""

import base64
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from sandbox.tenant.directory import Change, Directory, Event, Kind, MemberType
from sandbox.tenant.messages import JsonObject
from sandbox.tenant.schema import EntityType

type Reason = Literal["changed", "deleted"]


@dataclass(frozen=True, slots=True)
class Link:
    """An edge in an answer: to an object, or no longer to it."""

    relation: str
    id: str
    type: MemberType
    removed: bool = False

    def rendered(self) -> JsonObject:
        """The item of `members@delta` and its like."""
        item: JsonObject = {} if self.type is None else {"@odata.type": f"#microsoft.graph.{self.type}"}
        item["id"] = self.id
        if self.removed:
            item["@removed"] = {"reason": "deleted"}
        return item


@dataclass(frozen=True, slots=True)
class Entry:
    """One object on one page, or the news of its removal."""

    id: str
    links: tuple[Link, ...] = ()
    removed: Reason | None = None


type Page = list[Entry]


@dataclass(frozen=True, slots=True)
class Query:
    """What a chain asks for.

    `select` None means Graph's default properties; `relations` are those that were selected.
    """

    kind: Kind
    select: tuple[str, ...] | None
    relations: tuple[str, ...]
    ids: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """A planned answer. `position` is where the delta link at its end will point."""

    query: Query
    position: int
    first_round: bool
    pages: tuple[Page, ...]


class DeltaToken(msgspec.Struct, frozen=True, array_like=True):
    """What a delta link says.

    `tenant` is the running instance, `serial` orders tokens, `issued` is in seconds.
    """

    tenant: str
    serial: int
    issued: float
    position: int
    kind: Kind
    select: tuple[str, ...] | None
    relations: tuple[str, ...]
    ids: tuple[str, ...] | None

    def encoded(self) -> str:
        """The opaque text of a link."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).rstrip(b"=").decode()

    @classmethod
    def decoded(cls, text: str) -> "DeltaToken":
        """ValueError for a text that is no token."""
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.json.decode(raw, type=cls)


def initial_entries(directory: Directory, query: Query, hide_members: bool) -> Iterator[Entry]:
    """Every object with all its edges."""
    objects = directory.users if query.kind == "user" else directory.groups
    for object_id in objects:
        if query.ids is None or object_id in query.ids:
            yield Entry(object_id, tuple(_all_links(directory, query, object_id, hide_members)))


def changed_entries(
    directory: Directory, query: Query, since: int, entity: EntityType, hide_members: bool
) -> Iterator[Entry]:
    """The objects with a change that the query tracks, each with its net change of edges."""
    tracked = frozenset(query.select if query.select is not None else entity.default)
    touched: dict[str, list[Change]] = {}
    for change in directory.changes_since(since):
        if change.kind != query.kind or (query.ids is not None and change.id not in query.ids):
            continue
        if _tracks(change, tracked, query.relations):
            touched.setdefault(change.id, []).append(change)
    live, deleted = (
        (directory.users, directory.deleted_users)
        if query.kind == "user"
        else (directory.groups, directory.deleted_groups)
    )
    for object_id, changes in touched.items():
        if object_id in deleted:
            yield Entry(object_id, removed="changed")
        elif object_id not in live:
            yield Entry(object_id, removed="deleted")
        elif any(change.event in (Event.ADDED, Event.RESTORED) for change in changes):
            anew = tuple(_all_links(directory, query, object_id, hide_members))
            known = {(link.relation, link.id) for link in anew}
            gone = [
                link
                for link in _net_links(directory, object_id, changes, hide_members)
                if (link.relation, link.id) not in known
            ]
            yield Entry(object_id, (*gone, *anew))
        else:
            yield Entry(object_id, tuple(_net_links(directory, object_id, changes, hide_members)))


def _tracks(change: Change, properties: frozenset[str], relations: tuple[str, ...]) -> bool:
    if change.event is Event.UPDATED:
        return not properties.isdisjoint(change.properties)
    if change.event in (Event.MANAGER, Event.MEMBERS, Event.OWNERS):
        return change.event.value in relations
    return True


def _all_links(directory: Directory, query: Query, object_id: str, hide_members: bool) -> Iterator[Link]:
    for relation in query.relations:
        if relation == "manager":
            manager = directory.managers.get(object_id)
            if manager is not None:
                yield Link("manager", manager, "user")
        elif not (relation == "members" and hide_members and is_hidden(directory, object_id)):
            edges = directory.members if relation == "members" else directory.owners
            for target, target_type in edges[object_id].items():
                yield Link(relation, target, target_type)


def _net_links(
    directory: Directory, object_id: str, changes: Iterable[Change], hide_members: bool
) -> list[Link]:
    """Each edge that was touched once, as it is now; an edge that came and went is told as gone."""
    net: dict[tuple[str, str], Link] = {}
    for change in changes:
        if change.event is Event.MANAGER:
            manager = directory.managers.get(object_id)
            if change.other is not None and change.other != manager:
                net["manager", change.other] = Link("manager", change.other, "user", removed=True)
            if manager is not None:
                net["manager", manager] = Link("manager", manager, "user")
        elif change.event in (Event.MEMBERS, Event.OWNERS) and change.other is not None:
            members = change.event is Event.MEMBERS
            if members and hide_members and is_hidden(directory, object_id):
                continue
            now = (directory.members if members else directory.owners)[object_id]
            relation, target = change.event.value, change.other
            if target in now:
                net[relation, target] = Link(relation, target, now[target])
            else:
                net[relation, target] = Link(relation, target, change.other_type, removed=True)
    return list(net.values())


def is_hidden(directory: Directory, group_id: str) -> bool:
    """Whether the group's members need Member.Read.Hidden."""
    return directory.groups[group_id].get("visibility") == "HiddenMembership"


# --- pages ----------------------------------------------------------------------------------------


def paged(entries: Iterable[Entry], max_objects: int, max_links: int) -> list[Page]:
    """Cut into pages of so many objects and so many edges; an object whose edges do not fit comes again."""
    pages: list[Page] = [[]]
    free_links = max_links
    for entry in entries:
        links = entry.links
        while True:
            page = pages[-1]
            if len(page) >= max_objects or (links and free_links == 0):
                page = []
                pages.append(page)
                free_links = max_links
            part, links = links[:free_links], links[free_links:]
            page.append(entry if not links and len(part) == len(entry.links) else replace(entry, links=part))
            free_links -= len(part)
            if not links:
                break
    return pages


def scattered(entries: Iterable[Entry], slice_links: int, seed: int) -> list[Entry]:
    """The same objects, those with many edges cut in slices, all in another order: the same group on many
    pages."""
    parts: list[Entry] = []
    for entry in entries:
        slices = range(0, max(1, len(entry.links)), slice_links)
        parts.extend(replace(entry, links=entry.links[at : at + slice_links]) for at in slices)
    random.Random(seed).shuffle(parts)
    return parts


def with_empty_pages(pages: Iterable[Page], every: int) -> list[Page]:
    """An empty page before the first and after each `every` pages; never the last one."""
    spread: list[Page] = [[]]
    for number, page in enumerate(pages, 1):
        if number > 1 and (number - 1) % every == 0:
            spread.append([])
        spread.append(page)
    return spread


def with_replays(pages: Iterable[Page], every: int) -> list[Page]:
    """Each `every`-th page twice."""
    doubled: list[Page] = []
    for number, page in enumerate(pages, 1):
        doubled.extend([page, page] if number % every == 0 else [page])
    return doubled


def rendered_page(directory: Directory, chain: Chain, number: int, entity: EntityType) -> list[JsonObject]:
    """The `value` of a page. An object that was removed since the plan is left out: the next round tells."""
    query = chain.query
    objects = directory.users if query.kind == "user" else directory.groups
    names = query.select if query.select is not None else entity.default
    names = names if "id" in names else (*names, "id")
    value: list[JsonObject] = []
    for entry in chain.pages[number]:
        if entry.removed is not None:
            value.append({"id": entry.id, "@removed": {"reason": entry.removed}})
            continue
        stored = objects.get(entry.id)
        if stored is None:
            continue
        content = _properties(stored, names, chain.first_round)
        for link in entry.links:
            content.setdefault(f"{link.relation}@delta", []).append(link.rendered())
        value.append(content)
    return value


def _properties(stored: Mapping[str, Any], names: tuple[str, ...], first_round: bool) -> JsonObject:
    """In the first round a property that was never set is omitted; later it is null."""
    if first_round:
        return {name: stored[name] for name in names if name in stored}
    return {name: stored.get(name) for name in names}
