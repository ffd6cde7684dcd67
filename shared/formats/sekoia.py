"""Sekoia's asset inventory: the items that its own Microsoft Entra ID connector posts, one a user.

Close to OCSF, and not OCSF: times are seconds with a fraction, and the account's state stands in
enrichments. The models of the PyPI package `sekoia-automation-models` say what is accepted; fields that they
do not name would be dropped without a word, so none is written.
Where a model requires a name that Entra does not give, the id stands in.
"""

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, Raw, UnsetType

from shared.directory.records import User
from shared.formats.facts import (
    ROLE_ASSIGNABLE,
    EncodedGroups,
    changed_at,
    domain,
    epoch_milliseconds,
    event_milliseconds,
    user_kind,
)
from shared.formats.interface import Format, GroupLabel, RenderContext

_USER_TYPES = {"user": (1, "User"), "admin": (2, "Admin"), "service": (4, "Service")}


class Account(msgspec.Struct, gc=False):
    name: str
    uid: str
    type: str = "Azure AD Account"
    type_id: int = 6


class MemberOf(msgspec.Struct, omit_defaults=True, gc=False):
    """Sekoia's `Group`."""

    uid: str
    name: str
    desc: str | None = None
    privileges: list[str] | None = None


class Organization(msgspec.Struct, omit_defaults=True, gc=False):
    name: str
    ou_name: str | None = None


class LdapPerson(msgspec.Struct, omit_defaults=True, gc=False):
    given_name: str | None = None
    surname: str | None = None
    job_title: str | None = None
    department: str | None = None
    employee_uid: str | None = None
    office_location: str | None = None


class AssetUser(msgspec.Struct, omit_defaults=True, gc=False):
    """Sekoia's `User`."""

    uid: str
    name: str
    type: str
    type_id: int
    account: Account
    uid_alt: str | None = None
    display_name: str | None = None
    full_name: str | None = None
    domain: str | None = None
    email_addr: str | None = None
    has_mfa: bool | None = None
    org: Organization | None = None
    groups: list[Raw] | None = None
    ldap_person: LdapPerson | None = None


class AccountState(msgspec.Struct, omit_defaults=True, gc=False):
    is_enabled: bool | None = None
    last_logon: str | None = None
    last_time_password_change: float | None = None


class Enrichment(msgspec.Struct, gc=False):
    name: str
    value: str
    data: AccountState


class UserAsset(msgspec.Struct, kw_only=True, gc=False):
    """One line of `sekoia-users`: an item of `POST …/asset-connector/{id}`. The defaults are written too."""

    activity_id: int = 2
    activity_name: str = "Collect"
    category_name: str = "Discovery"
    category_uid: int = 5
    class_name: str = "User Inventory Info"
    class_uid: int = 5003
    type_name: str = "User Inventory Info: Collect"
    type_uid: int = 500302
    severity: str = "Informational"
    severity_id: int = 1
    time: float
    metadata: Raw
    user: AssetUser
    enrichments: list[Enrichment] | UnsetType = UNSET


_NO_PERSON = LdapPerson()
_NO_STATE = AccountState()
_METADATA = Raw(b'{"version":"1.6.0","product":{"name":"Microsoft Entra ID","version":"1.0"}}')
"""The version of OCSF that Sekoia's connector names."""


def _member_of(label: GroupLabel) -> MemberOf:
    privileges = [ROLE_ASSIGNABLE] if label.is_assignable_to_role else None
    return MemberOf(label.id, label.display_name or label.id, label.description, privileges)


class SekoiaFormat(Format):
    """Users as Sekoia's asset inventory takes them. It takes no groups."""

    name = "sekoia"
    users_dataset = "sekoia-users"

    def __init__(self, context: RenderContext) -> None:
        super().__init__(context)
        self._encoded_groups = EncodedGroups(context.groups, _member_of)
        self._groups_of = self._encoded_groups.__getitem__

    def know(self, groups: Iterable[GroupLabel]) -> None:
        """See `Format.know`."""
        self._encoded_groups.add(groups)

    def render_user(self, user: User) -> UserAsset:
        """The user as an item of Sekoia's asset inventory. Raises ValueError without `changed_at`."""
        uid = user.id
        name = user.user_principal_name or uid
        type_id, type_caption = _USER_TYPES[user_kind(user)]
        on_premises = user.on_premises
        authentication = user.authentication
        company = user.company_name
        groups = user.groups
        person = LdapPerson(
            user.given_name,
            user.surname,
            user.job_title,
            user.department,
            user.employee_id,
            user.office_location,
        )
        return UserAsset(
            time=event_milliseconds(changed_at(user)) / 1000,
            metadata=_METADATA,
            user=AssetUser(
                uid,
                name,
                type_caption,
                type_id,
                Account(name, uid),
                on_premises.sam_account_name if on_premises is not None else None,
                user.display_name,
                user.display_name,
                domain(user.user_principal_name),
                user.mail,
                authentication.is_mfa_registered if authentication is not None else None,
                Organization(company, user.department) if company else None,
                None if groups is None else [*map(self._groups_of, groups)],
                None if person == _NO_PERSON else person,
            ),
            enrichments=_enrichments(user),
        )


def _enrichments(user: User) -> list[Enrichment] | UnsetType:
    """The account's state, and the employment as one text."""
    enrichments: list[Enrichment] = []
    changed = user.last_password_change_at
    state = AccountState(
        user.account_enabled,
        # Not the last attempt, which Sekoia's connector takes: that one may have failed.
        user.sign_in.last_success_at if user.sign_in is not None else None,
        None if changed is None else epoch_milliseconds(changed) / 1000,
    )
    if state != _NO_STATE:
        enrichments.append(Enrichment("account", "status", state))
    employment = " - ".join([part for part in (user.department, user.job_title) if part])
    if employment or user.employee_id or user.employee_type:
        enrichments.append(Enrichment("employment", employment or "info", _NO_STATE))
    return enrichments or UNSET
