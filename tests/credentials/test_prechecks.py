"""Answers without an attempt: what the directory and the leaked text tell."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.credentials.candidates import Candidate, Password
from shared.credentials.prechecks import CLOCK_SKEW, of_absent, of_user
from shared.credentials.users import Absence, DirectoryUser, Identity
from shared.credentials.verdicts import Verdict

SEEN = datetime(2026, 10, 1, tzinfo=UTC)
FEDERATED = frozenset({"old.example"})


def user(**facts: Any) -> DirectoryUser:
    return DirectoryUser(
        **{
            "id": "a1",
            "user_principal_name": "ada@contoso.com",
            "account_enabled": True,
            "user_type": "Member",
            "identities": [Identity("userPrincipalName", "contoso.onmicrosoft.com")],
            "last_password_change_date_time": SEEN - timedelta(days=300),
            **facts,
        }
    )


def verdict(password: str = "Correct-Horse-7", seen: datetime | None = SEEN, **facts: Any) -> Verdict | None:
    candidate = Candidate(
        id="leak", username="ada@contoso.com", password=Password(password), first_seen_at=seen
    )
    return of_user(user(**facts), candidate, FEDERATED)


def told(found: Verdict | None) -> tuple[str, str | None]:
    assert found is not None
    assert not found.attempt_made
    assert found.evidence
    assert found.detail.endswith(".")
    return found.status, found.account_state


def test_only_an_attempt_can_tell() -> None:
    assert verdict() is None
    assert verdict(seen=None, last_password_change_date_time=SEEN + timedelta(days=9)) is None
    assert verdict(identities=None, user_type=None, last_password_change_date_time=None) is None
    assert verdict(last_password_change_date_time=datetime(1, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("absence", "expected"),
    [
        ("not_found", ("not_found", None)),
        ("no_address", ("not_found", None)),
        ("deleted", ("not_found", "deleted")),
        ("ambiguous", ("unknown", "ambiguous")),
    ],
)
def test_nobody(absence: Absence, expected: tuple[str, str | None]) -> None:
    assert told(of_absent(absence)) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"account_enabled": False}, ("disabled", "disabled")),
        ({"account_enabled": False, "user_type": "Guest"}, ("disabled", "disabled")),
        ({"user_type": "Guest"}, ("unsupported", "guest")),
        ({"creation_type": "Invitation"}, ("unsupported", "guest")),
        (
            {"user_principal_name": "bob_x.example#EXT#@contoso.onmicrosoft.com"},
            ("unsupported", "external"),
        ),
        ({"identities": [Identity("federated", "ExternalAzureAD")]}, ("unsupported", "external")),
        ({"identities": [Identity("federated", "MicrosoftAccount")]}, ("unsupported", "personal")),
        ({"identities": [Identity("federated", None)]}, ("unsupported", "external")),
        ({"user_principal_name": "ada@Old.Example"}, ("unsupported", "federated")),
    ],
)
def test_accounts(facts: dict[str, Any], expected: tuple[str, str]) -> None:
    assert told(verdict(**facts)) == expected


@pytest.mark.parametrize(
    ("password", "state"),
    [
        ("", "empty_password"),
        (" x", "whitespace"),
        ("x\n", "whitespace"),
        ("\u00a0x", "whitespace"),
        ("x" * 257, "password_too_long"),
        ("5f4dcc3b5aa765d61d8327deb882cf99", "hash"),
        ("5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8", "hash"),
        ("5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8", "hash"),
        ("aad3b435b51404eeaad3b435b51404ee:31d6cfe0d16ae931b73c59d7e0c089c0", "hash"),
        ("*2470C0C06DEE42FD1618BBB99005ADCA2EC9D1E0", "hash"),
        ("$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "hash"),
        ("$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjnQJu", "hash"),
        ("$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b", "hash"),
        ("{SSHA}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3", "hash"),
        ("pbkdf2_sha256$30000$gVD3s0Qq$XwqO4", "hash"),
    ],
)
def test_texts(password: str, state: str) -> None:
    assert told(verdict(password)) == ("unsupported", state)


@pytest.mark.parametrize(
    "password", ["deadbeef", "abcdef0123456789", "$1$", "Money$$$2026", "{SHA}", "x" * 256, "пароль", "a b"]
)
def test_a_password_is_not_taken_for_something_else(password: str) -> None:
    assert verdict(password) is None


@given(st.timedeltas(min_value=timedelta(days=-3000), max_value=timedelta(days=3000)))
def test_a_password_that_was_changed_after_the_leak_is_superseded(after: timedelta) -> None:
    found = verdict(last_password_change_date_time=SEEN + after)
    if after > CLOCK_SKEW:
        assert told(found) == ("superseded", "password_changed")
    else:
        assert found is None


def test_the_date_of_a_synchronised_user_is_trusted_less() -> None:
    changed = SEEN + timedelta(days=1)
    here = verdict(last_password_change_date_time=changed)
    synchronised = verdict(last_password_change_date_time=changed, on_premises_sync_enabled=True)
    assert here is not None
    assert synchronised is not None
    assert (here.confidence, synchronised.confidence) == ("medium", "low")
    assert here.evidence == ("lastPasswordChangeDateTime is 2026-10-02T00:00:00Z",)


def test_dates_at_the_ends_of_time() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    assert told(verdict(seen=datetime(1, 1, 1, tzinfo=UTC)))[0] == "superseded"
    assert verdict(seen=last, last_password_change_date_time=last) is None
