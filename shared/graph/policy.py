"""When to wait, when to try again, and when to give up: one policy for every request to Graph.

Kiota's own retry is off. It knows neither 500 nor 502 nor a broken connection, ignores a fractional
`Retry-After` (Graph's documentation has `2.128`) and gives up at once on one of three minutes or more.
Limits: https://learn.microsoft.com/graph/throttling-limits
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504, 509})


class Usage(msgspec.Struct):
    """What was asked of Graph. Kept in checkpoints and summed up in the manifest."""

    requests: int = 0
    """HTTP requests sent, those that were tried again included."""
    resource_units: int = 0
    """Sum of `x-ms-resource-unit`."""
    throttled: int = 0
    """Answers with 429, those inside a `$batch` included."""
    retried: int = 0
    """Requests that were tried again, for whatever reason."""

    def add(self, other: "Usage") -> None:
        self.requests += other.requests
        self.resource_units += other.resource_units
        self.throttled += other.throttled
        self.retried += other.retried


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """The seconds that a `Retry-After` asks for: number, fraction or HTTP date; None if it says nothing."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    # NaN and infinity are numbers to `float`, but say nothing.
    return max(0.0, seconds) if -1e9 < seconds < 1e9 else None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long. Times are in seconds; the clock and the sleep are injected by tests."""

    attempts: int = 5
    """Tries of one request before the slice gives up."""
    first_backoff: float = 0.5
    """Wait before the second try where Graph does not say; doubles, with jitter."""
    longest_backoff: float = 30.0
    longest_wait: float = 30.0
    """A longer `Retry-After` ends the slice: sleeping is billed, a delayed message is not."""
    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random

    def backoff(self, attempt: int) -> float:
        """The wait after try number `attempt` (1, 2, …) where Graph did not name one."""
        doubled: float = self.first_backoff * 2 ** (attempt - 1)
        return min(self.longest_backoff, doubled) * (1 + self.jitter())


class Pacer:
    """One gate for all requests of a process: nobody sends while Graph has asked us to wait."""

    BUSY = 0.8
    """Graph reports `x-ms-throttle-limit-percentage` above this share of the limit."""
    LONGEST_BRAKE = 2.0

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._not_before = 0.0

    def hold(self, seconds: float) -> None:
        """No request for this long."""
        self._not_before = max(self._not_before, self._policy.now() + seconds)

    def observe(self, limit_percentage: str | None) -> None:
        """Brake in proportion once we use more than 80 % of the limit, so that 429 need not be said."""
        try:
            share = float(limit_percentage or 0)
        except ValueError:
            return
        if share > self.BUSY:
            self.hold(min(self.LONGEST_BRAKE, (share - self.BUSY) * 5))

    @property
    def wait(self) -> float:
        """Seconds until the next request may be sent."""
        return max(0.0, self._not_before - self._policy.now())

    async def turn(self) -> None:
        """Return when a request may be sent."""
        while (wait := self.wait) > 0:
            await self._policy.sleep(wait)
