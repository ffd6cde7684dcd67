"""Which runs and parts stay: the last ones, and whatever their manifests name.

Nothing that the current pointer reaches is ever swept, and nothing that was current a day ago: a consumer may
still be reading it.
"""

from datetime import datetime, timedelta

from shared.snapshots.blobs import BlobContainer
from shared.snapshots.manifest import Manifest, manifest_path, read_manifest, read_pointer

GRACE = timedelta(hours=24)
"""A run is not swept before it has been out of date for this long."""


async def sweep_published(output: BlobContainer, keep_runs: int, now: datetime) -> int:
    """Delete published runs beyond the last `keep_runs`, and the parts that only they name.

    Must not run beside a build, which may take up an old part again. Returns how many blobs went.
    """
    names = [name async for name in output.names("runs/")]
    runs = sorted({name.split("/")[1] for name in names}, reverse=True)
    if len(runs) <= keep_runs:
        return 0
    pointer = await read_pointer(output)
    if pointer is None:
        return 0
    manifests = {run_id: await read_manifest(output, manifest_path(run_id)) for run_id in runs}
    # By time, not by sequence: that begins anew when the pointer was taken away.
    published = sorted(
        (one for one in manifests.values() if one is not None),
        key=lambda one: datetime.fromisoformat(one.published_at),
        reverse=True,
    )
    old: list[Manifest] = []
    for number, manifest in enumerate(published[1:], 1):
        # It went out of date when its successor was published.
        out_of_date = datetime.fromisoformat(published[number - 1].published_at)
        if number >= keep_runs and manifest.run_id != pointer[0].run_id and now - out_of_date >= GRACE:
            old.append(manifest)
    if not old:
        return 0
    gone = {manifest.run_id for manifest in old}
    needed = {path for one in published if one.run_id not in gone for path in _parts(one)}
    doomed = [path for one in old for path in _parts(one) if path not in needed]
    # The manifests go last: until then, the next sweep finds again what this one did not finish.
    await output.delete(sorted(set(doomed)))
    await output.delete([name for name in names if name.split("/")[1] in gone])
    return len(set(doomed)) + sum(name.split("/")[1] in gone for name in names)


def _parts(manifest: Manifest) -> list[str]:
    return [part.path for entry in manifest.datasets.values() for part in entry.parts]
