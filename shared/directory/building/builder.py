"""Builds the buckets of one run, one at a time in a process."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import msgspec

from shared import memory
from shared.directory.building import full, incremental
from shared.directory.building.inputs import COUNT_ROWS, GROUP_LINES, USER_LINES, BuildInput
from shared.directory.building.labels import LabelsWriter, label_groups, labels_by_bucket, read_labels
from shared.directory.building.output import ChangesWriter, Output
from shared.directory.building.patch import PatchedBucket
from shared.errors import SnapshotLost
from shared.formats import formats_named
from shared.formats.interface import GroupLabel, RenderContext
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.parts import StoredPart, open_part
from shared.snapshots.shuffle import Cut, RowFile, read_rows
from shared.snapshots.state import Built, Published, Run, Stage, StateStore

LARGER_THAN_A_PART = 32 * 1024 * 1024
"""Memory of parts is kept where part after part is copied: to get it anew would cost more than all else that
is done to a part."""

type EdgeTable = dict[str, int]
"""Group → the members' buckets that have edges of it, hidden ones too: bucket n is the bit of value 2ⁿ.

Where the last edge was taken away, the bit stays until the next full run: somebody looks there in vain.
"""

_table = msgspec.json.Decoder(dict[str, str])
_encode = msgspec.json.Encoder().encode


class Builder:
    """Builds the buckets of one run."""

    @classmethod
    async def begin(cls, shared: BuildInput) -> Self:
        """A builder that knows all live groups."""
        groups = shared.checkpoints["groups"]
        if shared.run.kind == "full":
            builder = cls(shared)
            await builder._meet(labels_by_bucket(shared.state, shared.run, groups))
            memory.give_back()
            return builder
        assert shared.previous is not None
        before = await read_labels(shared.state, shared.previous)
        labelled = await label_groups(shared.state, shared.run, groups, before)
        return cls(
            replace(shared, labels=labelled.labels, retold=labelled.retold, relabelled=labelled.changed)
        )

    def __init__(self, shared: BuildInput) -> None:
        """For `begin` alone."""
        self._in = shared
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
        self._labels: StoredPart | None = None
        """In a full run: what is kept of the groups for the next one."""
        context = RenderContext(shared.tenant_id, shared.cloud, shared.labels)
        self._formats = formats = formats_named(shared.run.formats, context)
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
            return self._labels
        labels = LabelsWriter()
        labels.add(self._in.labels[group_id] for group_id in sorted(self._in.labels))
        return await labels.store(self._in.state)

    async def _meet(self, groups: AsyncIterator[list[GroupLabel]]) -> None:
        """Store the names of all groups of a full run. All that is held of one is its id, and what the
        renderings of its members show of it."""
        kept = LabelsWriter()
        async for labels in groups:
            kept.add(labels)
            self._alive.update((label.id, label.id) for label in labels)
            for one in self._formats:
                one.know(labels)
        self._labels = await kept.store(self._in.state)

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
                if self._in.run.kind == "full":
                    memory.give_back()
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
            reported: set[str] = set()
            for bucket in range(cut.buckets):
                reported |= await self._in.reported("groups-reported", "reported", cut, bucket)
            self._reported = reported
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
            built = await self._state.built_whole(run, "members", self.built)
            self._counted = [one.counts for one in built.values() if one.counts]
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


async def _kept(state: BlobContainer, path: str) -> bytes:
    content = await state.read(path)
    if content is None:
        raise SnapshotLost(
            f"{path} is gone from container `{state.name}`, and the last snapshot cannot be carried on "
            "without it. The next run begins a new history."
        )
    return content


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
