"""Credential validation as the budgets see it: calls over days, clocks that differ, crashes at any step.

No probe and no storage: only what is charged and settled, and when a password reaches the sign-in service.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from hypothesis import strategies as st

from shared.config import Settings
from shared.credentials import budgets
from shared.credentials.budgets import Charged, Denied, Limits, Outcome, TenantLedger, Ticket, UserLedger
from shared.credentials.verdicts import Verdict

START = 1_800_000_000.0
CLOCKS_APART = 15.0
"""How far a clock is from the true time, at most."""
LONGEST_DELAY = 30.0
"""From the charge to the attempt."""
RIGHT = 0
"""Every user's right password."""

INVALID = Verdict(
    status="invalid", confidence="high", evidence=("AADSTS50126",), detail="Wrong.", attempt_made=True
)
VALID = Verdict(
    status="valid", confidence="high", evidence=("AADSTS50076",), detail="Right.", attempt_made=True
)
UNKNOWN = Verdict(
    status="unknown", confidence="low", evidence=("AADSTS50053",), detail="None.", attempt_made=True
)

type End = Outcome | Literal["answered", "crash_before", "crash_after"]
"""`answered`: right or wrong, as it is. A crash is before the attempt, or before its settlement."""


@dataclass(frozen=True)
class Call:
    """One credential that is sent."""

    wait: float
    """True seconds since the call before."""
    user: int
    password: int
    end: End
    clock: float
    """What the instance's clock is ahead of the true time."""
    delay: float
    changes_password: bool = False
    """The user sets another password first, and the caller's list is right again."""


@dataclass(frozen=True)
class Attempt:
    """What the sign-in service saw."""

    at: float
    user: str
    password: int
    failing: bool
    """It failed, or may have."""


WAITS = st.one_of(st.floats(0, 60), st.floats(0, 1500), st.floats(0, 90_000), st.just(0.0))
ENDS: st.SearchStrategy[End] = st.sampled_from(
    (
        "answered",
        "answered",
        "answered",
        "valid_but_expired",
        "locked",
        "service_throttled",
        "no_verdict",
        "refunded",
        "crash_before",
        "crash_after",
    )
)


def calls(
    *, users: int = 6, passwords: int = 5, ends: st.SearchStrategy[End] = ENDS
) -> st.SearchStrategy[Call]:
    return st.builds(
        Call,
        wait=WAITS,
        user=st.integers(0, users - 1),
        password=st.integers(0, passwords - 1),
        end=ends,
        clock=st.floats(-CLOCKS_APART, CLOCKS_APART),
        delay=st.floats(0, LONGEST_DELAY),
        changes_password=st.sampled_from((False,) * 9 + (True,)),
    )


limits = st.builds(
    Limits,
    per_user_day=st.integers(1, 5),
    per_user_month=st.integers(1, 9),
    per_day=st.integers(1, 12),
    failing_users=st.integers(1, 4),
    spacing=st.sampled_from((0.0, 60.0, 900.0)),
    lockout_pause=st.sampled_from((0.0, 3600.0, 86400.0)),
)


def settings(cloud: str = "public", **validation: int) -> Settings:
    """Settings as an operator gives them, with `VALIDATION_…` in lower case and without that prefix."""
    environment = {
        "ENTRA_TENANT_ID": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "ENTRA_CREDENTIAL": "managed-identity",
        "ENTRA_CLOUD": cloud,
        "DIRECTORY_STORAGE": "UseDevelopmentStorage=true",
    }
    return Settings.from_environment(
        environment | {f"VALIDATION_{name.upper()}": str(value) for name, value in validation.items()}
    )


