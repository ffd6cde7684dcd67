"""How many passwords may be tried: per user, per day, and before it looks like an attack. Pure: no I/O.

An attempt is charged before it is made and settled with what came of it. Whatever is not settled, as after a
crash, stays charged and counts as a failure. Charging or settling with one ticket twice is the same as once,
so both may be tried again when nobody knows whether they were stored.

What the budgets rest on:

- **Smart lockout.** An account is locked after 10 wrong passwords, 3 in US Government; a tenant may set its
  own number. We take at most a quarter of it a day, so that the user has the rest. Microsoft does not say
  when the count starts anew, so within 30 days all our attempts together stay below the threshold.
  Source: https://learn.microsoft.com/entra/identity/authentication/howto-password-smart-lockout
- **Sentinel's rule for password spraying** fires when five users fail from one address within 20 minutes.
  Source: Azure/Azure-Sentinel, `SigninPasswordSpray.yaml`.
- **50053** also means that our address is blocked: three users in a row, and everything stops.

Times are seconds since 1970, as floats, read from the clock of whoever charges.
"""

import hashlib
import hmac
import math
import unicodedata
from collections.abc import Iterable
from typing import Literal, Self

import msgspec
from msgspec.structs import replace

from shared.config import Settings
from shared.credentials.verdicts import Verdict
from shared.errors import ConfigurationError

LEDGER_VERSION = 1
"""Raised when a stored ledger would mean something else."""

LOCKOUT_THRESHOLD = 10
LOCKOUT_THRESHOLDS = {"usgov": 3, "usgov-dod": 3}
"""Where smart lockout's default is another one than `LOCKOUT_THRESHOLD`, by cloud."""

HOUR = 3600
DAY = 24 * HOUR
MONTH = 30 * DAY
SUSPECT_SECONDS = 20 * 60

SLACK_SECONDS = 60
"""Every window is longer by this. It covers clocks of two instances that differ, and the time from the charge
to the attempt."""
IN_FLIGHT_SECONDS = 60
"""An attempt that is not settled after this was lost with its process; until then its user is not tried."""
LAG_SECONDS = HOUR
"""For so long after an attempt, an older date of the password than the one known is an answer of Graph that
came late. Later it is believed: a user may have been restored."""
LEAST_THROTTLED_SECONDS = 60
MOST_THROTTLED_SECONDS = DAY
LOCKOUTS_IN_A_ROW = 3
REMEMBERED_VERDICTS = 64
LEAST_KEY_BYTES = 32

