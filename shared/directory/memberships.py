"""Edges between groups and what is in them: on their way (`Edge`) and as they are published (`Membership`).

An edge belongs to the bucket of its member. There, whether the member is a live user is known at once, so
that no published edge dangles, and the member's `groups` need no second look.
"""

from collections.abc import Container, Iterable, Iterator

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


class Edge(msgspec.Struct, array_like=True, gc=False):
    """One entry of `members@delta` or `owners@delta`, in the order in which Graph sent it."""

    group_id: str
    member_id: str
    member_type: MemberType
    relation: Relation
    removed: bool = False


_encode = msgspec.json.Encoder().encode


def encode_edges(
    group_id: str, relation: Relation, references: Iterable[Reference]
) -> Iterator[tuple[str, bytes]]:
    """The member's id and the encoded edge, for each reference."""
    for reference in references:
        kind = MEMBER_TYPES.get(reference.odata_type, "unknown")
        edge = Edge(group_id, reference.id, kind, relation, reference.removed is not None)
        yield reference.id, _encode(edge)


def resolve(
    edges: Iterable[Edge], users: Container[str], groups: Container[str]
) -> tuple[list[Membership], list[Membership]]:
    """The edges that are published, sorted, and those that are kept back because an end is missing.

    Later entries win: an edge may be added and removed in one round, or come twice. A member that Graph
    leaves untyped is a user if it is one of ours.
    """
    known: dict[tuple[str, Relation, str], MemberType] = {}
    for edge in edges:
        key = (edge.group_id, edge.relation, edge.member_id)
        if edge.removed:
            known.pop(key, None)
        else:
            known[key] = edge.member_type
    visible: list[Membership] = []
    hidden: list[Membership] = []
    for group_id, relation, member_id in sorted(known):
        kind = known[group_id, relation, member_id]
        if member_id in users:
            kind = "user"
            present = True
        elif kind == "group":
            present = member_id in groups
        else:
            present = kind != "user"
        edge_list = visible if present and group_id in groups else hidden
        edge_list.append(Membership(group_id, member_id, kind, relation))
    return visible, hidden
