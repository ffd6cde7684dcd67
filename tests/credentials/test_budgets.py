"""The laws of the budgets: no order of calls, crashes and clocks lets more through than they say."""

import math
import unicodedata
from collections import Counter

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.credentials import budgets
from shared.credentials.budgets import (
    DAY,
    LOCKOUTS_IN_A_ROW,
    MONTH,
    REMEMBERED_VERDICTS,
    SLACK_SECONDS,
    SUSPECT_SECONDS,
    Attempt,
    Charged,
    Denied,
    Limits,
    Outcome,
    Settled,
    Suspicion,
    TenantLedger,
    Ticket,
    UserLedger,
    fingerprint,
)
from shared.credentials.ledger import CHARGE_SECONDS
from shared.credentials.verdicts import Verdict
from shared.errors import ConfigurationError
from shared.tables import PROPERTY_BYTES
from tests.credentials.passwords import (
    CLOCKS_APART,
    INVALID,
    LONGEST_DELAY,
    START,
    VALID,
    Call,
    World,
    calls,
    limits,
    most_users_within,
    most_within,
    settings,
)

WIDE = Limits(
    per_user_day=10,
    per_user_month=100,
    per_day=1000,
    failing_users=1000,
    spacing=0,
    lockout_pause=DAY,
)
KEY = bytes(range(32))
scripts = st.lists(calls(), min_size=10, max_size=60)


def ticket(
    number: int = 0, *, user: str = "ada", password: str = "p", changed: str = "1", at: float = START
) -> Ticket:
    return Ticket(id=f"{number:08}", user_id=user, fingerprint=password, password_changed_at=changed, at=at)


def charged(user: UserLedger, tenant: TenantLedger, ticket: Ticket, limits: Limits = WIDE) -> Charged:
    decision = budgets.charge(user, tenant, limits, ticket)
    assert isinstance(decision, Charged), decision
    return decision


def denied(user: UserLedger, tenant: TenantLedger, ticket: Ticket, limits: Limits = WIDE) -> Denied:
    decision = budgets.charge(user, tenant, limits, ticket)
    assert isinstance(decision, Denied), decision
    return decision


def tried(
    outcome: Outcome,
    *,
    ticket: Ticket,
    user: UserLedger | None = None,
    tenant: TenantLedger | None = None,
    verdict: Verdict | None = None,
    limits: Limits = WIDE,
    retry_after_seconds: float = 0,
) -> Settled:
    """An attempt that ends as it is charged."""
    paid = charged(user or UserLedger(), tenant or TenantLedger(), ticket, limits)
    return budgets.settle(
        paid.user,
        paid.tenant,
        limits,
        paid.ticket,
        outcome,
        verdict=verdict,
        retry_after_seconds=retry_after_seconds,
        now=ticket.at,
    )


# Laws over any course of events.


@given(limits, scripts)
def test_no_user_is_tried_more_often_than_allowed(limits: Limits, script: list[Call]) -> None:
    world = World(limits)
    world.play(script)
    for user in world.users:
        times = [attempt.at for attempt in world.attempts if attempt.user == user]
        assert most_within(times, DAY) <= limits.per_user_day
        assert most_within(times, MONTH) <= limits.per_user_month
        assert most_within(times, limits.spacing) <= 1


@given(limits, scripts)
def test_no_day_has_more_attempts_than_allowed(limits: Limits, script: list[Call]) -> None:
    world = World(limits)
    world.play(script)
    assert most_within([attempt.at for attempt in world.attempts], DAY) <= limits.per_day


@given(limits, scripts)
def test_it_never_looks_like_a_password_spray(limits: Limits, script: list[Call]) -> None:
    world = World(limits)
    world.play(script)
    failing = [attempt for attempt in world.attempts if attempt.failing]
    assert most_users_within(failing, SUSPECT_SECONDS) <= limits.failing_users


