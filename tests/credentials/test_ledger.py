"""The budgets over real tables, with several instances at once and faults at any call."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import msgspec
import pytest
from azure.data.tables.aio import TableServiceClient
from msgspec.structs import replace

from sandbox.azurite import StorageAccount
from shared.credentials.budgets import DAY, Denied, Limits, Outcome, Ticket
from shared.credentials.ledger import BUDGET_TABLE, TENANT_ROW, TRIES, USERS_TABLE, Ledger
from shared.credentials.verdicts import Verdict
from shared.errors import StateUnreadable, StorageUnavailable
from shared.tables import Entity, Table, Value
from tests.credentials.passwords import INVALID, START, VALID

TENANT = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
WIDE = Limits(
    per_user_day=10, per_user_month=100, per_day=1000, failing_users=1000, spacing=0, lockout_pause=DAY
)
INSTANCES = 6


@dataclass
class Tables:
    """The tables of one account, through a client of its own for whoever asks."""

    account: StorageAccount
    stack: AsyncExitStack

    async def table(self, name: str, kind: type[Table] = Table) -> Table:
        service = TableServiceClient.from_connection_string(self.account.connection_string)
        await self.stack.enter_async_context(service)
        return kind(service.get_table_client(name))

    async def ledger(
        self,
        limits: Limits = WIDE,
        *,
        users: type[Table] = Table,
        budget: type[Table] = Table,
        clock: Callable[[], float] = lambda: START,
    ) -> Ledger:
        return Ledger(
            await self.table(USERS_TABLE, users),
            await self.table(BUDGET_TABLE, budget),
            TENANT,
            limits,
            clock=clock,
        )

    async def ledgers(self, limits: Limits) -> list[Ledger]:
        return [await self.ledger(limits) for _ in range(INSTANCES)]


@pytest.fixture
async def tables(account: StorageAccount) -> AsyncIterator[Tables]:
    async with AsyncExitStack() as stack:
        tables = Tables(account, stack)
        await (await tables.ledger()).ensure()
        yield tables


async def charged(ledger: Ledger, user: str, password: str = "p") -> Ticket:
    ticket = await ledger.charge(user, password, "1")
    assert isinstance(ticket, Ticket), ticket
    return ticket


def kinds(answers: list[Ticket | Denied | Verdict]) -> Counter[str]:
    """How often each answer was given: `ticket`, the name of a budget, or the status of a verdict."""
    return Counter(
        "ticket"
        if isinstance(answer, Ticket)
        else answer.budget
        if isinstance(answer, Denied)
        else answer.status
        for answer in answers
    )


# One instance.


async def test_what_was_tried_is_known_to_every_instance(tables: Tables) -> None:
    one, other = await tables.ledger(), await tables.ledger()
    assert await one.recall("ada", "p", "1") is None
    ticket = await charged(one, "ada")
    assert await other.recall("ada", "p", "1") is None
    assert await one.settle(ticket, "failed", verdict=INVALID) is False
    remembered = await other.recall("ada", "p", "1")
    assert remembered == replace(INVALID, attempt_made=False)
    assert await other.charge("ada", "p", "1") == remembered
    assert await other.recall("ada", "p", "2") is None


async def test_clock_is_the_real_one(tables: Tables) -> None:
    ledger = Ledger(await tables.table(USERS_TABLE), await tables.table(BUDGET_TABLE), TENANT, WIDE)
    assert (await charged(ledger, "ada")).at > 1_700_000_000


async def test_third_lockout_in_a_row_is_told(tables: Tables) -> None:
    ledgers = await tables.ledgers(WIDE)
    told = [
        await ledger.settle(await charged(ledger, f"user-{number}"), "locked")
        for number, ledger in enumerate(ledgers[:3])
    ]
    assert told == [False, False, True]
    answer = await ledgers[4].charge("zoe", "p", "1")
    assert isinstance(answer, Denied)
    assert answer.budget == "lockouts_in_a_row"


async def test_limits_may_be_replaced(tables: Tables) -> None:
    ledger = await tables.ledger()
    ledger.limits = replace(WIDE, per_day=0)
    assert kinds([await ledger.charge("ada", "p", "1")]) == {"tenant_day": 1}


async def test_no_storage_call_is_in_vain(tables: Tables) -> None:
    """One read of the user, and two writes before the attempt and at most two after it."""
    calls: list[str] = []

    class Counted(Table):
        async def get(self, partition: str, row: str) -> tuple[dict[str, Value], str] | None:
            calls.append(f"get {self.name}")
            return await super().get(partition, row)

        async def insert(self, entity: Entity) -> str | None:
            calls.append(f"insert {self.name}")
            return await super().insert(entity)

        async def replace(self, entity: Entity, etag: str) -> str | None:
            calls.append(f"replace {self.name}")
            return await super().replace(entity, etag)

    ledger = await tables.ledger(users=Counted, budget=Counted)
    await ledger.settle(await charged(ledger, "bob"), "failed", verdict=INVALID)
    calls.clear()
    await ledger.recall("ada", "p", "1")
    ticket = await charged(ledger, "ada")
    assert calls == [f"get {USERS_TABLE}", f"insert {USERS_TABLE}", f"replace {BUDGET_TABLE}"]
    calls.clear()
    await ledger.settle(ticket, "valid", verdict=VALID)
    assert calls == [f"replace {USERS_TABLE}", f"replace {BUDGET_TABLE}"]
    ticket = await charged(ledger, "cyd")
    calls.clear()
    await ledger.settle(ticket, "failed", verdict=INVALID)
    assert calls == [f"replace {USERS_TABLE}"], "the tenant's side says so already"


# Several instances.


async def test_exactly_the_days_budget_gets_through(tables: Tables) -> None:
    ledgers = await tables.ledgers(replace(WIDE, per_day=7))
    answers = await asyncio.gather(
        *(ledgers[number % INSTANCES].charge(f"user-{number}", "p", "1") for number in range(24))
    )
    assert kinds(answers) == {"ticket": 7, "tenant_day": 17}


async def test_exactly_so_many_users_may_fail_and_who_is_valid_makes_room(tables: Tables) -> None:
    ledgers = await tables.ledgers(replace(WIDE, failing_users=4))

    async def work(number: int) -> Ticket | Denied | Verdict:
        return await ledgers[number % INSTANCES].charge(f"user-{number}", "p", "1")

    answers = await asyncio.gather(*map(work, range(18)))
    assert kinds(answers) == {"ticket": 4, "failing_users": 14}
    tickets = [answer for answer in answers if isinstance(answer, Ticket)]
    outcomes: list[Outcome] = ["valid", "failed", "refunded", "no_verdict"]
    await asyncio.gather(
        *(
            ledger.settle(ticket, outcome)
            for ledger, ticket, outcome in zip(ledgers, tickets, outcomes, strict=False)
        )
    )
    answers = await asyncio.gather(*map(work, range(20, 38)))
    assert kinds(answers) == {"ticket": 2, "failing_users": 16}


async def test_one_password_of_a_user_at_a_time(tables: Tables) -> None:
    """Those who lose take nothing from the tenant, not even for a moment."""
    ledgers = await tables.ledgers(replace(WIDE, per_day=2))
    answers = await asyncio.gather(
        *(ledger.charge("ada", f"p{number}", "1") for number, ledger in enumerate(ledgers))
    )
    assert kinds(answers) == {"ticket": 1, "user_in_flight": INSTANCES - 1}
    assert isinstance(await ledgers[0].charge("bob", "p", "1"), Ticket)
    assert kinds([await ledgers[0].charge("cyd", "p", "1")]) == {"tenant_day": 1}


async def test_same_password_from_everywhere_is_tried_once(tables: Tables) -> None:
    ledgers = await tables.ledgers(WIDE)

    async def work(ledger: Ledger) -> Ticket | Denied | Verdict:
        answer: Ticket | Denied | Verdict
        while True:
            answer = await ledger.charge("ada", "p", "1")
            if isinstance(answer, Ticket):
                await ledger.settle(answer, "valid", verdict=VALID)
            if not isinstance(answer, Denied):
                return answer
            assert answer.budget == "user_in_flight"

    answers = await asyncio.gather(*map(work, ledgers))
    assert kinds(answers) == {"ticket": 1, "valid": INSTANCES - 1}


async def test_attempts_of_a_user_from_everywhere_are_counted_together(tables: Tables) -> None:
    ledgers = await tables.ledgers(replace(WIDE, per_user_day=3))
    made = 0

    async def work(number: int) -> None:
        nonlocal made
        for n in range(4):
            answer = await ledgers[number].charge("ada", f"{number}/{n}", "1")
            if isinstance(answer, Ticket):
                made += 1
                await ledgers[number].settle(answer, "failed", verdict=INVALID)

    await asyncio.gather(*map(work, range(INSTANCES)))
    assert made == 3


async def test_a_denial_rests_on_what_is_stored_now(tables: Tables) -> None:
    """Here the first instance has seen a full budget, and another one made room since."""
    one, other = await tables.ledger(replace(WIDE, failing_users=1)), await tables.ledger()
    ticket = await charged(one, "ada")
    await other.settle(ticket, "valid", verdict=VALID)
    assert isinstance(await one.charge("bob", "p", "1"), Ticket)


# Faults.


class ProcessDied(Exception):
    """Nothing of the process runs any more."""


@dataclass
class Life:
    """How many writes a process makes before it dies; the last one may reach storage or not."""

    writes: int
    reaches: bool
    made: int = 0

    def table(self) -> type[Table]:
        life = self

        class Mortal(Table):
            async def insert(self, entity: Entity) -> str | None:
                return await life.spend(lambda: super(Mortal, self).insert(entity))

            async def replace(self, entity: Entity, etag: str) -> str | None:
                return await life.spend(lambda: super(Mortal, self).replace(entity, etag))

        return Mortal

    async def spend(self, write: Callable[[], Awaitable[str | None]]) -> str | None:
        self.made += 1
        if self.made < self.writes:
            return await write()
        if self.made == self.writes and self.reaches:
            await write()
        raise ProcessDied


@pytest.mark.parametrize("reaches", [False, True])
@pytest.mark.parametrize("writes", range(1, 5))
async def test_a_crash_at_any_write_lets_no_more_through(tables: Tables, writes: int, reaches: bool) -> None:
    """Two writes of the charge, two of the settlement. The day has two attempts."""
    limits = replace(WIDE, per_day=2, per_user_day=2)
    life = Life(writes, reaches)
    dying = await tables.ledger(limits, users=life.table(), budget=life.table())
    made = 0

    async def live() -> None:
        nonlocal made
        ticket = await charged(dying, "ada")
        made += 1
        await dying.settle(ticket, "valid", verdict=VALID)

    with pytest.raises(ProcessDied):
        await live()
    clock = START + 61
    others = [await tables.ledger(limits, clock=lambda: clock) for _ in range(3)]
    for number, ledger in enumerate(others):
        answer = await ledger.charge("ada", f"other-{number}", "1")
        made += isinstance(answer, Ticket)
        clock += 61
    assert made <= 2


class Echo(Table):
    """After a broken connection the SDK asks again, and is told that somebody was faster: itself."""

    async def insert(self, entity: Entity) -> str | None:
        await super().insert(entity)
        return None

    async def replace(self, entity: Entity, etag: str) -> str | None:
        await super().replace(entity, etag)
        return None


@pytest.mark.parametrize(("users", "budget"), [(Echo, Table), (Table, Echo), (Echo, Echo)])
async def test_a_race_lost_to_ourselves_is_none(
    tables: Tables, users: type[Table], budget: type[Table]
) -> None:
    limits = replace(WIDE, per_day=2)
    ledger = await tables.ledger(limits, users=users, budget=budget)
    assert await ledger.settle(await charged(ledger, "ada"), "refunded") is False
    assert await ledger.settle(await charged(ledger, "ada"), "valid", verdict=VALID) is False
    other = await tables.ledger(limits)
    await charged(other, "bob")
    assert kinds([await other.charge("cyd", "p", "1")]) == {"tenant_day": 1}


async def test_who_finds_no_turn_is_denied_and_pays_nothing(tables: Tables) -> None:
    lost = 0

    class Contended(Table):
        async def replace(self, entity: Entity, etag: str) -> str | None:
            nonlocal lost
            lost += 1
            return None

    limits = replace(WIDE, per_day=2)
    other = await tables.ledger(limits)
    await charged(other, "ada")
    answer = await (await tables.ledger(limits, budget=Contended)).charge("bob", "p", "1")
    assert isinstance(answer, Denied)
    assert answer.budget == "ledger_busy"
    assert answer.retry_after_seconds
    assert lost >= TRIES
    assert isinstance(await other.charge("bob", "p", "1"), Ticket), "nothing was left charged"


async def test_settlement_that_finds_no_turn_is_an_error(tables: Tables) -> None:
    class Contended(Table):
        async def replace(self, entity: Entity, etag: str) -> str | None:
            return None

    ledger = await tables.ledger(users=Contended)
    with pytest.raises(StorageUnavailable, match="stays charged"):
        await ledger.settle(await charged(ledger, "ada"), "failed", verdict=INVALID)


async def test_a_charge_that_took_too_long_is_not_used(tables: Tables) -> None:
    moments = iter([START, START + 21, START + 21])
    ledger = await tables.ledger(replace(WIDE, per_day=1), clock=lambda: next(moments))
    assert kinds([await ledger.charge("ada", "p", "1")]) == {"ledger_busy": 1}
    await charged(await tables.ledger(replace(WIDE, per_day=1)), "ada")


async def test_storage_out_of_reach_is_an_error(account: StorageAccount) -> None:
    async with AsyncExitStack() as stack:
        ledger = await Tables(account, stack).ledger()
        with pytest.raises(StorageUnavailable, match="validationusers"):
            await ledger.recall("ada", "p", "1")
        with pytest.raises(StorageUnavailable, match="TableNotFound"):
            await ledger.charge("ada", "p", "1")


@pytest.mark.parametrize(
    "state",
    [b"", b"\xc1", msgspec.msgpack.encode({"version": 2}), msgspec.msgpack.encode({}), "text", None],
)
@pytest.mark.parametrize(("name", "row"), [(USERS_TABLE, "ada"), (BUDGET_TABLE, TENANT_ROW)])
async def test_what_cannot_be_read_is_never_taken_for_nothing(
    tables: Tables, name: str, row: str, state: bytes | str | None
) -> None:
    entity = {"PartitionKey": TENANT, "RowKey": row} | ({} if state is None else {"state": state})
    await (await tables.table(name)).insert(entity)
    with pytest.raises(StateUnreadable, match=f"Row {row} of table `{name}` cannot be read"):
        await (await tables.ledger()).charge("ada", "p", "1")


# Sweeping.


async def test_users_that_nobody_touched_for_90_days_go(tables: Tables) -> None:
    ledger = await tables.ledger()
    for number in range(20):
        await ledger.settle(await charged(ledger, f"user-{number}"), "failed", verdict=INVALID)
    # Storage goes by its own clock.
    assert await (await tables.ledger(clock=time.time)).sweep() == 0
    late = await tables.ledger(clock=lambda: time.time() + 91 * DAY)
    assert await late.sweep() == 20
    assert await late.sweep() == 0
    assert await ledger.recall("user-0", "p", "1") is None
    assert isinstance(await ledger.charge("user-0", "p", "1"), Ticket)
