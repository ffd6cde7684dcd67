"""From built buckets to the current snapshot: manifest, then what the next run needs, then the pointer.

The pointer is the only blob that is replaced, in one conditional write, last. Before it, nobody sees
anything of the run; after it, everything is there. Each write may be repeated.
"""

from collections.abc import Callable
from datetime import datetime

from shared.directory.values import rfc3339
from shared.errors import SnapshotLost
from shared.formats import rendered_datasets
from shared.graph.policy import Usage
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.manifest import (
    POINTER,
    SCHEMA_VERSION,
    ChangeCounts,
    Changes,
    DatasetEntry,
    GraphUsage,
    Manifest,
    Pointer,
    encode,
    manifest_path,
    read_manifest,
    read_pointer,
)
from shared.snapshots.parts import StoredPart, rows_of
from shared.snapshots.state import Built, Checkpoint, OptionalDataset, Published, Run, StateStore

PARTLESS = ("authentication", "sign-in")
"""Datasets whose values stand in the users."""


def compose(
    run: Run,
    checkpoints: dict[str, Checkpoint],
    members: dict[int, Built],
    groups: dict[int, Built],
    previous: Published | None,
    *,
    labels: StoredPart | None,
    tenant_id: str,
    now: datetime,
) -> tuple[Manifest, Published]:
    """The manifest of a run, and what the next run needs of it.

    `members` and `groups` are what the buckets came to; a bucket that is missing is as it was before.
    `labels` is where the names of the groups are kept.
    """
    before = previous if run.kind == "incremental" else None
    published = Published(
        run_id=run.run_id,
        full_run_at=before.full_run_at if before else run.started_at,
        cut=run.cut,
        group_cut=run.group_cut,
        formats=run.formats,
        datasets=run.wanted,
        parts={
            **_parts(
                ["users", "memberships", *rendered_datasets(run.formats, "members")],
                members,
                run.cut.buckets,
                before,
            ),
            **_parts(
                ["groups", *rendered_datasets(run.formats, "groups")], groups, run.group_cut.buckets, before
            ),
        },
        hidden=_by_bucket(
            members, run.cut.buckets, lambda one: one.hidden, before.hidden if before else None
        ),
        edge_tables=_by_bucket(
            groups, run.group_cut.buckets, lambda one: one.edge_table, before.edge_tables if before else None
        ),
        labels=labels,
        delta_links={
            dataset: link
            for dataset in ("users", "groups")
            if (link := checkpoints[dataset].delta_link) is not None
        },
        counted={
            "authentication": _by_bucket(
                members,
                run.cut.buckets,
                lambda one: one.authentication_rows,
                before.counted["authentication"] if before else None,
            ),
            "sign-in": _by_bucket(
                members,
                run.cut.buckets,
                lambda one: one.sign_in_rows,
                before.counted["sign-in"] if before else None,
            ),
        },
        optional={
            **(before.optional if before else {}),
            **{dataset: _optional(checkpoints[dataset]) for dataset in PARTLESS if dataset in checkpoints},
        },
    )
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        run_id=run.run_id,
        sequence=run.sequence,
        kind=run.kind,
        tenant_id=tenant_id,
        started_at=run.started_at,
        published_at=rfc3339(now),
        previous_run_id=run.previous_run_id,
        buckets=run.cut.buckets,
        datasets=_datasets(run, checkpoints, published),
        changes=None if run.previous_run_id is None else _changes(members, groups),
        drift=_drift([*members.values(), *groups.values()]),
        graph=_graph_usage(checkpoints),
    )
    return manifest, published


def _by_bucket[T](
    built: dict[int, Built], buckets: int, value: Callable[[Built], T], before: list[T] | None
) -> list[T]:
    return [
        value(built[bucket]) if bucket in built or before is None else before[bucket]
        for bucket in range(buckets)
    ]