@dataclass
class World:
    """All ledgers, and what reached the sign-in service so far."""

    limits: Limits
    users: dict[str, UserLedger] = field(default_factory=lambda: defaultdict(UserLedger))
    tenant: TenantLedger = field(default_factory=TenantLedger)
    now: float = START
    attempts: list[Attempt] = field(default_factory=list)
    answers: list[Charged | Denied | Verdict] = field(default_factory=list)
    changes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    known: set[tuple[str, int, str]] = field(default_factory=set)
    """User, password, and the change date for which it was settled with a verdict."""

    def __post_init__(self) -> None:
        self._ids = count()
        self._pending: list[tuple[float, int, Ticket, Outcome, Verdict, float]] = []

    def play(self, script: Iterable[Call]) -> None:
        for call in script:
            self.call(call)
        self._settle_until(float("inf"))

    def call(self, call: Call) -> None:
        self.now += call.wait
        self._settle_until(self.now)
        user = f"user-{call.user}"
        self.changes[user] += call.changes_password
        ticket = self.ticket(user, call.password, call.clock)
        decision = budgets.charge(self.users[user], self.tenant, self.limits, ticket)
        self.answers.append(decision)
        if not isinstance(decision, Charged):
            return
        assert (user, call.password, ticket.password_changed_at) not in self.known, "tried again"
        self.users[user], self.tenant = decision.user, decision.tenant
        outcome, verdict = _outcome(call)
        if call.end == "crash_before":
            return
        if outcome != "refunded":
            self.attempts.append(
                Attempt(self.now + call.delay, user, call.password, failing=outcome != "valid")
            )
        if call.end != "crash_after":
            heapq.heappush(
                self._pending,
                (self.now + call.delay, next(self._ids), decision.ticket, outcome, verdict, call.clock),
            )

    def admit(self, user: str) -> Charged:
        """Wait until a password of the user may be tried, and charge it without keeping that."""
        self.changes[user] += 1
        for _ in range(2):
            answer = budgets.charge(self.users[user], self.tenant, self.limits, self.ticket(user, RIGHT))
            if isinstance(answer, Denied):
                self.now += answer.retry_after_seconds or 0
        assert isinstance(answer, Charged), answer
        return answer

    def ticket(self, user: str, password: int, clock: float = 0) -> Ticket:
        return Ticket(
            id=f"{next(self._ids):08}",
            user_id=user,
            fingerprint=f"{user}/{password}",
            password_changed_at=f"{self.changes[user]}",
            at=self.now + clock,
        )

    def _settle_until(self, moment: float) -> None:
        while self._pending and self._pending[0][0] <= moment:
            at, _, ticket, outcome, verdict, clock = heapq.heappop(self._pending)
            before = self.users[ticket.user_id]
            settled = budgets.settle(
                before,
                self.tenant,
                self.limits,
                ticket,
                outcome,
                verdict=verdict,
                retry_after_seconds=120,
                now=at + clock,
            )
            self.users[ticket.user_id], self.tenant = settled.user, settled.tenant
            if verdict.status != "unknown" and before.password_changed_at == ticket.password_changed_at:
                password = int(ticket.fingerprint.rpartition("/")[2])
                self.known.add((ticket.user_id, password, ticket.password_changed_at or ""))


def _outcome(call: Call) -> tuple[Outcome, Verdict]:
    right = call.password == RIGHT
    match call.end:
        case "crash_before" | "crash_after":
            return "no_verdict", UNKNOWN
        case "answered" | "valid" | "failed":
            return ("valid", VALID) if right else ("failed", INVALID)
        case "valid_but_expired":
            return ("valid_but_expired", VALID) if right else ("failed", INVALID)
        case _:
            return call.end, UNKNOWN


def most_within(times: Iterable[float], seconds: float) -> int:
    """The most of these times that any window of this length holds."""
    ordered = sorted(times)
    most = first = 0
    for last, time in enumerate(ordered):
        while first < last and time - ordered[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def most_users_within(attempts: Iterable[Attempt], seconds: float) -> int:
    """The most different users that any window of this length holds."""
    ordered = sorted(attempts, key=lambda attempt: attempt.at)
    return max(
        (len({other.user for other in ordered if 0 <= last.at - other.at < seconds}) for last in ordered),
        default=0,
    )