@given(limits, st.lists(calls(users=2, passwords=3), min_size=10, max_size=40))
def test_what_is_known_is_never_tried_again(limits: Limits, script: list[Call]) -> None:
    """The world objects when it is. Here: nor is anything else, once a user's password is known."""
    world = World(replace(limits, per_user_day=5, per_user_month=50))
    for call in script:
        world.call(call)
        user = f"user-{call.user}"
        if (user, 0, f"{world.changes[user]}") in world.known:
            again = budgets.charge(
                world.users[user], world.tenant, world.limits, world.ticket(user, call.password)
            )
            assert isinstance(again, Verdict)
            assert again.status == ("valid" if call.password == 0 else "superseded")


@given(limits, scripts, calls())
def test_who_waits_as_told_is_let_in(limits: Limits, script: list[Call], last: Call) -> None:
    world = World(limits)
    world.play(script)
    user = f"user-{last.user}"
    now = world.ticket(user, last.password)
    answer = budgets.charge(world.users[user], world.tenant, limits, now)
    if not isinstance(answer, Denied):
        return
    assert answer.retry_after_seconds is not None
    charged(world.users[user], world.tenant, replace(now, at=now.at + answer.retry_after_seconds), limits)
    if answer.retry_after_seconds > 2:
        sooner = replace(now, at=now.at + answer.retry_after_seconds - 2)
        assert denied(world.users[user], world.tenant, sooner, limits).budget == answer.budget


@given(
    limits, scripts, st.sampled_from(("valid", "failed", "no_verdict", "refunded")), calls(), st.booleans()
)
def test_a_crash_only_makes_it_stricter(
    limits: Limits, script: list[Call], outcome: Outcome, call: Call, same_user: bool
) -> None:
    """Whatever was written when the process died, nobody gets in who would not have otherwise."""
    world = World(limits)
    world.play(script)
    paid = world.admit("user-0")
    before, tenant_before = world.users["user-0"], world.tenant
    settled = budgets.settle(paid.user, paid.tenant, limits, paid.ticket, outcome, now=world.now)
    world.now += call.wait
    next_one = world.ticket("user-0" if same_user else "user-1", call.password)

    def lets_in(user: UserLedger, tenant: TenantLedger) -> bool:
        mine = user if same_user else world.users["user-1"]
        return isinstance(budgets.charge(mine, tenant, limits, next_one), Charged)

    lets_in_untouched = lets_in(before, tenant_before)
    lets_in_settled = lets_in(settled.user, settled.tenant)
    for user, tenant in ((paid.user, tenant_before), (before, paid.tenant), (paid.user, paid.tenant)):
        assert lets_in_untouched or not lets_in(user, tenant)
    for user, tenant in ((paid.user, settled.tenant), (settled.user, paid.tenant), (paid.user, paid.tenant)):
        assert lets_in_settled or not lets_in(user, tenant)


@given(limits, scripts, st.sampled_from(("valid", "failed", "locked", "no_verdict", "refunded")))
def test_charging_and_settling_twice_is_the_same_as_once(
    limits: Limits, script: list[Call], outcome: Outcome
) -> None:
    world = World(limits)
    world.play(script)
    paid = world.admit("user-0")
    assert budgets.charge(paid.user, paid.tenant, limits, paid.ticket) == paid
    once = budgets.settle(paid.user, paid.tenant, limits, paid.ticket, outcome, now=world.now)
    if once.stopped:
        return  # the user would begin the next row of lockouts
    assert budgets.settle(once.user, once.tenant, limits, paid.ticket, outcome, now=world.now) == once


@given(limits, scripts, calls())
def test_a_refunded_attempt_never_was(limits: Limits, script: list[Call], call: Call) -> None:
    world = World(limits)
    world.play(script)
    paid = world.admit("user-0")
    refunded = budgets.settle(paid.user, paid.tenant, limits, paid.ticket, "refunded", now=world.now)
    world.now += call.wait
    for user in ("user-0", "user-1"):
        next_one = world.ticket(user, call.password)
        before = world.users[user]
        after = refunded.user if user == "user-0" else before
        answer = budgets.charge(before, world.tenant, limits, next_one)
        again = budgets.charge(after, refunded.tenant, limits, next_one)
        assert type(answer) is type(again)
        if isinstance(answer, Denied):
            assert again == answer


