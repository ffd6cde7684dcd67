"""The shrink guard: a run that would remove much of the directory is held until it is confirmed.

Mass deletions are rarely what happened and often what was read: an API that answered in part, a permission
that was taken away. A held run changes nothing that consumers see.
"""

from collections.abc import Mapping

from shared.snapshots.manifest import Manifest
from shared.snapshots.state import Published

LEAST_REMOVED = 50
"""Fewer removals are never held, whatever their share."""


def would_shrink(
    manifest: Manifest, previous: Published | None, most_percent: int, seen: Mapping[str, int]
) -> str | None:
    """What a run would remove too much of, in words, or None.

    `seen` is what a held run would have removed of each dataset: this run confirms it, and only what it would
    remove beyond that is looked at.
    """
    if previous is None or manifest.changes is None:
        return None
    found = []
    for dataset, counts in manifest.changes.datasets.items():
        had = sum(part.ref.rows for part in previous.parts[dataset] if part)
        unseen = counts.removed - seen.get(dataset, 0)
        if unseen >= LEAST_REMOVED and unseen * 100 > had * most_percent:
            found.append(f"{counts.removed:,} of {had:,} {dataset}")
    return " and ".join(found) or None
