import pytest
from msgspec.json import encode

from shared.clouds import CLOUDS, Cloud
from shared.directory.records import Group, User
from shared.formats.interface import RenderContext
from shared.formats.ocsf import OcsfFormat
from tests.formats import people
from tests.formats.people import CHANGED_AT, CONTEXT, TENANT, published
from tests.validation import validate_line

OCSF = OcsfFormat(CONTEXT)


@pytest.mark.parametrize("user", people.USERS.values(), ids=people.USERS)
def test_every_kind_of_user_is_valid(user: User) -> None:
    validate_line("ocsf-users", published(OCSF.render_user(user)))


@pytest.mark.parametrize("group", people.GROUPS.values(), ids=people.GROUPS)
def test_every_kind_of_group_is_valid(group: Group) -> None:
    validate_line("ocsf-groups", published(OCSF.render_group(group)))


def test_full_user() -> None:
    uid = people.FULL.id
    assert published(OCSF.render_user(people.FULL)) == {
        "class_uid": 5003,
        "class_name": "User Inventory Info",
        "category_uid": 5,
        "category_name": "Discovery",
        "activity_id": 2,
        "activity_name": "Collect",
        "type_uid": 500302,
        "type_name": "User Inventory Info: Collect",
        "severity_id": 1,
        "severity": "Informational",
        "time": 1772600767891,
        "metadata": {
            "version": "1.8.0",
            "product": {
                "name": "Microsoft Entra ID",
                "vendor_name": "Microsoft",
                "feature": {"name": "Users"},
            },
            "profiles": ["cloud"],
            "tenant_uid": TENANT,
            "uid": f"{uid}@{CHANGED_AT}",
        },
        "cloud": {
            "provider": "Azure",
            "cloud_partition": "AzureCloud",
            "account": {"uid": TENANT, "type": "M365 Tenant", "type_id": 17},
        },
        "user": {
            "uid": uid,
            "type": "User",
            "type_id": 1,
            "account": {
                "uid": uid,
                "type": "Azure AD Account",
                "type_id": 6,
                "name": "ada@contoso.com",
                "is_disabled": False,
                "is_on_premises_sync_enabled": True,
            },
            "name": "ada@contoso.com",
            "uid_alt": "S-1-5-21-1-2-3-1001",
            "display_name": "Ada Lovelace",
            "full_name": "Ada Lovelace",
            "domain": "contoso.com",
            "email_addr": "Ada.Lovelace@contoso.com",
            "phone_number": "+44 1",
            "has_mfa": True,
            "org": {"name": "Contoso", "ou_name": "Engines"},
            "groups": [
                {"uid": people.ENGINEERS, "name": "Engineers", "desc": "Who builds things"},
                {"uid": people.ROLE_ADMINS, "name": "Role admins", "privileges": ["role-assignable"]},
                {"uid": people.NAMELESS},
                {"uid": people.UNREADABLE},
            ],
            "ldap_person": {
                "given_name": "Ada",
                "surname": "Lovelace",
                "job_title": "Analyst",
                "department": "Engines",
                "cost_center": "CC-1",
                "employee_uid": "1815",
                "manager": {"uid": "00000000-0000-0000-0000-00000000000b"},
                "labels": ["Member", "Employee"],
                "email_addrs": ["countess@contoso.com", "ada@example.org"],
                "phone_number": "+44 2",
                "office_location": "London 1",
                "location": {"city": "London", "region": "England", "postal_code": "SW1", "country": "GB"},
                "created_time": 1577934245000,
                "hire_time": -128131200000,
                "leave_time": 253402214400000,
                "last_login_time": 1772409600000,
                "ldap_dn": "CN=Ada,DC=contoso,DC=com",
                "tags": [
                    {"name": "sam_account_name", "value": "ada"},
                    {"name": "domain_name", "value": "contoso.com"},
                    {"name": "last_sync_at", "value": "2026-03-01T00:00:00Z"},
                    {"name": "security_identifier", "value": "S-1-12-1-1-2-3-4"},
                    {"name": "country", "value": "United Kingdom"},
                    {"name": "mail_addresses", "values": ["zoé@exämple.com"]},
                    {"name": "proxy_addresses", "values": ["SIP:ada@contoso.com"]},
                    {"name": "business_phones", "values": ["+44 3"]},
                    {"name": "owned_groups", "values": [people.ENGINEERS]},
                ],
            },
        },
        "enrichments": [
            {
                "name": "authentication_methods",
                "value": uid,
                "created_time": 1772496000000,
                "data": {
                    "is_mfa_registered": True,
                    "is_mfa_capable": True,
                    "is_passwordless_capable": False,
                    "methods": ["microsoftAuthenticatorPush", "mobilePhone"],
                    "default_method": "push",
                    "is_admin": False,
                    "source": "report",
                    "as_of": "2026-03-03T00:00:00Z",
                },
            },
            {
                "name": "sign_in",
                "value": uid,
                "data": {
                    "last_success_at": "2026-03-02T00:00:00Z",
                    "last_interactive_at": "2026-03-02T01:00:00Z",
                    "last_non_interactive_at": "2026-03-02T02:00:00Z",
                },
            },
            {
                "name": "last_password_change",
                "value": uid,
                "data": {"last_password_change_at": "2026-01-01T00:00:00.5Z"},
            },
        ],
    }


def test_what_is_not_known_is_absent() -> None:
    document = published(OCSF.render_user(people.ONLY_AN_ID))
    uid = people.ONLY_AN_ID.id
    assert document["user"] == {
        "uid": uid,
        "type": "User",
        "type_id": 1,
        "account": {"uid": uid, "type": "Azure AD Account", "type_id": 6},
    }
    assert "enrichments" not in document


