"""The verdict on one credential: what is answered, remembered and audited."""

from typing import Literal, get_args

import msgspec

Status = Literal[
    "valid",
    "invalid",
    "superseded",
    "not_found",
    "disabled",
    "throttled",
    "unsupported",
    "unknown",
]
Confidence = Literal["high", "medium", "low"]

STATUSES: tuple[Status, ...] = get_args(Status)

FLARE_STATUS: dict[Status, str] = {
    "valid": "Valid",
    "invalid": "Invalid",
    "superseded": "Invalid",
    "not_found": "Not found",
    "throttled": "Throttled",
}
"""Flare's four values. The other statuses have none.
Source: https://docs.flare.io/iem-credential-browser"""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one user's password, and why. Holds neither the password nor the user's name."""

    status: Status
    account_state: str | None = None
    """What stands between whoever knows the password and the account, or why there is no verdict:
    `mfa_required`, `blocked_by_ca`, `password_expired`, `guest` … None where nothing is known."""
    confidence: Confidence
    evidence: tuple[str, ...]
    """What the verdict rests on, such as `AADSTS50076` or `accountEnabled is false`."""
    detail: str
    """One sentence for the analyst."""
    attempt_made: bool = False
    """A sign-in was attempted for this very answer."""
    retry_after_seconds: int | None = None
    """When it is worth asking again; None if time changes nothing."""
