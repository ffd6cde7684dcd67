"""Which secrets are told of: those that end within 30 days, and those that have ended."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.identity.expiry import ending_soon

NOW = datetime(2026, 11, 21, 3, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("left", "days"),
    [
        (timedelta(days=30), 30),
        (timedelta(days=1), 1),
        (timedelta(hours=23), 0),
        (timedelta(seconds=-1), -1),
        (timedelta(days=-3), -3),
    ],
)
def test_a_secret_that_ends_soon_or_has_ended(left: timedelta, days: int) -> None:
    (event,) = ending_soon({"entra-client-secret": NOW + left}, NOW)
    assert (event.secret, event.days_left) == ("entra-client-secret", days)
    assert datetime.fromisoformat(event.expires_at) == NOW + left


def test_a_secret_with_time_left() -> None:
    assert ending_soon({"entra-client-secret": NOW + timedelta(days=30, seconds=1)}, NOW) == []
