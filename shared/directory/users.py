"""From Graph's user to the record, and from the rows of a bucket to the users that are alive."""

from collections.abc import Container, Iterable
from typing import Any

import msgspec

from shared.directory import records, values
from shared.directory.values import time
from shared.errors import InvalidPage
from shared.graph import objects
from shared.graph.paging import decode_objects

_users = msgspec.json.Decoder(list[objects.User])
_documents = msgspec.json.Decoder(list[dict[str, Any]])


def read_users(rows: bytes) -> tuple[dict[str, objects.User], dict[str, str]]:
    """The users of a bucket by id, and the reason of each tombstone by id, from the rows as they were read.

    An object that comes more than once is merged: a later value wins, and what was left out stays.
    """
    listed = decode_objects(rows, _users, "users")
    users = {user.id: user for user in listed}
    if len(users) < len(listed):
        merged = merge_documents(decode_objects(rows, _documents, "users"), ("manager@delta",))
        users = {user.id: user for user in msgspec.convert(merged, list[objects.User])}
    removed = {user.id: user.removed.reason for user in users.values() if user.removed is not None}
    for object_id in removed:
        del users[object_id]
    return users, removed


def merge_documents(documents: Iterable[dict[str, Any]], lists: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """One document an id. Later values win; those named in `lists` are strung together in order.

    A tombstone ends what came before it, and an object that comes after a tombstone was restored.
    """
    merged: dict[str, dict[str, Any]] = {}
    for document in documents:
        object_id = document["id"]
        known = merged.get(object_id)
        if known is None or "@removed" in document or "@removed" in known:
            merged[object_id] = document
            continue
        strung = {key: (known.get(key) or []) + (document.get(key) or []) for key in lists if key in known}
        merged[object_id] = {**known, **document, **strung}
    return list(merged.values())


def manager_of(references: list[objects.Reference] | None, manager: str | None = None) -> str | None:
    """The manager that `manager@delta` leaves in place, beginning with `manager`: the last one that was set
    and not removed."""
    for reference in references or ():
        if reference.removed is None:
            manager = reference.id
        elif reference.id == manager:
            manager = None
    return manager


def _manager(user: objects.User) -> str | None:
    listed = user.manager.id if user.manager is not None else None
    return manager_of(user.manager_changes, listed) if user.manager_changes else listed


FIELDS = {
    "userPrincipalName": "user_principal_name",
    "displayName": "display_name",
    "givenName": "given_name",
    "surname": "surname",
    "mail": "mail",
    "otherMails": "other_mails",
    "proxyAddresses": "proxy_addresses",
    "userType": "user_type",
    "accountEnabled": "account_enabled",
    "createdDateTime": "created_at",
    "lastPasswordChangeDateTime": "last_password_change_at",
    "employeeId": "employee_id",
    "employeeType": "employee_type",
    "employeeHireDate": "employee_hire_date",
    "employeeLeaveDateTime": "employee_leave_at",
    "jobTitle": "job_title",
    "department": "department",
    "companyName": "company_name",
    "employeeOrgData": "cost_center",
    "officeLocation": "office_location",
    "city": "city",
    "state": "state",
    "postalCode": "postal_code",
    "country": "country",
    "usageLocation": "usage_location",
    "mobilePhone": "mobile_phone",
    "businessPhones": "business_phones",
    "securityIdentifier": "security_identifier",
}
"""The field of the record that each property fills."""

ON_PREMISES_FIELDS = {
    "onPremisesSyncEnabled": "sync_enabled",
    "onPremisesSamAccountName": "sam_account_name",
    "onPremisesSecurityIdentifier": "security_identifier",
    "onPremisesDistinguishedName": "distinguished_name",
    "onPremisesDomainName": "domain_name",
    "onPremisesLastSyncDateTime": "last_sync_at",
}


def read_changes(rows: bytes) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What changed of users, by id, and the reason of each tombstone: from the rows of an incremental run."""
    changed, removed = {}, {}
    documents = decode_objects(rows, _documents, "users")
    for document in merge_documents(documents, ("manager@delta",)):
        object_id = document["id"]
        if (tombstone := document.get("@removed")) is not None:
            removed[object_id] = msgspec.convert(tombstone, objects.Removed).reason
        else:
            changed[object_id] = document
    return changed, removed


def apply_user(document: dict[str, Any], known: records.User | None) -> records.User:
    """The record after a change. What Graph left out stays as it is known; null takes a value away.

    Raises `InvalidPage` if a value is of another type, ValueError if a time is none.
    """
    try:
        user = msgspec.convert(document, objects.User)
    except msgspec.ValidationError as error:
        raise InvalidPage(f"users: an object cannot be read: {error}.") from None
    record = user_record(user)
    if known is None:
        return record
    for name, field in FIELDS.items():
        if name not in document:
            setattr(record, field, getattr(known, field))
    record.on_premises = merge_on_premises(document.keys(), record.on_premises, known.on_premises)
    record.manager_id = manager_of(user.manager_changes, known.manager_id)
    record.groups, record.owned_groups = known.groups, known.owned_groups
    record.authentication, record.sign_in = known.authentication, known.sign_in
    return record


def merge_on_premises(
    given: Container[str], now: records.OnPremises | None, known: records.OnPremises | None
) -> records.OnPremises | None:
    """What Active Directory knows, where Graph gave only some of its properties."""
    if known is None:
        return now
    merged = records.OnPremises()
    for name, field in ON_PREMISES_FIELDS.items():
        source = now if name in given else known
        setattr(merged, field, getattr(source, field) if source is not None else None)
    return merged if merged != records.OnPremises() else None


def user_record(user: objects.User) -> records.User:
    """The user as it is published, still without groups, authentication, sign-in and `changed_at`."""
    # Written out, by position and without helpers: this runs for every user of the directory.
    return records.User(
        user.id,
        user.user_principal_name or None,
        user.display_name or None,
        user.given_name or None,
        user.surname or None,
        user.mail or None,
        user.other_mails,
        user.proxy_addresses,
        user.user_type or None,
        user.account_enabled,
        time(user.created_date_time),
        time(user.last_password_change_date_time),
        user.employee_id or None,
        user.employee_type or None,
        time(user.employee_hire_date),
        time(user.employee_leave_date_time),
        user.job_title or None,
        user.department or None,
        user.company_name or None,
        (user.employee_org_data.cost_center or None) if user.employee_org_data else None,
        user.office_location or None,
        user.city or None,
        user.state or None,
        user.postal_code or None,
        user.country or None,
        user.usage_location or None,
        user.mobile_phone or None,
        user.business_phones,
        _manager(user),
        on_premises(
            user.on_premises_sync_enabled,
            user.on_premises_sam_account_name,
            user.on_premises_security_identifier,
            user.on_premises_distinguished_name,
            user.on_premises_domain_name,
            user.on_premises_last_sync_date_time,
        ),
        user.security_identifier or None,
    )


def on_premises(
    sync_enabled: object,
    sam_account_name: object,
    security_identifier: object,
    distinguished_name: object,
    domain_name: object,
    last_sync: object,
) -> records.OnPremises | None:
    """What Active Directory knows of an object, or None where Graph gives nothing of it."""
    if not (sam_account_name or security_identifier or distinguished_name or domain_name or last_sync):
        synced = values.flag(sync_enabled)
        return None if synced is None else records.OnPremises(sync_enabled=synced)
    return records.OnPremises(
        values.flag(sync_enabled),
        values.text(sam_account_name),
        values.text(security_identifier),
        values.text(distinguished_name),
        values.text(domain_name),
        time(last_sync),
    )


class SignInRow(msgspec.Struct, array_like=True, gc=False):
    """What is known of one user's sign-ins, on its way to the build."""

    id: str
    sign_in: records.SignIn


def sign_in_row(user: objects.UserSignIn) -> SignInRow | None:
    """None for a user of whom no sign-in is known."""
    sign_in = sign_in_record(user.sign_in_activity)
    return SignInRow(user.id, sign_in) if sign_in is not None else None


def sign_in_record(activity: objects.SignInActivity | None) -> records.SignIn | None:
    """When the user last signed in, or None where no sign-in is known."""
    if activity is None:
        return None
    sign_in = records.SignIn(
        time(activity.last_successful_sign_in_date_time),
        time(activity.last_sign_in_date_time),
        time(activity.last_non_interactive_sign_in_date_time),
    )
    return sign_in if sign_in != records.SignIn() else None
