"""The names of all live groups: what renderings of their members show of them, kept from run to run.

A full run makes them anew, bucket by bucket, and forgets each once it is stored and encoded. An incremental
run begins with those of the last one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import batched
from typing import NamedTuple

import msgspec

from shared.directory.groups import read_group_changes, read_groups
from shared.formats.interface import GroupLabel
from shared.graph.objects import Group
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.parts import PartWriter, StoredPart, open_part
from shared.snapshots.shuffle import read_rows
from shared.snapshots.state import KEPT, Checkpoint, Published, Run

SEGMENT_LABELS = 1_024

_lines = msgspec.json.Decoder(GroupLabel)


class LabelsWriter:
    """Labels on their way to be kept, sorted by id."""

    def __init__(self) -> None:
        self._part = PartWriter()

    def add(self, labels: Iterable[GroupLabel]) -> None:
        for some in batched(labels, SEGMENT_LABELS, strict=False):
            self._part.add(some)

    async def store(self, state: BlobContainer) -> StoredPart | None:
        """None, and nothing stored, if there is no group."""
        return await self._part.store(state, KEPT)


async def read_labels(state: BlobContainer, previous: Published) -> dict[str, GroupLabel]:
    """The names of all groups that were alive after the last run, by id."""
    part = await open_part(state, previous.labels)
    return {label.id: label for label in part.all(_lines)}


async def labels_by_bucket(
    state: BlobContainer, run: Run, groups: Checkpoint
) -> AsyncIterator[list[GroupLabel]]:
    """The live groups of a full run, sorted by id, those of one bucket after those of the other."""
    for bucket in range(run.group_cut.buckets):
        labels: list[GroupLabel] = []
        for rows in (await read_rows(state, groups.files, "groups", run.group_cut, bucket)).drained():
            listed = read_groups(rows)
            labels += [_label(listed[object_id], None) for object_id in sorted(listed)]
        yield labels
        await asyncio.sleep(0)


class LabelledGroups(NamedTuple):
    """All live groups of an incremental run."""

    labels: dict[str, GroupLabel]
    changed: set[str]
    """Those that came, went, or changed what a rendering of their members shows."""
    retold: set[str]
    """Those that came or came back, and of which Graph told edges: these are all that they have."""


async def label_groups(
    state: BlobContainer, run: Run, groups: Checkpoint, before: dict[str, GroupLabel]
) -> LabelledGroups:
    """The live groups of an incremental run: those `before`, after what was read of them."""
    labels = dict(before)
    changed: set[str] = set()
    retold: set[str] = set()
    for bucket in range(run.group_cut.buckets):
        for rows in await read_rows(state, groups.files, "groups", run.group_cut, bucket):
            for object_id, group in read_group_changes(rows).items():
                label = None if group.removed else _label(group, before.get(object_id))
                if label == before.get(object_id):
                    continue
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
