"""How far the last snapshot had drifted from the tenant: changes that no delta had told of.

Counted by a full run, which compares everything. What no delta tracks (authentication, sign-ins, counts) is
no drift, and neither is an edge of a user or group that the deltas name.
"""

from collections.abc import Container, Iterable, Mapping

import msgspec

from shared.directory.records import Change, Group, User

UNTRACKED = {
    User: ("groups", "owned_groups", "authentication", "sign_in", "manager_id", "changed_at"),
    Group: ("member_count", "owner_count", "changed_at"),
}
"""Fields that are joined in or kept by us; and the manager, whose own deletion no delta tells."""


def count_objects[R: (User, Group)](
    changes: Iterable[Change], before: Mapping[str, R], reported: Container[str]
) -> int:
    """Objects that came, went or changed without having been reported."""
    missed = 0
    for change in changes:
        if change.id in reported:
            continue
        if isinstance(change.record, User | Group) and change.operation == "updated":
            known = before[change.id]
            fields = {field: getattr(known, field) for field in UNTRACKED[type(known)]}
            if msgspec.structs.replace(change.record, **fields) == known:
                continue
        missed += 1
    return missed


def count_edges(
    changes: Iterable[Change],
    reported: Container[str],
    reported_users: Container[str],
    reported_groups: Container[str],
) -> int:
    """Edges that came, went or changed without having been reported, or explained by one of their ends."""
    missed = 0
    for change in changes:
        group_id, _, member_id = change.id.split("|")
        explained = member_id in reported_users or group_id in reported_groups
        missed += not (explained or change.id in reported)
    return missed