def test_a_guest_is_a_user_with_a_label() -> None:
    user = published(OCSF.render_user(people.GUEST))["user"]
    assert (user["type"], user["ldap_person"]["labels"]) == ("User", ["Guest"])
    assert user["domain"] == "contoso.onmicrosoft.com"
    assert user["groups"] == []


def test_a_service_account_is_known_by_its_employee_type() -> None:
    user = published(OCSF.render_user(people.SERVICE_ACCOUNT))["user"]
    assert (user["type"], user["type_id"]) == ("Service", 4)
    assert user["account"]["is_disabled"] is True


def test_a_synchronised_user_without_a_domain_sid_has_the_clouds() -> None:
    user = published(OCSF.render_user(people.SYNCHRONISED))["user"]
    assert user["uid_alt"] == "S-1-12-1-9-9-9-9"
    assert user["account"]["is_on_premises_sync_enabled"] is True
    assert user["ldap_person"]["tags"] == [{"name": "sam_account_name", "value": "alan"}]


def test_addresses_beyond_ascii_are_kept_as_a_tag() -> None:
    user = published(OCSF.render_user(people.WORLDLY))["user"]
    assert "email_addr" not in user
    assert user["ldap_person"]["email_addrs"] == ["zoe@example.com"]
    assert user["ldap_person"]["tags"] == [{"name": "mail_addresses", "values": ["zoé@exämple.com"]}]
    assert user["display_name"] == people.WORLDLY.display_name
    assert user["domain"] == "exämple.com"


def test_an_admin_stays_an_admin_whatever_the_employee_type() -> None:
    user = published(OCSF.render_user(people.ADMIN_WITHOUT_MFA))["user"]
    assert (user["type"], user["type_id"], user["has_mfa"]) == ("Admin", 2, False)


def test_mfa_that_nobody_told_us_of_is_absent() -> None:
    document = published(OCSF.render_user(people.MFA_NOT_SAID))
    assert "has_mfa" not in document["user"]
    assert document["enrichments"][0]["data"] == {"is_admin": False}


@pytest.mark.parametrize("address", ["ada@contoso.com\n", "ada", "a da@contoso.com", "ada@contoso", "@b.c"])
def test_what_is_no_address_is_no_email(address: str) -> None:
    user = User(id="1", mail=address, changed_at=CHANGED_AT)
    document = published(OCSF.render_user(user))
    validate_line("ocsf-users", document)
    assert "email_addr" not in document["user"]


def test_the_country_is_a_code() -> None:
    def location(**facts: str) -> object:
        user = User(id="1", changed_at=CHANGED_AT, **facts)  # type: ignore[arg-type]
        return published(OCSF.render_user(user))["user"].get("ldap_person")

    assert location(country="FR", usage_location="FR") == {"location": {"country": "FR"}}
    assert location(country="FR", usage_location="BE") == {
        "location": {"country": "FR"},
        "tags": [{"name": "usage_location", "value": "BE"}],
    }
    assert location(country="France") == {"tags": [{"name": "country", "value": "France"}]}


def test_a_bucket_rendered_again_is_the_same_bytes() -> None:
    once = [encode(OCSF.render_user(user)) for user in people.USERS.values()]
    again = OcsfFormat(CONTEXT)
    assert once == [encode(again.render_user(user)) for user in people.USERS.values()]


@pytest.mark.parametrize("cloud", CLOUDS.values(), ids=CLOUDS)
def test_every_cloud(cloud: Cloud) -> None:
    document = published(OcsfFormat(RenderContext(TENANT, cloud, {})).render_user(people.FULL))
    validate_line("ocsf-users", document)
    assert document["cloud"]["cloud_partition"] == cloud.ocsf_partition


def test_a_group_with_everything() -> None:
    document = published(OCSF.render_group(people.GROUPS["microsoft-365"]))
    assert (document["class_uid"], document["type_uid"], document["time"]) == (5023, 502302, 1772600767891)
    assert document["metadata"]["product"]["feature"] == {"name": "Groups"}
    assert document["resources"] == [
        {
            "uid": "22222222-0000-0000-0000-000000000001",
            "type": "Microsoft Entra ID Group",
            "name": "Everyone",
            "labels": ["Microsoft 365", "Dynamic membership"],
            "created_time": 1609459200000,
            "data": {
                "description": "All of us",
                "mail": "everyone@contoso.com",
                "mail_enabled": True,
                "security_enabled": False,
                "group_types": ["Unified", "DynamicMembership"],
                "visibility": "Public",
                "membership_rule": 'user.department -eq "Engines"',
                "member_count": 3,
                "owner_count": 0,
            },
        }
    ]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("security", ["Security", "role-assignable"]),
        ("mail-enabled-security", ["Mail-enabled security", "Synchronised from on-premises"]),
        ("distribution", ["Distribution"]),
        ("only-an-id", None),
    ],
)
def test_labels_of_groups(name: str, labels: list[str] | None) -> None:
    resource = published(OCSF.render_group(people.GROUPS[name]))["resources"][0]
    assert resource.get("labels") == labels


def test_a_group_of_which_only_the_id_is_known() -> None:
    resource = published(OCSF.render_group(people.GROUPS["only-an-id"]))["resources"][0]
    assert resource == {"uid": people.GROUPS["only-an-id"].id, "type": "Microsoft Entra ID Group"}


def test_a_record_that_was_never_published_has_no_event_time() -> None:
    with pytest.raises(ValueError, match="1 cannot be rendered"):
        OCSF.render_user(User(id="1"))
    with pytest.raises(ValueError, match="2 cannot be rendered"):
        OCSF.render_group(Group(id="2"))
