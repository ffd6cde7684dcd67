"""Smart lockout: how many wrong passwords a user may be asked with, and for how long the account then stays
shut.

As documented: ten attempts in the public cloud and in China, three for the US government; a minute at first
and longer on repeats; the first failure after that locks again; one of the last three wrong passwords is not
counted again, except with pass-through authentication. How fast the time grows is not documented: it doubles
here. Nor is what a success does to the count: here nothing, the harder case. Familiar and unfamiliar places
have counters of their own; all requests to the sandbox come from one place.
"""

import hashlib
import hmac
import secrets
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

type Cloud = Literal["public", "usgov", "usgov-dod", "china"]

REMEMBERED_PASSWORDS = 3
DEFAULT_DURATION_SECONDS = 60.0
_THRESHOLDS: dict[Cloud, int] = {"public": 10, "usgov": 3, "usgov-dod": 3, "china": 10}


@dataclass(slots=True)
class UserStatistics:
    """What happened to one user's sign-in. Times are seconds since the epoch."""

    attempts: int = 0
    """Sign-ins of any outcome, also while locked."""
    counted_failures: int = 0
    """Wrong passwords that moved the counter."""
    times_locked: int = 0
    locked_until: float = 0.0


@dataclass(slots=True)
class _Counter:
    failures: int = 0
    locks: int = 0
    wrong: deque[bytes] = field(default_factory=lambda: deque(maxlen=REMEMBERED_PASSWORDS))


class SmartLockout:
    """The counters of a tenant. `threshold_set` and `duration_seconds` may be set, as a tenant with a licence
    may."""

    def __init__(self, cloud: Cloud, clock: Callable[[], float]) -> None:
        self.cloud: Cloud = cloud
        self.threshold_set: int | None = None
        """None for the default of the cloud."""
        self.duration_seconds = DEFAULT_DURATION_SECONDS
        self.statistics: defaultdict[str, UserStatistics] = defaultdict(UserStatistics)
        """By user id."""
        self._clock = clock
        self._counters: defaultdict[str, _Counter] = defaultdict(_Counter)
        self._key = secrets.token_bytes(32)

    @property
    def threshold(self) -> int:
        """Wrong passwords until the account is locked."""
        return self.threshold_set if self.threshold_set is not None else _THRESHOLDS[self.cloud]

    @property
    def is_customised(self) -> bool:
        """Whether the tenant changed a number; Graph has a setting only then."""
        return self.threshold_set is not None or self.duration_seconds != DEFAULT_DURATION_SECONDS

    @property
    def ever_locked(self) -> list[str]:
        """The users who were locked at least once."""
        return [user_id for user_id, told in self.statistics.items() if told.times_locked]

    def is_locked(self, user_id: str) -> bool:
        """Whether the account is shut now."""
        return user_id in self.statistics and self._clock() < self.statistics[user_id].locked_until

    def failed(self, user_id: str, password: str, *, repeats_count: bool) -> None:
        """Count a wrong password, and lock when it was one too many."""
        counter = self._counters[user_id]
        fingerprint = hmac.digest(self._key, password.encode(), hashlib.sha256)
        if not repeats_count and fingerprint in counter.wrong:
            return
        counter.wrong.append(fingerprint)
        counter.failures += 1
        self.statistics[user_id].counted_failures += 1
        if counter.locks or counter.failures >= self.threshold:
            self.lock(user_id)

    def lock(self, user_id: str) -> None:
        """Shut the account, each time for longer."""
        counter, told = self._counters[user_id], self.statistics[user_id]
        told.locked_until = self._clock() + self.duration_seconds * 2**counter.locks
        told.times_locked += 1
        counter.locks += 1

    def unlock(self, user_id: str) -> None:
        """Open it with a fresh counter; the statistics stay."""
        self._counters.pop(user_id, None)
        self.statistics[user_id].locked_until = 0.0
