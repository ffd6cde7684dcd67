"""What Graph's errors mean for us: from a status and an error body to one of our errors.

Messages name the capability, Graph's code and what to do; never a URL's query, which may hold a token.
"""

import re

import msgspec

from shared.errors import (
    DeltaStateLost,
    GraphError,
    GraphRefused,
    GraphRequestRejected,
    PageTokenExpired,
)
from shared.graph.paging import UNREADABLE

LICENCE_CODES = frozenset({"Authentication_RequestFromNonPremiumTenantOrB2CTenant"})
"""Asked for what needs Entra ID P1. Seen for the registration report and for `signInActivity`."""

DELTA_STATE_LOST_CODES = frozenset({"syncStateNotFound", "resyncRequired", "syncStateInvalid"})

PAGE_TOKEN_EXPIRED_CODES = frozenset({"Directory_ExpiredPageToken"})


_NOT_OURS_TO_QUOTE = re.compile(r"\?\S+|[^\s@]+@\S+|\S{50,}")
"""In a message of Graph's: a URL's query, an address, a token."""


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _ErrorBody(msgspec.Struct):
    error: _Error


def error_code(body: bytes) -> tuple[str, str]:
    """Code and begin of the message of an error body; empty where it is none (a gateway's HTML page)."""
    try:
        error = msgspec.json.decode(body, type=_ErrorBody).error
    except UNREADABLE:
        return "", ""
    message = _NOT_OURS_TO_QUOTE.sub("…", error.message)
    return error.code, " ".join(message.split())[:200]


def refusal(status: int, body: bytes, subject: str, permission: str) -> GraphError:
    """Our error for an answer that is neither a success nor worth another try.

    `subject` is what we asked for ("users"), `permission` the application permission that it needs.
    """
    code, message = error_code(body)
    said = f"{status} {code}".strip()
    if status == 410 or code in DELTA_STATE_LOST_CODES:
        return DeltaStateLost(f"Graph has forgotten the delta link of {subject} ({said}); a full run starts.")
    if code in PAGE_TOKEN_EXPIRED_CODES:
        return PageTokenExpired(f"Graph's page token for {subject} expired ({said}).")
    if status == 401:
        return GraphRefused(
            f"Graph refused our token for {subject} ({said}). "
            "Check ENTRA_TENANT_ID, ENTRA_CLOUD and the clock of this machine.",
            reason="permission",
            status=status,
            code=code,
        )
    if status == 403 and (code in LICENCE_CODES or "premium license" in message):
        return GraphRefused(
            f"Graph refused {subject} ({said}): it needs a P1 or P2 licence, which the tenant lacks.",
            reason="licence",
            code=code,
        )
    if status == 403:
        return GraphRefused(
            f"Graph refused {subject} ({said}): {permission} is not granted to the app. "
            "Grant this application permission and give admin consent.",
            reason="permission",
            code=code,
        )
    return GraphRequestRejected(
        f"Graph rejected the request for {subject} ({said}): {message or 'no reason given'}",
        status=status,
        code=code,
    )
