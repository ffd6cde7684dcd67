"""OCSF 1.8.0: users as User Inventory Info (5003), groups as Cloud Resources Inventory Info (5023).

Every time is OCSF's `timestamp_t`: an integer of milliseconds. What the record does not know is absent.
This runs for every user of the tenant: structs instead of dictionaries, and what is the same in every
event is encoded once (`msgspec.Raw`).
Source: https://schema.ocsf.io/1.8.0/classes/user_inventory?profiles=cloud
"""

import re
from collections.abc import Iterable

import msgspec
from msgspec import UNSET, Raw, UnsetType

from shared.directory.records import Authentication, Group, OnPremises, SignIn, User
from shared.formats.facts import (
    ROLE_ASSIGNABLE,
    EncodedGroups,
    changed_at,
    domain,
    epoch_milliseconds,
    event_milliseconds,
    group_kind,
    user_kind,
)
from shared.formats.interface import Format, GroupLabel, RenderContext

VERSION = "1.8.0"

is_email = re.compile(r"[a-zA-Z0-9!#$%&'*+-/=?^_`{|}~.]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9-.]+").fullmatch
"""OCSF's `email_t`. Internationalised addresses are not of it; they are published as a tag."""

_SMTP = ("SMTP:", "smtp:")
"""The primary address has the first, all others the second."""

_is_country_code = re.compile("[A-Z]{2}").fullmatch

_USER_TYPES = {"user": (1, "User"), "admin": (2, "Admin"), "service": (4, "Service")}

_encode = msgspec.json.encode


class Tag(msgspec.Struct, omit_defaults=True, gc=False):
    """`key_value_object`: one of `value` and `values`."""

    name: str
    value: str | None = None
    values: list[str] | None = None


class Feature(msgspec.Struct, gc=False):
    name: str


class Product(msgspec.Struct, gc=False):
    name: str
    vendor_name: str
    feature: Feature


class Metadata(msgspec.Struct, gc=False):
    version: str
    product: Raw
    profiles: Raw
    tenant_uid: str
    uid: str


class CloudAccount(msgspec.Struct, gc=False):
    uid: str
    type: str = "M365 Tenant"
    type_id: int = 17


class CloudProfile(msgspec.Struct, gc=False):
    """The `cloud` profile: whose directory this is, and in which of Microsoft's clouds."""

    provider: str
    cloud_partition: str
    account: CloudAccount


class Account(msgspec.Struct, omit_defaults=True, gc=False):
    uid: str
    type: str
    type_id: int
    name: str | None = None
    is_disabled: bool | None = None
    is_on_premises_sync_enabled: bool | None = None


class MemberOf(msgspec.Struct, omit_defaults=True, gc=False):
    """`group`, as a member shows it."""

    uid: str
    name: str | None = None
    desc: str | None = None
    privileges: list[str] | None = None


class Organization(msgspec.Struct, omit_defaults=True, gc=False):
    name: str
    ou_name: str | None = None


class Location(msgspec.Struct, omit_defaults=True, gc=False):
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: str | None = None


class Manager(msgspec.Struct, gc=False):
    uid: str


class LdapPerson(msgspec.Struct, omit_defaults=True, gc=False):
    given_name: str | None = None
    surname: str | None = None
    job_title: str | None = None
    department: str | None = None
    cost_center: str | None = None
    employee_uid: str | None = None
    manager: Manager | None = None
    labels: list[str] | None = None
    email_addrs: list[str] | None = None
    phone_number: str | None = None
    office_location: str | None = None
    location: Location | None = None
    created_time: int | None = None
    hire_time: int | None = None
    leave_time: int | None = None
    last_login_time: int | None = None
    ldap_dn: str | None = None
    tags: list[Tag] | None = None


class InventoryUser(msgspec.Struct, omit_defaults=True, gc=False):
    """OCSF's `user`."""

    uid: str
    type: str
    type_id: int
    account: Account
    name: str | None = None
    uid_alt: str | None = None
    display_name: str | None = None
    full_name: str | None = None
    domain: str | None = None
    email_addr: str | None = None
    phone_number: str | None = None
    has_mfa: bool | None = None
    org: Organization | None = None
    groups: list[Raw] | None = None
    ldap_person: LdapPerson | None = None


