"""Single values: times in one form, and absent instead of empty."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.directory.values import flag, rfc3339, text, time


@pytest.mark.parametrize(
    ("given_time", "expected"),
    [
        ("2026-11-21T09:30:00Z", "2026-11-21T09:30:00Z"),
        ("2026-11-21T09:30:00.1234567Z", "2026-11-21T09:30:00.123456Z"),
        ("2026-11-21T09:30:00.1200000Z", "2026-11-21T09:30:00.12Z"),
        ("2026-11-21T09:30:00.0000000Z", "2026-11-21T09:30:00Z"),
        ("2026-11-21T09:30:00.5Z", "2026-11-21T09:30:00.5Z"),
        ("2026-11-21T09:30:00+02:00", "2026-11-21T07:30:00Z"),
        ("2026-11-21T00:30:00.1234567-05:30", "2026-11-21T06:00:00.123456Z"),
        ("2026-11-21T09:30:00", "2026-11-21T09:30:00Z"),
        ("2026-11-21T09:30Z", "2026-11-21T09:30:00Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ("1965-12-10T00:00:00.0000000Z", "1965-12-10T00:00:00Z"),
    ],
)
def test_time_has_one_form(given_time: str, expected: str) -> None:
    assert time(given_time) == expected


@pytest.mark.parametrize(
    "nothing", [None, "", 0, 20261121, False, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.0000000+00:00"]
)
def test_no_time_and_year_one_are_absent(nothing: object) -> None:
    assert time(nothing) is None


@pytest.mark.parametrize(
    "garbage",
    [
        "yesterday",
        "2026-02-30T00:00:00.5Z",
        "2026-11-21T25:00:00.5Z",
        "/Date(1700000000000)/",
        " ",
        "21/11/2026 09:30",
    ],
)
def test_what_is_no_time_is_refused(garbage: str) -> None:
    with pytest.raises(ValueError):
        time(garbage)


@pytest.mark.parametrize("garbage", ["2026-13-45T99:99:99Z", "twenty characters, Z"])
def test_what_is_no_time_is_refused_also_at_the_usual_length(garbage: str) -> None:
    assert len(garbage) == len("2026-11-21T09:30:00Z")
    with pytest.raises(ValueError):
        time(garbage)


def test_time_that_utc_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError):
        time("9999-12-31T23:59:59-05:00")


@given(
    st.datetimes(
        min_value=datetime.fromisoformat("1000-01-02"), max_value=datetime.fromisoformat("9998-01-01")
    ),
    st.integers(-14 * 60, 14 * 60),
)
def test_time_names_the_same_moment(moment: datetime, offset: int) -> None:
    """However it is written; and a normalized time is its own normal form."""
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    normal = time(aware.isoformat())
    assert normal is not None
    assert normal.endswith("Z")
    assert datetime.fromisoformat(normal) == aware
    assert time(normal) == normal


def test_text_and_flag_take_nothing_for_something() -> None:
    assert [text(value) for value in ("a", " ", "", None, 5, True)] == ["a", " ", None, None, None, None]
    assert [flag(value) for value in (True, False, None, 0, 1, "true")] == [
        True,
        False,
        None,
        None,
        None,
        None,
    ]


def test_own_times_are_whole_seconds() -> None:
    assert rfc3339(datetime(2026, 11, 21, 9, 30, 0, 999_999, UTC)) == "2026-11-21T09:30:00Z"
