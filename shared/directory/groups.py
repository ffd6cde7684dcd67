"""From Graph's group to the record, and from the rows of a bucket to the groups that are alive."""

from typing import Any

import msgspec

from shared.directory import records
from shared.directory.users import merge_documents, on_premises
from shared.directory.values import flag, text, time
from shared.graph import objects
from shared.graph.paging import decode_objects

_groups = msgspec.json.Decoder(list[objects.Group])
_documents = msgspec.json.Decoder(list[dict[str, Any]])


def read_groups(rows: bytes) -> dict[str, objects.Group]:
    """The groups of a bucket by id. The same group may come on any number of pages; it is merged."""
    listed = decode_objects(rows, _groups, "groups")
    groups = {group.id: group for group in listed}
    if len(groups) < len(listed):
        merged = merge_documents(decode_objects(rows, _documents, "groups"))
        groups = {group.id: group for group in msgspec.convert(merged, list[objects.Group])}
    return {object_id: group for object_id, group in groups.items() if not group.removed}


def group_record(group: objects.Group, member_count: int, owner_count: int) -> records.Group:
    """The group as it is published, still without `changed_at`."""
    return records.Group(
        group.id,
        text(group.display_name),
        text(group.description),
        text(group.mail),
        flag(group.mail_enabled),
        flag(group.security_enabled),
        group.group_types if isinstance(group.group_types, list) else None,
        text(group.visibility),
        text(group.membership_rule),
        flag(group.is_assignable_to_role),
        time(group.created_date_time),
        on_premises(
            group.on_premises_sync_enabled,
            group.on_premises_sam_account_name,
            group.on_premises_security_identifier,
            None,
            group.on_premises_domain_name,
            group.on_premises_last_sync_date_time,
        ),
        member_count,
        owner_count,
    )
