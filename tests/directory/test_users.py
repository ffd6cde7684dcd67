"""From the rows of a bucket to users: what comes more than once, what was removed, who is the manager."""

import json
from typing import Any

import pytest

from shared.directory.users import (
    manager_of,
    merge_documents,
    read_users,
    sign_in_record,
    user_record,
)
from shared.errors import InvalidPage
from shared.graph.objects import ObjectId, OrgData, Reference, Removed, SignInActivity, User

GONE = {"@removed": {"reason": "deleted"}}
BINNED = {"@removed": {"reason": "changed"}}


def rows(*documents: dict[str, Any]) -> bytes:
    return json.dumps(documents).encode()


def set_to(object_id: str) -> Reference:
    return Reference(object_id, "#microsoft.graph.user")


def no_longer(object_id: str) -> Reference:
    return Reference(object_id, "#microsoft.graph.user", Removed())


def test_one_row_a_user() -> None:
    users, removed = read_users(rows({"id": "b", "displayName": "B"}, {"id": "a", "unknown": {"x": 1}}))
    assert {user.id: user.display_name for user in users.values()} == {"a": None, "b": "B"}
    assert removed == {}


def test_no_rows() -> None:
    assert read_users(b"[]") == ({}, {})


def test_repeated_user_is_merged() -> None:
    """Later values win, null is a value, and what a later row leaves out stays."""
    users, _ = read_users(
        rows(
            {"id": "a", "displayName": "Old", "mail": "a@x.org", "city": "Oslo"},
            {"id": "b", "displayName": "B"},
            {"id": "a", "displayName": "New", "city": None},
        )
    )
    user = users["a"]
    assert (user.display_name, user.mail, user.city) == ("New", "a@x.org", None)
    assert users["b"].display_name == "B"


def test_tombstones_carry_their_reason() -> None:
    users, removed = read_users(
        rows({"id": "a", **GONE}, {"id": "b", **BINNED}, {"id": "c"}, {"id": "d", "@removed": {}})
    )
    assert set(users) == {"c"}
    assert removed == {"a": "deleted", "b": "changed", "d": "deleted"}


def test_tombstone_ends_what_came_before() -> None:
    users, removed = read_users(rows({"id": "a", "displayName": "A"}, {"id": "a", **BINNED}))
    assert (users, removed) == ({}, {"a": "changed"})


def test_user_after_its_tombstone_was_restored() -> None:
    """With what came after the tombstone, and nothing of what came before."""
    users, removed = read_users(
        rows(
            {"id": "a", "displayName": "A", "mail": "old@x.org"},
            {"id": "a", **BINNED},
            {"id": "a", "displayName": "A again"},
        )
    )
    assert removed == {}
    assert (users["a"].display_name, users["a"].mail) == ("A again", None)


def test_manager_references_of_repeated_rows_are_strung_together() -> None:
    document = {"id": "a", "manager@delta": [{"id": "m1"}]}
    again = {"id": "a", "manager@delta": [{"id": "m1", **GONE}, {"id": "m2"}]}
    users, _ = read_users(rows(document, again))
    assert user_record(users["a"]).manager_id == "m2"


def test_merge_keeps_the_order_of_first_appearance() -> None:
    merged = merge_documents([{"id": "b", "x": 1}, {"id": "a"}, {"id": "b", "x": 2}])
    assert merged == [{"id": "b", "x": 2}, {"id": "a"}]


@pytest.mark.parametrize(
    ("references", "manager"),
    [
        (None, None),
        ([], None),
        ([set_to("m")], "m"),
        ([set_to("m"), no_longer("m")], None),
        ([no_longer("m"), set_to("n")], "n"),
        # Graph sends the two in either order.
        ([set_to("n"), no_longer("m")], "n"),
        ([set_to("m"), no_longer("m"), set_to("m")], "m"),
        ([set_to("m"), set_to("n")], "n"),
        ([no_longer("m")], None),
    ],
)
def test_manager_is_the_last_one_set_and_not_removed(
    references: list[Reference] | None, manager: str | None
) -> None:
    assert manager_of(references) == manager
    assert user_record(User("a", manager_changes=references)).manager_id == manager


