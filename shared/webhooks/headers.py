"""What schemes ask of headers: names in any case, a time within the window, an id of bounded length."""

import re
from collections.abc import Mapping

from shared.errors import CallerRefused

WINDOW_SECONDS = 5 * 60
"""How far a call's timestamp may be from our clock, either way."""

LONGEST_CALL_ID = 256

_TIMESTAMP = re.compile(r"[1-9][0-9]{0,11}")
_CALL_ID = re.compile(rf"[!-~]{{1,{LONGEST_CALL_ID}}}")


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers by their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}


def checked_timestamp(text: str, now: float) -> int:
    """Seconds since the epoch. Only the one way to write a number: what is signed must be what is checked."""
    if not _TIMESTAMP.fullmatch(text):
        raise CallerRefused("The call's timestamp is no whole number of seconds since 1970.")
    if abs(now - int(text)) > WINDOW_SECONDS:
        raise CallerRefused(
            f"The call's timestamp is more than {WINDOW_SECONDS} s away from the app's clock. "
            "It is an old call, or the sender's clock is wrong."
        )
    return int(text)


def checked_call_id(text: str) -> str:
    """The id that a sender gave to the call: printable ASCII without spaces."""
    if not _CALL_ID.fullmatch(text):
        raise CallerRefused(
            f"The call's id is not 1 to {LONGEST_CALL_ID} printable ASCII characters without spaces."
        )
    return text
