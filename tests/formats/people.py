"""Records that stand for what a tenant holds, and what is around them."""

import json
from typing import Any

import msgspec

from shared.clouds import PUBLIC
from shared.directory.records import Authentication, Group, OnPremises, SignIn, User
from shared.formats.interface import GroupLabel, RenderContext

TENANT = "5f1c0a9e-3b61-4c0e-9a67-0d0f3d1c2b4a"
CHANGED_AT = "2026-03-04T05:06:07.891234Z"

ENGINEERS = "11111111-0000-0000-0000-000000000001"
ROLE_ADMINS = "11111111-0000-0000-0000-000000000002"
NAMELESS = "11111111-0000-0000-0000-000000000003"
UNREADABLE = "11111111-0000-0000-0000-000000000004"

CONTEXT = RenderContext(
    tenant_id=TENANT,
    cloud=PUBLIC,
    groups={
        ENGINEERS: GroupLabel(ENGINEERS, "Engineers", "Who builds things", False),
        ROLE_ADMINS: GroupLabel(ROLE_ADMINS, "Role admins", None, True),
        NAMELESS: GroupLabel(NAMELESS),
    },
)

FULL = User(
    id="00000000-0000-0000-0000-00000000000a",
    user_principal_name="ada@contoso.com",
    display_name="Ada Lovelace",
    given_name="Ada",
    surname="Lovelace",
    mail="Ada.Lovelace@contoso.com",
    other_mails=["ada@example.org"],
    proxy_addresses=[
        "SMTP:ada.lovelace@contoso.com",
        "smtp:countess@contoso.com",
        "smtp:zoé@exämple.com",
        "SIP:ada@contoso.com",
    ],
    user_type="Member",
    account_enabled=True,
    created_at="2020-01-02T03:04:05Z",
    last_password_change_at="2026-01-01T00:00:00.5Z",
    employee_id="1815",
    employee_type="Employee",
    employee_hire_date="1965-12-10T00:00:00Z",
    employee_leave_at="9999-12-31T00:00:00Z",
    job_title="Analyst",
    department="Engines",
    company_name="Contoso",
    cost_center="CC-1",
    office_location="London 1",
    city="London",
    state="England",
    postal_code="SW1",
    country="United Kingdom",
    usage_location="GB",
    mobile_phone="+44 1",
    business_phones=["+44 2", "+44 3"],
    manager_id="00000000-0000-0000-0000-00000000000b",
    on_premises=OnPremises(
        sync_enabled=True,
        sam_account_name="ada",
        security_identifier="S-1-5-21-1-2-3-1001",
        distinguished_name="CN=Ada,DC=contoso,DC=com",
        domain_name="contoso.com",
        last_sync_at="2026-03-01T00:00:00Z",
    ),
    security_identifier="S-1-12-1-1-2-3-4",
    groups=[ENGINEERS, ROLE_ADMINS, NAMELESS, UNREADABLE],
    owned_groups=[ENGINEERS],
    authentication=Authentication(
        is_mfa_registered=True,
        is_mfa_capable=True,
        is_passwordless_capable=False,
        methods=["microsoftAuthenticatorPush", "mobilePhone"],
        default_method="push",
        is_admin=False,
        source="report",
        as_of="2026-03-03T00:00:00Z",
    ),
    sign_in=SignIn(
        last_success_at="2026-03-02T00:00:00Z",
        last_interactive_at="2026-03-02T01:00:00Z",
        last_non_interactive_at="2026-03-02T02:00:00Z",
    ),
    changed_at=CHANGED_AT,
)

ONLY_AN_ID = User(id="00000000-0000-0000-0000-000000000001", changed_at=CHANGED_AT)

GUEST = User(
    id="00000000-0000-0000-0000-000000000002",
    user_principal_name="grace_example.org#EXT#@contoso.onmicrosoft.com",
    display_name="Grace Hopper",
    mail="grace@example.org",
    user_type="Guest",
    groups=[],
    changed_at=CHANGED_AT,
)

SERVICE_ACCOUNT = User(
    id="00000000-0000-0000-0000-000000000003",
    user_principal_name="backup@contoso.com",
    employee_type="Service Account",
    account_enabled=False,
    changed_at=CHANGED_AT,
)

SYNCHRONISED = User(
    id="00000000-0000-0000-0000-000000000004",
    user_principal_name="alan@contoso.com",
    on_premises=OnPremises(sync_enabled=True, sam_account_name="alan"),
    security_identifier="S-1-12-1-9-9-9-9",
    changed_at=CHANGED_AT,
)

WORLDLY = User(
    id="00000000-0000-0000-0000-000000000005",
    user_principal_name="zoé@exämple.com",
    display_name='‮שלום 👩🏽‍🚀 "Zoë" \\ \x07\u2028 Ünïcode',
    given_name="宮本",
    mail="zoé@exämple.com",
    other_mails=["ZOÉ@exämple.com", "zoe@example.com"],
    city="القاهرة",
    country="EG",
    changed_at=CHANGED_AT,
)

ADMIN_WITHOUT_MFA = User(
    id="00000000-0000-0000-0000-000000000006",
    user_principal_name="root@contoso.com",
    employee_type="service",
    authentication=Authentication(is_mfa_registered=False, methods=[], is_admin=True, source="report"),
    changed_at=CHANGED_AT,
)

MFA_NOT_SAID = User(
    id="00000000-0000-0000-0000-000000000007",
    user_principal_name="unknown@contoso.com",
    authentication=Authentication(is_admin=False),
    changed_at=CHANGED_AT,
)

USERS = {
    "full": FULL,
    "only-an-id": ONLY_AN_ID,
    "guest": GUEST,
    "service-account": SERVICE_ACCOUNT,
    "synchronised": SYNCHRONISED,
    "worldly": WORLDLY,
    "admin-without-mfa": ADMIN_WITHOUT_MFA,
    "mfa-not-said": MFA_NOT_SAID,
}


def group(name: str, **facts: Any) -> Group:
    return Group(id="22222222-0000-0000-0000-000000000001", display_name=name, changed_at=CHANGED_AT, **facts)


GROUPS = {
    "microsoft-365": group(
        "Everyone",
        description="All of us",
        mail="everyone@contoso.com",
        mail_enabled=True,
        security_enabled=False,
        group_types=["Unified", "DynamicMembership"],
        visibility="Public",
        membership_rule='user.department -eq "Engines"',
        created_at="2021-01-01T00:00:00Z",
        member_count=3,
        owner_count=0,
    ),
    "security": group(
        "Role admins", mail_enabled=False, security_enabled=True, group_types=[], is_assignable_to_role=True
    ),
    "mail-enabled-security": group(
        "Synced",
        mail_enabled=True,
        security_enabled=True,
        group_types=[],
        on_premises=OnPremises(sync_enabled=True, security_identifier="S-1-5-21-1-2-3-2001"),
    ),
    "distribution": group("News", mail_enabled=True, security_enabled=False, group_types=[]),
    "only-an-id": Group(id="22222222-0000-0000-0000-000000000002", changed_at=CHANGED_AT),
}


def published(line: object) -> dict[str, Any]:
    """The line as a consumer reads it."""
    document: dict[str, Any] = json.loads(msgspec.json.encode(line))
    return document
