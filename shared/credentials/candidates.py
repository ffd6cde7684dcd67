"""What the caller sent: leaked credentials, decoded and checked. No error here quotes what was sent."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from shared.errors import InvalidRequest

MOST_CREDENTIALS = 20
LONGEST_BODY = 64 * 1024
LONGEST_PASSWORD = 256
"""Of Entra. A longer one cannot be right. https://learn.microsoft.com/entra/identity/authentication/concept-sspr-policy"""
ID_PATTERN = r"^[A-Za-z0-9._:/+=~-]{1,128}\Z"
"""An id is echoed and audited, so that it may hold no address."""
LONGEST_USERNAME = 320


class Password:
    """A leaked password that cannot be printed, formatted, pickled or compared by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text: only for the sign-in form and the keyed fingerprint."""
        return self._text

    def __repr__(self) -> str:
        return "Password(***)"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        raise TypeError("a password is not written anywhere")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One leaked credential."""

    id: str
    """The caller's name for it; unique within a request."""
    username: str
    """As leaked: a user principal name, or another address of the user."""
    password: Password
    first_seen_at: datetime | None
    """When the platform first saw the leak, in UTC."""


class _Credential(msgspec.Struct, forbid_unknown_fields=True):
    id: Annotated[str, msgspec.Meta(pattern=ID_PATTERN)]
    username: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_USERNAME)]
    password: str
    first_seen_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    credentials: Annotated[list[_Credential], msgspec.Meta(min_length=1, max_length=MOST_CREDENTIALS)]


_decoder = msgspec.json.Decoder(_Body)

_QUOTED = re.compile(r"(unknown field|Invalid enum value) `[^`]*`")


def decode_candidates(body: bytes) -> list[Candidate]:
    """The credentials of a request. Raises `InvalidRequest`."""
    decoded = _decoded(body)
    if isinstance(decoded, str):
        # Raised here, where no error of the decoder is chained to it: those quote the body.
        raise InvalidRequest([decoded])
    ids = [credential.id for credential in decoded.credentials]
    if len(set(ids)) < len(ids):
        raise InvalidRequest(["Two credentials have the same `id`: each needs one of its own."])
    return [_candidate(credential) for credential in decoded.credentials]


def _decoded(body: bytes) -> _Body | str:
    """What was sent, or a sentence that says why it is not understood."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        return f"The body does not fit the schema: {_unquoted(error)}."
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return "The body is not JSON in UTF-8."


def _candidate(credential: _Credential) -> Candidate:
    try:
        first_seen_at = credential.first_seen_at.astimezone(UTC) if credential.first_seen_at else None
    except OverflowError:
        raise InvalidRequest(["`first_seen_at` is beyond the years that UTC can name."]) from None
    return Candidate(
        id=credential.id,
        username=credential.username.strip(),
        password=Password(credential.password),
        first_seen_at=first_seen_at,
    )


def _unquoted(error: msgspec.ValidationError) -> str:
    """The decoder's sentence without anything that the caller wrote."""
    return _QUOTED.sub(r"\1", str(error).removesuffix("."))
