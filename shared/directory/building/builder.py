"""Builds the buckets of one run, one at a time in a process."""

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import batched
from typing import Any, NamedTuple, Self

import msgspec

from shared import memory
from shared.directory.building import full, incremental
from shared.directory.building.inputs import COUNT_ROWS, GROUP_LINES, USER_LINES, BuildInput
from shared.directory.building.output import ChangesWriter, Output
from shared.directory.building.patch import PatchedBucket
from shared.directory.groups import read_group_changes
from shared.errors import SnapshotLost
from shared.formats import formats_named
from shared.formats.interface import GroupLabel, RenderContext
from shared.graph.objects import Group
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.parts import PartWriter, StoredPart, open_part
from shared.snapshots.shuffle import Cut, RowFile, read_rows
from shared.snapshots.state import KEPT, Built, Checkpoint, Published, Run, Stage, StateStore

LARGER_THAN_A_PART = 32 * 1024 * 1024
"""Memory of parts is kept where part after part is copied: to get it anew would cost more than all else that
is done to a part."""

SEGMENT_LABELS = 1_024

type EdgeTable = dict[str, int]
"""Group → the members' buckets that have edges of it, hidden ones too: bucket n is the bit of value 2ⁿ.

Where the last edge was taken away, the bit stays until the next full run: somebody looks there in vain.
"""

_table = msgspec.json.Decoder(dict[str, str])
_LABEL_LINES = msgspec.json.Decoder(GroupLabel)
_encode = msgspec.json.Encoder().encode


class Builder:
    """Builds the buckets of one run."""

    @classmethod
    async def begin(cls, shared: BuildInput) -> Self:
        """A builder. That of a full run stores the names of all groups at once, and forgets them."""
        full = shared.run.kind == "full"
        return cls(shared, await _store_labels(shared.state, shared.labels) if full else None)

    def __init__(self, shared: BuildInput, stored_labels: StoredPart | None) -> None:
        self._in = shared
        self._stored_labels = stored_labels
        self._state = StateStore(shared.state)
        self._turn = asyncio.Lock()
        self.built: dict[tuple[Stage, int], dict[int, Built]] = {}
        """What the messages that this process worked on came to, in an incremental run: the next steps need
        not read it again."""
        if shared.run.kind == "incremental":
            memory.map_from(LARGER_THAN_A_PART)
        self._counted: list[RowFile] | None = None
        self._reported: set[str] | None = None
        self._alive: dict[str, str] = {}
        """In a full run all live groups: each id, by which all that name the group share one text."""
        labels = shared.labels
        if shared.run.kind == "full":
            # All groups will be shown. So what is shown of them takes the place of their names.
            self._alive = {group_id: group_id for group_id in labels}
            self._in = replace(shared, labels={})
        formats = formats_named(
            shared.run.formats, RenderContext(shared.tenant_id, shared.cloud, self._in.labels)
        )
        if shared.run.kind == "full":
            for one in formats:
                one.know(labels.values())
        self._renderings: dict[Stage, dict[str, Callable[[Any], Any]]] = {
            "members": {one.users_dataset: one.render_user for one in formats if one.users_dataset},
            "groups": {one.groups_dataset: one.render_group for one in formats if one.groups_dataset},
        }

    @property
    def run_id(self) -> str:
        return self._in.run.run_id

    def serves(self, run: Run) -> bool:
        """Whether it builds this run as it is planned. A plan that broke off may have left another one."""
        return (run.run_id, run.relabelled) == (self.run_id, self._in.run.relabelled)

    @property
    def previous(self) -> Published | None:
        """The last snapshot, if there is one."""
        return self._in.previous

    @property
    def relabelled(self) -> set[str]:
        """Groups that came, went, or changed what a rendering of their members shows."""
        return self._in.relabelled

    async def store_labels(self) -> StoredPart | None:
        """The names of all live groups, as the next run reads them."""
        if self._in.run.kind == "full":
            return self._stored_labels
        return await _store_labels(self._in.state, self._in.labels)

    async def build(self, stage: Stage, buckets: Sequence[int]) -> dict[int, Built]:
        """Some buckets, one after the other: two at once would take twice the memory, and no less time.

        Raises `InvalidPage` if Graph sent an object that cannot be read.
        """
        built: dict[int, Built] = {}
        async with self._turn:
            changes = ChangesWriter(self._in.output, self._in.run, stage)
            for bucket in buckets:
                with _no_search_for_cycles():
                    build = self._members if stage == "members" else self._groups
                    built[bucket] = await build(bucket, changes)
            if changes.first is not None:
                built[changes.first].changes_part = await changes.store()
        return built

    async def _members(self, bucket: int, changes: ChangesWriter) -> Built:
        if self._in.run.kind == "full":
            output = Output("users", self._renderings["members"])
            reported = await self._reported_groups()
            return await full.build_members(self._in, bucket, output, changes, self._alive, reported)
        users = await self._patched("users", "members", USER_LINES, self._in.run.cut, bucket)
        return await incremental.build_members(self._in, bucket, users, changes)

    async def _groups(self, bucket: int, changes: ChangesWriter) -> Built:
        table, counts = await self._edge_table(bucket)
        if self._in.run.kind == "full":
            output = Output("groups", self._renderings["groups"])
            reported = await self._reported_groups()
            built = await full.build_groups(self._in, bucket, output, changes, counts, reported)
        else:
            groups = await self._patched("groups", "groups", GROUP_LINES, self._in.run.group_cut, bucket)
            built = await incremental.build_groups(self._in, bucket, groups, changes, counts)
        built.edge_table = await self._state.keep(encode_edge_table(table))
        return built

    async def _patched[R](
        self, dataset: str, stage: Stage, decoder: msgspec.json.Decoder[R], cut: Cut, bucket: int
    ) -> PatchedBucket[R]:
        """A bucket of the last snapshot, for an incremental run to change."""
        assert self._in.previous is not None
        parts = self._in.previous.parts
        renderings = {name: (parts[name][bucket], render) for name, render in self._renderings[stage].items()}
        before = await open_part(self._in.output, parts[dataset][bucket])
        return PatchedBucket(dataset, before, renderings, decoder, cut, bucket)

    async def _reported_groups(self) -> set[str]:
        """All groups that the deltas told of, for the drift."""
        if self._reported is None:
            cut = self._in.run.group_cut
            self._reported = set()
            for bucket in range(cut.buckets):
                self._reported |= await self._in.reported("groups-reported", "reported", cut, bucket)
        return self._reported

    async def _edge_table(self, bucket: int) -> tuple[EdgeTable, dict[str, tuple[int, int]]]:
        """Where the groups of a bucket have edges; and how many members and owners each of them has, in an
        incremental run how many more."""
        run, previous = self._in.run, self._in.previous
        table: EdgeTable = {}
        if run.kind == "incremental":
            assert previous is not None
            table = await read_edge_table(self._in.state, previous, bucket)
        if self._counted is None:
            self._counted = []
            for batch in range(len(run.batches("members"))):
                built = await self._state.built(run.run_id, "members", batch) or {}
                self._counted += [one.counts for one in built.values() if one.counts]
        counts: dict[str, tuple[int, int]] = {}
        for file in self._counted:
            rows = await read_rows(self._in.state, [file], "counts", run.group_cut, bucket, self._in.kept)
            for group_id, number, members, owners in COUNT_ROWS.decode(rows.all()):
                table[group_id] = table.get(group_id, 0) | 1 << number
                before = counts.get(group_id, (0, 0))
                counts[group_id] = (before[0] + members, before[1] + owners)
        return table, counts


