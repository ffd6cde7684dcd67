"""The buckets of an incremental run: what was told of is changed, everything else is copied as it is stored.

A user is looked at if something of it was read, if one of its edges came or went, or if a group that its
rendering shows changed its name. Lines of other users stay bytes, and segments without such a user stay
compressed. Edges are looked at only where one of them, or one of their ends, came or went.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from shared.directory import records
from shared.directory.building.edges import MovedEdges, Moves, edge_segments, move_edges
from shared.directory.building.full import reason_of
from shared.directory.building.inputs import (
    MEMBERSHIP_LINES,
    BuildInput,
    authentication_of,
    sign_ins_of,
)
from shared.directory.building.output import ChangesWriter, EdgeCounts, store_counts, store_hidden
from shared.directory.building.patch import PatchedBucket
from shared.directory.changes import compare
from shared.directory.groups import apply_group, read_group_changes
from shared.directory.memberships import EDGES, Edge, edge_of
from shared.directory.records import Relation
from shared.directory.users import apply_user, read_changes
from shared.errors import InvalidPage
from shared.graph import objects
from shared.graph.paging import decode_objects
from shared.snapshots.manifest import ChangeCounts
from shared.snapshots.parts import PartPatch, open_part
from shared.snapshots.shuffle import BucketRows
from shared.snapshots.state import Built

SEGMENTS_A_TURN = 16
"""After so many, some milliseconds of work, others in the process get their turn."""


class _Told(msgspec.Struct, gc=False):
    """As much of a user's row as says whether the user is there."""

    id: str
    removed: objects.Removed | None = msgspec.field(default=None, name="@removed")


_told = msgspec.json.Decoder(list[_Told])


@dataclass(frozen=True, slots=True)
class _Rows:
    """What was read for one bucket."""

    users: BucketRows
    edges: BucketRows
    authentication: BucketRows
    sign_ins: BucketRows

    @classmethod
    async def read(cls, shared: BuildInput, bucket: int) -> "_Rows":
        cut = shared.run.cut
        return cls(
            await shared.rows("users", "users", cut, bucket),
            await shared.rows("groups", "edges", cut, bucket),
            await shared.rows("authentication", "authentication", cut, bucket),
            await shared.rows("sign-in", "sign-in", cut, bucket),
        )


async def build_members(
    shared: BuildInput, bucket: int, users: PatchedBucket[records.User], writer: ChangesWriter
) -> Built:
    """Users and edges of one bucket."""
    run, previous = shared.run, shared.previous
    assert previous is not None
    rows = await _Rows.read(shared, bucket)
    memberships, hidden = previous.parts["memberships"][bucket], previous.hidden[bucket]
    moves = _moves(shared, bucket, users, rows)
    moved = MovedEdges(hidden=[])
    if moves.any:
        before = await open_part(shared.output, memberships)
        patch = PartPatch(before, edge_segments(before))
        known_hidden = (await open_part(shared.state, hidden)).all(MEMBERSHIP_LINES)
        moved = move_edges(before, patch, [edge_of(one) for one in known_hidden], moves)
        memberships = await patch.store(shared.output, "parts/memberships")
        hidden = await store_hidden(shared.state, moved.hidden)

    linked = _Linked(moved, users)
    changes: list[records.Change] = []
    counts = ChangeCounts()
    with_authentication = previous.counted["authentication"][bucket]
    with_sign_in = previous.counted["sign-in"][bucket]
    replaced = shared.replaced
    touched = {*linked.by_segment, *rows.users.filled(), *rows.authentication.filled()}
    for turn, number in enumerate(range(run.cut.segments) if replaced else sorted(touched), 1):
        wanted = linked.by_segment.get(number, set())
        segment = users.segment(number)
        documents, tombstones = read_changes(rows.users.segment(number))
        authentication = authentication_of(rows.authentication.segment(number))
        sign_ins = sign_ins_of(rows.sign_ins.segment(number)) if "sign-in" in replaced else {}
        ids = {*documents, *tombstones, *authentication, *wanted, *(segment.ids if replaced else ())}
        known = segment.records(ids)
        now: dict[str, records.User] = {}
        for object_id in sorted(ids - tombstones.keys()):
            record = _changed(documents.get(object_id), known.get(object_id), object_id)
            if record is None:
                continue
            linked.regroup(record)
            if "authentication" in replaced:
                record.authentication = None
            record.authentication = authentication.get(object_id, record.authentication)
            if "sign-in" in replaced:
                record.sign_in = sign_ins.get(object_id)
            now[object_id] = record
        changed, counted = compare(
            "users", known, list(now.values()), run.started_at, reason_of(tombstones, None)
        )
        written = {change.id for change in changed} | moved.shown
        users.change(
            number,
            {object_id: record for object_id, record in now.items() if object_id in written},
            known.keys() - now.keys(),
        )
        changes += changed
        counts.add(counted)
        for some, step in ((known, -1), (now, 1)):
            with_authentication += step * sum(user.authentication is not None for user in some.values())
            with_sign_in += step * sum(user.sign_in is not None for user in some.values())
        if turn % SEGMENTS_A_TURN == 0:
            await asyncio.sleep(0)

    return Built(
        parts={**await users.store(shared.output), "memberships": memberships},
        changes={"users": counts, "memberships": moved.counted},
        changes_part=await writer.add(bucket, [*moved.changes, *changes]),
        counts=await store_counts(shared.state, run, bucket, moved.counts, run.group_cut),
        hidden=hidden,
        authentication_rows=with_authentication,
        sign_in_rows=with_sign_in,
    )