class PasswordChange(msgspec.Struct, gc=False):
    last_password_change_at: str


class Enrichment(msgspec.Struct, omit_defaults=True, gc=False):
    """What the schema has no attribute for: `data` is in the words of our own record."""

    name: str
    value: str
    data: Authentication | SignIn | PasswordChange
    created_time: int | None = None


class UserInventoryInfo(msgspec.Struct, kw_only=True, gc=False):
    """One line of `ocsf-users`. The defaults are written too: they say what class of event this is."""

    class_uid: int = 5003
    class_name: str = "User Inventory Info"
    category_uid: int = 5
    category_name: str = "Discovery"
    activity_id: int = 2
    activity_name: str = "Collect"
    type_uid: int = 500302
    type_name: str = "User Inventory Info: Collect"
    severity_id: int = 1
    severity: str = "Informational"
    time: int
    metadata: Metadata
    cloud: Raw
    user: InventoryUser
    enrichments: list[Enrichment] | UnsetType = UNSET


class GroupFacts(msgspec.Struct, omit_defaults=True, gc=False):
    """`data` of a group: what the schema's resource has no attribute for, in the words of our own record."""

    description: str | None = None
    mail: str | None = None
    mail_enabled: bool | None = None
    security_enabled: bool | None = None
    group_types: list[str] | None = None
    visibility: str | None = None
    membership_rule: str | None = None
    is_assignable_to_role: bool | None = None
    on_premises: OnPremises | None = None
    member_count: int | None = None
    owner_count: int | None = None


class Resource(msgspec.Struct, omit_defaults=True, gc=False):
    """OCSF's `resource_details`."""

    uid: str
    type: str
    name: str | None = None
    uid_alt: str | None = None
    labels: list[str] | None = None
    created_time: int | None = None
    data: GroupFacts | None = None


class CloudResourcesInventoryInfo(msgspec.Struct, kw_only=True, gc=False):
    """One line of `ocsf-groups`. The defaults are written too: they say what class of event this is."""

    class_uid: int = 5023
    class_name: str = "Cloud Resources Inventory Info"
    category_uid: int = 5
    category_name: str = "Discovery"
    activity_id: int = 2
    activity_name: str = "Collect"
    type_uid: int = 502302
    type_name: str = "Cloud Resources Inventory Info: Collect"
    severity_id: int = 1
    severity: str = "Informational"
    time: int
    metadata: Metadata
    cloud: Raw
    resources: tuple[Resource]


_NO_PERSON = LdapPerson()
_NO_FACTS = GroupFacts()
_PROFILES = Raw(_encode(["cloud"]))


def _member_of(label: GroupLabel) -> MemberOf:
    privileges = [ROLE_ASSIGNABLE] if label.is_assignable_to_role else None
    return MemberOf(label.id, label.display_name, label.description, privileges)


