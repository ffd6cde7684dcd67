"""The generated company: the same for a seed, believable, with the oddities that a reader must survive."""

import pytest

from sandbox.tenant import churn, generate
from sandbox.tenant.authentication import reported
from sandbox.tenant.directory import UnknownObjectError

REPORT_VOCABULARY = {
    "mobilePhone",
    "alternateMobilePhone",
    "officePhone",
    "email",
    "microsoftAuthenticatorPush",
    "microsoftAuthenticatorPasswordless",
    "softwareOneTimePasscode",
    "hardwareOneTimePasscode",
    "fido2SecurityKey",
    "passKeyDeviceBoundAuthenticator",
    "windowsHelloForBusiness",
    "temporaryAccessPass",
}


def test_a_seed_means_the_same_company() -> None:
    first, second, other = generate(150, seed=3), generate(150, seed=3), generate(150, seed=4)
    assert first.users == second.users
    assert first.groups == second.groups
    assert first.members == second.members
    assert first.registrations == second.registrations
    assert first.methods == second.methods
    assert first.users.keys().isdisjoint(other.users)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 60, 333])
def test_the_number_of_users_is_exact(count: int) -> None:
    directory = generate(count, seed=1)
    assert len(directory.users) == count
    assert directory.remembers(directory.position)
    assert not list(directory.changes_since(0))


def test_a_company_looks_like_one() -> None:
    directory = generate(2000, seed=7)
    users, groups = directory.users.values(), directory.groups.values()
    assert len(groups) == 600
    edges = sum(map(len, directory.members.values())) + sum(map(len, directory.owners.values()))
    assert 4 * 2000 < edges < 7 * 2000
    assert any(not str(user["displayName"]).isascii() for user in users)
    assert any("#EXT#" in user["userPrincipalName"] for user in users)
    assert any(user.get("onPremisesSyncEnabled") for user in users)
    assert any(not user["accountEnabled"] for user in users)
    assert any(user.get("businessPhones", 0) is None for user in users)
    names = {user["userPrincipalName"].casefold() for user in users}
    assert len(names) == 2000
    assert any("DynamicMembership" in group["groupTypes"] for group in groups)
    assert any("Unified" in group["groupTypes"] for group in groups)
    assert any(group.get("isAssignableToRole") for group in groups)
    assert any(not directory.members[group["id"]] for group in groups)
    assert any(group.get("visibility") == "HiddenMembership" for group in groups)
    types = {kind for members in directory.members.values() for kind in members.values()}
    assert {"user", "group", "device", "servicePrincipal", "orgContact", None} < types
    dangling = directory.deleted_users.keys() & {m for members in directory.members.values() for m in members}
    assert len(dangling) == len(directory.deleted_users) == 10


def test_managers_are_a_tree() -> None:
    directory = generate(500, seed=5)
    for user_id in directory.managers:
        seen, at = {user_id}, user_id
        while at in directory.managers:
            at = directory.managers[at]
            assert at not in seen
            seen.add(at)
        assert directory.users[at]["jobTitle"] == "Chief Executive Officer"


def test_the_report_covers_enabled_users_and_agrees_with_their_methods() -> None:
    directory = generate(2000, seed=7)
    enabled = {user_id for user_id, user in directory.users.items() if user["accountEnabled"]}
    assert directory.registrations.keys() == enabled
    assert (
        0.75 < sum(row["isMfaRegistered"] for row in directory.registrations.values()) / len(enabled) < 0.87
    )
    assert any(row["isAdmin"] for row in directory.registrations.values())
    assert any(row["isPasswordlessCapable"] for row in directory.registrations.values())
    seen = set()
    for user_id, row in directory.registrations.items():
        names = [name for method in directory.methods[user_id] for name in reported(method)]
        assert row["methodsRegistered"] == list(dict.fromkeys(names))
        seen |= set(names)
    assert seen == REPORT_VOCABULARY


def test_a_day_is_the_same_for_a_seed() -> None:
    first, second = generate(200, seed=1), generate(200, seed=1)
    assert churn(first, seed=9, count=80) == churn(second, seed=9, count=80)
    assert first.users.keys() == second.users.keys()
    assert first.members == second.members
    assert first.position == second.position > 80


def test_a_long_time_of_changes_touches_everything() -> None:
    directory = generate(120, seed=1)
    happened = churn(directory, seed=2, count=1500)
    assert sum(happened.values()) == 1500
    assert len(happened) == 17


def test_soft_deletion_keeps_edges_and_purging_removes_them() -> None:
    directory = generate(100, seed=1)
    group_id = next(g for g, members in directory.members.items() if len(members) > 3)
    user_id = next(m for m, kind in directory.members[group_id].items() if kind == "user")
    directory.delete_user(user_id)
    assert user_id in directory.members[group_id]
    directory.restore_user(user_id)
    assert user_id in directory.users
    assert "deletedDateTime" not in directory.users[user_id]
    directory.delete_user(user_id)
    directory.purge_user(user_id)
    assert all(user_id not in members for members in directory.members.values())
    assert all(manager != user_id for manager in directory.managers.values())
    with pytest.raises(UnknownObjectError):
        directory.purge_user(user_id)


def test_only_microsoft_365_groups_can_be_restored() -> None:
    directory = generate(100, seed=1)
    unified = next(g for g, group in directory.groups.items() if "Unified" in group["groupTypes"])
    security = next(g for g, group in directory.groups.items() if "Unified" not in group["groupTypes"])
    directory.delete_group(unified)
    directory.delete_group(security)
    assert unified in directory.deleted_groups
    assert security not in directory.deleted_groups
    directory.restore_group(unified)
    assert unified in directory.groups
    with pytest.raises(UnknownObjectError):
        directory.add_member(security, unified, "group")