# Each budget by itself.


def test_user_has_so_many_a_day() -> None:
    two = replace(WIDE, per_user_day=2)
    first = tried("failed", ticket=ticket(1))
    second = tried("failed", ticket=ticket(2, at=START + 100), user=first.user)
    answer = denied(second.user, TenantLedger(), ticket(3, at=START + 200), two)
    assert answer.budget == "user_day"
    assert answer.retry_after_seconds == DAY + SLACK_SECONDS - 200
    assert "limit of 2 passwords of this user within 24 hours" in answer.detail


def test_user_has_so_many_a_month() -> None:
    user = tried("failed", ticket=ticket(1)).user
    later = ticket(2, at=START + 20 * DAY)
    assert denied(user, TenantLedger(), later, replace(WIDE, per_user_month=1)).budget == "user_month"
    charged(user, TenantLedger(), later, replace(WIDE, per_user_day=1))


def test_attempts_of_one_user_are_spaced() -> None:
    spaced = replace(WIDE, spacing=900)
    user = tried("failed", ticket=ticket(1)).user
    answer = denied(user, TenantLedger(), ticket(2, at=START + 900), spaced)
    assert (answer.budget, answer.retry_after_seconds) == ("user_spacing", SLACK_SECONDS)
    charged(user, TenantLedger(), ticket(2, at=START + 900 + SLACK_SECONDS), spaced)


def test_one_attempt_of_a_user_at_a_time() -> None:
    paid = charged(UserLedger(), TenantLedger(), ticket(1))
    assert denied(paid.user, TenantLedger(), ticket(2, at=START + 1)).budget == "user_in_flight"
    charged(paid.user, TenantLedger(), ticket(2, at=START + 61))
    settled = budgets.settle(paid.user, paid.tenant, WIDE, paid.ticket, "failed", now=START)
    charged(settled.user, TenantLedger(), ticket(2, at=START + 1))


def test_the_day_has_so_many_and_counts_by_hours() -> None:
    tenant = tried("failed", ticket=ticket(1)).tenant
    one = replace(WIDE, per_day=1)
    answer = denied(UserLedger(), tenant, ticket(2, user="bob", at=START + 1), one)
    assert answer.budget == "tenant_day"
    # START is a full hour: the attempt counts until the hour's end is a day old.
    assert answer.retry_after_seconds == 3600 + DAY + SLACK_SECONDS - 1


def test_only_so_many_users_may_fail() -> None:
    tenant = TenantLedger()
    for number, user in enumerate(("ada", "bob", "ada", "cyd")):
        tenant = tried("failed", ticket=ticket(number, user=user, at=START + number), tenant=tenant).tenant
    three = replace(WIDE, failing_users=3)
    answer = denied(UserLedger(), tenant, ticket(9, user="dan", at=START + 9), three)
    assert answer.budget == "failing_users"
    # Bob failed first of those who count; Ada has failed again since.
    assert answer.retry_after_seconds == SUSPECT_SECONDS + SLACK_SECONDS + 1 - 9
    charged(UserLedger(), tenant, ticket(9, user="ada", at=START + 9), three)


@pytest.mark.parametrize(
    ("outcome", "suspect"),
    [
        ("valid", False),
        ("valid_but_expired", True),
        ("failed", True),
        ("locked", True),
        ("service_throttled", True),
        ("no_verdict", True),
        ("refunded", False),
    ],
)
def test_who_stays_suspect(outcome: Outcome, suspect: bool) -> None:
    assert ("ada" in tried(outcome, ticket=ticket()).tenant.suspects) is suspect


