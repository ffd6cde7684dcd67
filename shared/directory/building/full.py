"""The buckets of a full run: everything is made from what was read, and compared with the last snapshot."""

import asyncio
from collections.abc import Callable

from shared import memory
from shared.directory import records
from shared.directory.building import drift
from shared.directory.building.inputs import (
    GROUP_LINES,
    USER_LINES,
    BuildInput,
    authentication_of,
    sign_ins_of,
)
from shared.directory.building.output import (
    ChangesWriter,
    EdgeCounts,
    Output,
    count_edges,
    store_counts,
    store_edges,
    store_hidden,
)
from shared.directory.changes import Reason, compare, compare_memberships
from shared.directory.groups import group_record, read_groups
from shared.directory.memberships import EDGES, Edge, EdgeColumns, as_published, in_force, resolve
from shared.directory.users import read_users, user_record
from shared.errors import InvalidPage
from shared.graph import objects
from shared.graph.paging import decode_objects
from shared.snapshots.manifest import ChangeCounts
from shared.snapshots.parts import StoredPart
from shared.snapshots.shuffle import Cut
from shared.snapshots.state import Built


async def build_members(
    shared: BuildInput,
    bucket: int,
    output: Output,
    writer: ChangesWriter,
    groups: dict[str, str],
    reported_groups: set[str],
) -> Built:
    """Users and edges of one bucket. `groups` are all live ones, each by its one text; `reported_groups` are
    those that the deltas told of."""
    run = shared.run
    user_rows = await shared.rows("users", "users", run.cut, bucket)
    edge_rows = await shared.rows("groups", "edges", run.cut, bucket)
    authentication_rows = await shared.rows("authentication", "authentication", run.cut, bucket)
    sign_in_rows = await shared.rows("sign-in", "sign-in", run.cut, bucket)
    gone = await shared.deleted_users(bucket)
    before = await shared.previous_segments("users", bucket, run.cut, USER_LINES)
    reported: set[str] = set()
    if shared.drift_is_known:
        reported = await shared.reported("users-reported", "reported", run.cut, bucket)
    edges = EdgeColumns()
    hidden: list[Edge] = []
    changes: list[records.Change] = []
    counts = ChangeCounts()
    with_authentication = with_sign_in = missed = 0
    rows = zip(
        user_rows.drained(),
        edge_rows.drained(),
        authentication_rows.drained(),
        sign_in_rows.drained(),
        strict=True,
    )
    for segment, (listed, linked, authenticated, signed_in) in enumerate(rows):
        users, tombstones = read_users(listed)
        received = decode_objects(linked, EDGES, "memberships")
        visible, kept_back = resolve(in_force(received), users, groups)
        known = before(segment) if before is not None else None
        authentication = shared.known_methods(known)
        authentication |= authentication_of(authenticated)
        now = _join(users, visible, authentication, sign_ins_of(signed_in))
        changed, counted = compare("users", known, now, run.started_at, reason_of(tombstones, gone))
        missed += drift.count_objects(changed, known or {}, reported)
        output.add(now)
        # All that is kept of the segment. Edges share the ids of groups and users, which are most of what an
        # edge takes in memory.
        ids = {user.id: user.id for user in now}
        edges.add((groups[edge[0]], edge[1], ids.get(edge[2], edge[2]), edge[3]) for edge in visible)
        hidden += kept_back
        changes += changed
        counts.add(counted)
        with_authentication += sum(1 for user in now if user.authentication is not None)
        with_sign_in += sum(1 for user in now if user.sign_in is not None)
        if (segment + 1) % run.cut.stretch == 0:
            memory.give_back()
        await asyncio.sleep(0)

    # Once users are stored, there is room for what is made of the edges.
    parts = await output.store(shared.output, _unchanged(shared, "users", bucket, run.cut, counts))
    edges.publish()
    hidden = as_published(hidden)
    edge_changes, edge_counts = compare_memberships(await shared.previous_edges(bucket), edges)
    unchanged_edges = _unchanged(shared, "memberships", bucket, run.cut, edge_counts)
    changes_part = None
    if shared.previous is not None:
        changes_part = await writer.add(bucket, [*edge_changes, *changes])
    drifted = {}
    if shared.drift_is_known:
        reported_edges = await shared.reported("groups-reported", "reported-edges", run.cut, bucket)
        missed_edges = drift.count_edges(edge_changes, reported_edges, reported, reported_groups)
        drifted = {"users": missed, "memberships": missed_edges}
    parts["memberships"] = unchanged_edges or await store_edges(shared.output, "parts/memberships", edges)
    kept = await store_hidden(shared.state, hidden)
    edges_of_groups = count_edges(edges, hidden)
    # The edges make room for the rows that count them.
    del edges, hidden, edge_changes
    return Built(
        parts=parts,
        changes={"users": counts, "memberships": edge_counts},
        changes_part=changes_part,
        counts=await store_counts(shared.state, run, bucket, edges_of_groups, run.group_cut),
        hidden=kept,
        authentication_rows=with_authentication,
        sign_in_rows=with_sign_in,
        drift=drifted,
    )