class OcsfFormat(Format):
    """Users and groups as OCSF inventory events."""

    name = "ocsf"
    users_dataset = "ocsf-users"
    groups_dataset = "ocsf-groups"

    def __init__(self, context: RenderContext) -> None:
        super().__init__(context)
        tenant = context.tenant_id
        self._tenant = tenant
        self._cloud = Raw(_encode(CloudProfile("Azure", context.cloud.ocsf_partition, CloudAccount(tenant))))
        self._users = _product("Users")
        self._groups = _product("Groups")
        self._encoded_groups = EncodedGroups(context.groups, _member_of)
        self._groups_of = self._encoded_groups.__getitem__

    def know(self, groups: Iterable[GroupLabel]) -> None:
        """See `Format.know`."""
        self._encoded_groups.add(groups)

    def render_user(self, user: User) -> UserInventoryInfo:
        """The user as a User Inventory Info event. Raises ValueError for a record without `changed_at`."""
        uid = user.id
        name = user.user_principal_name
        display_name = user.display_name
        changed = changed_at(user)
        type_id, type_caption = _USER_TYPES[user_kind(user)]
        on_premises = user.on_premises
        authentication = user.authentication
        mail = user.mail
        enabled = user.account_enabled
        company = user.company_name
        groups = user.groups
        uid_alt = on_premises.security_identifier if on_premises is not None else None
        return UserInventoryInfo(
            time=event_milliseconds(changed),
            metadata=Metadata(VERSION, self._users, _PROFILES, self._tenant, f"{uid}@{changed}"),
            cloud=self._cloud,
            user=InventoryUser(
                uid,
                type_caption,
                type_id,
                Account(
                    uid,
                    "Azure AD Account",
                    6,
                    name,
                    None if enabled is None else not enabled,
                    on_premises.sync_enabled if on_premises is not None else None,
                ),
                name,
                uid_alt or user.security_identifier,
                display_name,
                display_name,
                domain(name),
                mail if mail and is_email(mail) else None,
                user.mobile_phone,
                authentication.is_mfa_registered if authentication is not None else None,
                Organization(company, user.department) if company else None,
                None if groups is None else [*map(self._groups_of, groups)],
                _person(user),
            ),
            enrichments=_enrichments(user),
        )

    def render_group(self, group: Group) -> CloudResourcesInventoryInfo:
        """The group as an inventoried resource. Raises ValueError for a record without `changed_at`."""
        changed = changed_at(group)
        on_premises = group.on_premises
        data = GroupFacts(
            description=group.description,
            mail=group.mail,
            mail_enabled=group.mail_enabled,
            security_enabled=group.security_enabled,
            group_types=group.group_types,
            visibility=group.visibility,
            membership_rule=group.membership_rule,
            is_assignable_to_role=group.is_assignable_to_role,
            on_premises=on_premises,
            member_count=group.member_count,
            owner_count=group.owner_count,
        )
        resource = Resource(
            uid=group.id,
            type="Microsoft Entra ID Group",
            name=group.display_name,
            uid_alt=on_premises.security_identifier if on_premises is not None else None,
            labels=_group_labels(group) or None,
            created_time=None if group.created_at is None else epoch_milliseconds(group.created_at),
            data=None if data == _NO_FACTS else data,
        )
        return CloudResourcesInventoryInfo(
            time=event_milliseconds(changed),
            metadata=Metadata(VERSION, self._groups, _PROFILES, self._tenant, f"{group.id}@{changed}"),
            cloud=self._cloud,
            resources=(resource,),
        )


def _product(feature: str) -> Raw:
    return Raw(_encode(Product("Microsoft Entra ID", "Microsoft", Feature(feature))))


def _person(user: User) -> LdapPerson | None:
    """What the directory says of the person, or none where it says nothing."""
    on_premises = user.on_premises
    sign_in = user.sign_in
    addresses = _further_addresses(user)
    country = _country(user)
    location = (
        Location(user.city, user.state, user.postal_code, country)
        if user.city or user.state or user.postal_code or country
        else None
    )
    labels = [label for label in (user.user_type, user.employee_type) if label]
    created = user.created_at
    hired = user.employee_hire_date
    leaves = user.employee_leave_at
    last_login = sign_in.last_success_at if sign_in is not None else None
    phones = user.business_phones
    person = LdapPerson(
        user.given_name,
        user.surname,
        user.job_title,
        user.department,
        user.cost_center,
        user.employee_id,
        None if user.manager_id is None else Manager(user.manager_id),
        labels or None,
        addresses.mail or None,
        phones[0] if phones else None,
        user.office_location,
        location,
        None if created is None else epoch_milliseconds(created),
        None if hired is None else epoch_milliseconds(hired),
        None if leaves is None else epoch_milliseconds(leaves),
        None if last_login is None else epoch_milliseconds(last_login),
        on_premises.distinguished_name if on_premises is not None else None,
        _tags(user, country, addresses) or None,
    )
    return None if person == _NO_PERSON else person