def test_a_valid_password_does_not_hide_an_earlier_failure() -> None:
    failed = tried("failed", ticket=ticket(1))
    valid = tried("valid", ticket=ticket(2, at=START + 1000), user=failed.user, tenant=failed.tenant)
    assert valid.tenant.suspects == failed.tenant.suspects


def test_a_clock_that_is_behind_does_not_shorten_a_suspicion() -> None:
    first = tried("failed", ticket=ticket(1))
    behind = tried("failed", ticket=ticket(2, at=START - 30), user=first.user, tenant=first.tenant)
    assert behind.tenant.suspects["ada"].at == START


def test_windows_cover_clocks_that_differ_and_the_way_to_the_attempt() -> None:
    assert 2 * CLOCKS_APART + LONGEST_DELAY <= SLACK_SECONDS
    assert CHARGE_SECONDS < LONGEST_DELAY


@pytest.mark.parametrize(
    ("outcome", "attempts"), [("refunded", 0), ("no_verdict", 1), ("valid", 1), ("failed", 1)]
)
def test_what_stays_charged(outcome: Outcome, attempts: int) -> None:
    settled = tried(outcome, ticket=ticket())
    assert len(settled.user.attempts) == attempts
    assert sum(settled.tenant.attempts_by_hour.values()) == attempts


def test_a_locked_user_is_left_alone() -> None:
    user = tried("locked", ticket=ticket(1), limits=replace(WIDE, lockout_pause=5000)).user
    answer = denied(user, TenantLedger(), ticket(2, at=START + 100))
    assert (answer.budget, answer.retry_after_seconds) == ("user_lockout", 4900)


def test_three_lockouts_in_a_row_stop_everything() -> None:
    tenant = TenantLedger()
    for number in range(LOCKOUTS_IN_A_ROW):
        settled = tried("locked", ticket=ticket(number, user=f"{number}"), tenant=tenant)
        tenant = settled.tenant
        assert settled.stopped is (number == LOCKOUTS_IN_A_ROW - 1)
    answer = denied(UserLedger(), tenant, ticket(9, user="zoe", at=START + 10))
    assert (answer.budget, answer.retry_after_seconds) == ("lockouts_in_a_row", DAY - 10)
    later = tried("locked", ticket=ticket(10, user="zoe", at=START + DAY + 1), tenant=tenant)
    assert not later.stopped, "the row begins anew"


def test_one_user_alone_makes_no_row() -> None:
    settled = Settled(UserLedger(), TenantLedger(), stopped=False)
    for number in range(5):
        settled = tried("locked", ticket=ticket(number, at=START + number * 2 * DAY), tenant=settled.tenant)
        assert not settled.stopped


@pytest.mark.parametrize(
    ("between", "stopped"),
    [
        ("valid", False),
        ("valid_but_expired", False),
        ("failed", False),
        # These say nothing of our address.
        ("no_verdict", True),
        ("refunded", True),
        ("service_throttled", True),
    ],
)
def test_what_ends_a_row(between: Outcome, stopped: bool) -> None:
    tenant = TenantLedger()
    outcomes: list[Outcome] = ["locked", "locked", between, "locked"]
    for number, outcome in enumerate(outcomes):
        at = START + number * 100
        settled = tried(outcome, ticket=ticket(number, user=f"{number}", at=at), tenant=tenant)
        tenant = settled.tenant
    assert settled.stopped is stopped


@pytest.mark.parametrize(("said", "waits"), [(0, 60), (59, 60), (300, 300), (math.inf, DAY), (10**9, DAY)])
def test_everybody_waits_when_the_service_says_so(said: float, waits: int) -> None:
    tenant = tried("service_throttled", ticket=ticket(1), retry_after_seconds=said).tenant
    answer = denied(UserLedger(), tenant, ticket(2, user="bob"))
    assert (answer.budget, answer.retry_after_seconds) == ("service_throttled", waits)


