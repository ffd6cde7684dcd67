"""When to wait and for how long: the header in all its forms, the backoff, the gate."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.graph.policy import Pacer, RetryPolicy, Usage, retry_after_seconds
from tests.support.world import Clock

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param(None, None, id="absent"),
        pytest.param("", None, id="empty"),
        pytest.param("120", 120.0, id="seconds"),
        pytest.param(" 7 ", 7.0, id="blanks around"),
        pytest.param("2.128", 2.128, id="a fraction"),
        pytest.param("0", 0.0, id="zero"),
        pytest.param("-3", 0.0, id="negative"),
        pytest.param("Sat, 21 Nov 2026 09:01:30 GMT", 90.0, id="a date"),
        pytest.param("Saturday, 21-Nov-26 09:01:30 GMT", 90.0, id="a date in the older form"),
        pytest.param("Sat Nov 21 09:01:30 2026", 90.0, id="a date without a zone is UTC"),
        pytest.param("Sat, 21 Nov 2026 10:01:30 +0100", 90.0, id="a date of another zone"),
        pytest.param("Sat, 21 Nov 2026 08:00:00 GMT", 0.0, id="a date that is past"),
        pytest.param("nan", None, id="not a number"),
        pytest.param("inf", None, id="for ever"),
        pytest.param("1e300", None, id="longer than the world"),
        pytest.param("soon", None, id="a word"),
        pytest.param("Mon, 99 Foo 2026 99:99:99 GMT", None, id="no date"),
        pytest.param("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None, id="a year beyond all"),
        pytest.param("3, 5", None, id="two values"),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds


@given(st.text(st.characters(max_codepoint=255)))
@example("Mon, 01 Jan 99999999999999999999 00:00:00 GMT")
def test_any_header_is_a_wait_or_says_nothing(value: str) -> None:
    seconds = retry_after_seconds(value, NOW)
    assert seconds is None or 0 <= seconds < 1e9


@given(st.floats(min_value=0, max_value=1e6, allow_nan=False))
def test_seconds_are_taken_as_they_are(seconds: float) -> None:
    assert retry_after_seconds(f"{seconds:.3f}", NOW) == pytest.approx(seconds, abs=0.001)


@given(st.integers(min_value=-10_000_000, max_value=10_000_000))
def test_a_date_is_the_time_until_then_and_never_negative(ahead: int) -> None:
    date = format_datetime(datetime.fromtimestamp(NOW + ahead, UTC), usegmt=True)
    assert retry_after_seconds(date, NOW) == max(0, ahead)


def test_the_backoff_doubles_up_to_its_limit() -> None:
    policy = RetryPolicy(jitter=lambda: 0.0)
    assert [policy.backoff(attempt) for attempt in (1, 2, 3, 4, 5)] == [0.5, 1, 2, 4, 8]
    assert policy.backoff(40) == 30


@given(st.floats(min_value=0, max_value=1, exclude_max=True), st.integers(min_value=1, max_value=60))
def test_jitter_spreads_the_backoff_up_to_twice(jitter: float, attempt: int) -> None:
    least = RetryPolicy(jitter=lambda: 0.0).backoff(attempt)
    assert least <= RetryPolicy(jitter=lambda: jitter).backoff(attempt) <= 2 * least


async def test_a_shorter_wait_does_not_cut_a_longer_one() -> None:
    clock = Clock()
    pacer = Pacer(RetryPolicy(now=clock.timestamp, sleep=clock.sleep))

    pacer.hold(10)
    pacer.hold(2)
    await pacer.turn()
    await pacer.turn()

    assert clock.slept == [10.0]


def test_usage_adds_up() -> None:
    usage = Usage(1, 2, 3, 4)
    usage.add(Usage(10, 20, 30, 40))
    assert usage == Usage(11, 22, 33, 44)