async def read_edge_table(state: BlobContainer, previous: Published, bucket: int) -> EdgeTable:
    """The edge table of a groups' bucket, as the last run left it."""
    path = previous.edge_tables[bucket]
    if path is None:
        return {}
    table = _table.decode(await _kept(state, path))
    return {group_id: int(buckets, 16) for group_id, buckets in table.items()}


def encode_edge_table(table: EdgeTable) -> bytes:
    return _encode({group_id: f"{table[group_id]:x}" for group_id in sorted(table)})


async def _store_labels(state: BlobContainer, labels: dict[str, GroupLabel]) -> StoredPart | None:
    part = PartWriter()
    for some in batched(sorted(labels), SEGMENT_LABELS, strict=False):
        part.add([labels[group_id] for group_id in some])
    return await part.store(state, KEPT)


async def read_labels(state: BlobContainer, previous: Published) -> dict[str, GroupLabel]:
    """The names of all groups that were alive after the last run."""
    part = await open_part(state, previous.labels)
    return {label.id: label for label in part.all(_LABEL_LINES)}


async def _kept(state: BlobContainer, path: str) -> bytes:
    content = await state.read(path)
    if content is None:
        raise SnapshotLost(
            f"{path} is gone from container `{state.name}`, and the last snapshot cannot be carried on "
            "without it. The next run begins a new history."
        )
    return content


class LabelledGroups(NamedTuple):
    """All live groups of a run."""

    labels: dict[str, GroupLabel]
    changed: set[str]
    """In an incremental run, those that came, went, or changed what a rendering of their members shows."""
    retold: set[str]
    """Those that came or came back, and of which Graph told edges: these are all that they have."""


async def label_groups(
    state: BlobContainer, run: Run, groups: Checkpoint, before: dict[str, GroupLabel]
) -> LabelledGroups:
    """The live groups, beginning with `before`, after what was read of them."""
    labels = dict(before)
    changed: set[str] = set()
    retold: set[str] = set()
    for bucket in range(run.group_cut.buckets):
        for rows in await read_rows(state, groups.files, "groups", run.group_cut, bucket):
            for object_id, group in read_group_changes(rows).items():
                label = None if group.removed else _label(group, before.get(object_id))
                if label == before.get(object_id):
                    continue
                if run.kind == "incremental":
                    changed.add(object_id)
                    if object_id not in before and group.members is not msgspec.UNSET:
                        retold.add(object_id)
                if label is None:
                    labels.pop(object_id, None)
                else:
                    labels[object_id] = label
        await asyncio.sleep(0)
    return LabelledGroups(labels, changed, retold)


def _label(group: Group, known: GroupLabel | None) -> GroupLabel:
    """What a rendering shows of the group; what Graph left out is as it was."""
    label = GroupLabel(group.id)
    for field in ("display_name", "is_assignable_to_role"):
        value = getattr(group, field)
        if value is msgspec.UNSET:
            value = getattr(known, field) if known is not None else None
        setattr(label, field, value or None)
    return label


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
