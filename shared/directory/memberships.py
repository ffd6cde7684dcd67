"""Edges between groups and what is in them: on their way (`Edge`) and as they are published (`Membership`).

An edge belongs to the bucket of its member. There, whether the member is a live user is known at once, so
that no published edge dangles, and the member's `groups` need no second look.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Literal

import msgspec

from shared.directory.records import Membership, MemberType, Relation
from shared.graph.objects import Reference

MEMBER_TYPES: dict[str | None, MemberType] = {
    "#microsoft.graph.user": "user",
    "#microsoft.graph.group": "group",
    "#microsoft.graph.device": "device",
    "#microsoft.graph.servicePrincipal": "service_principal",
    "#microsoft.graph.orgContact": "contact",
}


type Edge = tuple[str, str, str, str]
"""Group, relation, member and the member's type: in this order, edges sort as they are published.

On its way to the build, an edge that Graph took away has no type (`REMOVED`).
"""

REMOVED = ""

EDGES: msgspec.json.Decoder[list[Edge]] = msgspec.json.Decoder(
    list[tuple[str, Relation, str, MemberType | Literal[""]]]
)
"""Words that are literals are the same object in all edges, which halves what an edge takes in memory."""

_encode = msgspec.json.Encoder().encode
_member_id = itemgetter(2)


def encode_edges(
    group_id: str, relation: Relation, references: Iterable[Reference]
) -> Iterator[tuple[str, bytes]]:
    """The member's id and the encoded edge, for each reference."""
    for reference in references:
        kind = MEMBER_TYPES.get(reference.odata_type, "unknown") if reference.removed is None else REMOVED
        yield reference.id, _encode((group_id, relation, reference.id, kind))


def in_force(edges: Sequence[Edge]) -> list[Edge]:
    """The edges that are left, sorted by member. `edges` are in the order in which Graph sent them.

    Later entries win: an edge may be added and removed in one round, or come twice.
    """
    last = {edge[:3]: edge for edge in edges}
    left = [edge for edge in last.values() if edge[3] != REMOVED]
    left.sort(key=_member_id)
    return left


def apply_edges(before: Iterable[Edge], received: Iterable[Edge]) -> list[Edge]:
    """The edges after a round of changes, sorted by member. `received` are in the order of Graph."""
    return in_force([*before, *received])


def as_published(edges: Iterable[Edge]) -> list[Edge]:
    """The edges by group, relation and member, as they are published. `edges` are sorted by member."""
    columns = EdgeColumns(edges)
    columns.publish()
    return list(columns)


class EdgeColumns:
    """Many edges, column by column: a third of what they take as tuples."""

    def __init__(self, edges: Iterable[Edge] = ()) -> None:
        self.groups: list[str] = []
        self.relations: list[Relation] = []
        self.members: list[str] = []
        self.types: list[MemberType] = []
        self.add(edges)

    def __len__(self) -> int:
        return len(self.groups)

    def __iter__(self) -> Iterator[Edge]:
        return zip(self.groups, self.relations, self.members, self.types, strict=True)

    def add(self, edges: Iterable[Edge]) -> None:
        if rows := list(edges):
            groups, relations, members, types = zip(*rows, strict=True)
            self.groups += groups
            self.relations += relations
            self.members += members
            self.types += types

    def publish(self) -> None:
        """Bring them into the order in which they are published: by group, relation and member.

        They were added sorted by member. So two of the three keys are there already, and one stable sort by a
        plain text is enough; sorting by all three costs four times as much.
        """
        order = [number for number, relation in enumerate(self.relations) if relation == "member"]
        order += [number for number, relation in enumerate(self.relations) if relation == "owner"]
        order.sort(key=self.groups.__getitem__)
        self.groups = [self.groups[number] for number in order]
        self.relations = [self.relations[number] for number in order]
        self.members = [self.members[number] for number in order]
        self.types = [self.types[number] for number in order]

    def memberships(self, begin: int, end: int) -> list[Membership]:
        """Some of them as they are published."""
        some = slice(begin, end)
        return list(
            map(Membership, self.groups[some], self.members[some], self.types[some], self.relations[some])
        )


def resolve(
    edges: Iterable[Edge], users: Container[str], groups: Container[str]
) -> tuple[list[Edge], list[Edge]]:
    """The edges that are published, and those that are kept back because an end is missing. Order is kept.

    A member that Graph leaves untyped is a user if it is one of ours.
    """
    visible: list[Edge] = []
    hidden: list[Edge] = []
    for edge in edges:
        group_id, relation, member_id, kind = edge
        present = True
        if member_id in users:
            if kind != "user":
                edge = (group_id, relation, member_id, "user")
        elif kind == "group":
            present = member_id in groups
        else:
            present = kind != "user"
        (visible if present and group_id in groups else hidden).append(edge)
    return visible, hidden


def membership(edge: Edge) -> Membership:
    """The edge as it is published."""
    return Membership(edge[0], edge[2], edge[3], edge[1])  # type: ignore[arg-type]  # one of MEMBER_TYPES


def edge_of(published: Membership) -> Edge:
    return published.group_id, published.relation, published.member_id, published.member_type
