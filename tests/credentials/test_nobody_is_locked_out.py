"""Nobody is ever locked out, whoever calls, in whatever order, and whatever breaks.

Calls go the whole way: signed, through several instances at once whose clocks differ, over a real Azurite, to
a tenant with smart lockout. Settings are as permissive as they may be, or nearly.

Two things cannot be promised, and are not tested as laws. A tenant may have a lower threshold than the
default of its cloud and not let the app read it (GroupSettings.Read.All). And nobody but Microsoft knows
when smart lockout forgets: the budgets rest on 30 days, so that is as long as these tenants live.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates
from sandbox.tenant import Tenant, faults, generate
from sandbox.tenant.accounts import Accounts
from sandbox.tenant.faults import Action, Answer
from sandbox.tenant.messages import Call as Request
from sandbox.tenant.messages import Reply
from sandbox.tenant.smart_lockout import SmartLockout
from shared.clouds import CLOUDS
from shared.credentials.budgets import Limits
from shared.credentials.calls import CredentialCalls
from shared.credentials.ledger import BUDGET_TABLE, USERS_TABLE
from shared.errors import CallAltered, CallInWork, StorageUnavailable
from shared.webhooks.replay import TABLE as REQUESTS_TABLE
from tests.credentials.lives import End, Life, ProcessKilled
from tests.support.validation import BEGIN, Clock, ValidationWorld, encode, validation_world

DAY = 24 * 3600.0
MONTH = 30 * DAY
SUSPECT_SECONDS = 20 * 60.0
FAILURES = {50053, 50055, 50126}
"""What Sentinel's rule for password spraying counts."""

USERS = 5
INSTANCES = 3
PASS_THROUGH, EXPIRED, SECOND_FACTOR = (1, 2), 3, 4
"""Users by number: whose wrong passwords count each time, whose password has expired, who has MFA."""
RIGHT = "right"
PASSWORDS = ("wrong-1", "wrong-2", "wrong-3", "wrong-4", RIGHT)
CLOCKS_DIFFER_BY = (0.0, 20.0, -20.0)
"""Seconds, by instance."""

SERVICE_FAULTS: dict[str, Action] = {
    "close": faults.close(),
    "hang": faults.hang(0.4),
    "503": faults.respond(503),
    "429": faults.throttle("5"),
    "50053": faults.entra_error([50053]),
    "50196": faults.entra_error([50196]),
}
PROBE_TIMEOUT_SECONDS = 0.2

type Sent = tuple[int, str, str]
"""The user's number, the password, and which address of the user."""


@dataclass(frozen=True)
class Call:
    instance: int
    credentials: list[Sent]
    call_id: int | None
    """One that other calls may have as well, or None for one of its own."""


@dataclass(frozen=True)
class Wave:
    """What happens at the same time; then the clock moves."""

    calls: list[Call]
    service: list[str | None]
    """What goes wrong with each sign-in, in their order; nothing with those that follow."""
    ends: tuple[int, int, End] | None
    """An instance, and at which step its life or its first call ends."""
    new_password: tuple[int, str] | None
    locks: int | None
    forward: float


@dataclass(frozen=True)
class Lockout:
    """A tenant's smart lockout."""

    cloud: str
    threshold: int | None = None
    """The tenant's own; None for the default of the cloud."""
    is_readable: bool = False
    """Whether Graph shows it to the app."""


LOCKOUTS = st.sampled_from([Lockout("public"), Lockout("usgov")]) | st.builds(
    Lockout, st.sampled_from(["public", "usgov"]), st.integers(1, 12), st.just(True)
)
HIGHER_LOCKOUT = st.builds(Lockout, st.just("public"), st.integers(11, 50))
"""The app takes it for the default, which is lower."""


@dataclass(frozen=True)
class Plan:
    lockout: "Lockout"
    per_user_day: int
    per_day: int
    failing_users: int
    spacing: int
    pause: int
    waves: list[Wave]


