"""How single values of Graph become values of a record: absent instead of empty, times in one form."""

from datetime import UTC, datetime

YEAR_ONE = "0001-"
"""Graph writes year 1 where it has no date, most often in `signInActivity`."""

SECONDS_LENGTH = len("2026-11-21T09:30:00Z")


def text(value: object) -> str | None:
    """The text, or None where it is empty, null or left out."""
    return value if isinstance(value, str) and value else None


def flag(value: object) -> bool | None:
    """True, False, or None where Graph does not say."""
    return value if isinstance(value, bool) else None


def time(value: object) -> str | None:
    """RFC 3339 in UTC with at most six fraction digits; None for a date of year 1 and for no date.

    Graph sends up to seven digits. Nearly all its times have none, so that form is passed on as it is.
    Raises ValueError for what is no time.
    """
    if not isinstance(value, str) or not value or value.startswith(YEAR_ONE):
        return None
    moment = datetime.fromisoformat(value)
    if len(value) == SECONDS_LENGTH and value[-1] == "Z":
        return value
    return _normalized(moment)


def _normalized(moment: datetime) -> str:
    """A time that came in another form than seconds and Z."""
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"a time beyond what UTC can name: {error}") from None
    whole, _, fraction = moment.isoformat().removesuffix("+00:00").partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def rfc3339(moment: datetime) -> str:
    """A moment of our own clock, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
