"""Edges: the last word counts, and none is published that leads nowhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.directory.memberships import (
    EDGES,
    MEMBER_TYPES,
    REMOVED,
    Edge,
    EdgeColumns,
    as_published,
    edge_of,
    encode_edges,
    in_force,
    membership,
    resolve,
)
from shared.directory.records import Membership, MemberType, Relation
from shared.graph.objects import Reference, Removed


def resolved(edges: list[Edge], users: str = "ab", groups: str = "gh") -> tuple[list[Edge], list[Edge]]:
    """What is published of these edges, and what is kept back, both in the order of a part."""
    visible, hidden = resolve(in_force(edges), set(users), set(groups))
    return as_published(visible), as_published(hidden)


def visible(*edges: Edge) -> list[Membership]:
    return [membership(edge) for edge in resolved(list(edges))[0]]


def hidden(*edges: Edge) -> list[Membership]:
    return [membership(edge) for edge in resolved(list(edges))[1]]


def ids(*edges: Edge) -> list[str]:
    return [edge.id for edge in visible(*edges)]


# --- what Graph sends -----------------------------------------------------------------------------


def test_references_become_edges_by_type() -> None:
    references = [Reference(f"m{number}", kind) for number, kind in enumerate(MEMBER_TYPES)]
    references += [Reference("x", "#microsoft.graph.somethingNew"), Reference("y"), Reference("z")]
    references[-1].removed = Removed()
    pairs = list(encode_edges("g", "owner", references))
    edges = EDGES.decode(b"[" + b",".join(encoded for _, encoded in pairs) + b"]")
    assert [member_id for member_id, _ in pairs] == [reference.id for reference in references]
    assert [edge[:3] for edge in edges] == [("g", "owner", reference.id) for reference in references]
    assert [edge[3] for edge in edges] == [
        "user",
        "group",
        "device",
        "service_principal",
        "contact",
        "unknown",
        "unknown",
        REMOVED,
    ]


@pytest.mark.parametrize("kind", [*MEMBER_TYPES, "#microsoft.graph.somethingNew", None])
def test_edge_that_is_taken_away_has_no_type_whatever_graph_says_of_it(kind: str | None) -> None:
    ((_, encoded),) = encode_edges("g", "member", [Reference("m", kind, Removed())])
    assert EDGES.decode(b"[" + encoded + b"]") == [("g", "member", "m", REMOVED)]
    assert REMOVED not in MEMBER_TYPES.values()


@pytest.mark.parametrize("relation", ["member", "owner"])
@pytest.mark.parametrize("kind", [*MEMBER_TYPES.values(), "unknown"])
def test_edge_is_published_and_comes_back(kind: MemberType, relation: Relation) -> None:
    published = Membership("g", "m", kind, relation)
    assert edge_of(published) == ("g", relation, "m", kind)
    assert membership(edge_of(published)) == published


# --- which edges are in force ---------------------------------------------------------------------


def test_edges_are_sorted_by_group_relation_and_member() -> None:
    edges = [
        ("h", "member", "a", "user"),
        ("g", "owner", "b", "user"),
        ("g", "member", "b", "user"),
        ("g", "member", "a", "user"),
    ]
    assert ids(*edges) == ["g|member|a", "g|member|b", "g|owner|b", "h|member|a"]


def test_repeated_edge_is_one_edge_and_the_later_type_wins() -> None:
    twice = [("g", "member", "d", "unknown"), ("g", "member", "d", "device")]
    assert visible(*twice) == [Membership("g", "d", "device", "member")]


def test_last_word_counts() -> None:
    added, removed = ("g", "member", "a", "user"), ("g", "member", "a", REMOVED)
    assert visible(added, removed) == []
    assert hidden(added, removed) == []
    assert len(visible(removed, added)) == 1
    assert len(visible(added, removed, added)) == 1
    assert visible(removed) == []


def test_member_and_owner_are_two_edges() -> None:
    assert ids(("g", "member", "a", "user"), ("g", "owner", "a", REMOVED)) == ["g|member|a"]
    assert ids(("g", "owner", "a", "user"), ("g", "member", "a", REMOVED)) == ["g|owner|a"]


KINDS = [*dict.fromkeys(MEMBER_TYPES.values()), "unknown", REMOVED]
some_ids = st.one_of(st.sampled_from("abgh"), st.text(max_size=3))

raw_edges = st.lists(
    st.tuples(some_ids, st.sampled_from(("member", "owner")), some_ids, st.sampled_from(KINDS)), max_size=40
)
"""Any entries in any order: added, removed, removed and never added, twice with two types."""


def left_after(edges: list[Edge]) -> dict[tuple[str, str, str], str]:
    """Entry by entry, as a reader of Graph's documentation would do it."""
    alive: dict[tuple[str, str, str], str] = {}
    for group_id, relation, member_id, kind in edges:
        alive.pop((group_id, relation, member_id), None)
        if kind != REMOVED:
            alive[group_id, relation, member_id] = kind
    return alive


@given(raw_edges)
def test_edges_in_force_are_what_is_left_after_every_entry(edges: list[Edge]) -> None:
    before = list(edges)
    left = in_force(edges)
    expected = left_after(edges)
    assert {(g, r, m): kind for g, r, m, kind in left} == expected
    assert len(left) == len(expected)
    assert [edge[2] for edge in left] == sorted(edge[2] for edge in left)
    assert as_published(left) == sorted((*key, kind) for key, kind in expected.items())
    assert edges == before