SENT = st.tuples(
    st.integers(0, USERS - 1),
    st.sampled_from(PASSWORDS),
    st.sampled_from(["name", "upper", "alias"]),
)
CALLS = st.builds(
    Call,
    st.integers(0, INSTANCES - 1),
    st.lists(SENT, min_size=1, max_size=5),
    st.none() | st.integers(0, 3),
)
WAVES = st.builds(
    Wave,
    calls=st.lists(CALLS, min_size=1, max_size=4),
    service=st.just([]) | st.lists(st.none() | st.sampled_from(sorted(SERVICE_FAULTS)), max_size=4),
    ends=st.none()
    | st.tuples(st.integers(0, INSTANCES - 1), st.integers(1, 40), st.sampled_from(["killed", "cancelled"])),
    new_password=st.none() | st.tuples(st.integers(0, USERS - 1), st.sampled_from(PASSWORDS)),
    locks=st.none() | st.integers(0, USERS - 1),
    forward=st.sampled_from([0.0, 30.0, 61.0, 130.0, 961.0, 1261.0, DAY / 4, DAY + 130, DAY + 130]),
)


def plans(waves: int) -> st.SearchStrategy[Plan]:
    return st.builds(
        Plan,
        lockout=LOCKOUTS | HIGHER_LOCKOUT,
        # First the most that a setting may be, then what it may be as well.
        per_user_day=st.just(10) | st.integers(1, 10),
        per_day=st.just(100_000) | st.integers(1, 12),
        failing_users=st.just(1000) | st.integers(1, 4),
        spacing=st.sampled_from([0, 0, 0, 900]),
        pause=st.sampled_from([0, 86_400]),
        waves=st.lists(WAVES, min_size=waves // 2, max_size=waves),
    )


@dataclass
class Witness:
    """Before the sign-in service: sees every password that arrives, and breaks what the plan breaks."""

    clock: Clock
    number_of: dict[str, int]
    """User principal name → the user's number."""
    epochs: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    """How often each user's password was set."""
    planned: Iterator[str | None] = field(default_factory=lambda: iter(()))
    tried: list[tuple[float, int, str, int]] = field(default_factory=list)
    """Time, user, password, and the epoch of the user's password."""
    failed: list[tuple[float, int]] = field(default_factory=list)
    known: set[tuple[int, str, int]] = field(default_factory=set)
    """User, password, epoch: pairs with a verdict that a caller has been told, who asked in this epoch."""
    tried_in_vain: list[tuple[int, str, int]] = field(default_factory=list)
    """Attempts although the verdict was known."""

    async def __call__(self, request: Request, answer: Answer) -> Reply:
        form = parse_qs(request.body.decode())
        user, password = self.number_of[form["username"][0].lower()], form["password"][0]
        pair = (user, password, self.epochs[user])
        if pair in self.known:
            self.tried_in_vain.append(pair)
        # An answer may hang until long after it was decided.
        at = self.clock()
        self.tried.append((at, *pair))

        async def noted() -> Reply:
            return self._noted(at, user, await answer())

        fault = next(self.planned, None)
        reply = await (SERVICE_FAULTS[fault](request, noted) if fault else noted())
        return self._noted(at, user, reply)

    def told(self, user: int, password: str, epoch: int) -> None:
        """A caller who asked in this epoch has the verdict of an attempt. If the password has changed on the
        way, the app may take it for one on the former password."""
        pair = (user, password, epoch)
        if pair in (tried[1:] for tried in self.tried):
            self.known.add(pair)

    def _noted(self, at: float, user: int, reply: Reply) -> Reply:
        codes = json.loads(reply.body).get("error_codes", []) if reply.body.startswith(b"{") else []
        if FAILURES & set(codes):
            self.failed.append((at, user))
        return reply


class Story:
    """One plan in one world."""

    def __init__(self, world: ValidationWorld, plan: Plan, number: int) -> None:
        self.world = world
        self.plan = plan
        self.number = number
        self.people = [world.staff(user) for user in range(USERS)]
        names = {person["userPrincipalName"].lower(): user for user, person in enumerate(self.people)}
        self.witness = Witness(world.clock, names)
        self.locked_by_us: set[str] = set()
        self.lives = [Life() for _ in range(INSTANCES)]
        self.instances: list[CredentialCalls] = []

    async def live(self) -> None:
        await self._begin_anew()
        for wave in self.plan.waves:
            await self._go_through(wave)

    @property
    def settings(self) -> dict[str, object]:
        plan = self.plan
        return {
            "cloud": CLOUDS[plan.lockout.cloud],
            "validation_attempts_per_user_per_day": plan.per_user_day,
            "validation_attempts_per_day": plan.per_day,
            "validation_failing_users_per_20_min": plan.failing_users,
            "validation_spacing_seconds": plan.spacing,
            "validation_lockout_pause_seconds": plan.pause,
        }

    async def _begin_anew(self) -> None:
        world, tenant = self.world, self.world.tenant
        for table in (USERS_TABLE, BUDGET_TABLE, REQUESTS_TABLE):
            await world.tables.delete_table(table)
            await world.tables.create_table(table)
        world.clock.now = BEGIN
        lockout = self.plan.lockout
        tenant.lockout = SmartLockout(lockout.cloud, world.clock)  # type: ignore[arg-type]
        tenant.lockout.threshold_set = lockout.threshold
        tenant.accounts = Accounts(f"story {self.number}")
        permissions = tenant.clients[world.settings.client_id or ""].permissions
        permissions.discard("GroupSettings.Read.All")
        if lockout.is_readable:
            permissions.add("GroupSettings.Read.All")
        tenant.faults.clear()
        tenant.faults.add(self.witness, r"/oauth2/v2.0/token", times=None)
        for user, person in enumerate(self.people):
            tenant.set_password(person["id"], f"first-{user}")
            account = tenant.accounts[person["id"]]
            account.method = "pass-through" if user in PASS_THROUGH else None
            account.expired = user == EXPIRED
            account.after_password = (50076,) if user == SECOND_FACTOR else ()
        self.instances = [self._instance(number) for number in range(INSTANCES)]

    def _instance(self, number: int) -> CredentialCalls:
        clock: Callable[[], float] = lambda: self.world.clock() + CLOCKS_DIFFER_BY[number]  # noqa: E731
        life = self.lives[number] = Life()
        return self.world.instance(through=life, clock=clock, **self.settings)

    async def _go_through(self, wave: Wave) -> None:
        self.witness.planned = iter(wave.service)
        if wave.locks is not None:
            user_id = self.people[wave.locks]["id"]
            self.locked_by_us.add(user_id)
            self.world.tenant.lockout.lock(user_id)
        tasks = [asyncio.create_task(self._ask(call)) for call in wave.calls]
        if wave.ends is not None:
            instance, step, end = wave.ends
            of_instance = [t for t, call in zip(tasks, wave.calls, strict=True) if call.instance == instance]
            if of_instance:
                self.lives[instance].ends_at(step, end, of_instance[0])
        if wave.new_password is not None:
            await asyncio.sleep(0.02)  # somewhere in the midst of it
            self._set_password(*wave.new_password)
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if outcome is not None and not isinstance(
                outcome,
                ProcessKilled | asyncio.CancelledError | CallInWork | CallAltered | StorageUnavailable,
            ):
                raise outcome
        for number, life in enumerate(self.lives):
            if life.is_over:
                self.instances[number] = self._instance(number)
        self.world.clock.forward(wave.forward)

    def _set_password(self, user: int, password: str) -> None:
        person = self.people[user]
        if password == RIGHT:
            password = f"{RIGHT}-{self.witness.epochs[user]}"
        self.world.tenant.set_password(person["id"], password)
        self.witness.epochs[user] += 1

    async def _ask(self, call: Call) -> None:
        sent = [
            (user, self._text(user, password), self._address(user, kind))
            for user, password, kind in call.credentials
        ]
        epochs = dict(self.witness.epochs)
        body = encode(
            *(
                {"id": str(number), "username": address, "password": password}
                for number, (_, password, address) in enumerate(sent)
            )
        )
        call_id = None if call.call_id is None else f"story-{self.number}-{call.call_id}"
        answer = json.loads(await self.world.send(body, call_id, self.instances[call.instance]))
        for result, (user, password, _) in zip(answer["results"], sent, strict=True):
            if result["attempt_made"] and result["status"] in ("valid", "invalid"):
                self.witness.told(user, password, epochs.get(user, 0))

    def _text(self, user: int, password: str) -> str:
        return self.world.password_of(self.people[user]) if password == RIGHT else password

    def _address(self, user: int, kind: str) -> str:
        person = self.people[user]
        name = str(person["userPrincipalName"])
        if kind == "alias":
            aliases = [proxy[5:] for proxy in person.get("proxyAddresses") or ()]
            return next((alias for alias in aliases if alias.lower() != name.lower()), name)
        return name.upper() if kind == "upper" else name

    # --- the laws -----------------------------------------------------------------------------------------

    def assert_nobody_is_locked_out(self) -> None:
        assert set(self.world.tenant.lockout.ever_locked) <= self.locked_by_us

    def assert_budgets_hold(self) -> None:
        chosen = self.instances[0].validator.settings
        lockout = self.plan.lockout
        limits = Limits.from_settings(chosen, lockout.threshold if lockout.is_readable else None)
        for user in range(USERS):
            times = [at for at, who, _, _ in self.witness.tried if who == user]
            assert most_within(DAY, times) <= limits.per_user_day
            assert most_within(MONTH, times) <= limits.per_user_month
            if limits.spacing:
                assert most_within(limits.spacing, times) <= 1
        assert most_within(DAY, [at for at, *_ in self.witness.tried]) <= limits.per_day
        for begin, _ in self.witness.failed:
            failed = {user for at, user in self.witness.failed if begin <= at < begin + SUSPECT_SECONDS}
            assert len(failed) <= limits.failing_users

    def assert_nothing_is_tried_in_vain(self) -> None:
        assert self.witness.tried_in_vain == []


def most_within(seconds: float, times: list[float]) -> int:
    """The most of these times that lie in one window of this length."""
    return max((sum(begin <= at < begin + seconds for at in times) for begin in times), default=0)


def assert_laws(
    account: StorageAccount, certificates: ServerCertificates, *, examples: int, waves: int
) -> None:
    attempts = 0
    number = 0
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        clock = Clock()
        tenant = Tenant(generate(40, seed=3), clock=clock)
        starting = stack.enter_async_context(validation_world(tenant, clock, account, certificates))
        world = runner.run(_result_of(starting))
        world.probe_timeout_seconds = PROBE_TIMEOUT_SECONDS

        # What happens at the same time comes in another order next time: there is nothing to shrink.
        @settings(
            max_examples=examples,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),
            print_blob=False,
        )
        @given(plans(waves))
        def hold(plan: Plan) -> None:
            nonlocal attempts, number
            number += 1
            story = Story(world, plan, number)
            runner.run(story.live())
            attempts += len(story.witness.tried)
            note(f"{plan}\n{story.witness.tried}")
            story.assert_nobody_is_locked_out()
            story.assert_budgets_hold()
            story.assert_nothing_is_tried_in_vain()

        try:
            hold()
        finally:
            runner.run(stack.aclose())
    assert attempts > examples, "so few attempts prove nothing"


async def _result_of[T](awaitable: Awaitable[T]) -> T:
    return await awaitable


def test_nobody_is_locked_out(account: StorageAccount, certificates: ServerCertificates) -> None:
    assert_laws(account, certificates, examples=20, waves=8)


@pytest.mark.slow
def test_nobody_is_locked_out_in_long_stories(
    account: StorageAccount, certificates: ServerCertificates
) -> None:
    assert_laws(account, certificates, examples=300, waves=24)