type Budget = Literal[
    "user_day",
    "user_month",
    "user_spacing",
    "user_in_flight",
    "user_lockout",
    "tenant_day",
    "failing_users",
    "lockouts_in_a_row",
    "service_throttled",
    "ledger_busy",
]
type Outcome = Literal[
    "valid",
    "valid_but_expired",
    "failed",
    "locked",
    "service_throttled",
    "no_verdict",
    "refunded",
]
"""What came of an attempt.

- `valid`: the password is right.
- `valid_but_expired`: right, with code 50055, which Sentinel counts as a failure.
- `failed`: wrong, or another answer on this user that is not named here.
- `locked`: code 50053, a locked account or a blocked address.
- `service_throttled`: the sign-in service told us to wait.
- `no_verdict`: a time-out or a fault; the password may have been looked at.
- `refunded`: our own app was refused before any user was looked at.
"""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The budgets in numbers."""

    per_user_day: int
    per_user_month: int
    per_day: int
    failing_users: int
    """Different users that may fail within 20 minutes."""
    spacing: float
    """Seconds between two attempts for one user."""
    lockout_pause: float
    """Seconds for which a locked user, or after three of them everybody, is left alone."""

    @classmethod
    def from_settings(cls, settings: Settings, lockout_threshold: int | None = None) -> Self:
        """The settings, cut to what smart lockout leaves. `lockout_threshold` is the tenant's, if known."""
        threshold = lockout_threshold
        if threshold is None:
            threshold = LOCKOUT_THRESHOLDS.get(settings.cloud.name, LOCKOUT_THRESHOLD)
        return cls(
            per_user_day=min(settings.validation_attempts_per_user_per_day, max(1, threshold // 4)),
            per_user_month=max(0, threshold - 1),
            per_day=settings.validation_attempts_per_day,
            failing_users=settings.validation_failing_users_per_20_min,
            spacing=settings.validation_spacing_seconds,
            lockout_pause=settings.validation_lockout_pause_seconds,
        )


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """One password that was tried, or was about to be."""

    ticket: str
    at: float
    settled: bool = False


class Suspicion(msgspec.Struct, frozen=True, array_like=True):
    """A user who failed, or may have. `ticket` is that of the last charge."""

    ticket: str
    at: float


class UserLedger(msgspec.Struct, frozen=True, kw_only=True):
    """What one user's budget knows."""

    version: int = LEDGER_VERSION
    attempts: tuple[Attempt, ...] = ()
    """Those of the last 30 days, oldest first."""
    paused_until: float = 0
    password_changed_at: str | None = None
    """Graph's `lastPasswordChangeDateTime` for which the memory below is true."""
    remembered: dict[str, Verdict] = {}
    """Verdicts by fingerprint, oldest first."""
    valid_fingerprint: str | None = None


class TenantLedger(msgspec.Struct, frozen=True, kw_only=True):
    """What the budget of the whole tenant knows."""

    version: int = LEDGER_VERSION
    attempts_by_hour: dict[int, int] = {}
    """Hour since 1970 → attempts. An hour counts until its end is a day old."""
    suspects: dict[str, Suspicion] = {}
    """Users of the last 20 minutes that failed or may have, those in flight included."""
    locked_in_a_row: tuple[str, ...] = ()
    """Different users whose attempts ended in 50053, with no password looked at in between."""
    stopped_until: float = 0
    throttled_until: float = 0


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, from its charge to its settlement."""

    id: str
    """8 random characters: whoever charges draws them anew for each attempt."""
    user_id: str
    fingerprint: str
    password_changed_at: str | None
    at: float
    suspicion_before: Suspicion | None = None
    """What the charge replaced in `suspects`, to be put back."""


class Denied(msgspec.Struct, frozen=True):
    """No attempt may be made now."""

    budget: Budget
    retry_after_seconds: int | None
    """None: time alone changes nothing."""
    detail: str
    """One sentence for the analyst."""


class Charged(msgspec.Struct, frozen=True):
    """The attempt may be made as soon as both ledgers are stored."""

    user: UserLedger
    tenant: TenantLedger
    ticket: Ticket


class Spent(msgspec.Struct, frozen=True):
    """What is spent of the tenant's budgets."""

    attempts: int
    """Of `Limits.per_day`."""
    suspects: int
    """Of `Limits.failing_users`."""


class Settled(msgspec.Struct, frozen=True):
    """Both ledgers after an attempt."""

    user: UserLedger
    tenant: TenantLedger
    stopped: bool
    """The account was locked, and that stopped all attempts or found them stopped: somebody has to know."""


def fingerprint(key: bytes, tenant_id: str, user_id: str, password: str) -> str:
    """A password of one user as 64 hex digits, which only the key can make: HMAC-SHA-256.

    Each part goes in as UTF-8 behind its length (8 bytes, big-endian), so that no two triples read the same.
    The password is brought to Unicode's form NFC: what looks the same on two keyboards is the same. Ids are
    taken in lower case. Without a key a weak password could be guessed from its digest; hence a key of 32
    bytes or more.
    """
    if len(key) < LEAST_KEY_BYTES:
        raise ConfigurationError(
            [
                f"The secret `credential-memory-key` in Key Vault has {len(key)} bytes: "
                f"store at least {LEAST_KEY_BYTES} random ones."
            ]
        )
    digest = hmac.new(key, digestmod=hashlib.sha256)
    for part in (tenant_id.lower(), user_id.lower(), unicodedata.normalize("NFC", password)):
        # JSON can spell half a surrogate pair; it has to have a fingerprint as well.
        content = part.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


def recall(user: UserLedger, fingerprint: str, password_changed_at: str | None) -> Verdict | None:
    """What is known of a password without trying it, or None.

    Once the user's password is known, every other one is superseded. When the password has changed since,
    nothing is known.
    """
    if user.password_changed_at != password_changed_at:
        return None
    if user.valid_fingerprint not in (None, fingerprint):
        return Verdict(
            status="superseded",
            confidence="high",
            evidence=("another password of the user is valid",),
            detail="Another password was found to be this user's, and it has not changed since.",
        )
    return user.remembered.get(fingerprint)


def charge(
    user: UserLedger, tenant: TenantLedger, limits: Limits, ticket: Ticket
) -> Charged | Denied | Verdict:
    """Charge one attempt to both ledgers, where it is not charged yet.

    Denied by whichever budget lasts longest; a `Verdict` if memory, by now, knows the answer.
    """
    if _is_late(user, ticket):
        # What is tried from now on is the newer password.
        ticket = replace(ticket, password_changed_at=user.password_changed_at)
    if known := recall(user, ticket.fingerprint, ticket.password_changed_at):
        return known
    denials = _user_denials(user, limits, ticket) + _tenant_denials(tenant, limits, ticket)
    if denials:
        # To come back earlier than the longest says would be in vain.
        return max(denials, key=lambda denied: denied.retry_after_seconds or math.inf)
    if not _is_suspect_by(tenant, ticket):
        ticket = replace(ticket, suspicion_before=tenant.suspects.get(ticket.user_id))
    return Charged(_charge_user(user, ticket), _charge_tenant(tenant, ticket), ticket)


def spent(tenant: TenantLedger, now: float) -> Spent:
    """What the whole tenant's budgets count at this moment."""
    attempts = (n for hour, n in tenant.attempts_by_hour.items() if _hour_counts_until(hour) > now)
    suspects = (one for one in tenant.suspects.values() if _suspect_until(one) > now)
    return Spent(sum(attempts), sum(1 for _ in suspects))


def settle(
    user: UserLedger,
    tenant: TenantLedger,
    limits: Limits,
    ticket: Ticket,
    outcome: Outcome,
    *,
    verdict: Verdict | None = None,
    retry_after_seconds: float = 0,
    now: float,
) -> Settled:
    """Enter what came of an attempt. `verdict` is remembered if it is about the password;
    `retry_after_seconds` is what the sign-in service said."""
    user = _settle_user(user, ticket, outcome)
    if outcome == "locked":
        user = replace(user, paused_until=max(user.paused_until, now + limits.lockout_pause))
    if verdict is not None and user.password_changed_at == ticket.password_changed_at:
        user = _remember(user, ticket.fingerprint, verdict)
    tenant = _settle_tenant(tenant, limits, ticket, outcome, retry_after_seconds, now)
    return Settled(user, tenant, stopped=outcome == "locked" and tenant.stopped_until >= now)


# The user's side.


def _user_denials(user: UserLedger, limits: Limits, ticket: Ticket) -> list[Denied]:
    """Every budget of the user that forbids this attempt."""
    if _has_attempt_of(user, ticket):
        return []
    now = ticket.at
    denials = []
    if user.paused_until > now:
        denials.append(
            _denied(
                "user_lockout",
                user.paused_until - now,
                "The sign-in service reported this account as locked; it is left alone for a while.",
            )
        )
    windows: tuple[tuple[Budget, float, int, str], ...] = (
        ("user_day", DAY, limits.per_user_day, "24 hours"),
        ("user_month", MONTH, limits.per_user_month, "30 days"),
    )
    for budget, window, most, span in windows:
        ends = [(attempt.at + window + SLACK_SECONDS, 1) for attempt in user.attempts]
        if (wait := _wait_until_below(ends, most, now)) is not None:
            denials.append(
                _denied(budget, wait, f"The limit of {most} passwords of this user within {span} is reached.")
            )
    if user.attempts and limits.spacing:
        last = max(attempt.at for attempt in user.attempts)
        if (pause := last + limits.spacing + SLACK_SECONDS - now) > 0:
            denials.append(
                _denied("user_spacing", pause, "Another password of this user was tried a short while ago.")
            )
    open_until = [attempt.at + IN_FLIGHT_SECONDS for attempt in user.attempts if not attempt.settled]
    if open_until and (pause := max(open_until) - now) > 0:
        denials.append(
            _denied("user_in_flight", pause, "A password of this user is being tried at this moment.")
        )
    return denials


def _charge_user(user: UserLedger, ticket: Ticket) -> UserLedger:
    """Memory of an older password goes; attempts and pauses stay."""
    if _has_attempt_of(user, ticket):
        return user
    if user.password_changed_at != ticket.password_changed_at:
        user = replace(
            user,
            password_changed_at=ticket.password_changed_at,
            remembered={},
            valid_fingerprint=None,
        )
    kept = [attempt for attempt in user.attempts if attempt.at + MONTH + SLACK_SECONDS > ticket.at]
    return replace(user, attempts=(*kept, Attempt(ticket.id, ticket.at)))


def _is_late(user: UserLedger, ticket: Ticket) -> bool:
    """Whoever charges looked the user up before the password changed, and somebody else after. Dates are
    RFC 3339 in UTC, so they are in order as texts."""
    if (ticket.password_changed_at or "") >= (user.password_changed_at or ""):
        return False
    return any(attempt.at + LAG_SECONDS > ticket.at for attempt in user.attempts)


def _has_attempt_of(user: UserLedger, ticket: Ticket) -> bool:
    return any(attempt.ticket == ticket.id for attempt in user.attempts)


def _settle_user(user: UserLedger, ticket: Ticket, outcome: Outcome) -> UserLedger:
    attempts = [
        replace(attempt, settled=True) if attempt.ticket == ticket.id else attempt
        for attempt in user.attempts
        if attempt.ticket != ticket.id or outcome != "refunded"
    ]
    return replace(user, attempts=tuple(attempts))


def _remember(user: UserLedger, fingerprint: str, verdict: Verdict) -> UserLedger:
    """Only what is true of the password: an account may be enabled again, or created."""
    if verdict.status not in ("valid", "invalid"):
        return user
    remembered = user.remembered | {
        fingerprint: replace(verdict, attempt_made=False, retry_after_seconds=None)
    }
    valid = fingerprint if verdict.status == "valid" else user.valid_fingerprint
    for oldest in list(remembered)[: max(0, len(remembered) - REMEMBERED_VERDICTS)]:
        if oldest != valid:
            del remembered[oldest]
    return replace(user, remembered=remembered, valid_fingerprint=valid)


# The tenant's side.


def _tenant_denials(tenant: TenantLedger, limits: Limits, ticket: Ticket) -> list[Denied]:
    """Every budget of the tenant that forbids this attempt."""
    if _is_suspect_by(tenant, ticket):
        return []
    now = ticket.at
    denials = []
    if tenant.stopped_until > now:
        denials.append(
            _denied(
                "lockouts_in_a_row",
                tenant.stopped_until - now,
                "Several users in a row were reported as locked: the app's address may be blocked.",
            )
        )
    if tenant.throttled_until > now:
        denials.append(
            _denied(
                "service_throttled", tenant.throttled_until - now, "The sign-in service asked us to wait."
            )
        )
    ends = [(_hour_counts_until(hour), n) for hour, n in tenant.attempts_by_hour.items()]
    if (wait := _wait_until_below(ends, limits.per_day, now)) is not None:
        denials.append(
            _denied(
                "tenant_day", wait, f"The limit of {limits.per_day} passwords within 24 hours is reached."
            )
        )
    # A user who is suspect already adds nothing.
    others = [
        (_suspect_until(suspicion), 1)
        for user_id, suspicion in tenant.suspects.items()
        if user_id != ticket.user_id
    ]
    if (wait := _wait_until_below(others, limits.failing_users, now)) is not None:
        denials.append(
            _denied(
                "failing_users",
                wait,
                f"{limits.failing_users} users failed within 20 minutes; more would look like an attack.",
            )
        )
    return denials


def _charge_tenant(tenant: TenantLedger, ticket: Ticket) -> TenantLedger:
    if _is_suspect_by(tenant, ticket):
        return tenant
    suspects = {
        user_id: suspicion
        for user_id, suspicion in tenant.suspects.items()
        if _suspect_until(suspicion) > ticket.at
    }
    # By a clock that is behind, an earlier time than the one known would let others in too soon.
    before = suspects.get(ticket.user_id)
    suspects[ticket.user_id] = Suspicion(ticket.id, max(ticket.at, before.at) if before else ticket.at)
    hours = {
        hour: attempts
        for hour, attempts in tenant.attempts_by_hour.items()
        if _hour_counts_until(hour) > ticket.at
    }
    hour = int(ticket.at // HOUR)
    hours[hour] = hours.get(hour, 0) + 1
    return replace(tenant, attempts_by_hour=hours, suspects=suspects)


def _settle_tenant(
    tenant: TenantLedger,
    limits: Limits,
    ticket: Ticket,
    outcome: Outcome,
    retry_after_seconds: float,
    now: float,
) -> TenantLedger:
    match outcome:
        case "no_verdict":
            return tenant
        case "refunded":
            return _released(_taken_back(tenant, ticket), ticket)
        case "service_throttled":
            wait = min(max(retry_after_seconds, LEAST_THROTTLED_SECONDS), MOST_THROTTLED_SECONDS)
            return replace(tenant, throttled_until=max(tenant.throttled_until, now + wait))
        case "locked":
            return _count_lockout(tenant, limits, ticket, now)
        case "valid":
            tenant = _released(tenant, ticket)
    # A password was looked at, so our address is not blocked.
    return replace(tenant, locked_in_a_row=())


def _count_lockout(tenant: TenantLedger, limits: Limits, ticket: Ticket, now: float) -> TenantLedger:
    row = tuple(dict.fromkeys((*tenant.locked_in_a_row, ticket.user_id)))
    if len(row) < LOCKOUTS_IN_A_ROW:
        return replace(tenant, locked_in_a_row=row)
    stopped_until = max(tenant.stopped_until, now + limits.lockout_pause)
    return replace(tenant, locked_in_a_row=(), stopped_until=stopped_until)


def _hour_counts_until(hour: int) -> float:
    return (hour + 1) * HOUR + DAY + SLACK_SECONDS


def _suspect_until(suspicion: Suspicion) -> float:
    return suspicion.at + SUSPECT_SECONDS + SLACK_SECONDS


def _is_suspect_by(tenant: TenantLedger, ticket: Ticket) -> bool:
    """The user's last charge is the one of this ticket."""
    suspicion = tenant.suspects.get(ticket.user_id)
    return suspicion is not None and suspicion.ticket == ticket.id


def _released(tenant: TenantLedger, ticket: Ticket) -> TenantLedger:
    """Back to what the charge replaced. If a later charge replaced it in turn, the user stays suspect."""
    if not _is_suspect_by(tenant, ticket):
        return tenant
    suspects = {**tenant.suspects}
    if ticket.suspicion_before is None:
        del suspects[ticket.user_id]
    else:
        suspects[ticket.user_id] = ticket.suspicion_before
    return replace(tenant, suspects=suspects)


def _taken_back(tenant: TenantLedger, ticket: Ticket) -> TenantLedger:
    """One attempt less in its hour, as long as the suspicion proves that it is still counted."""
    hour = int(ticket.at // HOUR)
    if not _is_suspect_by(tenant, ticket) or hour not in tenant.attempts_by_hour:
        return tenant
    hours = {**tenant.attempts_by_hour}
    hours[hour] -= 1
    if not hours[hour]:
        del hours[hour]
    return replace(tenant, attempts_by_hour=hours)


def _denied(budget: Budget, wait: float, detail: str) -> Denied:
    return Denied(budget, None if wait == math.inf else max(1, math.ceil(wait)), detail)


def _wait_until_below(ends: Iterable[tuple[float, int]], most: int, now: float) -> float | None:
    """Seconds until fewer than `most` are left of what ends at these times, so many each; None if it is so
    now, infinite if it never will be."""
    ahead = sorted((end, count) for end, count in ends if end > now)
    left = sum(count for _, count in ahead)
    if left < most:
        return None
    for end, count in ahead:
        left -= count
        if left < most:
            return end - now
    return math.inf
