"""Graph's objects as they come over the wire: just the properties that we use, under Graph's names.

Unknown properties are skipped by the decoder. `None` stands for null and, save in `Group`, for a property
that Graph left out.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

type Id = Annotated[str, msgspec.Meta(min_length=1)]


class Removed(msgspec.Struct, gc=False):
    """`@removed`: a tombstone. `changed` can be restored, `deleted` cannot."""

    reason: str = "deleted"


class Reference(msgspec.Struct, gc=False):
    """One entry of `members@delta`, `owners@delta` or `manager@delta`."""

    id: Id
    odata_type: str | None = msgspec.field(default=None, name="@odata.type")
    removed: Removed | None = msgspec.field(default=None, name="@removed")


class ObjectId(msgspec.Struct, gc=False):
    """As much of an object as it takes to find its bucket."""

    id: Id


class OrgData(msgspec.Struct, rename="camel", gc=False):
    cost_center: str | None = None


class SignInActivity(msgspec.Struct, rename="camel", gc=False):
    last_sign_in_date_time: str | None = None
    last_non_interactive_sign_in_date_time: str | None = None
    last_successful_sign_in_date_time: str | None = None


class User(msgspec.Struct, rename="camel", gc=False):
    """A user of `users/delta`. https://learn.microsoft.com/graph/api/resources/user"""

    id: Id
    user_principal_name: str | None = None
    display_name: str | None = None
    given_name: str | None = None
    surname: str | None = None
    mail: str | None = None
    other_mails: list[str] | None = None
    proxy_addresses: list[str] | None = None
    user_type: str | None = None
    account_enabled: bool | None = None
    created_date_time: str | None = None
    last_password_change_date_time: str | None = None
    employee_id: str | None = None
    employee_type: str | None = None
    employee_hire_date: str | None = None
    employee_leave_date_time: str | None = None
    job_title: str | None = None
    department: str | None = None
    company_name: str | None = None
    employee_org_data: OrgData | None = None
    office_location: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None
    usage_location: str | None = None
    mobile_phone: str | None = None
    business_phones: list[str] | None = None
    on_premises_sync_enabled: bool | None = None
    on_premises_sam_account_name: str | None = None
    on_premises_security_identifier: str | None = None
    on_premises_distinguished_name: str | None = None
    on_premises_domain_name: str | None = None
    on_premises_last_sync_date_time: str | None = None
    security_identifier: str | None = None
    manager: ObjectId | None = None
    """In a list, by `$expand`."""
    manager_changes: list[Reference] | None = msgspec.field(default=None, name="manager@delta")
    """In a delta."""
    removed: Removed | None = msgspec.field(default=None, name="@removed")


class Group(msgspec.Struct, rename="camel", gc=False):
    """A group of `groups/delta`. https://learn.microsoft.com/graph/api/resources/group

    It is encoded again, without its edges, when it is set aside for the build. `UNSET` keeps what Graph left
    out apart from what it sent as null, since the same group may come again with the rest.
    """

    id: Id
    display_name: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    mail: str | UnsetType | None = UNSET
    mail_enabled: bool | UnsetType | None = UNSET
    security_enabled: bool | UnsetType | None = UNSET
    group_types: list[str] | UnsetType | None = UNSET
    visibility: str | UnsetType | None = UNSET
    membership_rule: str | UnsetType | None = UNSET
    is_assignable_to_role: bool | UnsetType | None = UNSET
    created_date_time: str | UnsetType | None = UNSET
    on_premises_sync_enabled: bool | UnsetType | None = UNSET
    on_premises_sam_account_name: str | UnsetType | None = UNSET
    on_premises_security_identifier: str | UnsetType | None = UNSET
    on_premises_domain_name: str | UnsetType | None = UNSET
    on_premises_last_sync_date_time: str | UnsetType | None = UNSET
    members: list[Reference] | UnsetType | None = msgspec.field(default=UNSET, name="members@delta")
    owners: list[Reference] | UnsetType | None = msgspec.field(default=UNSET, name="owners@delta")
    removed: Removed | UnsetType | None = msgspec.field(default=UNSET, name="@removed")


class RegistrationDetails(msgspec.Struct, rename="camel", gc=False):
    """A row of the registration report. It has none for disabled users.

    https://learn.microsoft.com/graph/api/resources/userregistrationdetails
    """

    id: Id
    is_mfa_registered: bool | None = None
    is_mfa_capable: bool | None = None
    is_passwordless_capable: bool | None = None
    is_admin: bool | None = None
    methods_registered: list[str] | None = None
    default_mfa_method: str | None = None
    last_updated_date_time: str | None = None


class UserSignIn(msgspec.Struct, rename="camel", gc=False):
    """A user as the sign-in dataset reads it."""

    id: Id
    sign_in_activity: SignInActivity | None = None


class Method(msgspec.Struct, rename="camel", gc=False):
    """An entry of `/users/{id}/authentication/methods`; its kind is its type."""

    odata_type: str = msgspec.field(default="", name="@odata.type")
    phone_type: str | None = None
