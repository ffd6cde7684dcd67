"""The edges of one bucket in an incremental run: only those segments are read that may have changed.

Memberships are sorted by group, so a segment has all edges of some groups to this bucket's members. It may
change if

- Graph told of an edge of one of its groups,
- one of its groups came or went,
- one of its members came or went: users, and groups that are in groups.

Edges that lead nowhere are kept hidden, until both their ends are there. There are few, and all are read.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from shared.directory import records
from shared.directory.building.inputs import MEMBERSHIP_LINES
from shared.directory.building.output import EdgeCounts
from shared.directory.changes import compare_memberships
from shared.directory.memberships import Edge, apply_edges, as_published, edge_of, membership, resolve
from shared.formats.interface import GroupLabel
from shared.snapshots.manifest import ChangeCounts
from shared.snapshots.parts import PartPatch, PartReader
from shared.snapshots.shuffle import Cut

_encode_lines = msgspec.json.Encoder().encode_lines


class _Member(msgspec.Struct, gc=False):
    member_id: str


_members = msgspec.json.Decoder(_Member)


@dataclass(frozen=True, slots=True)
class Moves:
    """What an incremental run tells of the edges of a bucket and of their ends."""

    received: Collection[Edge]
    """In the order of Graph; one that was taken away has no type."""
    came: Collection[str]
    """Users of this bucket who are new or back."""
    gone: Mapping[str, records.User]
    """Users of this bucket who are there no longer, as they were."""
    groups: Collection[str]
    """Groups that came, went, or changed what a rendering of their members shows."""
    retold: Collection[str]
    """Groups that came, all of whose edges are among those received: what was hidden of them is outdated."""
    labels: Mapping[str, GroupLabel]
    """All groups that are alive."""
    was_user: Callable[[str], bool]
    """Whether the last snapshot has the user; only asked of ids of this bucket."""

    @property
    def any(self) -> bool:
        return bool(self.received or self.came or self.gone or self.groups)


@dataclass(slots=True)
class MovedEdges:
    """What became of the edges of a bucket."""

    hidden: list[Edge]
    changes: list[records.Change] = field(default_factory=list)
    counted: ChangeCounts = field(default_factory=ChangeCounts)
    joined: list[Edge] = field(default_factory=list)
    """Published now and not before."""
    left: list[Edge] = field(default_factory=list)
    """Published before and not now. An edge whose member changed its type is in both."""
    counts: EdgeCounts = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)
    """Users with an edge of one of the groups that came or changed."""


def move_edges(before: PartReader, patch: PartPatch, hidden: list[Edge], moves: Moves) -> MovedEdges:
    """The edges after the run. Segments of memberships that changed are put into `patch`."""
    cut = Cut(1, edge_segments(before))
    touched = {cut.segment_of(group_id) for group_id in _groups_of(hidden, moves)}
    touched |= _segments_with(before, {*moves.came, *moves.groups})
    listed = {number: _edges(before, number) for number in sorted(touched)}
    known = [edge for edges in listed.values() for edge in edges]

    looked_at = [edge for edge in hidden if cut.segment_of(edge[0]) in touched]
    still_hidden = [edge for edge in looked_at if edge[0] not in moves.retold]
    visible, kept_back = resolve(
        apply_edges([*known, *still_hidden], moves.received), _Alive(known, moves), moves.labels
    )
    by_segment: dict[int, list[Edge]] = {number: [] for number in listed}
    for edge in as_published(visible):
        by_segment[cut.segment_of(edge[0])].append(edge)
    was: list[Edge] = []
    now: list[Edge] = []
    for number, edges in by_segment.items():
        if edges != listed[number]:
            patch.put(number, _encode_lines(list(map(membership, edges))), len(edges))
            was += listed[number]
            now += edges

    untouched = [edge for edge in hidden if cut.segment_of(edge[0]) not in touched]
    moved = MovedEdges(hidden=as_published(sorted([*untouched, *kept_back], key=_member_id)))
    moved.changes, moved.counted = compare_memberships(was, now)
    had, has = set(was), set(now)
    moved.joined = [edge for edge in now if edge not in had]
    moved.left = [edge for edge in was if edge not in has]
    moved.counts = _counts(moved, {edge[0] for edge in set(kept_back).difference(hidden)})
    moved.shown = {edge[2] for edge in visible if edge[0] in moves.groups and edge[3] == "user"}
    return moved


def edge_segments(before: PartReader) -> int:
    """Into how many segments the memberships of a bucket are cut, by their groups."""
    return max(1, len(before.ends))


def _groups_of(hidden: Iterable[Edge], moves: Moves) -> set[str]:
    """Groups whose edges may change, as far as it is known without reading memberships."""
    groups = {edge[0] for edge in moves.received} | set(moves.groups)
    for user in moves.gone.values():
        groups.update(user.groups or (), user.owned_groups or ())
    groups.update(edge[0] for edge in hidden if edge[2] in moves.came or edge[2] in moves.groups)
    return groups


def _segments_with(before: PartReader, members: set[str]) -> set[int]:
    """Segments with an edge to one of these. Edges are not sorted by their members, so all are looked at."""
    if not members:
        return set()
    return {
        number
        for number in range(len(before.ends))
        if any(one.member_id in members for one in before.segment(number, _members))
    }


def _edges(before: PartReader, number: int) -> list[Edge]:
    return [edge_of(one) for one in before.segment(number, MEMBERSHIP_LINES)] if before.ends else []


class _Alive:
    """The users of a bucket after the run, as far as its edges lead to them.

    A published edge says by its type whether its member was a user. Only of others one has to look.
    """

    def __init__(self, known: Iterable[Edge], moves: Moves) -> None:
        self._known = {edge[2]: edge[3] == "user" for edge in known}
        self._moves = moves

    def __contains__(self, member_id: object) -> bool:
        assert isinstance(member_id, str)
        if member_id in self._moves.came:
            return True
        if member_id in self._moves.gone:
            return False
        known = self._known.get(member_id)
        if known is None:
            known = self._known[member_id] = self._moves.was_user(member_id)
        return known


def _counts(moved: MovedEdges, newly_hidden: Iterable[str]) -> EdgeCounts:
    """How many more edges each group has. A group with a newly hidden edge is there in any case."""
    counts: dict[str, list[int]] = {}
    for edges, step in ((moved.joined, 1), (moved.left, -1)):
        for edge in edges:
            counts.setdefault(edge[0], [0, 0])[edge[1] == "owner"] += step
    more = {
        group_id: (members, owners) for group_id, (members, owners) in counts.items() if members or owners
    }
    return dict.fromkeys(newly_hidden, (0, 0)) | more


def _member_id(edge: Edge) -> str:
    return edge[2]
