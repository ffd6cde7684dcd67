"""What changed: applied to the snapshot before, it gives the snapshot of now."""

from typing import Literal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.directory.changes import compare, compare_memberships
from shared.directory.memberships import Edge, membership
from shared.directory.records import Change, Group, User
from shared.snapshots.manifest import ChangeCounts

EARLIER, NOW = "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"

users = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.tuples(st.sampled_from(("Ada", "Bo", None)), st.sampled_from(([], ["g"], ["g", "h"], None))),
    max_size=8,
)
edges = st.dictionaries(
    st.tuples(
        st.sampled_from("gh"), st.sampled_from(("member", "owner")), st.sampled_from(("a", "a|b", "c"))
    ),
    st.sampled_from(("user", "device", "unknown")),
    max_size=10,
)


def made(drawn: dict[str, tuple[str | None, list[str] | None]], changed_at: str | None = None) -> list[User]:
    return [
        User(object_id, display_name=name, groups=groups, changed_at=changed_at)
        for object_id, (name, groups) in sorted(drawn.items())
    ]


def linked(drawn: dict[tuple[str, str, str], str]) -> list[Edge]:
    return sorted((*key, kind) for key, kind in drawn.items())


def applied[R](before: dict[str, R], changes: list[Change]) -> dict[str, object]:
    """As a consumer does it."""
    after: dict[str, object] = dict(before)
    for change in changes:
        assert (change.operation == "added") == (change.id not in after)
        if change.operation == "removed":
            assert change.record is None
            del after[change.id]
        else:
            assert change.record is not None
            after[change.id] = change.record
    return after


@given(users, users)
def test_changes_of_users_lead_from_before_to_now(
    then: dict[str, tuple[str | None, list[str] | None]],
    later: dict[str, tuple[str | None, list[str] | None]],
) -> None:
    before = {user.id: user for user in made(then, EARLIER)}
    now = made(later)
    changes, counts = compare("users", before, now, NOW)
    assert applied(before, changes) == {user.id: user for user in now}
    assert [change.id for change in changes] == sorted({change.id for change in changes})
    operations = [change.operation for change in changes]
    assert (counts.added, counts.updated, counts.removed) == (
        operations.count("added"),
        operations.count("updated"),
        operations.count("removed"),
    )
    for user in now:
        same = then.get(user.id) == later[user.id]
        assert user.changed_at == (EARLIER if same else NOW)


@given(edges, edges)
def test_changes_of_edges_lead_from_before_to_now(
    then: dict[tuple[str, str, str], str], later: dict[tuple[str, str, str], str]
) -> None:
    before, now = linked(then), linked(later)
    changes, counts = compare_memberships(before, now)
    published = {record.id: record for record in map(membership, before)}
    assert applied(published, changes) == {record.id: record for record in map(membership, now)}
    assert [change.id for change in changes] == sorted({change.id for change in changes})
    assert {change.dataset for change in changes} <= {"memberships"}
    operations = [change.operation for change in changes]
    assert (counts.added, counts.updated, counts.removed) == (
        operations.count("added"),
        operations.count("updated"),
        operations.count("removed"),
    )
    assert before == linked(then)


@given(users)
def test_nothing_changed_is_no_change(drawn: dict[str, tuple[str | None, list[str] | None]]) -> None:
    """And the records keep the bytes that they had."""
    before = made(drawn, EARLIER)
    now = made(drawn)
    changes, counts = compare("users", {user.id: user for user in before}, now, NOW)
    assert (changes, counts.added, counts.updated, counts.removed) == ([], 0, 0, 0)
    assert msgspec.json.encode(now) == msgspec.json.encode(before)


def test_reason_is_asked_for_removed_users_only() -> None:
    asked: list[str] = []

    def reason(object_id: str) -> Literal["soft_deleted"]:
        asked.append(object_id)
        return "soft_deleted"

    before = {"a": User("a", changed_at=EARLIER), "b": User("b", changed_at=EARLIER)}
    changes, _ = compare("users", before, [User("b"), User("c")], NOW, reason)
    assert asked == ["a"]
    assert [(change.id, change.operation, change.reason) for change in changes] == [
        ("a", "removed", "soft_deleted"),
        ("c", "added", None),
    ]


def test_removed_group_has_no_reason() -> None:
    changes, counts = compare("groups", {"g": Group("g")}, [], NOW)
    assert msgspec.to_builtins(changes) == [{"dataset": "groups", "operation": "removed", "id": "g"}]
    assert counts.removed == 1


def test_edge_that_changed_its_type_is_updated() -> None:
    changes, counts = compare_memberships([("g", "member", "a", "unknown")], [("g", "member", "a", "user")])
    assert msgspec.to_builtins(changes) == [
        {
            "dataset": "memberships",
            "operation": "updated",
            "id": "g|member|a",
            "record": {"group_id": "g", "member_id": "a", "member_type": "user", "relation": "member"},
        }
    ]
    assert (counts.added, counts.updated, counts.removed) == (0, 1, 0)


@given(edges)
def test_edges_that_have_nothing_to_be_compared_with_are_counted(
    drawn: dict[tuple[str, str, str], str],
) -> None:
    """Nobody asks for the changes of a first run; an empty snapshot is one to compare with."""
    now = linked(drawn)
    assert compare_memberships(None, now) == ([], ChangeCounts(added=len(now)))
    assert len(compare_memberships([], now)[0]) == len(now)
    assert compare_memberships(now, linked(drawn)) == ([], ChangeCounts())