@pytest.mark.parametrize("name", ["per_user_day", "per_user_month", "per_day", "failing_users"])
def test_a_budget_of_nothing_never_lets_in(name: str) -> None:
    answer = denied(UserLedger(), TenantLedger(), ticket(), replace(WIDE, **{name: 0}))
    assert answer.retry_after_seconds is None


def test_ledgers_stay_small() -> None:
    world = World(replace(WIDE, per_user_month=9, failing_users=4))
    for number in range(2000):
        world.call(Call(wait=3600, user=number % 100, password=1 + number, end="answered", clock=0, delay=0))
    assert len(world.tenant.suspects) <= 4
    assert len(world.tenant.attempts_by_hour) <= 26
    assert max(len(user.attempts) for user in world.users.values()) <= 9


def test_the_largest_ledgers_fit_into_a_property_of_a_table() -> None:
    """At the settings' upper ends, and with Graph's ids."""
    tenant = TenantLedger(
        attempts_by_hour={500_000 + hour: 100_000 for hour in range(26)},
        suspects={f"{n:08}-4f89-41d3-9a0c-0305e82c3301": Suspicion(f"{n:08}", START) for n in range(1000)},
        locked_in_a_row=("3f2504e0-4f89-41d3-9a0c-0305e82c3301",) * 2,
    )
    user = UserLedger(
        attempts=tuple(Attempt(f"{n:08}", START, settled=True) for n in range(10 * 30)),
        remembered={f"{n:064}": replace(INVALID, detail="d" * 300) for n in range(REMEMBERED_VERDICTS)},
    )
    for ledger in (tenant, user):
        assert len(msgspec.msgpack.encode(ledger)) < PROPERTY_BYTES


# Memory.


def test_what_was_tried_is_remembered() -> None:
    settled = tried("failed", ticket=ticket(), verdict=INVALID)
    remembered = budgets.recall(settled.user, "p", "1")
    assert remembered == replace(INVALID, attempt_made=False)
    assert budgets.recall(settled.user, "other", "1") is None
    assert budgets.charge(settled.user, settled.tenant, WIDE, ticket(2)) == remembered


def test_once_one_is_valid_the_others_are_superseded() -> None:
    settled = tried("valid", ticket=ticket(), verdict=VALID)
    known = budgets.recall(settled.user, "p", "1")
    assert known is not None
    assert known.status == "valid"
    other = budgets.recall(settled.user, "other", "1")
    assert other is not None
    assert (other.status, other.attempt_made) == ("superseded", False)


@pytest.mark.parametrize("status", ["unknown", "disabled", "not_found", "throttled", "unsupported"])
def test_what_is_not_about_the_password_is_not_remembered(status: str) -> None:
    verdict = replace(INVALID, status=status)
    assert budgets.recall(tried("failed", ticket=ticket(), verdict=verdict).user, "p", "1") is None


def test_memory_goes_with_the_password_but_nothing_else_does() -> None:
    settled = tried("locked", ticket=ticket(1), verdict=VALID)
    assert budgets.recall(settled.user, "p", "2") is None
    assert denied(settled.user, TenantLedger(), ticket(2, changed="2")).budget == "user_lockout"
    later = charged(settled.user, TenantLedger(), ticket(2, changed="2", at=START + DAY))
    assert budgets.recall(later.user, "p", "2") is None
    assert [attempt.at for attempt in later.user.attempts] == [START, START + DAY]
    assert later.user.paused_until == settled.user.paused_until


def test_verdict_on_a_password_that_was_changed_meanwhile_is_not_remembered() -> None:
    paid = charged(UserLedger(), TenantLedger(), ticket(1))
    later = charged(paid.user, paid.tenant, ticket(2, changed="2", at=START + 100))
    settled = budgets.settle(
        later.user, later.tenant, WIDE, paid.ticket, "valid", verdict=VALID, now=START + 100
    )
    assert budgets.recall(settled.user, "p", "2") is None


