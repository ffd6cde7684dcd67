"""From the rows of a bucket to its parts: join, compare with the last snapshot, render, write.

Two stages. Members' buckets hold users and the edges that lead to them, so that a user's groups, and whether
an edge dangles, are known without a second look. Groups' buckets follow, since a group counts its published
edges. Both do the same with the same input: a bucket that is built twice is the same bytes.

A bucket is worked off segment by segment, some hundred objects at a time, which stay in the processor's
cache from their decoding to their compression.
"""

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
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
from shared.directory.memberships import EDGES, Edge, as_published, edge_of, in_force, membership, resolve
from shared.directory.users import SignInRow, read_users, user_record
from shared.errors import InvalidPage
from shared.formats import formats_named
from shared.formats.interface import Format, GroupLabel, RenderContext
from shared.graph import objects
from shared.graph.paging import decode_objects
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.manifest import ChangeCounts
from shared.snapshots.parts import LINES_AT_ONCE, PartRef, PartWriter, read_part
from shared.snapshots.shuffle import DIGITS, BucketRows, Cut, RowFile, RowWriter, read_rows
from shared.snapshots.state import Built, Checkpoint, Published, Run, Stage, StateStore

_authentication_rows = msgspec.json.Decoder(list[AuthenticationRow])
_sign_in_rows = msgspec.json.Decoder(list[SignInRow])
_ids = msgspec.json.Decoder(list[objects.ObjectId])
_count_rows = msgspec.json.Decoder(list[tuple[str, int, int]])
_encode = msgspec.json.Encoder().encode

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
    for bucket in range(run.group_cut.buckets):
        for segment in await read_rows(state, groups.files, "groups", run.group_cut, bucket):
            for group in read_groups(segment).values():
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
        self._turn = asyncio.Lock()
        self._counted: list[RowFile] | None = None
        context = RenderContext(shared.tenant_id, shared.cloud, shared.labels)
        self._formats: Sequence[Format] = formats_named(shared.run.formats, context)

    @property
    def run_id(self) -> str:
        return self._in.run.run_id

    async def build(self, stage: Stage, bucket: int) -> Built:
        """One bucket. Raises `InvalidPage` if Graph sent an object that cannot be read.

        One at a time in a process: two at once would take twice the memory, and no less time.
        """
        async with self._turn:
            with _no_search_for_cycles():
                return await (self._members(bucket) if stage == "members" else self._groups(bucket))

    async def _members(self, bucket: int) -> Built:
        """Users and edges of one bucket."""
        run = self._in.run
        user_rows = await self._rows("users", "users", run.cut, bucket)
        edge_rows = await self._rows("groups", "edges", run.cut, bucket)
        authentication_rows = await self._rows("authentication", "authentication", run.cut, bucket)
        sign_in_rows = await self._rows("sign-in", "sign-in", run.cut, bucket)
        gone = await self._deleted(bucket)
        before = self._by_segment(
            run.cut, bucket, await self._previous("users", bucket, run.cut, _user_lines)
        )
        output = _Output("users", {one.users_dataset: one.render_user for one in self._formats})
        edges: list[Edge] = []
        hidden: list[Edge] = []
        changes: list[records.Change] = []
        counts = ChangeCounts()
        authentication_count = sign_in_count = 0
        for segment in range(run.cut.segments):
            users, tombstones = read_users(user_rows.segment(segment))
            received = decode_objects(edge_rows.segment(segment), EDGES, "memberships")
            visible, kept_back = resolve(in_force(received), users, self._in.labels)
            known = before[segment] if before is not None else None
            authentication = self._authentication(authentication_rows.segment(segment), known)
            sign_ins = {row.id: row.sign_in for row in _sign_in_rows.decode(sign_in_rows.segment(segment))}
            now = _join(users, visible, authentication, sign_ins)
            changed, counted = compare("users", known, now, run.started_at, _reason(tombstones, gone))
            output.add(now)
            edges += visible
            hidden += kept_back
            changes += changed
            counts.add(counted)
            authentication_count += sum(1 for user in now if user.authentication is not None)
            sign_in_count += sum(1 for user in now if user.sign_in is not None)
            await asyncio.sleep(0)

        edges = as_published(edges)
        edge_changes, edge_counts = compare_memberships(await self._previous_edges(bucket), edges)
        memberships = _Output("memberships")
        memberships.add_made(edges, membership)
        kept = PartWriter()
        kept.add([membership(edge) for edge in as_published(hidden)])
        unchanged_users = self._unchanged("users", bucket, run.cut, counts)
        unchanged_edges = self._unchanged("memberships", bucket, run.cut, edge_counts)
        return Built(
            parts={
                **await output.store(self._output, unchanged_users),
                **await memberships.store(self._output, unchanged_edges),
            },
            changes={"users": counts, "memberships": edge_counts},
            changes_part=await self._store_changes(bucket, [*edge_changes, *changes]),
            counts=await self._store_counts(edges),
            hidden=await kept.store(self._state, StateStore.hidden_folder(run.run_id)),
            authentication_rows=authentication_count,
            sign_in_rows=sign_in_count,
        )

    async def _groups(self, bucket: int) -> Built:
        """Groups of one bucket, with the edges that the members' stage counted."""
        run = self._in.run
        rows = await self._rows("groups", "groups", run.group_cut, bucket)
        edge_counts = await self._edge_counts(bucket)
        before = self._by_segment(
            run.group_cut, bucket, await self._previous("groups", bucket, run.group_cut, _group_lines)
        )
        output = _Output("groups", {one.groups_dataset: one.render_group for one in self._formats})
        changes: list[records.Change] = []
        counts = ChangeCounts()
        for segment in range(run.group_cut.segments):
            groups = read_groups(rows.segment(segment))
            now = []
            for object_id in sorted(groups):
                try:
                    now.append(group_record(groups[object_id], *edge_counts.get(object_id, (0, 0))))
                except ValueError:
                    raise InvalidPage(f"groups: {object_id} has a time that cannot be read.") from None
            changed, counted = compare("groups", before[segment] if before else None, now, run.started_at)
            output.add(now)
            changes += changed
            counts.add(counted)
            await asyncio.sleep(0)
        return Built(
            parts=await output.store(self._output, self._unchanged("groups", bucket, run.group_cut, counts)),
            changes={"groups": counts},
            changes_part=await self._store_changes(run.cut.buckets + bucket, changes),
        )

    # --- what goes in ---------------------------------------------------------------------------------

    async def _rows(self, dataset: str, stream: str, cut: Cut, bucket: int) -> BucketRows:
        """The rows of a dataset that was read to its end; no rows of one that was not."""
        checkpoint = self._in.checkpoints.get(dataset)
        files = checkpoint.files if checkpoint is not None and checkpoint.status == "complete" else []
        return await read_rows(self._state, files, stream, cut, bucket)

    def _authentication(
        self, rows: bytes, before: dict[str, records.User] | None
    ) -> dict[str, records.Authentication]:
        checkpoint = self._in.checkpoints.get("authentication")
        known: dict[str, records.Authentication] = {}
        if before and checkpoint and checkpoint.status == "complete" and checkpoint.mode == BY_USER:
            # Whose methods were not read this time keep what is known of them.
            for user in before.values():
                if user.authentication is not None and user.authentication.source == "methods":
                    known[user.id] = user.authentication
        known |= {row.id: row.authentication for row in _authentication_rows.decode(rows)}
        return known

    async def _deleted(self, bucket: int) -> set[str] | None:
        """Ids of soft-deleted users, or None where they could not be read."""
        checkpoint = self._in.checkpoints.get("deleted-users")
        if checkpoint is None or checkpoint.status != "complete":
            return None
        rows = await self._rows("deleted-users", "deleted", self._in.run.cut, bucket)
        return {row.id for row in decode_objects(rows.all(), _ids, "deleted-users")}

    async def _edge_counts(self, bucket: int) -> dict[str, list[int]]:
        """Members and owners of each group of this bucket, summed over the members' buckets."""
        run = self._in.run
        if self._counted is None:
            state = StateStore(self._state)
            built = [await state.built(run.run_id, "members", number) for number in range(run.cut.buckets)]
            self._counted = [one.counts for one in built if one and one.counts]
        counts: dict[str, list[int]] = {}
        for file in self._counted:
            rows = await read_rows(self._state, [file], "counts", run.group_cut, bucket)
            for group_id, members, owners in _count_rows.decode(rows.all()):
                known = counts.setdefault(group_id, [0, 0])
                known[0] += members
                known[1] += owners
        return counts

    def _by_segment[R: (records.User, records.Group)](
        self, cut: Cut, bucket: int, listed: list[R]
    ) -> list[dict[str, R]] | None:
        """The last snapshot's records of a bucket by segment and id; None where there is no last snapshot."""
        if self._in.previous is None:
            return None
        segments: list[dict[str, R]] = [{} for _ in range(cut.segments)]
        table, first = cut.table(), bucket * cut.segments
        for record in listed:
            segments[table[record.id[:DIGITS]] - first][record.id] = record
        return segments

    async def _previous_edges(self, bucket: int) -> list[Edge] | None:
        if self._in.previous is None:
            return None
        listed = await self._previous("memberships", bucket, self._in.run.cut, _membership_lines)
        return sorted(map(edge_of, listed))

    async def _previous[R: (records.User, records.Group, records.Membership)](
        self, dataset: str, bucket: int, cut: Cut, decoder: msgspec.json.Decoder[R]
    ) -> list[R]:
        """The last snapshot's records of this bucket, also where it had another number of buckets.

        Both numbers are powers of two and buckets are leading digits, so a bucket's records lie in one
        larger bucket, or in several smaller ones.
        """
        if self._in.previous is None:
            return []
        parts = self._in.previous.parts[dataset]
        had, has = len(parts), cut.buckets
        first = bucket * had // has
        found: list[R] = []
        for number in range(first, max((bucket + 1) * had // has, first + 1)):
            if part := parts[number]:
                found += await read_part(self._output, part, decoder)
        if had < has:
            found = [record for record in found if cut.bucket_of(_bucketed_by(record)) == bucket]
        return found

    # --- what comes out -------------------------------------------------------------------------------

    def _unchanged(self, dataset: str, bucket: int, cut: Cut, counts: ChangeCounts) -> PartRef | None:
        """The last snapshot's part of this bucket, if it holds the same records."""
        previous = self._in.previous
        if previous is None or counts != ChangeCounts() or len(previous.parts[dataset]) != cut.buckets:
            return None
        return previous.parts[dataset][bucket]

    async def _store_changes(self, number: int, changes: list[records.Change]) -> PartRef | None:
        """The bucket's changes; none in a first run, which has nothing to compare with."""
        if self._in.previous is None:
            return None
        part = PartWriter()
        part.add(changes)
        path = f"runs/{self._in.run.run_id}/changes-{number:04}.jsonl.gz"
        return await part.store_as(self._output, path)

    async def _store_counts(self, edges: list[Edge]) -> RowFile | None:
        """How many of these edges, which are sorted by group, each group has: for the groups' stage."""
        counts: dict[str, list[int]] = {}
        known, last = [0, 0], None
        for group_id, relation, _, _ in edges:
            if group_id != last:
                known = counts[group_id] = [0, 0]
                last = group_id
            known[relation == "owner"] += 1
        rows = RowWriter({"counts": self._in.run.group_cut})
        for group_id, (members, owners) in counts.items():
            rows.add("counts", group_id, _encode((group_id, members, owners)))
        return await rows.flush(self._state, StateStore.counts_folder(self._in.run.run_id))


class _Output:
    """The parts of one bucket in the making: the records, and each rendering of them."""

    def __init__(
        self, dataset: str, renderings: dict[str | None, Callable[[Any], Any]] | None = None
    ) -> None:
        self._dataset = dataset
        self._records = PartWriter()
        self._rendered = [
            (rendered, render, PartWriter()) for rendered, render in (renderings or {}).items() if rendered
        ]

    def add(self, now: Sequence[Any]) -> None:
        self._records.add(now)
        for _, render, part in self._rendered:
            part.add([render(record) for record in now])

    def add_made[T](self, items: Sequence[T], record: Callable[[T], Any]) -> None:
        """Make records of these items, a few at a time."""
        for start in range(0, len(items), LINES_AT_ONCE):
            self._records.add([record(item) for item in items[start : start + LINES_AT_ONCE]])

    async def store(self, output: BlobContainer, unchanged: PartRef | None) -> dict[str, PartRef | None]:
        """The parts by dataset. The records keep the last snapshot's part if nothing changed, whatever
        machine compressed it."""
        parts = {self._dataset: unchanged or await self._records.store(output, f"parts/{self._dataset}")}
        for dataset, _, part in self._rendered:
            parts[dataset] = await part.store(output, f"parts/{dataset}")
        return parts


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


def _reason(tombstones: dict[str, str], gone: set[str] | None) -> Callable[[str], Reason | None]:
    """Why a user that was there is no longer: by its tombstone, else by a look into deleted items."""

    def reason(object_id: str) -> Reason | None:
        if object_id in tombstones:
            return "soft_deleted" if tombstones[object_id] == "changed" else "deleted"
        return None if gone is None else "soft_deleted" if object_id in gone else "deleted"

    return reason


def _bucketed_by(record: records.User | records.Group | records.Membership) -> str:
    return record.member_id if isinstance(record, records.Membership) else record.id


def total_changes(built: Sequence[Built]) -> dict[str, ChangeCounts]:
    """Sum of the changes of all buckets, by dataset."""
    totals = {"users": ChangeCounts(), "groups": ChangeCounts(), "memberships": ChangeCounts()}
    for one in built:
        for dataset, counts in one.changes.items():
            totals[dataset].add(counts)
    return totals