class FurtherAddresses(msgspec.Struct, gc=False):
    """What a user has beside `email_addr`, each address once, whatever its case."""

    mail: list[str]
    """Of OCSF's form."""
    foreign: list[str]
    """Mail addresses that are not of OCSF's form, `mail` included."""
    other: list[str]
    """Proxy addresses that are not of mail: `SIP:`, `X500:` …, with their prefix."""


def _further_addresses(user: User) -> FurtherAddresses:
    mail = user.mail
    proxies = user.proxy_addresses
    valid: list[str] = []
    foreign: list[str] = [mail] if mail and not is_email(mail) else []
    other: list[str] = []
    addresses: list[str] = []
    if proxies:
        for proxy in proxies:
            if proxy.startswith(_SMTP):
                addresses.append(proxy[5:])
            else:
                other.append(proxy)
    if user.other_mails:
        addresses += user.other_mails
    if addresses:
        seen = {"", mail.lower() if mail else ""}
        for address in addresses:
            folded = address.lower()
            if folded not in seen:
                seen.add(folded)
                (valid if is_email(address) else foreign).append(address)
    return FurtherAddresses(valid, foreign, other)


def _country(user: User) -> str | None:
    """OCSF wants ISO 3166-1 alpha-2. Entra's country is free text, its usage location is such a code."""
    country = user.country
    if country and _is_country_code(country):
        return country
    usage_location = user.usage_location
    return usage_location if usage_location and _is_country_code(usage_location) else None


def _tags(user: User, country: str | None, addresses: FurtherAddresses) -> list[Tag]:
    """What the schema has no attribute for and what is a name and a value: in the words of our own record."""
    tags: list[Tag] = []
    on_premises = user.on_premises
    if on_premises is not None:
        if on_premises.sam_account_name:
            tags.append(Tag("sam_account_name", on_premises.sam_account_name))
        if on_premises.domain_name:
            tags.append(Tag("domain_name", on_premises.domain_name))
        if on_premises.last_sync_at:
            tags.append(Tag("last_sync_at", on_premises.last_sync_at))
        if on_premises.security_identifier and user.security_identifier:  # the first is `uid_alt`
            tags.append(Tag("security_identifier", user.security_identifier))
    if user.country and user.country != country:
        tags.append(Tag("country", user.country))
    if user.usage_location and user.usage_location != country:
        tags.append(Tag("usage_location", user.usage_location))
    if addresses.foreign:
        tags.append(Tag("mail_addresses", None, addresses.foreign))
    if addresses.other:
        tags.append(Tag("proxy_addresses", None, addresses.other))
    if user.business_phones and len(user.business_phones) > 1:
        tags.append(Tag("business_phones", None, user.business_phones[1:]))
    if user.owned_groups:
        tags.append(Tag("owned_groups", None, user.owned_groups))
    return tags


def _enrichments(user: User) -> list[Enrichment] | UnsetType:
    """Registered methods, sign-ins and the password's age, each with the user's id as its value."""
    enrichments: list[Enrichment] = []
    authentication = user.authentication
    if authentication is not None:
        as_of = authentication.as_of
        created = None if as_of is None else epoch_milliseconds(as_of)
        enrichments.append(Enrichment("authentication_methods", user.id, authentication, created))
    if user.sign_in is not None:
        enrichments.append(Enrichment("sign_in", user.id, user.sign_in))
    if user.last_password_change_at is not None:
        change = PasswordChange(user.last_password_change_at)
        enrichments.append(Enrichment("last_password_change", user.id, change))
    return enrichments or UNSET


def _group_labels(group: Group) -> list[str]:
    labels = []
    kind = group_kind(group)
    if kind is not None:
        labels.append(kind)
    if group.group_types is not None and "DynamicMembership" in group.group_types:
        labels.append("Dynamic membership")
    if group.is_assignable_to_role:
        labels.append(ROLE_ASSIGNABLE)
    if group.on_premises is not None and group.on_premises.sync_enabled:
        labels.append("Synchronised from on-premises")
    return labels
