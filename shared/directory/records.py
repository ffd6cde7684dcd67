"""The records that are published: one struct a line of a part.

Fields stand in the order of the contract. `None` is "Graph gave no value" and is left out of the JSON;
an empty list that Graph gives stays. Times are RFC 3339 texts in UTC. Ids are Graph's.
"""

from typing import Literal

import msgspec

type MemberType = Literal["user", "group", "device", "service_principal", "contact", "unknown"]
type Relation = Literal["member", "owner"]
type Operation = Literal["added", "updated", "removed"]


class OnPremises(msgspec.Struct, omit_defaults=True, gc=False):
    """What a synchronised object is in Active Directory."""

    sync_enabled: bool | None = None
    sam_account_name: str | None = None
    security_identifier: str | None = None
    distinguished_name: str | None = None
    domain_name: str | None = None
    last_sync_at: str | None = None


class Authentication(msgspec.Struct, omit_defaults=True, gc=False):
    """What a user has registered to sign in with."""

    is_mfa_registered: bool | None = None
    is_mfa_capable: bool | None = None
    is_passwordless_capable: bool | None = None
    methods: list[str] | None = None
    """Sorted, in the vocabulary of the registration report, whatever the source."""
    default_method: str | None = None
    is_admin: bool | None = None
    source: Literal["report", "methods"] | None = None
    as_of: str | None = None
    """The report row's `lastUpdatedDateTime`, or when the methods were read."""


class SignIn(msgspec.Struct, omit_defaults=True, gc=False):
    """When a user last signed in."""

    last_success_at: str | None = None
    last_interactive_at: str | None = None
    last_non_interactive_at: str | None = None


class User(msgspec.Struct, omit_defaults=True, gc=False):
    """One user. Source: Graph's `user`, with its groups, methods and sign-ins joined in."""

    id: str
    user_principal_name: str | None = None
    display_name: str | None = None
    given_name: str | None = None
    surname: str | None = None
    mail: str | None = None
    other_mails: list[str] | None = None
    proxy_addresses: list[str] | None = None
    user_type: str | None = None
    account_enabled: bool | None = None
    created_at: str | None = None
    last_password_change_at: str | None = None
    employee_id: str | None = None
    employee_type: str | None = None
    employee_hire_date: str | None = None
    employee_leave_at: str | None = None
    job_title: str | None = None
    department: str | None = None
    company_name: str | None = None
    cost_center: str | None = None
    office_location: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None
    usage_location: str | None = None
    mobile_phone: str | None = None
    business_phones: list[str] | None = None
    manager_id: str | None = None
    on_premises: OnPremises | None = None
    security_identifier: str | None = None
    groups: list[str] | None = None
    """Ids of the groups that list this user directly, sorted."""
    owned_groups: list[str] | None = None
    authentication: Authentication | None = None
    sign_in: SignIn | None = None
    changed_at: str | None = None
    """The start of the run in which this record was added or last updated."""


class Group(msgspec.Struct, omit_defaults=True, gc=False):
    """One group. Counts are of the published edges."""

    id: str
    display_name: str | None = None
    description: str | None = None
    mail: str | None = None
    mail_enabled: bool | None = None
    security_enabled: bool | None = None
    group_types: list[str] | None = None
    visibility: str | None = None
    membership_rule: str | None = None
    is_assignable_to_role: bool | None = None
    created_at: str | None = None
    on_premises: OnPremises | None = None
    member_count: int | None = None
    owner_count: int | None = None
    changed_at: str | None = None


class Membership(msgspec.Struct, frozen=True, gc=False):
    """One direct edge from a group to a member or an owner."""

    group_id: str
    member_id: str
    member_type: MemberType
    relation: Relation

    @property
    def id(self) -> str:
        """How a change names this edge."""
        return f"{self.group_id}|{self.relation}|{self.member_id}"


class Change(msgspec.Struct, omit_defaults=True, gc=False):
    """One line of a `changes` part."""

    dataset: Literal["users", "groups", "memberships"]
    operation: Operation
    id: str
    record: User | Group | Membership | msgspec.Raw | None = None
    """The whole new record; none for a removal."""
    reason: Literal["soft_deleted", "deleted"] | None = None
    """Why a user was removed."""
