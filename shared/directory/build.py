"""From the rows of a bucket to its parts: join, compare with the last snapshot, render, write.

Two stages. Members' buckets hold users and the edges that lead to them, so that a user's groups, and whether
an edge dangles, are known without a second look. Groups' buckets follow, since a group counts its published
edges. Both do the same with the same input: a bucket that is built twice is the same bytes.
"""

import asyncio
import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from shared.clouds import Cloud
from shared.directory import records
from shared.directory.authentication import AuthenticationRow
from shared.directory.changes import Reason, compare, compare_memberships
from shared.directory.collectors.authentication import BY_USER
from shared.directory.groups import group_record, read_groups
from shared.directory.memberships import Edge, resolve
from shared.directory.users import SignInRow, read_users, user_record
from shared.errors import InvalidPage
from shared.formats import formats_named
from shared.formats.interface import Format, GroupLabel, RenderContext
from shared.graph import objects
from shared.graph.paging import decode_objects
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.manifest import ChangeCounts
from shared.snapshots.parts import PartRef, read_part, write_named_part, write_part
from shared.snapshots.shuffle import RowFile, RowWriter, bucket_of, read_rows
from shared.snapshots.state import Built, Checkpoint, Published, Run, Stage, StateStore

_edges = msgspec.json.Decoder(list[Edge])
_authentication_rows = msgspec.json.Decoder(list[AuthenticationRow])
_sign_in_rows = msgspec.json.Decoder(list[SignInRow])
_ids = msgspec.json.Decoder(list[objects.ObjectId])
_count_rows = msgspec.json.Decoder(list[tuple[str, int, int]])

_user_lines = msgspec.json.Decoder(records.User)
_group_lines = msgspec.json.Decoder(records.Group)
_membership_lines = msgspec.json.Decoder(records.Membership)


@dataclass(frozen=True, slots=True)
class BuildInput:
    """Everything that all buckets of a run share."""

    run: Run
    checkpoints: dict[str, Checkpoint]
    """By dataset; all of them have ended."""
    previous: Published | None
    """The last snapshot, if there is one."""
    labels: dict[str, GroupLabel]
    """Every live group of this run, by id."""
    tenant_id: str
    cloud: Cloud


async def read_labels(state: BlobContainer, run: Run, groups: Checkpoint) -> dict[str, GroupLabel]:
    """The live groups of a run by id: what users' renderings carry of them, and which edges are whole."""
    labels: dict[str, GroupLabel] = {}
    for bucket in range(run.group_buckets):
        found = read_groups(await read_rows(state, groups.files, "groups", bucket))
        for group in found.values():
            labels[group.id] = GroupLabel(
                group.id,
                group.display_name or None,
                None,
                group.is_assignable_to_role if group.is_assignable_to_role is True else None,
            )
        await asyncio.sleep(0)
    return labels


