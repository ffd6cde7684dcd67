import pytest

from shared.directory.records import Group, SignIn, User
from shared.formats.sekoia import SekoiaFormat
from tests.formats import people
from tests.formats.people import CHANGED_AT, CONTEXT, published
from tests.validation import validate_line

SEKOIA = SekoiaFormat(CONTEXT)


@pytest.mark.parametrize("user", people.USERS.values(), ids=people.USERS)
def test_every_kind_of_user_is_valid(user: User) -> None:
    validate_line("sekoia-users", published(SEKOIA.render_user(user)))


def test_full_user() -> None:
    uid = people.FULL.id
    assert published(SEKOIA.render_user(people.FULL)) == {
        "activity_id": 2,
        "activity_name": "Collect",
        "category_name": "Discovery",
        "category_uid": 5,
        "class_name": "User Inventory Info",
        "class_uid": 5003,
        "type_name": "User Inventory Info: Collect",
        "type_uid": 500302,
        "severity": "Informational",
        "severity_id": 1,
        "time": 1772600767.891,
        "metadata": {"version": "1.6.0", "product": {"name": "Microsoft Entra ID", "version": "1.0"}},
        "user": {
            "uid": uid,
            "name": "ada@contoso.com",
            "type": "User",
            "type_id": 1,
            "account": {"name": "ada@contoso.com", "uid": uid, "type": "Azure AD Account", "type_id": 6},
            "uid_alt": "ada",
            "display_name": "Ada Lovelace",
            "full_name": "Ada Lovelace",
            "domain": "contoso.com",
            "email_addr": "Ada.Lovelace@contoso.com",
            "has_mfa": True,
            "org": {"name": "Contoso", "ou_name": "Engines"},
            "groups": [
                {"uid": people.ENGINEERS, "name": "Engineers", "desc": "Who builds things"},
                {"uid": people.ROLE_ADMINS, "name": "Role admins", "privileges": ["role-assignable"]},
                {"uid": people.NAMELESS, "name": people.NAMELESS},
                {"uid": people.UNREADABLE, "name": people.UNREADABLE},
            ],
            "ldap_person": {
                "given_name": "Ada",
                "surname": "Lovelace",
                "job_title": "Analyst",
                "department": "Engines",
                "employee_uid": "1815",
                "office_location": "London 1",
            },
        },
        "enrichments": [
            {
                "name": "account",
                "value": "status",
                "data": {
                    "is_enabled": True,
                    "last_logon": "2026-03-02T00:00:00Z",
                    "last_time_password_change": 1767225600.5,
                },
            },
            {"name": "employment", "value": "Engines - Analyst", "data": {}},
        ],
    }


def test_the_id_stands_in_for_a_name_that_the_model_requires() -> None:
    document = published(SEKOIA.render_user(people.ONLY_AN_ID))
    uid = people.ONLY_AN_ID.id
    assert document["user"] == {
        "uid": uid,
        "name": uid,
        "type": "User",
        "type_id": 1,
        "account": {"name": uid, "uid": uid, "type": "Azure AD Account", "type_id": 6},
    }
    assert "enrichments" not in document


def test_a_failed_attempt_is_no_logon() -> None:
    user = User(id="1", sign_in=SignIn(last_interactive_at="2026-01-01T00:00:00Z"), changed_at=CHANGED_AT)
    assert "enrichments" not in published(SEKOIA.render_user(user))


def test_employment_without_words() -> None:
    user = User(id="1", employee_id="42", changed_at=CHANGED_AT)
    assert published(SEKOIA.render_user(user))["enrichments"] == [
        {"name": "employment", "value": "info", "data": {}}
    ]


def test_mfa_that_nobody_told_us_of_is_absent() -> None:
    assert "has_mfa" not in published(SEKOIA.render_user(people.MFA_NOT_SAID))["user"]
    assert published(SEKOIA.render_user(people.ADMIN_WITHOUT_MFA))["user"]["has_mfa"] is False


def test_sekoia_takes_no_groups() -> None:
    assert SEKOIA.groups_dataset is None
    with pytest.raises(NotImplementedError, match="sekoia has no groups"):
        SEKOIA.render_group(Group(id="1"))
