"""Edges of an incremental run: looked at in part, they are what they would be if all were looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.directory.building.edges import Moves, edge_segments, move_edges
from shared.directory.building.output import count_edges
from shared.directory.changes import compare_memberships
from shared.directory.memberships import (
    REMOVED,
    Edge,
    apply_edges,
    as_published,
    edge_of,
    membership,
    resolve,
)
from shared.directory.records import Membership, User
from shared.formats.interface import GroupLabel
from shared.snapshots.parts import PartPatch, PartReader, PartWriter, open_part
from shared.snapshots.shuffle import Cut
from tests.snapshots.memory import MemoryContainer

USERS = ["0000", "0001", "a", "b000", "é", "f"]
GROUPS = ["0a", "1b", "2", "7c", "8d", "G", "ff"]
KINDS = ("user", "group", "device", "unknown")
decoder = msgspec.json.Decoder(Membership)

edges = st.lists(
    st.tuples(
        st.sampled_from(GROUPS),
        st.sampled_from(("member", "owner")),
        st.sampled_from([*USERS, *GROUPS[:3], "d"]),
        st.sampled_from(KINDS),
    ),
    max_size=30,
)
received = st.lists(
    st.tuples(
        edges.flatmap(lambda some: st.sampled_from(some or [("2", "member", "a", "user")])), st.booleans()
    ),
    max_size=10,
)
some_users = st.sets(st.sampled_from(USERS))
some_groups = st.sets(st.sampled_from(GROUPS))


def by_member(listed: Sequence[Edge]) -> list[Edge]:
    return sorted(listed, key=lambda edge: edge[2])


def groups_of(user: str, visible: Sequence[Edge], relation: str) -> list[str]:
    return sorted(edge[0] for edge in visible if edge[1:] == (relation, user, "user"))


@dataclass
class Day:
    """All edges, by brute force."""

    visible: list[Edge]
    hidden: list[Edge]

    @classmethod
    def of(cls, listed: Sequence[Edge], told: Sequence[Edge], users: set[str], groups: set[str]) -> "Day":
        visible, hidden = resolve(apply_edges(listed, told), users, groups)
        return cls(as_published(visible), as_published(hidden))


async def stored(visible: Sequence[Edge], segments: int) -> tuple[MemoryContainer, PartReader]:
    container, writer, cut = MemoryContainer(), PartWriter(), Cut(1, segments)
    for number in range(segments):
        writer.add([membership(edge) for edge in visible if cut.segment_of(edge[0]) == number])
    return container, await open_part(container, await writer.store(container, "parts/memberships"))


@settings(deadline=None, max_examples=300)
@given(
    edges, received, some_users, some_users, some_groups, some_groups, st.sampled_from((1, 4, 256)), st.data()
)
async def test_part_that_is_looked_at_is_enough(
    listed: list[Edge],
    told: list[tuple[Edge, bool]],
    users_then: set[str],
    users_now: set[str],
    groups_then: set[str],
    groups_now: set[str],
    segments: int,
    data: st.DataObject,
) -> None:
    news = [(*edge[:3], edge[3] if added else REMOVED) for edge, added in told]
    then = Day.of([], listed, users_then, groups_then)
    retold = data.draw(st.sets(st.sampled_from(sorted(groups_now - groups_then) or ["none"])))
    kept = [edge for edge in then.hidden if edge[0] not in retold]
    now = Day.of(by_member([*then.visible, *kept]), news, users_now, groups_now)

    container, before = await stored(then.visible, segments)
    patch = PartPatch(before, edge_segments(before))
    moved = move_edges(
        before,
        patch,
        then.hidden,
        Moves(
            received=news,
            came=users_now - users_then,
            gone={
                user: User(
                    user,
                    groups=groups_of(user, then.visible, "member"),
                    owned_groups=groups_of(user, then.visible, "owner"),
                )
                for user in users_then - users_now
            },
            groups=groups_then ^ groups_now,
            retold=retold,
            labels={group: GroupLabel(group) for group in groups_now},
            was_user=users_then.__contains__,
        ),
    )
    part = await patch.store(container, "parts/memberships")
    assert [edge_of(one) for one in (await open_part(container, part)).all(decoder)] == now.visible
    assert moved.hidden == now.hidden
    assert (moved.changes, moved.counted) == compare_memberships(then.visible, now.visible)
    assert set(moved.joined) == set(now.visible) - set(then.visible)
    assert set(moved.left) == set(then.visible) - set(now.visible)
    had, has = count_edges(then.visible, []), count_edges(now.visible, [])
    for group in GROUPS:
        before_it, after_it = had.get(group, (0, 0)), has.get(group, (0, 0))
        more = (after_it[0] - before_it[0], after_it[1] - before_it[1])
        assert moved.counts.get(group, (0, 0)) == more
    # Where a group's edges are only kept back, somebody has to know when it returns.
    assert {edge[0] for edge in set(now.hidden) - set(then.hidden)} <= moved.counts.keys()
    changed = groups_then ^ groups_now
    assert {edge[2] for edge in now.visible if edge[0] in changed and edge[3] == "user"} == moved.shown
