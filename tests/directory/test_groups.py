"""From the rows of a bucket to groups: the same group on many pages, and what it does not say."""

import json
from typing import Any

import pytest

from shared.directory.groups import group_record, read_groups
from shared.errors import InvalidPage
from shared.graph.objects import Group


def rows(*documents: dict[str, Any]) -> bytes:
    return json.dumps(documents).encode()


def test_repeated_group_is_merged() -> None:
    """A page that carries only edges of a group leaves its properties alone; null clears one."""
    groups = read_groups(
        rows(
            {"id": "g", "displayName": "G", "description": "Old", "mail": "g@x.org"},
            {"id": "h", "displayName": "H"},
            {"id": "g"},
            {"id": "g", "description": None},
        )
    )
    record = group_record(groups["g"], 0, 0)
    assert (record.display_name, record.description, record.mail) == ("G", None, "g@x.org")
    assert set(groups) == {"g", "h"}


def test_removed_group_is_gone_and_a_restored_one_is_back() -> None:
    gone = {"@removed": {"reason": "changed"}}
    groups = read_groups(
        rows(
            {"id": "g", "displayName": "G"},
            {"id": "g", **gone},
            {"id": "h", **gone},
            {"id": "h", "displayName": "H"},
        )
    )
    assert set(groups) == {"h"}


def test_group_with_nothing_but_its_id() -> None:
    record = group_record(Group("g"), 0, 0)
    assert (record.member_count, record.owner_count) == (0, 0)
    assert {name for name in record.__struct_fields__ if getattr(record, name) is not None} == {
        "id",
        "member_count",
        "owner_count",
    }


def test_every_field_lands_in_its_own_field() -> None:
    record = group_record(
        Group(
            "g",
            display_name="name",
            description="description",
            mail="mail",
            mail_enabled=True,
            security_enabled=False,
            group_types=[],
            visibility="Private",
            membership_rule="rule",
            is_assignable_to_role=True,
            created_date_time="2026-01-01T00:00:00.0000000Z",
            on_premises_sync_enabled=True,
            on_premises_sam_account_name="sam",
            on_premises_security_identifier="sid",
            on_premises_domain_name="domain",
            on_premises_last_sync_date_time="2026-01-02T00:00:00Z",
        ),
        3,
        2,
    )
    assert (record.display_name, record.description, record.mail) == ("name", "description", "mail")
    assert (record.mail_enabled, record.security_enabled, record.is_assignable_to_role) == (True, False, True)
    assert (record.group_types, record.visibility, record.membership_rule) == ([], "Private", "rule")
    assert record.created_at == "2026-01-01T00:00:00Z"
    assert (record.member_count, record.owner_count) == (3, 2)
    synced = record.on_premises
    assert synced is not None
    assert (synced.sync_enabled, synced.sam_account_name, synced.security_identifier) == (True, "sam", "sid")
    assert (synced.domain_name, synced.last_sync_at) == ("domain", "2026-01-02T00:00:00Z")
    assert synced.distinguished_name is None


def test_row_of_another_shape_fails_the_dataset() -> None:
    with pytest.raises(InvalidPage, match=r"^groups: "):
        read_groups(b'[{"id": "g", "groupTypes": "Unified"}]')
