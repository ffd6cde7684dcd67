"""Which buckets an incremental run has to build: where something was read, and what depends on it."""

from collections.abc import Iterable

from shared.directory.building.builder import read_edge_table
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.state import Built, Checkpoint, Published, Run


def touched_members(checkpoints: Iterable[Checkpoint]) -> set[int]:
    """Members' buckets of whose users or edges something was read."""
    streams = ("users", "edges", "authentication")
    return {bucket for stream, bucket in _filled(checkpoints) if stream in streams}


def touched_groups(checkpoints: Iterable[Checkpoint], members: Iterable[Built]) -> set[int]:
    """Groups' buckets of whose groups something was read, or whose edges were counted anew."""
    touched = {bucket for stream, bucket in _filled(checkpoints) if stream == "groups"}
    for built in members:
        if built.counts is not None:
            touched |= {bucket for bucket, size in enumerate(built.counts.streams["counts"]) if size}
    return touched


async def buckets_with(state: BlobContainer, run: Run, previous: Published, groups: set[str]) -> set[int]:
    """Members' buckets that have an edge of one of these groups, or to it."""
    buckets = {run.cut.bucket_of(group_id) for group_id in groups}
    by_bucket: dict[int, list[str]] = {}
    for group_id in groups:
        by_bucket.setdefault(run.group_cut.bucket_of(group_id), []).append(group_id)
    for number, ids in by_bucket.items():
        table = await read_edge_table(state, previous, number)
        for group_id in ids:
            edges = table.get(group_id, 0)
            buckets |= {bucket for bucket in range(run.cut.buckets) if edges >> bucket & 1}
    return buckets


def _filled(checkpoints: Iterable[Checkpoint]) -> set[tuple[str, int]]:
    """The streams and buckets in which complete datasets have rows."""
    return {
        (stream, bucket)
        for checkpoint in checkpoints
        if checkpoint.status == "complete"
        for file in checkpoint.files
        for stream, sizes in file.streams.items()
        for bucket, size in enumerate(sizes)
        if size
    }
