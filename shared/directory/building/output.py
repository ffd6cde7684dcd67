"""What a bucket comes to: parts in the making, and what the next stage and the next run need of it."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from shared.directory import records
from shared.directory.memberships import Edge, EdgeColumns
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.parts import PartRef, PartWriter, StoredPart
from shared.snapshots.shuffle import POSITIONS, Cut, RowFile, RowWriter, position_of
from shared.snapshots.state import KEPT, Run, Stage, StateStore

SEGMENT_EDGES = 128
"""Most edges that a segment of memberships holds on average."""
FEW_CHANGES = 256
"""Of a bucket: so many wait for those of the next ones."""

type EdgeCounts = dict[str, tuple[int, int]]
"""Published members and owners of each group, in one members' bucket; in an incremental run, how many more. A
group of which no edge is published is there, too."""

_encode = msgspec.json.Encoder().encode
_group_id = itemgetter(0)


class Output:
    """The parts of one bucket in the making: the records, and each rendering of them."""

    def __init__(self, dataset: str, renderings: dict[str, Callable[[Any], Any]]) -> None:
        self._dataset = dataset
        self._records = PartWriter()
        self._rendered = [(rendered, render, PartWriter()) for rendered, render in renderings.items()]

    def add(self, now: Sequence[Any]) -> None:
        """The next segment."""
        self._records.add(now)
        for _, render, part in self._rendered:
            part.add([render(record) for record in now])

    async def store(
        self, output: BlobContainer, unchanged: StoredPart | None
    ) -> dict[str, StoredPart | None]:
        """The parts by dataset. The records keep the last snapshot's part if nothing changed, whatever
        machine compressed it."""
        parts = {self._dataset: unchanged or await self._records.store(output, f"parts/{self._dataset}")}
        for dataset, _, part in self._rendered:
            parts[dataset] = await part.store(output, f"parts/{dataset}")
        return parts


async def store_edges(container: BlobContainer, folder: str, edges: EdgeColumns) -> StoredPart | None:
    """A part of memberships, cut by their groups; `edges` are in the order in which they are published."""
    part = PartWriter()
    segments = 1
    while segments * SEGMENT_EDGES < len(edges) and segments < POSITIONS:
        segments *= 2
    shift = Cut(1, segments).shift
    begin = 0
    for number in range(segments):
        end = bisect_right(edges.groups, number, begin, key=lambda group_id: position_of(group_id) >> shift)
        part.add(edges.memberships(begin, end))
        begin = end
    return await part.store(container, folder)


async def store_hidden(state: BlobContainer, edges: Iterable[Edge]) -> StoredPart | None:
    return await store_edges(state, KEPT, EdgeColumns(edges))


class ChangesWriter:
    """The changes of the buckets that one message builds. Few lie together in one part; many of one bucket
    are a part of their own, so that no more is held than one bucket's."""

    def __init__(self, output: BlobContainer, run: Run, stage: Stage) -> None:
        self._output = output
        self._run = run
        self._before = 0 if stage == "members" else run.cut.buckets
        """Buckets are counted through both stages."""
        self._together: list[records.Change] = []
        self.first: int | None = None
        """The first bucket with changes that are still to be stored."""

    async def add(self, bucket: int, changes: Sequence[records.Change]) -> PartRef | None:
        """The changes of a bucket, sorted by dataset and id. Returns their part if they are stored now."""
        if len(changes) > FEW_CHANGES:
            return await self._store(bucket, changes)
        self._together += changes
        if changes and self.first is None:
            self.first = bucket
        return None

    async def store(self) -> PartRef | None:
        """What is left, of several buckets."""
        if self.first is None:
            return None
        self._together.sort(key=lambda change: (change.dataset, change.id))
        return await self._store(self.first, self._together)

    async def _store(self, bucket: int, changes: Sequence[records.Change]) -> PartRef | None:
        part = PartWriter()
        part.add(changes)
        path = f"runs/{self._run.run_id}/changes-{self._before + bucket:04}.jsonl.gz"
        return await part.store_as(self._output, path)


def count_edges(visible: Iterable[Edge], hidden: Iterable[Edge]) -> EdgeCounts:
    """How many edges each group has. Both are in the order in which they are published."""
    counts = {}
    for group_id, edges in groupby(visible, _group_id):
        relations = [edge[1] for edge in edges]
        owners = relations.count("owner")
        counts[group_id] = (len(relations) - owners, owners)
    for group_id, _ in groupby(hidden, _group_id):
        counts.setdefault(group_id, (0, 0))
    return counts


async def store_counts(
    state: BlobContainer, run: Run, bucket: int, counts: EdgeCounts, cut: Cut
) -> RowFile | None:
    """Set the counts of one members' bucket aside for the groups' stage."""
    if not counts:
        return None
    rows = RowWriter({"counts": cut})
    for group_id, (members, owners) in counts.items():
        rows.add("counts", group_id, _encode((group_id, bucket, members, owners)))
    return await rows.flush(state, StateStore.counts_folder(run.run_id))
