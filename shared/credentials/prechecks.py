"""Answers that need no attempt: what the directory and the leaked text themselves tell. Pure."""

import re
from collections.abc import Set
from datetime import datetime, timedelta

from shared.credentials.candidates import LONGEST_PASSWORD, Candidate
from shared.credentials.users import Absence, DirectoryUser
from shared.credentials.verdicts import Confidence, Status, Verdict
from shared.directory.values import rfc3339

CLOCK_SKEW = timedelta(minutes=5)
"""Between the platform's clock and Entra's."""

_HASHES = re.compile(
    r"(?P<hex>(0x)?([0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{56}|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128}))"
    r"|[0-9a-f]{32}:[0-9a-f]{1,64}"
    r"|\*[0-9A-F]{40}"
    r"|\$(1|2[abxy]?|5|6|7|y|apr1|argon2(id|i|d)|scrypt|pbkdf2[-a-z0-9]*|P|H|S)\$.{8,}"
    r"|\{(SSHA|SHA|SMD5|MD5|CRYPT|SSHA256|SSHA512)\}.{8,}"
    r"|(pbkdf2_sha\d+|bcrypt_sha256|argon2|sha1|md5)\$.{8,}",
    re.IGNORECASE | re.DOTALL,
)
"""Hex digests by their lengths, and the prefixes of crypt, LDAP, MySQL and web frameworks."""

_PERSONAL_ISSUERS = frozenset({"microsoftaccount", "live.com", "google.com", "facebook.com", "mail"})

_ABSENT: dict[Absence, tuple[Status, str | None, Confidence, str, str]] = {
    "not_found": (
        "not_found",
        None,
        "high",
        "no user in Graph",
        "No user of the tenant has this address, not even a deleted one.",
    ),
    "no_address": (
        "not_found",
        None,
        "high",
        "not an address",
        "The name is no address, so that no user of the tenant can have it.",
    ),
    "deleted": (
        "not_found",
        "deleted",
        "high",
        "among the deleted users",
        "The user was deleted and can be restored for 30 days. Reset the password if that happens.",
    ),
    "ambiguous": (
        "unknown",
        "ambiguous",
        "low",
        "several users in Graph",
        "Several users have this address, so that none of them was tried. Send the user principal name.",
    ),
}


def of_absent(absence: Absence) -> Verdict:
    """The verdict where no single user has the address."""
    status, state, confidence, evidence, detail = _ABSENT[absence]
    return Verdict(
        status=status, account_state=state, confidence=confidence, evidence=(evidence,), detail=detail
    )


def of_user(user: DirectoryUser, candidate: Candidate, federated_domains: Set[str]) -> Verdict | None:
    """The verdict that the directory or the text itself gives; None if only an attempt can tell."""
    return (
        _of_account(user, federated_domains)
        or _of_password_change(user, candidate.first_seen_at)
        or _of_text(candidate.password.reveal())
    )


EXCLUDED = Verdict(
    status="unsupported",
    account_state="excluded",
    confidence="high",
    evidence=("member of VALIDATION_EXCLUDED_GROUP",),
    detail="The account is excluded from password checks. Look at it yourself.",
)

SWITCHED_OFF = Verdict(
    status="unknown",
    account_state="validation_disabled",
    confidence="low",
    evidence=("VALIDATION_ENABLED is false",),
    detail="Password checks are switched off, and nothing else tells whether the password works.",
)


def _of_account(user: DirectoryUser, federated_domains: Set[str]) -> Verdict | None:
    if user.account_enabled is False:
        return Verdict(
            status="disabled",
            account_state="disabled",
            confidence="high",
            evidence=("accountEnabled is false",),
            detail="The account is disabled: nobody can sign in. Reset the password before it is enabled.",
        )
    if (user.user_type or "").lower() == "guest" or user.creation_type == "Invitation":
        return _unsupported(
            "guest", "userType is Guest", "The password of a guest belongs to another tenant."
        )
    if "#EXT#" in user.user_principal_name.upper():
        return _unsupported("external", "userPrincipalName holds #EXT#", _ELSEWHERE)
    if issuer := _foreign_issuer(user):
        state = "personal" if issuer.lower() in _PERSONAL_ISSUERS else "external"
        return _unsupported(state, f"identities name {issuer}", _ELSEWHERE)
    if user.domain in federated_domains:
        return _unsupported(
            "federated",
            f"domain {user.domain} is Federated",
            "The password is checked by the organisation's own server. Entra would call a right one wrong.",
        )
    return None


_ELSEWHERE = "The password is checked by another identity provider. This tenant cannot tell."


def _foreign_issuer(user: DirectoryUser) -> str | None:
    """Who checks the password, if it is not this tenant; None where Graph does not say."""
    local = ("userPrincipalName", "emailAddress", "userName")
    known = [one for one in user.identities or () if one.sign_in_type]
    if not known or any(one.sign_in_type in local for one in known):
        return None
    return known[0].issuer or "another issuer"


def _of_password_change(user: DirectoryUser, first_seen_at: datetime | None) -> Verdict | None:
    """A password that was seen before the present one was set is an older one."""
    changed = user.last_password_change_date_time
    if first_seen_at is None or changed is None or changed.year == 1:
        return None
    if changed - CLOCK_SKEW <= first_seen_at:
        return None
    return Verdict(
        status="superseded",
        account_state="password_changed",
        # A user may set the old password again; and of synchronised users the date may lag behind.
        confidence="low" if user.on_premises_sync_enabled else "medium",
        evidence=(f"lastPasswordChangeDateTime is {rfc3339(changed)}",),
        detail="The user has changed the password since the leak was first seen.",
    )


def _of_text(password: str) -> Verdict | None:
    if not password:
        return _unsupported("empty_password", "the password is empty", "There is no password to check.")
    if len(password) > LONGEST_PASSWORD:
        return _unsupported(
            "password_too_long",
            f"the password is longer than {LONGEST_PASSWORD} characters",
            "Entra has no passwords of this length.",
        )
    if password != password.strip():
        return _unsupported(
            "whitespace",
            "the password begins or ends with whitespace",
            "Entra's sign-in does not accept such a password, so that a wrong answer would prove nothing.",
        )
    if _HASHES.fullmatch(password):
        return _unsupported(
            "hash", "the password looks like a hash", "Only the hash was leaked, which cannot be tried."
        )
    return None


def _unsupported(state: str, evidence: str, detail: str) -> Verdict:
    return Verdict(
        status="unsupported", account_state=state, confidence="high", evidence=(evidence,), detail=detail
    )
