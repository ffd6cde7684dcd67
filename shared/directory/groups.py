"""From Graph's group to the record, and from the rows of a bucket to the groups that are alive."""

from typing import Any

import msgspec
from msgspec import UNSET

from shared.directory import records
from shared.directory.users import merge_documents, merge_on_premises, on_premises
from shared.directory.values import flag, text, time
from shared.graph import objects
from shared.graph.paging import decode_objects

FIELDS = {
    name: {"created_date_time": "created_at"}.get(name, name)
    for name in objects.Group.__struct_fields__
    if not name.startswith("on_premises") and name not in ("id", "members", "owners", "removed")
}
"""The field of the record that each property fills."""

ON_PREMISES_NAMES = {
    wire: name
    for wire, name in zip(
        objects.Group.__struct_encode_fields__, objects.Group.__struct_fields__, strict=True
    )
    if name.startswith("on_premises")
}

_groups = msgspec.json.Decoder(list[objects.Group])
_documents = msgspec.json.Decoder(list[dict[str, Any]])


def read_groups(rows: bytes) -> dict[str, objects.Group]:
    """The live groups among these rows, by id. The same group may come on any number of pages."""
    groups = read_group_changes(rows)
    return {object_id: group for object_id, group in groups.items() if not group.removed}


def read_group_changes(rows: bytes) -> dict[str, objects.Group]:
    """The groups and tombstones among these rows, by id, each merged of all its rows."""
    listed = decode_objects(rows, _groups, "groups")
    groups = {group.id: group for group in listed}
    if len(groups) < len(listed):
        merged = merge_documents(decode_objects(rows, _documents, "groups"))
        groups = {group.id: group for group in msgspec.convert(merged, list[objects.Group])}
    return groups


def apply_group(group: objects.Group, known: records.Group | None) -> records.Group:
    """The record after a change. What Graph left out stays as it is known. Counts are the known ones."""
    if known is None:
        return group_record(group, 0, 0)
    record = group_record(group, known.member_count or 0, known.owner_count or 0)
    for name, field in FIELDS.items():
        if getattr(group, name) is UNSET:
            setattr(record, field, getattr(known, field))
    given = {wire for wire, name in ON_PREMISES_NAMES.items() if getattr(group, name) is not UNSET}
    record.on_premises = merge_on_premises(given, record.on_premises, known.on_premises)
    return record


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
