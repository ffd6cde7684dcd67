"""Entra's smart lockout, simulated as Microsoft describes it: our attempts never lock anybody.

Source: https://learn.microsoft.com/entra/identity/authentication/howto-password-smart-lockout
Microsoft does not say when failures are forgotten. The model has it every way from one hour to 30 days.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clouds import CLOUDS
from shared.credentials.budgets import DAY, HOUR, MONTH, Limits
from tests.credentials.passwords import RIGHT, Attempt, Call, World, calls, settings

DEFAULT_THRESHOLD = {"public": 10, "china": 10, "usgov": 3, "usgov-dod": 3}
FIRST_LOCK_SECONDS = 60.0


@dataclass
class SmartLockout:
    """One account."""

    threshold: int
    forgets_after: float
    """Seconds after which a failure counts no longer."""
    remembers_passwords: bool = True
    """The last three wrong passwords do not count again; not so with pass-through authentication."""
    failures: list[float] = field(default_factory=list)
    last_wrong: list[str] = field(default_factory=list)
    locked_until: float = 0
    locks: int = 0

    def sign_in(self, at: float, password: str, *, right: bool) -> bool:
        """Whether the account is open. While it is locked, a right password is refused like a wrong one."""
        if at < self.locked_until:
            return False
        if right:
            return True  # whether it resets the count is not said, so it does not
        if self.remembers_passwords and password in self.last_wrong:
            return True
        self.last_wrong = [*self.last_wrong, password][-3:]
        self.failures = [time for time in self.failures if at - time < self.forgets_after] + [at]
        if len(self.failures) < self.threshold and not self.locks:
            return True
        # Once locked, the first failure after it locks again, for longer each time.
        self.locks += 1
        self.locked_until = at + FIRST_LOCK_SECONDS * 2 ** (self.locks - 1)
        return False


def replay(attempts: list[Attempt], account: SmartLockout) -> SmartLockout:
    """What the account saw, in the order of time."""
    for attempt in sorted(attempts, key=lambda attempt: attempt.at):
        account.sign_in(attempt.at, f"{attempt.password}", right=attempt.password == RIGHT)
    return account


asked = st.fixed_dictionaries(
    {
        "attempts_per_user_per_day": st.integers(0, 10),
        "attempts_per_day": st.sampled_from((1, 200, 100_000)),
        "failing_users_per_20_min": st.sampled_from((1, 4, 1000)),
        "spacing_seconds": st.sampled_from((0, 900)),
        "lockout_pause_seconds": st.sampled_from((0, 86400)),
    }
)
scripts = st.lists(calls(users=2, passwords=30), min_size=20, max_size=80)
forgetting = st.sampled_from((HOUR, DAY, 7 * DAY, MONTH))


@given(
    st.sampled_from(sorted(CLOUDS)),
    st.none() | st.integers(1, 50),
    asked,
    scripts,
    forgetting,
    st.booleans(),
)
def test_no_account_is_locked_by_us(
    cloud: str,
    own_threshold: int | None,
    asked: dict[str, int],
    script: list[Call],
    forgets_after: float,
    remembers: bool,
) -> None:
    world = World(Limits.from_settings(settings(cloud, **asked), own_threshold))
    world.play(script)
    for user in world.users:
        attempts = [attempt for attempt in world.attempts if attempt.user == user]
        account = SmartLockout(own_threshold or DEFAULT_THRESHOLD[cloud], forgets_after, remembers)
        assert replay(attempts, account).locks == 0


@given(
    st.sampled_from(sorted(CLOUDS)),
    asked,
    scripts,
    st.sampled_from((HOUR, DAY)),
    st.lists(st.floats(0, 1), max_size=7),
)
def test_the_user_keeps_most_of_the_count(
    cloud: str, asked: dict[str, int], script: list[Call], forgets_after: float, mistakes: list[float]
) -> None:
    """Within a day 7 mistakes of 10 are the user's own, in US Government 1 of 3."""
    world = World(Limits.from_settings(settings(cloud, **asked)))
    world.play(script)
    own = mistakes if DEFAULT_THRESHOLD[cloud] == 10 else mistakes[:1]
    first = min((attempt.at for attempt in world.attempts), default=0)
    last = max((attempt.at for attempt in world.attempts), default=0)
    for user in world.users:
        attempts = [attempt for attempt in world.attempts if attempt.user == user]
        attempts += [
            Attempt(first + share * (last - first), user, 1000 + number, failing=True)
            for number, share in enumerate(own)
        ]
        account = SmartLockout(DEFAULT_THRESHOLD[cloud], forgets_after, remembers_passwords=False)
        assert replay(attempts, account).locks == 0


@pytest.mark.parametrize(("threshold", "locked_at"), [(10, 10), (3, 3)])
def test_the_model_locks_as_described(threshold: int, locked_at: int) -> None:
    account = SmartLockout(threshold, DAY)
    opened = [account.sign_in(number, f"{number}", right=False) for number in range(locked_at)]
    assert opened == [True] * (locked_at - 1) + [False]
    assert not account.sign_in(locked_at + 1, "right", right=True), "locked for a minute"
    assert account.sign_in(locked_at + 61, "right", right=True)
    assert not account.sign_in(locked_at + 62, "wrong again", right=False)
    assert not account.sign_in(locked_at + 62 + 119, "right", right=True), "for longer than the first time"


def test_the_model_counts_the_same_wrong_password_once_unless_passed_through() -> None:
    cloud_only = SmartLockout(3, DAY)
    assert all(cloud_only.sign_in(number, "same", right=False) for number in range(20))
    passed_through = SmartLockout(3, DAY, remembers_passwords=False)
    assert [passed_through.sign_in(number, "same", right=False) for number in range(3)][-1] is False
