"""The buckets of an incremental run: what was touched is changed, everything else is copied as it is stored.

A segment is touched if something of one of its users was read, or if the bucket has members of a group that
came, went or changed its name. Edges are looked at again only where one of them, or who is alive, changed.
"""

import asyncio
from collections.abc import Iterable

import msgspec

from shared.directory import records
from shared.directory.building.full import reason_of
from shared.directory.building.inputs import (
    GROUP_LINES,
    MEMBERSHIP_LINES,
    USER_LINES,
    BuildInput,
    authentication_of,
    sign_ins_of,
)
from shared.directory.building.output import (
    EdgeCounts,
    Output,
    count_edges,
    store_changes,
    store_counts,
    store_edges,
    store_hidden,
)
from shared.directory.changes import compare, compare_memberships
from shared.directory.groups import apply_group, read_group_changes
from shared.directory.memberships import EDGES, Edge, apply_edges, as_published, edge_of, resolve
from shared.directory.users import apply_user, read_changes
from shared.errors import InvalidPage
from shared.graph.objects import ObjectId
from shared.graph.paging import decode_objects
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.manifest import ChangeCounts
from shared.snapshots.parts import PartReader, StoredPart, open_part
from shared.snapshots.shuffle import DIGITS
from shared.snapshots.state import Built

_id_lines = msgspec.json.Decoder(ObjectId)


class _Segment:
    """One touched segment: its users as the last snapshot has them, and as they are now."""

    def __init__(self, known: list[records.User]) -> None:
        self.known = {user.id: user for user in known}
        self.now = dict(self.known)
        self.tombstones: dict[str, str] = {}

    def apply(self, rows: bytes) -> bool:
        """Apply what was read of users. True if one came or went."""
        changed, self.tombstones = read_changes(rows)
        for object_id, document in changed.items():
            try:
                self.now[object_id] = apply_user(document, self.known.get(object_id))
            except ValueError:
                raise InvalidPage(f"users: {object_id} has a time that cannot be read.") from None
        for object_id in self.tombstones:
            self.now.pop(object_id, None)
        return self.now.keys() != self.known.keys()

    def users(self) -> Iterable[records.User]:
        """The users as they are now, to be changed: the last snapshot's records stay as they are."""
        for object_id, user in self.now.items():
            if user is self.known.get(object_id):
                user = self.now[object_id] = msgspec.structs.replace(user)
            yield user


async def build_members(
    shared: BuildInput, bucket: int, output: Output, before: dict[str, PartReader]
) -> Built:
    """Users and edges of one bucket. `before` has the last snapshot's parts of users and their renderings."""
    run, previous = shared.run, shared.previous
    assert previous is not None
    user_rows = await shared.rows("users", "users", run.cut, bucket)
    edge_rows = await shared.rows("groups", "edges", run.cut, bucket)
    authentication_rows = await shared.rows("authentication", "authentication", run.cut, bucket)
    sign_in_rows = await shared.rows("sign-in", "sign-in", run.cut, bucket)
    replaced = shared.replaced
    everything = bool(replaced) or bucket in run.relabelled

    segments: dict[int, _Segment] = {}
    moved = bucket in run.relabelled or edge_rows.any()
    for number in range(run.cut.segments):
        if everything or any(rows.has(number) for rows in (user_rows, edge_rows, authentication_rows)):
            segment = segments[number] = _Segment(before["users"].segment(number, USER_LINES))
            moved |= segment.apply(user_rows.segment(number))

    memberships: StoredPart | None = previous.parts["memberships"][bucket]
    hidden = previous.hidden[bucket]
    edge_changes: list[records.Change] = []
    edge_counts = ChangeCounts()
    counts: EdgeCounts = {}
    if moved:
        known_edges = await _edges(shared.output, memberships)
        known_hidden = await _edges(shared.state, hidden)
        still_hidden = [edge for edge in known_hidden if edge[0] not in shared.retold]
        received = decode_objects(edge_rows.all(), EDGES, "memberships")
        alive = {
            one.id
            for number in range(run.cut.segments)
            if number not in segments
            for one in before["users"].segment(number, _id_lines)
        }
        alive.update(object_id for segment in segments.values() for object_id in segment.now)
        visible, kept_back = resolve(
            apply_edges([*known_edges, *still_hidden], received), alive, shared.labels
        )
        visible, kept_back = as_published(visible), as_published(kept_back)
        _regroup(segments.values(), visible)
        edge_changes, edge_counts = compare_memberships(known_edges, visible)
        memberships = await store_edges(shared.output, "parts/memberships", visible)
        hidden = await store_hidden(shared.state, kept_back)
        counts = _changed_counts(count_edges(known_edges, known_hidden), count_edges(visible, kept_back))

    changes: list[records.Change] = []
    user_counts = ChangeCounts()
    with_authentication = previous.counted["authentication"][bucket]
    with_sign_in = previous.counted["sign-in"][bucket]
    for number in range(run.cut.segments):
        if number not in segments:
            output.copy(number, before)
            continue
        segment = segments[number]
        with_authentication -= sum(1 for user in segment.known.values() if user.authentication is not None)
        with_sign_in -= sum(1 for user in segment.known.values() if user.sign_in is not None)
        authentication = authentication_of(authentication_rows.segment(number))
        if authentication or "authentication" in replaced:
            for user in segment.users():
                kept = None if "authentication" in replaced else user.authentication
                user.authentication = authentication.get(user.id, kept)
        if "sign-in" in replaced:
            sign_ins = sign_ins_of(sign_in_rows.segment(number))
            for user in segment.users():
                user.sign_in = sign_ins.get(user.id)
        now = [segment.now[object_id] for object_id in sorted(segment.now)]
        changed, counted = compare(
            "users", segment.known, now, run.started_at, reason_of(segment.tombstones, None)
        )
        output.add(now)
        changes += changed
        user_counts.add(counted)
        with_authentication += sum(1 for user in now if user.authentication is not None)
        with_sign_in += sum(1 for user in now if user.sign_in is not None)
        await asyncio.sleep(0)

    unchanged = previous.parts["users"][bucket] if user_counts == ChangeCounts() else None
    return Built(
        parts={**await output.store(shared.output, unchanged), "memberships": memberships},
        changes={"users": user_counts, "memberships": edge_counts},
        changes_part=await store_changes(shared.output, run, bucket, [*edge_changes, *changes]),
        counts=await store_counts(shared.state, run, bucket, counts, run.group_cut),
        hidden=hidden,
        authentication_rows=with_authentication,
        sign_in_rows=with_sign_in,
    )


