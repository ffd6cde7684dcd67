"""Edges: the last word counts, and none is published that leads nowhere."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.directory.memberships import MEMBER_TYPES, Edge, encode_edges, resolve
from shared.directory.records import Membership
from shared.graph.objects import Reference, Removed


def visible(*edges: Edge, users: str = "ab", groups: str = "gh") -> list[Membership]:
    return resolve(edges, set(users), set(groups))[0]


def hidden(*edges: Edge, users: str = "ab", groups: str = "gh") -> list[Membership]:
    return resolve(edges, set(users), set(groups))[1]


def test_references_become_edges_by_type() -> None:
    references = [Reference(f"m{number}", kind) for number, kind in enumerate(MEMBER_TYPES)]
    references += [Reference("x", "#microsoft.graph.somethingNew"), Reference("y"), Reference("z")]
    references[-1].removed = Removed()
    pairs = list(encode_edges("g", "owner", references))
    edges = [msgspec.json.decode(encoded, type=Edge) for _, encoded in pairs]
    assert [member_id for member_id, _ in pairs] == [reference.id for reference in references]
    assert {(edge.group_id, edge.relation) for edge in edges} == {("g", "owner")}
    assert [edge.member_type for edge in edges] == [
        "user",
        "group",
        "device",
        "service_principal",
        "contact",
        "unknown",
        "unknown",
        "unknown",
    ]
    assert [edge.removed for edge in edges] == [False] * 7 + [True]


def test_edges_are_sorted_by_group_relation_and_member() -> None:
    edges = [
        Edge("h", "a", "user", "member"),
        Edge("g", "b", "user", "owner"),
        Edge("g", "b", "user", "member"),
        Edge("g", "a", "user", "member"),
    ]
    assert [edge.id for edge in visible(*edges)] == ["g|member|a", "g|member|b", "g|owner|b", "h|member|a"]


def test_repeated_edge_is_one_edge_and_the_later_type_wins() -> None:
    twice = [Edge("g", "d", "unknown", "member"), Edge("g", "d", "device", "member")]
    assert visible(*twice) == [Membership("g", "d", "device", "member")]


def test_last_word_counts() -> None:
    added, removed = Edge("g", "a", "user", "member"), Edge("g", "a", "user", "member", removed=True)
    assert visible(added, removed) == []
    assert hidden(added, removed) == []
    assert len(visible(removed, added)) == 1
    assert len(visible(added, removed, added)) == 1
    assert visible(removed) == []


def test_member_and_owner_are_two_edges() -> None:
    edges = (Edge("g", "a", "user", "member"), Edge("g", "a", "user", "owner", removed=True))
    assert [edge.id for edge in visible(*edges)] == ["g|member|a"]


def test_edge_to_a_user_who_is_not_there_is_kept_back() -> None:
    edge = Edge("g", "deleted", "user", "member")
    assert visible(edge) == []
    assert hidden(edge) == [Membership("g", "deleted", "user", "member")]


def test_edge_of_a_group_that_is_gone_is_kept_back() -> None:
    edge = Edge("gone", "a", "user", "member")
    assert visible(edge) == []
    assert len(hidden(edge)) == 1


def test_nested_group_that_is_gone_is_kept_back() -> None:
    assert visible(Edge("g", "gone", "group", "member")) == []
    assert len(visible(Edge("g", "h", "group", "member"))) == 1


def test_device_contact_and_stranger_are_published_without_a_look() -> None:
    kinds: tuple[str, ...] = ("device", "service_principal", "contact", "unknown")
    edges = [Edge("g", kind, kind, "member") for kind in kinds]  # type: ignore[arg-type]
    assert {edge.member_type for edge in visible(*edges)} == set(kinds)


def test_untyped_member_that_is_a_user_is_a_user() -> None:
    assert visible(Edge("g", "a", "unknown", "member")) == [Membership("g", "a", "user", "member")]


def test_cycle_and_self_membership_are_edges_like_others() -> None:
    edges = [
        Edge("g", "h", "group", "member"),
        Edge("h", "g", "group", "member"),
        Edge("g", "g", "group", "member"),
    ]
    assert [edge.id for edge in visible(*edges)] == ["g|member|g", "g|member|h", "h|member|g"]


MEMBERS = {"a": "user", "x": "user", "h": "group", "z": "group", "d": "device"}

edge_lists = st.lists(
    st.builds(
        lambda group, member, relation, removed: Edge(group, member, MEMBERS[member], relation, removed),  # type: ignore[arg-type]
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
    shown, kept = resolve(edges, users, groups)
    last = {(edge.group_id, edge.relation, edge.member_id): edge for edge in edges}
    alive = {key for key, edge in last.items() if not edge.removed}
    assert {(e.group_id, e.relation, e.member_id) for e in [*shown, *kept]} == alive
    assert len(shown) + len(kept) == len(alive)
    for edge in shown:
        assert edge.group_id in groups
        assert edge.member_type != "user" or edge.member_id in users
        assert edge.member_type != "group" or edge.member_id in groups


@given(edge_lists)
def test_published_edges_may_be_resolved_again(edges: list[Edge]) -> None:
    """What a run kept is where the next one begins."""
    shown, kept = resolve(edges, {"a"}, {"g", "h"})
    again = [Edge(e.group_id, e.member_id, e.member_type, e.relation) for e in [*kept, *shown]]
    assert resolve(again, {"a"}, {"g", "h"}) == (shown, kept)
