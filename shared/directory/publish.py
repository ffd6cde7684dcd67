"""From built buckets to the current snapshot: manifest, then what the next run needs, then the pointer.

The pointer is the only blob that is replaced, in one conditional write, last. Before it, nobody sees
anything of the run; after it, everything is there. Each write may be repeated.
"""

from datetime import datetime

from shared.directory.build import total_changes
from shared.directory.values import rfc3339
from shared.errors import SnapshotLost
from shared.formats import FORMATS
from shared.graph.policy import Usage
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.manifest import (
    POINTER,
    SCHEMA_VERSION,
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
from shared.snapshots.parts import PartRef, rows_of
from shared.snapshots.state import Built, Checkpoint, Published, Run, StateStore

PARTLESS = ("authentication", "sign-in")
"""Datasets whose values stand in the users."""


def compose(
    run: Run,
    checkpoints: dict[str, Checkpoint],
    members: list[Built],
    groups: list[Built],
    *,
    tenant_id: str,
    now: datetime,
) -> tuple[Manifest, Published]:
    """The manifest of a run, and what the next run needs of it."""
    users, listed = checkpoints["users"], checkpoints["groups"]
    parts: dict[str, list[PartRef | None]] = {}
    for built in members:
        for dataset, part in built.parts.items():
            parts.setdefault(dataset, []).append(part)
    for built in groups:
        for dataset, part in built.parts.items():
            parts.setdefault(dataset, []).append(part)

    as_of = {"users": users.as_of, "groups": listed.as_of, "memberships": listed.as_of}
    for name in run.formats:
        if FORMATS[name].users_dataset:
            as_of[FORMATS[name].users_dataset or ""] = users.as_of
        if FORMATS[name].groups_dataset:
            as_of[FORMATS[name].groups_dataset or ""] = listed.as_of
    datasets = {}
    for dataset, moment in as_of.items():
        written = [part for part in parts.get(dataset, []) if part]
        datasets[dataset] = DatasetEntry("complete", moment, rows_of(written), written)
    for dataset in PARTLESS:
        checkpoint = checkpoints.get(dataset)
        if checkpoint is None:
            continue
        if checkpoint.status == "complete":
            counted = "authentication_rows" if dataset == "authentication" else "sign_in_rows"
            rows = sum(getattr(built, counted) for built in members)
            datasets[dataset] = DatasetEntry("complete", checkpoint.as_of, rows, [])
        else:
            datasets[dataset] = DatasetEntry("unavailable", checkpoint.as_of, 0, [], checkpoint.reason)

    usage = Usage()
    for checkpoint in checkpoints.values():
        usage.add(checkpoint.usage)
    built_all = [*members, *groups]
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
        datasets=datasets,
        changes=None
        if run.previous_run_id is None
        else Changes(total_changes(built_all), [one.changes_part for one in built_all if one.changes_part]),
        graph=GraphUsage(usage.requests, usage.resource_units, usage.throttled, usage.retried),
    )
    published = Published(
        run_id=run.run_id,
        parts=parts,
        hidden=[built.hidden for built in members],
        delta_links={
            checkpoint.dataset: checkpoint.delta_link
            for checkpoint in (users, listed)
            if checkpoint.delta_link
        },
    )
    return manifest, published


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
