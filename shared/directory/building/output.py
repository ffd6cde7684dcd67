"""What a bucket comes to: parts in the making, and what the next stage and the next run need of it."""

from collections.abc import Callable, Iterable, Sequence
from itertools import batched
from typing import Any

import msgspec

from shared.directory import records
from shared.directory.memberships import Edge, membership
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.parts import PartReader, PartRef, PartWriter, StoredPart
from shared.snapshots.shuffle import Cut, RowFile, RowWriter
from shared.snapshots.state import KEPT, Run, StateStore

EDGES_AT_ONCE = 256

type EdgeCounts = dict[str, tuple[int, int, int]]
"""Members, owners and hidden edges of each group, in one members' bucket."""

_encode = msgspec.json.Encoder().encode


class Output:
    """The parts of one bucket in the making: the records, and each rendering of them."""

    def __init__(self, dataset: str, renderings: dict[str, Callable[[Any], Any]]) -> None:
        self._dataset = dataset
        self._records = PartWriter()
        self._rendered = [(rendered, render, PartWriter()) for rendered, render in renderings.items()]

    def add(self, now: Sequence[Any]) -> None:
        """The next segment, made anew."""
        self._records.add(now)
        for _, render, part in self._rendered:
            part.add([render(record) for record in now])

    def copy(self, number: int, before: dict[str, PartReader]) -> None:
        """The next segment, as the last snapshot has it."""
        self._records.copy(*before[self._dataset].member(number))
        for dataset, _, part in self._rendered:
            part.copy(*before[dataset].member(number))

    async def store(
        self, output: BlobContainer, unchanged: StoredPart | None
    ) -> dict[str, StoredPart | None]:
        """The parts by dataset. The records keep the last snapshot's part if nothing changed, whatever
        machine compressed it."""
        parts = {self._dataset: unchanged or await self._records.store(output, f"parts/{self._dataset}")}
        for dataset, _, part in self._rendered:
            parts[dataset] = await part.store(output, f"parts/{dataset}")
        return parts


async def store_edges(container: BlobContainer, folder: str, edges: Sequence[Edge]) -> StoredPart | None:
    """A part of memberships; `edges` are in the order in which they are published."""
    part = PartWriter()
    for some in batched(edges, EDGES_AT_ONCE * 16, strict=False):
        part.add([membership(edge) for edge in some])
    return await part.store(container, folder)


async def store_hidden(state: BlobContainer, edges: Sequence[Edge]) -> StoredPart | None:
    return await store_edges(state, KEPT, edges)


async def store_changes(
    output: BlobContainer, run: Run, number: int, changes: Sequence[records.Change]
) -> PartRef | None:
    """The changes of one bucket, which is `number` among all buckets of both stages."""
    part = PartWriter()
    part.add(changes)
    return await part.store_as(output, f"runs/{run.run_id}/changes-{number:04}.jsonl.gz")


def count_edges(visible: Iterable[Edge], hidden: Iterable[Edge]) -> EdgeCounts:
    """How many edges each group has."""
    counts: dict[str, list[int]] = {}
    for edge in visible:
        counts.setdefault(edge[0], [0, 0, 0])[edge[1] == "owner"] += 1
    for edge in hidden:
        counts.setdefault(edge[0], [0, 0, 0])[2] += 1
    return {group_id: (members, owners, out) for group_id, (members, owners, out) in counts.items()}


async def store_counts(
    state: BlobContainer, run: Run, bucket: int, counts: EdgeCounts, cut: Cut
) -> RowFile | None:
    """Set the counts of one members' bucket aside for the groups' stage."""
    rows = RowWriter({"counts": cut})
    for group_id, (members, owners, hidden) in counts.items():
        rows.add("counts", group_id, _encode((group_id, bucket, members, owners, hidden)))
    return await rows.flush(state, StateStore.counts_folder(run.run_id))
