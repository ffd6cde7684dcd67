"""What changed between two snapshots of a bucket: pure comparison of records.

Applying the changes of runs k+1 … n to the snapshot of run k gives exactly the snapshot of run n.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import eq
from typing import Literal

from shared.directory.memberships import Edge, EdgeColumns, membership
from shared.directory.records import Change, Group, Operation, User
from shared.snapshots.manifest import ChangeCounts

type Reason = Literal["soft_deleted", "deleted"]


def compare[R: (User, Group)](
    dataset: Literal["users", "groups"],
    before: Mapping[str, R] | None,
    now: Sequence[R],
    started_at: str,
    reason: Callable[[str], Reason | None] = lambda _: None,
) -> tuple[list[Change], ChangeCounts]:
    """The changes, sorted by id, and their counts. `now` is sorted by id.

    Sets `changed_at` of each record of `now`: the start of this run if it is new or different, else what it
    was. It is left out of the comparison. Without a `before` all is new, and nobody asks for the changes.
    """
    changes: list[Change] = []
    if before is None:
        for record in now:
            record.changed_at = started_at
        return changes, ChangeCounts(added=len(now))
    counts = ChangeCounts()
    alive = set()
    for record in now:
        alive.add(record.id)
        old = before.get(record.id)
        if old is not None:
            record.changed_at = old.changed_at
            if record == old:
                continue
        record.changed_at = started_at
        if old is None:
            counts.added += 1
        else:
            counts.updated += 1
        changes.append(Change(dataset, "added" if old is None else "updated", record.id, record))
    for object_id in before.keys() - alive:
        counts.removed += 1
        changes.append(Change(dataset, "removed", object_id, reason=reason(object_id)))
    changes.sort(key=lambda change: change.id)
    return changes, counts


def compare_memberships(
    before: Sequence[Edge] | None, now: Sequence[Edge] | EdgeColumns
) -> tuple[list[Change], ChangeCounts]:
    """The same for edges, which have no `changed_at`; one whose member changed its type is updated."""
    if before is None:
        return [], ChangeCounts(added=len(now))
    counts = ChangeCounts()
    if len(before) == len(now) and all(map(eq, before, now)):
        return [], counts
    old = {edge[:3]: edge for edge in before}
    changes: list[Change] = []
    for edge in now:
        known = old.pop(edge[:3], None)
        if known == edge:
            continue
        if known is None:
            counts.added += 1
        else:
            counts.updated += 1
        operation: Operation = "added" if known is None else "updated"
        changes.append(Change("memberships", operation, "|".join(edge[:3]), membership(edge)))
    counts.removed += len(old)
    changes += [Change("memberships", "removed", "|".join(key)) for key in old]
    changes.sort(key=lambda change: change.id)
    return changes, counts