@pytest.mark.parametrize(
    ("changes", "manager"),
    [
        (None, "m"),
        ([], "m"),
        ([no_longer("m")], None),
        ([no_longer("n")], "m"),
        ([set_to("n")], "n"),
        ([set_to("n"), no_longer("m")], "n"),
        ([set_to("n"), no_longer("n")], None),
    ],
)
def test_manager_who_was_listed_is_changed_by_what_the_delta_tells(
    changes: list[Reference] | None, manager: str | None
) -> None:
    """A list is followed by the changes since it began."""
    assert manager_of(changes, "m") == manager
    assert user_record(User("a", manager=ObjectId("m"), manager_changes=changes)).manager_id == manager


def test_user_in_the_list_and_in_the_delta_that_follows_is_one() -> None:
    listed = {"id": "a", "displayName": "A", "manager": {"id": "m", "displayName": "M"}}
    users, _ = read_users(rows(listed, {"id": "a", "manager@delta": [{"id": "m", **GONE}]}))
    record = user_record(users["a"])
    assert (record.display_name, record.manager_id) == ("A", None)


@pytest.mark.parametrize(
    "row", [b'[{"id": 5}]', b'[{"displayName": "A"}]', b'[{"id": "a", "accountEnabled": "yes"}]', b"[{]"]
)
def test_row_of_another_shape_fails_the_dataset_without_quoting_it(row: bytes) -> None:
    with pytest.raises(InvalidPage) as raised:
        read_users(row)
    assert str(raised.value).startswith("users: ")
    assert "yes" not in str(raised.value)


def test_user_with_nothing_but_its_id() -> None:
    record = user_record(User("a"))
    assert {name: value for name in record.__struct_fields__ if (value := getattr(record, name))} == {
        "id": "a"
    }


def test_empty_text_is_absent_and_an_empty_list_stays() -> None:
    record = user_record(
        User(
            "a",
            mail="",
            department="",
            business_phones=[],
            other_mails=[],
            proxy_addresses=None,
            account_enabled=False,
            employee_org_data=OrgData(""),
        )
    )
    assert (record.mail, record.department, record.cost_center) == (None, None, None)
    assert (record.business_phones, record.other_mails, record.proxy_addresses) == ([], [], None)
    assert record.account_enabled is False


def test_every_field_of_graph_lands_in_its_own_field() -> None:
    """Positions are easily swapped: each field gets a value of its own."""
    texts = {
        name: f"{name}!"
        for name in User.__struct_fields__
        if name not in ("id", "manager", "manager_changes", "removed", "employee_org_data", "account_enabled")
        and not name.endswith(("date_time", "_date", "mails", "addresses", "phones", "sync_enabled"))
    }
    times = {
        name: f"2026-01-{day:02}T00:00:00Z"
        for day, name in enumerate(
            (name for name in User.__struct_fields__ if name.endswith(("date_time", "_date"))), 1
        )
    }
    record = user_record(
        User(
            "a",
            **texts,  # type: ignore[arg-type]
            **times,  # type: ignore[arg-type]
            employee_org_data=OrgData("cost!"),
            on_premises_sync_enabled=True,
            manager=ObjectId("m"),
        )
    )
    renamed = {
        "employee_leave_date_time": "employee_leave_at",
        "created_date_time": "created_at",
        "last_password_change_date_time": "last_password_change_at",
    }
    for name, value in {**texts, **times}.items():
        if name.startswith("on_premises_"):
            field = name.removeprefix("on_premises_").replace("_date_time", "_at")
            assert getattr(record.on_premises, field) == value, name
        else:
            assert getattr(record, renamed.get(name, name)) == value, name
    assert (record.cost_center, record.manager_id) == ("cost!", "m")


def test_on_premises_is_absent_where_graph_gives_nothing_of_it() -> None:
    assert user_record(User("a")).on_premises is None
    cloud_only = user_record(User("a", on_premises_sync_enabled=False)).on_premises
    assert cloud_only is not None
    assert (cloud_only.sync_enabled, cloud_only.domain_name) == (False, None)
    nameless = user_record(User("a", on_premises_domain_name="", on_premises_sam_account_name=""))
    assert nameless.on_premises is None


def test_sign_in_of_year_one_is_no_sign_in() -> None:
    assert sign_in_record(None) is None
    assert sign_in_record(SignInActivity("0001-01-01T00:00:00Z", None, "")) is None
    record = sign_in_record(SignInActivity("2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", None))
    assert record is not None
    assert record.last_interactive_at == "2026-01-01T00:00:00Z"
    assert record.last_non_interactive_at is None
    assert record.last_success_at is None