def _parts(
    datasets: list[str], built: dict[int, Built], buckets: int, before: Published | None
) -> dict[str, list[StoredPart | None]]:
    """Dataset → its parts by bucket, for the datasets of one stage."""
    parts = {}
    for dataset in datasets:
        known = before.parts[dataset] if before else None
        parts[dataset] = _by_bucket(built, buckets, _part_of(dataset), known)
    return parts


def _part_of(dataset: str) -> Callable[[Built], StoredPart | None]:
    return lambda built: built.parts[dataset]


def _optional(checkpoint: Checkpoint) -> OptionalDataset:
    if checkpoint.status == "complete":
        return OptionalDataset("complete", checkpoint.as_of, mode=checkpoint.mode)
    return OptionalDataset("unavailable", checkpoint.as_of, checkpoint.reason)


def _datasets(run: Run, checkpoints: dict[str, Checkpoint], published: Published) -> dict[str, DatasetEntry]:
    users, listed = checkpoints["users"].as_of, checkpoints["groups"].as_of
    as_of = {"users": users, "groups": listed, "memberships": listed}
    as_of |= dict.fromkeys(rendered_datasets(run.formats, "members"), users)
    as_of |= dict.fromkeys(rendered_datasets(run.formats, "groups"), listed)
    datasets = {}
    for dataset, moment in as_of.items():
        parts = [part.ref for part in published.parts[dataset] if part]
        datasets[dataset] = DatasetEntry("complete", moment, rows_of(parts), parts)
    for dataset, state in published.optional.items():
        rows = sum(published.counted[dataset]) if state.status == "complete" else 0
        datasets[dataset] = DatasetEntry(state.status, state.as_of, rows, [], state.reason)
    return datasets


def _changes(members: dict[int, Built], groups: dict[int, Built]) -> Changes:
    totals = {"users": ChangeCounts(), "groups": ChangeCounts(), "memberships": ChangeCounts()}
    parts = []
    for one in [*members.values(), *groups.values()]:
        for dataset, counts in one.changes.items():
            totals[dataset].add(counts)
        if one.changes_part:
            parts.append(one.changes_part)
    return Changes(totals, parts)


def _drift(built: list[Built]) -> dict[str, int] | None:
    """Summed up; None where it is not known."""
    drift: dict[str, int] = {}
    for one in built:
        for dataset, number in one.drift.items():
            drift[dataset] = drift.get(dataset, 0) + number
    return drift or None


def _graph_usage(checkpoints: dict[str, Checkpoint]) -> GraphUsage:
    usage = Usage()
    for checkpoint in checkpoints.values():
        usage.add(checkpoint.usage)
    return GraphUsage(usage.requests, usage.resource_units, usage.throttled, usage.retried)


async def publish(
    manifest: Manifest,
    published: Published,
    state: StateStore,
    output: BlobContainer,
    *,
    follows: str | None,
) -> Manifest:
    """Make the run current, if the current one is still `follows`. Returns the manifest as stored.

    Raises `SnapshotLost` if the pointer is no longer where it was when the run started.
    """
    path = manifest_path(manifest.run_id)
    # A manifest is never rewritten: a consumer may have read it.
    if await output.write(path, encode(manifest), new=True) is None:
        manifest = await read_manifest(output, path) or manifest
    await state.save_published(published)
    current = await read_pointer(output)
    if current is not None and current[0].run_id == manifest.run_id:
        return manifest
    if (current[0].run_id if current else None) != follows:
        raise _moved(manifest)
    pointer = Pointer(
        run_id=manifest.run_id,
        sequence=manifest.sequence,
        manifest=path,
        published_at=manifest.published_at,
    )
    etag = current[1] if current else None
    if await output.write(POINTER, encode(pointer), etag=etag, new=etag is None) is None:
        again = await read_pointer(output)
        if again is None or again[0].run_id != manifest.run_id:
            raise _moved(manifest)
    return manifest


def _moved(manifest: Manifest) -> SnapshotLost:
    return SnapshotLost(
        f"Run {manifest.run_id} cannot be published: {POINTER} was deleted or replaced since it started. "
        "The next run begins anew."
    )