async def build_groups(
    shared: BuildInput,
    bucket: int,
    output: Output,
    writer: ChangesWriter,
    edge_counts: EdgeCounts,
    reported_groups: set[str],
) -> Built:
    """Groups of one bucket. `edge_counts` has members and owners of each."""
    run = shared.run
    rows = await shared.rows("groups", "groups", run.group_cut, bucket)
    before = await shared.previous_segments("groups", bucket, run.group_cut, GROUP_LINES)
    changes: list[records.Change] = []
    counts = ChangeCounts()
    missed = 0
    for segment, listed in enumerate(rows.drained()):
        groups = read_groups(listed)
        now = []
        for object_id in sorted(groups):
            members, owners = edge_counts.get(object_id, (0, 0))
            try:
                now.append(group_record(groups[object_id], members, owners))
            except ValueError:
                raise InvalidPage(f"groups: {object_id} has a time that cannot be read.") from None
        known = before(segment) if before is not None else None
        changed, counted = compare("groups", known, now, run.started_at)
        missed += drift.count_objects(changed, known or {}, reported_groups)
        output.add(now)
        changes += changed
        counts.add(counted)
        await asyncio.sleep(0)
    changes_part = None
    if shared.previous is not None:
        changes_part = await writer.add(bucket, changes)
    return Built(
        parts=await output.store(shared.output, _unchanged(shared, "groups", bucket, run.group_cut, counts)),
        changes={"groups": counts},
        changes_part=changes_part,
        drift={"groups": missed} if shared.drift_is_known else {},
    )


def _unchanged(
    shared: BuildInput, dataset: str, bucket: int, cut: Cut, counts: ChangeCounts
) -> StoredPart | None:
    """The last snapshot's part of this bucket, if it holds the same records, cut in the same way."""
    previous = shared.previous
    if previous is None or counts != ChangeCounts():
        return None
    had = previous.group_cut if dataset == "groups" else previous.cut
    return previous.parts[dataset][bucket] if had == cut else None


def _join(
    users: dict[str, objects.User],
    edges: list[Edge],
    authentication: dict[str, records.Authentication],
    sign_ins: dict[str, records.SignIn],
) -> list[records.User]:
    """The records of a segment, sorted by id, with everything that is known of each user."""
    groups: dict[str, list[str]] = {object_id: [] for object_id in users}
    owned: dict[str, list[str]] = {object_id: [] for object_id in users}
    for group_id, relation, member_id, kind in edges:
        if kind == "user":
            (groups if relation == "member" else owned)[member_id].append(group_id)
    joined = []
    for object_id in sorted(users):
        try:
            record = user_record(users[object_id])
        except ValueError:
            raise InvalidPage(f"users: {object_id} has a time that cannot be read.") from None
        record.groups = sorted(groups[object_id])
        record.owned_groups = sorted(owned[object_id])
        record.authentication = authentication.get(object_id)
        record.sign_in = sign_ins.get(object_id)
        joined.append(record)
    return joined


def reason_of(tombstones: dict[str, str], gone: set[str] | None) -> Callable[[str], Reason | None]:
    """Why a user that was there is no longer: by its tombstone, else by a look into deleted items."""

    def reason(object_id: str) -> Reason | None:
        if object_id in tombstones:
            return "soft_deleted" if tombstones[object_id] == "changed" else "deleted"
        return None if gone is None else "soft_deleted" if object_id in gone else "deleted"

    return reason