@given(st.lists(raw_edges, max_size=3), st.integers(0, 40), st.integers(0, 40))
def test_edges_in_columns_are_the_same_edges(some: list[list[Edge]], begin: int, end: int) -> None:
    whole = in_force([edge for edges in some for edge in edges])
    columns = EdgeColumns(whole[:begin])
    columns.add(iter(whole[begin:]))
    assert (list(columns), len(columns)) == (whole, len(whole))
    columns.publish()
    assert list(columns) == as_published(whole)
    assert columns.memberships(begin, end) == [membership(edge) for edge in as_published(whole)[begin:end]]


@given(raw_edges)
def test_edges_in_force_are_still_so_when_asked_again(edges: list[Edge]) -> None:
    left = in_force(edges)
    assert in_force(left) == left
    assert in_force([*edges, *left]) == left


@given(
    st.lists(
        st.tuples(some_ids, st.sampled_from(("member", "owner")), some_ids, st.sampled_from(KINDS[:-1])),
        max_size=60,
        unique_by=lambda edge: edge[:3],
    )
)
def test_published_order_is_that_of_group_relation_and_member(edges: list[Edge]) -> None:
    """For edges by member, in whatever order those of one member come."""
    by_member = sorted(edges, key=lambda edge: edge[2])
    assert as_published(by_member) == sorted(edges)
    assert as_published(iter(by_member)) == sorted(edges)


# --- which of them are published ------------------------------------------------------------------


def test_edge_to_a_user_who_is_not_there_is_kept_back() -> None:
    edge = ("g", "member", "deleted", "user")
    assert visible(edge) == []
    assert hidden(edge) == [Membership("g", "deleted", "user", "member")]


def test_edge_of_a_group_that_is_gone_is_kept_back() -> None:
    edge = ("gone", "member", "a", "user")
    assert visible(edge) == []
    assert len(hidden(edge)) == 1


def test_nested_group_that_is_gone_is_kept_back() -> None:
    assert visible(("g", "member", "gone", "group")) == []
    assert len(hidden(("g", "member", "gone", "group"))) == 1
    assert len(visible(("g", "member", "h", "group"))) == 1


def test_device_contact_and_stranger_are_published_without_a_look() -> None:
    kinds = ("device", "service_principal", "contact", "unknown")
    edges = [("g", "member", kind, kind) for kind in kinds]
    assert {edge.member_type for edge in visible(*edges)} == set(kinds)


def test_untyped_member_that_is_a_user_is_a_user() -> None:
    assert visible(("g", "member", "a", "unknown")) == [Membership("g", "a", "user", "member")]


def test_untyped_edge_of_a_group_that_is_gone_is_kept_back_as_a_users() -> None:
    assert hidden(("gone", "member", "a", "unknown")) == [Membership("gone", "a", "user", "member")]


def test_cycle_and_self_membership_are_edges_like_others() -> None:
    edges = [
        ("g", "member", "h", "group"),
        ("h", "member", "g", "group"),
        ("g", "member", "g", "group"),
    ]
    assert ids(*edges) == ["g|member|g", "g|member|h", "h|member|g"]


MEMBERS = {"a": "user", "x": "user", "h": "group", "z": "group", "d": "device"}

edge_lists = st.lists(
    st.builds(
        lambda group, member, relation, removed: (
            group,
            relation,
            member,
            REMOVED if removed else MEMBERS[member],
        ),
        st.sampled_from("ghz"),
        st.sampled_from(sorted(MEMBERS)),
        st.sampled_from(("member", "owner")),
        st.booleans(),
    ),
    max_size=40,
)


@given(edge_lists)
def test_nothing_published_dangles_and_nothing_is_lost(edges: list[Edge]) -> None:
    users, groups = {"a"}, {"g", "h"}
    shown, kept = resolve(in_force(edges), users, groups)
    alive = set(left_after(edges))
    assert {edge[:3] for edge in [*shown, *kept]} == alive
    assert len(shown) + len(kept) == len(alive)
    for group_id, _, member_id, kind in shown:
        assert group_id in groups
        assert kind != "user" or member_id in users
        assert kind != "group" or member_id in groups
    for group_id, _, member_id, kind in kept:
        missing_user = kind == "user" and member_id not in users
        missing_group = kind == "group" and member_id not in groups
        assert group_id not in groups or missing_user or missing_group


@given(raw_edges)
def test_order_is_kept_when_edges_are_resolved(edges: list[Edge]) -> None:
    """So that neither list needs to be sorted by member again."""
    left = in_force(edges)
    for some in resolve(left, {"a"}, {"g", "h"}):
        places = [next(i for i, edge in enumerate(left) if edge[:3] == one[:3]) for one in some]
        assert places == sorted(places)


@given(edge_lists)
def test_published_edges_may_be_resolved_again(edges: list[Edge]) -> None:
    """What a run kept is where the next one begins."""
    shown, kept = resolved(edges, users="a")
    again = [edge_of(membership(edge)) for edge in [*kept, *shown]]
    assert resolved(again, users="a") == (shown, kept)