def _moves(shared: BuildInput, bucket: int, users: PatchedBucket[records.User], rows: _Rows) -> Moves:
    """What came and went in this bucket, of users and of edges."""
    came: set[str] = set()
    gone: dict[str, records.User] = {}
    for number in rows.users.filled():
        told = decode_objects(rows.users.segment(number), _told, "users")
        there = {one.id: one.removed is None for one in told}
        segment = users.segment(number)
        came.update(one for one, is_there in there.items() if is_there and one not in segment)
        gone |= segment.records(one for one, is_there in there.items() if not is_there)
    return Moves(
        received=decode_objects(rows.edges.all(), EDGES, "memberships"),
        came=came,
        gone=gone,
        groups=shared.relabelled if bucket in shared.run.relabelled else set(),
        retold=shared.retold,
        labels=shared.labels,
        was_user=users.__contains__,
    )


class _Linked:
    """The users to whom edges came, or from whom they went."""

    def __init__(self, moved: MovedEdges, users: PatchedBucket[records.User]) -> None:
        self._joined = _by_user(moved.joined)
        self._left = _by_user(moved.left)
        self.by_segment: dict[int, set[str]] = {}
        """The ids of these users, and of those whose rendering shows a group that changed."""
        for object_id in {*self._joined, *self._left, *moved.shown}:
            self.by_segment.setdefault(users.number_of(object_id), set()).add(object_id)

    def regroup(self, user: records.User) -> None:
        """Give a user the groups that it has now."""
        joined, left = self._joined.get(user.id, ()), self._left.get(user.id, ())
        if joined or left:
            user.groups = _applied(user.groups, "member", joined, left)
            user.owned_groups = _applied(user.owned_groups, "owner", joined, left)


def _by_user(edges: Iterable[Edge]) -> dict[str, list[Edge]]:
    found: dict[str, list[Edge]] = {}
    for edge in edges:
        if edge[3] == "user":
            found.setdefault(edge[2], []).append(edge)
    return found


def _applied(
    groups: list[str] | None, relation: Relation, joined: Iterable[Edge], left: Iterable[Edge]
) -> list[str]:
    now = set(groups or ()).difference(edge[0] for edge in left if edge[1] == relation)
    return sorted(now.union(edge[0] for edge in joined if edge[1] == relation))


def _changed(
    document: dict[str, Any] | None, known: records.User | None, object_id: str
) -> records.User | None:
    """A user after what was read, to be changed further; None for one who is not there."""
    if document is None:
        return msgspec.structs.replace(known) if known is not None else None
    try:
        record = apply_user(document, known)
    except ValueError:
        raise InvalidPage(f"users: {object_id} has a time that cannot be read.") from None
    if known is None:
        record.groups, record.owned_groups = [], []
    return record


async def build_groups(
    shared: BuildInput,
    bucket: int,
    groups: PatchedBucket[records.Group],
    writer: ChangesWriter,
    edge_counts: EdgeCounts,
) -> Built:
    """Groups of one bucket. `edge_counts` has how many more members and owners they have."""
    run = shared.run
    rows = await shared.rows("groups", "groups", run.group_cut, bucket)
    recounted: dict[int, set[str]] = {}
    for group_id in edge_counts:
        recounted.setdefault(groups.number_of(group_id), set()).add(group_id)
    changes: list[records.Change] = []
    counts = ChangeCounts()
    for turn, number in enumerate(sorted({*recounted, *rows.filled()}), 1):
        told = read_group_changes(rows.segment(number))
        ids = {*told, *recounted.get(number, ())}
        known = groups.segment(number).records(ids)
        now: dict[str, records.Group] = {}
        for object_id in sorted(ids):
            record = _changed_group(told.get(object_id), known.get(object_id), object_id)
            if record is None:
                continue
            members, owners = edge_counts.get(object_id, (0, 0))
            record.member_count = (record.member_count or 0) + members
            record.owner_count = (record.owner_count or 0) + owners
            now[object_id] = record
        changed, counted = compare("groups", known, list(now.values()), run.started_at)
        written = {change.id for change in changed}
        groups.change(
            number,
            {object_id: record for object_id, record in now.items() if object_id in written},
            known.keys() - now.keys(),
        )
        changes += changed
        counts.add(counted)
        if turn % SEGMENTS_A_TURN == 0:
            await asyncio.sleep(0)
    return Built(
        parts=await groups.store(shared.output),
        changes={"groups": counts},
        changes_part=await writer.add(bucket, changes),
    )


def _changed_group(
    told: objects.Group | None, known: records.Group | None, object_id: str
) -> records.Group | None:
    """A group after what was read, with the counts that it had; None for one that is not there."""
    if told is None:
        return msgspec.structs.replace(known) if known is not None else None
    if told.removed:
        return None
    try:
        return apply_group(told, known)
    except ValueError:
        raise InvalidPage(f"groups: {object_id} has a time that cannot be read.") from None