def test_memory_is_bounded_and_the_oldest_goes() -> None:
    user = UserLedger()
    for number in range(REMEMBERED_VERDICTS + 5):
        mine = ticket(number, password=f"{number}", at=START + number * DAY)
        user = tried("failed", ticket=mine, user=user, verdict=INVALID).user
    assert len(user.remembered) == REMEMBERED_VERDICTS
    assert budgets.recall(user, "4", "1") is None
    assert budgets.recall(user, "5", "1") is not None


# Limits.


@pytest.mark.parametrize(
    ("cloud", "threshold", "asked", "a_day", "a_month"),
    [
        ("public", None, 10, 2, 9),
        ("china", None, 10, 2, 9),
        ("usgov", None, 10, 1, 2),
        ("usgov-dod", None, 10, 1, 2),
        ("public", None, 1, 1, 9),
        ("public", None, 0, 0, 9),
        ("public", 40, 10, 10, 39),
        ("usgov", 8, 10, 2, 7),
        ("public", 2, 10, 1, 1),
        ("public", 1, 10, 1, 0),
    ],
)
def test_smart_lockout_bounds_what_is_asked_for(
    cloud: str, threshold: int | None, asked: int, a_day: int, a_month: int
) -> None:
    limits = Limits.from_settings(settings(cloud, attempts_per_user_per_day=asked), threshold)
    assert (limits.per_user_day, limits.per_user_month) == (a_day, a_month)


def test_the_other_limits_are_the_settings() -> None:
    limits = Limits.from_settings(settings())
    assert (limits.per_day, limits.failing_users) == (200, 4)
    assert (limits.spacing, limits.lockout_pause) == (900, 86400)


# Fingerprints.


@given(st.text())
@example("\ud800")
@example("\u017f\u0307\u0323")
def test_forms_of_one_password_have_one_fingerprint(password: str) -> None:
    forms = {unicodedata.normalize(form, password) for form in ("NFC", "NFD")}
    assert (
        len({fingerprint(KEY, "t", "u", form) for form in forms} | {fingerprint(KEY, "t", "u", password)})
        == 1
    )


parts = st.tuples(*[st.text(alphabet="a\0\x01 :|", max_size=3)] * 3)


@given(st.lists(parts, unique=True, min_size=2, max_size=20))
def test_no_two_triples_have_one_fingerprint(triples: list[tuple[str, str, str]]) -> None:
    assert max(Counter(fingerprint(KEY, *triple) for triple in triples).values()) == 1


def test_compatible_characters_are_other_passwords() -> None:
    assert fingerprint(KEY, "t", "u", "ﬁ") != fingerprint(KEY, "t", "u", "fi")


def test_fingerprint_is_of_this_key_and_in_this_form() -> None:
    """Stored ones must still be found by the next version."""
    found = fingerprint(KEY, "TENANT", "USER", "pässword")
    assert found == fingerprint(KEY, "tenant", "user", "pa\u0308ssword")
    assert found == "3b886b37e131bf6aa4624697ef268f6df817b3e7f71ca6822960bcd516317acd"
    assert found != fingerprint(KEY[::-1], "tenant", "user", "pässword")


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has 31 bytes: store at least 32"):
        fingerprint(KEY[:31], "t", "u", "p")


def test_what_is_spent_is_what_still_counts() -> None:
    hour = int(START // 3600)
    tenant = TenantLedger(
        attempts_by_hour={hour - 26: 7, hour - 1: 2, hour: 3},
        suspects={
            "over": Suspicion("t1", START - SUSPECT_SECONDS - SLACK_SECONDS),
            "suspect": Suspicion("t2", START - SUSPECT_SECONDS),
        },
    )
    assert budgets.spent(tenant, START) == budgets.Spent(attempts=5, suspects=1)
    assert budgets.spent(tenant, START + 2 * DAY) == budgets.Spent(attempts=0, suspects=0)
    assert budgets.spent(TenantLedger(), START) == budgets.Spent(attempts=0, suspects=0)