class Builder:
    """Builds the buckets of one run."""

    def __init__(self, shared: BuildInput, state: BlobContainer, output: BlobContainer) -> None:
        self._in = shared
        self._state = state
        self._output = output
        context = RenderContext(shared.tenant_id, shared.cloud, shared.labels)
        self._formats: Sequence[Format] = formats_named(shared.run.formats, context)

    @property
    def run_id(self) -> str:
        return self._in.run.run_id

    async def build(self, stage: Stage, bucket: int) -> Built:
        """One bucket. Raises `InvalidPage` if Graph sent an object that cannot be read."""
        with _no_search_for_cycles():
            return await (self._members(bucket) if stage == "members" else self._groups(bucket))

    async def _members(self, bucket: int) -> Built:
        """Users and edges of one bucket."""
        run = self._in.run
        users, tombstones = read_users(await self._rows("users", "users", bucket))
        edges = decode_objects(await self._rows("groups", "edges", bucket), _edges, "memberships")
        visible, hidden = resolve(edges, users, self._in.labels)
        await asyncio.sleep(0)

        before_users, before_edges = await self._previous_members(bucket)
        authentication = await self._authentication(bucket, before_users)
        sign_ins = await self._sign_ins(bucket)
        now = _join(users, visible, authentication, sign_ins)
        await asyncio.sleep(0)

        deleted = await self._deleted(bucket)

        def reason(object_id: str) -> Reason | None:
            if object_id in tombstones:
                return "soft_deleted" if tombstones[object_id] == "changed" else "deleted"
            return None if deleted is None else "soft_deleted" if object_id in deleted else "deleted"

        first = self._in.previous is None
        changes, user_counts = compare("users", None if first else before_users, now, run.started_at, reason)
        edge_changes, edge_counts = compare_memberships(None if first else before_edges, visible)
        parts = {
            "users": await write_part(self._output, "parts/users", now),
            "memberships": await write_part(self._output, "parts/memberships", visible),
        }
        for renderer in self._formats:
            if dataset := renderer.users_dataset:
                parts[dataset] = await self._write_rendered(dataset, renderer.render_user, now)
        return Built(
            parts=parts,
            changes={"users": user_counts, "memberships": edge_counts},
            changes_part=await self._write_changes(bucket, [*edge_changes, *changes]),
            counts=await self._write_counts(visible),
            hidden=await write_part(self._state, StateStore.hidden_folder(run.run_id), hidden),
            authentication_rows=sum(1 for user in now if user.authentication is not None),
            sign_in_rows=sum(1 for user in now if user.sign_in is not None),
        )

    async def _groups(self, bucket: int) -> Built:
        """Groups of one bucket, with the edges that the members' stage counted."""
        run = self._in.run
        counts: dict[str, list[int]] = {}
        for number in range(run.buckets):
            built = await StateStore(self._state).built(run.run_id, "members", number)
            if built is None or built.counts is None:
                continue
            rows = await read_rows(self._state, [built.counts], "counts", bucket)
            for group_id, members, owners in _count_rows.decode(rows):
                known = counts.setdefault(group_id, [0, 0])
                known[0] += members
                known[1] += owners
        groups = read_groups(await self._rows("groups", "groups", bucket))
        now = []
        for object_id in sorted(groups):
            try:
                now.append(group_record(groups[object_id], *counts.get(object_id, (0, 0))))
            except ValueError:
                raise InvalidPage(f"groups: {object_id} has a time that cannot be read.") from None
        listed = await self._previous("groups", bucket, run.group_buckets, _group_lines)
        before = None if self._in.previous is None else {group.id: group for group in listed}
        changes, group_counts = compare("groups", before, now, run.started_at)
        parts = {"groups": await write_part(self._output, "parts/groups", now)}
        for renderer in self._formats:
            if dataset := renderer.groups_dataset:
                parts[dataset] = await self._write_rendered(dataset, renderer.render_group, now)
        return Built(
            parts=parts,
            changes={"groups": group_counts},
            changes_part=await self._write_changes(run.buckets + bucket, changes),
        )

    async def _rows(self, dataset: str, stream: str, bucket: int) -> bytes:
        checkpoint = self._in.checkpoints.get(dataset)
        if checkpoint is None or checkpoint.status != "complete":
            return b"[]"
        return await read_rows(self._state, checkpoint.files, stream, bucket)

    async def _authentication(
        self, bucket: int, before: dict[str, records.User]
    ) -> dict[str, records.Authentication]:
        checkpoint = self._in.checkpoints.get("authentication")
        if checkpoint is None or checkpoint.status != "complete":
            return {}
        known: dict[str, records.Authentication] = {}
        if checkpoint.mode == BY_USER:
            # Whose methods were not read this time keep what is known of them.
            for user in before.values():
                if user.authentication is not None and user.authentication.source == "methods":
                    known[user.id] = user.authentication
        rows = await self._rows("authentication", "authentication", bucket)
        known |= {row.id: row.authentication for row in _authentication_rows.decode(rows)}
        return known

    async def _sign_ins(self, bucket: int) -> dict[str, records.SignIn]:
        rows = _sign_in_rows.decode(await self._rows("sign-in", "sign-in", bucket))
        return {row.id: row.sign_in for row in rows}

    async def _deleted(self, bucket: int) -> set[str] | None:
        """Ids of soft-deleted users, or None where they could not be read."""
        checkpoint = self._in.checkpoints.get("deleted-users")
        if checkpoint is None or checkpoint.status != "complete":
            return None
        rows = await self._rows("deleted-users", "deleted", bucket)
        return {row.id for row in decode_objects(rows, _ids, "deleted-users")}

    async def _previous_members(
        self, bucket: int
    ) -> tuple[dict[str, records.User], list[records.Membership]]:
        buckets = self._in.run.buckets
        users = await self._previous("users", bucket, buckets, _user_lines)
        edges = await self._previous("memberships", bucket, buckets, _membership_lines)
        return {user.id: user for user in users}, edges

    async def _previous[R: (records.User, records.Group, records.Membership)](
        self, dataset: str, bucket: int, buckets: int, decoder: msgspec.json.Decoder[R]
    ) -> list[R]:
        """The last snapshot's records of this bucket, also where it had another number of buckets.

        Both numbers are powers of two and buckets are low bits, so a bucket's records lie in one larger
        bucket, or in several smaller ones.
        """
        previous = self._in.previous
        if previous is None:
            return []
        parts = previous.parts.get(dataset, [])
        had = len(parts)
        numbers = [bucket & (had - 1)] if had <= buckets else range(bucket, had, buckets)
        found: list[R] = []
        for number in numbers:
            if part := parts[number]:
                found += await read_part(self._output, part, decoder)
        if had < buckets:
            found = [record for record in found if bucket_of(_bucket_key(record), buckets) == bucket]
        elif had > buckets:
            found.sort(key=_sort_key)
        return found

    async def _write_rendered(self, dataset: str, render: Any, now: Sequence[Any]) -> PartRef | None:
        await asyncio.sleep(0)
        return await write_part(self._output, f"parts/{dataset}", [render(record) for record in now])

    async def _write_changes(self, number: int, changes: list[records.Change]) -> PartRef | None:
        """The bucket's changes; none in a first run, which has nothing to compare with."""
        if self._in.previous is None or not changes:
            return None
        path = f"runs/{self._in.run.run_id}/changes-{number:04}.jsonl.gz"
        return await write_named_part(self._output, path, changes)

    async def _write_counts(self, edges: list[records.Membership]) -> RowFile | None:
        """How many of these edges each group has, for the groups' stage."""
        counts: dict[str, list[int]] = {}
        for edge in edges:
            counts.setdefault(edge.group_id, [0, 0])[edge.relation == "owner"] += 1
        buckets = self._in.run.group_buckets
        rows = RowWriter({"counts": buckets})
        for group_id, (members, owners) in counts.items():
            rows.add("counts", bucket_of(group_id, buckets), msgspec.json.encode((group_id, members, owners)))
        return await rows.flush(self._state, StateStore.counts_folder(self._in.run.run_id))


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Records form no cycles; to search tens of thousands of them for some is a fifth of a build."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()


