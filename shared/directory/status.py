"""How the sync is doing: the run under way or failed, the last published one, and what is held."""

import asyncio
from typing import Any

from shared.snapshots.blobs import BlobContainer
from shared.snapshots.manifest import read_pointer
from shared.snapshots.state import Checkpoint, Run, Stage, StateStore


async def sync_status(state: StateStore, output: BlobContainer) -> dict[str, Any]:
    """`{"current": …, "published": …, "held": …}`, each an object or None.

    `current` is the run under way, or the last one if it failed; a published run is not shown twice.
    """
    stored, pointer = await asyncio.gather(state.run(), read_pointer(output))
    run = stored[0] if stored else None
    return {
        "current": None if run is None or run.status == "published" else await _describe(run, state),
        "published": None
        if pointer is None
        else {
            "run_id": pointer[0].run_id,
            "sequence": pointer[0].sequence,
            "published_at": pointer[0].published_at,
            "manifest": pointer[0].manifest,
        },
        "held": _held(run) if run is not None else None,
    }


def _held(run: Run) -> dict[str, Any] | None:
    """The run that the shrink guard holds: the last one, or the one that a full run is confirming."""
    if run.status == "held":
        return {"run_id": run.run_id, "reason": run.error}
    if run.confirms and run.status != "published":
        return {"run_id": run.confirms, "reason": run.held_reason}
    return None


async def _describe(run: Run, state: StateStore) -> dict[str, Any]:
    checkpoints = await asyncio.gather(*(state.checkpoint(run.run_id, name) for name in run.datasets))
    members, groups = await asyncio.gather(_built(run, "members", state), _built(run, "groups", state))
    described: dict[str, Any] = {
        "run_id": run.run_id,
        "sequence": run.sequence,
        "kind": run.kind,
        "status": run.status,
        "started_at": run.started_at,
        "datasets": {one[0].dataset: _progress(one[0]) for one in checkpoints if one},
        "build": {
            "done": members + groups,
            "of": len(run.buckets("members")) + len(run.buckets("groups")),
        },
    }
    if run.ended_at:
        described["ended_at"] = run.ended_at
    if run.error:
        described["error"] = run.error
    return described


async def _built(run: Run, stage: Stage, state: StateStore) -> int:
    """How many buckets of a stage are done."""
    done = await state.built_batches(run.run_id, stage)
    return sum(len(buckets) for batch, buckets in enumerate(run.batches(stage)) if batch in done)


def _progress(checkpoint: Checkpoint) -> dict[str, Any]:
    progress: dict[str, Any] = {
        "status": checkpoint.status,
        "rows": max(checkpoint.rows, checkpoint.seen),
        "pages": checkpoint.pages,
        "requests": checkpoint.usage.requests,
        "resource_units": checkpoint.usage.resource_units,
        "throttled": checkpoint.usage.throttled,
        "retried": checkpoint.usage.retried,
    }
    for name in ("total", "mode", "reason", "error"):
        if value := getattr(checkpoint, name):
            progress[name] = value
    return progress