async def build_groups(
    shared: BuildInput,
    bucket: int,
    output: Output,
    before: dict[str, PartReader],
    edge_counts: EdgeCounts,
) -> Built:
    """Groups of one bucket. `edge_counts` has how many more members and owners they have."""
    run, previous = shared.run, shared.previous
    assert previous is not None
    rows = await shared.rows("groups", "groups", run.group_cut, bucket)
    table, first = run.group_cut.table(), bucket * run.group_cut.segments
    recounted = {table[group_id[:DIGITS]] - first for group_id in edge_counts}
    changes: list[records.Change] = []
    counts = ChangeCounts()
    for number in range(run.group_cut.segments):
        if number not in recounted and not rows.has(number):
            output.copy(number, before)
            continue
        known = {group.id: group for group in before["groups"].segment(number, GROUP_LINES)}
        now = dict(known)
        for object_id, group in read_group_changes(rows.segment(number)).items():
            if group.removed:
                now.pop(object_id, None)
                continue
            try:
                now[object_id] = apply_group(group, known.get(object_id))
            except ValueError:
                raise InvalidPage(f"groups: {object_id} has a time that cannot be read.") from None
        for object_id, record in now.items():
            if object_id in edge_counts:
                if record is known.get(object_id):
                    record = now[object_id] = msgspec.structs.replace(record)
                members, owners = edge_counts[object_id]
                record.member_count = (record.member_count or 0) + members
                record.owner_count = (record.owner_count or 0) + owners
        listed = [now[object_id] for object_id in sorted(now)]
        changed, counted = compare("groups", known, listed, run.started_at)
        output.add(listed)
        changes += changed
        counts.add(counted)
        await asyncio.sleep(0)
    unchanged = previous.parts["groups"][bucket] if counts == ChangeCounts() else None
    return Built(
        parts=await output.store(shared.output, unchanged),
        changes={"groups": counts},
        changes_part=await store_changes(shared.output, run, run.cut.buckets + bucket, changes),
    )


def _regroup(segments: Iterable[_Segment], visible: list[Edge]) -> None:
    """Give the users of touched segments their groups anew."""
    groups: dict[str, list[str]] = {}
    owned: dict[str, list[str]] = {}
    for group_id, relation, member_id, kind in visible:
        if kind == "user":
            (groups if relation == "member" else owned).setdefault(member_id, []).append(group_id)
    for segment in segments:
        for user in segment.users():
            user.groups = groups.get(user.id, [])
            user.owned_groups = owned.get(user.id, [])


def _changed_counts(before: EdgeCounts, now: EdgeCounts) -> EdgeCounts:
    """How many more edges those groups have that have others than before."""
    changed = {}
    for group_id in before.keys() | now.keys():
        had, has = before.get(group_id), now.get(group_id)
        if had != has:
            (members, owners), (were_members, were_owners) = has or (0, 0), had or (0, 0)
            changed[group_id] = (members - were_members, owners - were_owners)
    return changed


async def _edges(container: BlobContainer, part: StoredPart | None) -> list[Edge]:
    reader = await open_part(container, part)
    return [edge_of(one) for one in reader.all(MEMBERSHIP_LINES)]