def _join(
    users: dict[str, objects.User],
    edges: list[records.Membership],
    authentication: dict[str, records.Authentication],
    sign_ins: dict[str, records.SignIn],
) -> list[records.User]:
    """The records of a bucket, sorted by id, with everything that is known of each user."""
    groups: dict[str, list[str]] = {}
    owned: dict[str, list[str]] = {}
    for edge in edges:
        if edge.member_type == "user":
            # Edges are sorted by group, so the lists are sorted as well.
            (groups if edge.relation == "member" else owned).setdefault(edge.member_id, []).append(
                edge.group_id
            )
    joined = []
    for object_id in sorted(users):
        try:
            record = user_record(users[object_id])
        except ValueError:
            raise InvalidPage(f"users: {object_id} has a time that cannot be read.") from None
        record.groups = groups.get(object_id, [])
        record.owned_groups = owned.get(object_id, [])
        record.authentication = authentication.get(object_id)
        record.sign_in = sign_ins.get(object_id)
        joined.append(record)
    return joined


def _bucket_key(record: records.User | records.Group | records.Membership) -> str:
    return record.member_id if isinstance(record, records.Membership) else record.id


def _sort_key(record: records.User | records.Group | records.Membership) -> tuple[str, ...]:
    if isinstance(record, records.Membership):
        return record.group_id, record.relation, record.member_id
    return (record.id,)


def total_changes(built: Sequence[Built]) -> dict[str, ChangeCounts]:
    """Sum of the changes of all buckets, by dataset."""
    totals = {"users": ChangeCounts(), "groups": ChangeCounts(), "memberships": ChangeCounts()}
    for one in built:
        for dataset, counts in one.changes.items():
            totals[dataset].add(counts)
    return totals
