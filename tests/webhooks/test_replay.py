"""A call is worked once, also when delivered twice, at once, late, or after a worker died. On real tables."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from azure.data.tables.aio import TableClient

from sandbox.azurite import StorageAccount
from shared.errors import CallAltered, CallInWork, StorageUnavailable
from shared.tables import Entity, Table
from shared.webhooks.interface import Caller
from shared.webhooks.replay import KEPT, LARGEST_ANSWER, TABLE, WORKER_IS_DEAD_AFTER, Claim, ReplayGuard
from tests.webhooks.support import BODY, Clock

KEY = b"k" * 32
CALLER = Caller("flare", "message-0123456789")
ANSWER = b'{"results": []}'
DEAD = WORKER_IS_DEAD_AFTER.total_seconds()


@pytest.fixture
def guard(table: Table, clock: Clock) -> ReplayGuard:
    return ReplayGuard(table, KEY, clock)


async def claimed(guard: ReplayGuard, caller: Caller = CALLER, body: bytes = BODY) -> Claim:
    claim = await guard.claim(caller, body)
    assert isinstance(claim, Claim)
    return claim


async def entities(account: StorageAccount) -> list[dict[str, Any]]:
    async with TableClient.from_connection_string(account.connection_string, TABLE) as client:
        return [dict(entity) async for entity in client.list_entities()]


async def test_the_answer_is_given_again(guard: ReplayGuard) -> None:
    await guard.finish(await claimed(guard), ANSWER)
    for _ in range(2):
        assert await guard.claim(CALLER, BODY) == ANSWER


async def test_an_empty_answer_is_an_answer(guard: ReplayGuard) -> None:
    await guard.finish(await claimed(guard), b"")
    assert await guard.claim(CALLER, BODY) == b""


async def test_a_call_in_work(guard: ReplayGuard, clock: Clock) -> None:
    claim = await claimed(guard)
    clock.now += DEAD - 1
    with pytest.raises(CallInWork):
        await guard.claim(CALLER, BODY)
    await guard.finish(claim, ANSWER)
    assert await guard.claim(CALLER, BODY) == ANSWER


async def test_another_body(guard: ReplayGuard) -> None:
    claim = await claimed(guard)
    for body in (b"", BODY + b" "):
        with pytest.raises(CallAltered) as raised:
            await guard.claim(CALLER, body)
        assert "hunter2" not in str(raised.value)
    await guard.finish(claim, ANSWER)
    with pytest.raises(CallAltered):
        await guard.claim(CALLER, b"")
    assert await guard.claim(CALLER, BODY) == ANSWER


async def test_an_abandoned_call_is_worked_anew(guard: ReplayGuard) -> None:
    await guard.abandon(await claimed(guard))
    await guard.abandon(await claimed(guard))
    await guard.finish(await claimed(guard), ANSWER)
    assert await guard.claim(CALLER, BODY) == ANSWER


async def test_callers_and_ids_are_kept_apart(guard: ReplayGuard) -> None:
    callers = [Caller("a", "bc"), Caller("ab", "c"), Caller("a", "b"), Caller("A", "bc"), Caller("é", "bc")]
    for number, caller in enumerate(callers):
        await guard.finish(await claimed(guard, caller), b"%d" % number)
    assert [await guard.claim(caller, BODY) for caller in callers] == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_call_without_an_id_is_never_stored(guard: ReplayGuard, account: StorageAccount) -> None:
    caller = Caller("9e8d7c6b-5a49-4382-9716-0f1e2d3c4b5a", None)
    first, second = await claimed(guard, caller), await claimed(guard, caller)
    await guard.finish(first, ANSWER)
    await guard.abandon(second)
    assert await entities(account) == []


@pytest.mark.parametrize("takers", [2, 8])
async def test_one_of_several_deliveries_works(table: Table, clock: Clock, takers: int) -> None:
    guards = [ReplayGuard(table, KEY, clock) for _ in range(takers)]
    outcomes = await asyncio.gather(*(guard.claim(CALLER, BODY) for guard in guards), return_exceptions=True)
    assert sum(isinstance(outcome, Claim) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, CallInWork) for outcome in outcomes) == takers - 1


@pytest.mark.parametrize("takers", [1, 2, 8])
async def test_a_dead_workers_call_is_taken_over_by_one(
    table: Table, clock: Clock, takers: int, caplog: pytest.LogCaptureFixture
) -> None:
    dead = ReplayGuard(table, KEY, clock)
    old = await claimed(dead)
    clock.now += DEAD
    guards = [ReplayGuard(table, KEY, clock) for _ in range(takers)]
    outcomes = await asyncio.gather(*(guard.claim(CALLER, BODY) for guard in guards), return_exceptions=True)
    (new,) = [outcome for outcome in outcomes if isinstance(outcome, Claim)]
    assert sum(isinstance(outcome, CallInWork) for outcome in outcomes) == takers - 1

    # The dead one was only slow. Neither its answer nor its failure touches what the other one does.
    caplog.set_level(logging.INFO, "shared.webhooks")
    await dead.finish(old, b"late")
    assert "webhook.claim_superseded" in caplog.messages
    await dead.abandon(old)
    with pytest.raises(CallInWork):
        await dead.claim(CALLER, BODY)
    await guards[0].finish(new, ANSWER)
    assert await dead.claim(CALLER, BODY) == ANSWER


async def test_another_body_does_not_take_over(guard: ReplayGuard, clock: Clock) -> None:
    await claimed(guard)
    clock.now += DEAD
    with pytest.raises(CallAltered):
        await guard.claim(CALLER, b"")
    await claimed(guard)


class Unconfirmed(Table):
    """A table whose next insert is stored, and then sent again by the SDK, since the answer was lost."""

    lost = 1

    async def insert(self, entity: Entity) -> str | None:
        etag = await super().insert(entity)
        if etag is None or not self.lost:
            return etag
        self.lost -= 1
        return await super().insert(entity)


async def test_a_claim_whose_confirmation_is_lost_is_held(account: StorageAccount, clock: Clock) -> None:
    async with TableClient.from_connection_string(account.connection_string, TABLE) as client:
        table = Unconfirmed(client)
        await table.ensure()
        guard = ReplayGuard(table, KEY, clock)
        await guard.finish(await claimed(guard), ANSWER)
        assert await guard.claim(CALLER, BODY) == ANSWER


class Fleeting(Table):
    """A table in which another delivery is always a step ahead: claims before us, and abandons then."""

    async def insert(self, entity: Entity) -> str | None:
        return None


async def test_a_race_without_end_is_a_call_in_work(account: StorageAccount, clock: Clock) -> None:
    async with TableClient.from_connection_string(account.connection_string, TABLE) as client:
        table = Fleeting(client)
        await table.ensure()
        with pytest.raises(CallInWork):
            await ReplayGuard(table, KEY, clock).claim(CALLER, BODY)


async def test_the_largest_answer(guard: ReplayGuard) -> None:
    largest = bytes(range(256)) * (LARGEST_ANSWER // 256)
    claim = await claimed(guard)
    with pytest.raises(ValueError, match=r"has 65537 bytes; .* at most 65536"):
        await guard.finish(claim, largest + b"x")
    await guard.finish(claim, largest)
    assert await guard.claim(CALLER, BODY) == largest


async def test_nothing_that_a_caller_sent_is_stored(guard: ReplayGuard, account: StorageAccount) -> None:
    await claimed(guard)
    (working,) = await entities(account)
    assert set(working) == {"PartitionKey", "RowKey", "body", "claim", "claimed_at"}
    for name in ("PartitionKey", "RowKey", "body"):
        assert len(bytes.fromhex(working[name])) == 32
    text = repr(working)
    for private in ("hunter2", "flare", "message", KEY.decode()):
        assert private not in text


async def test_hashes_of_one_text_differ_by_what_it_is(guard: ReplayGuard, account: StorageAccount) -> None:
    await claimed(guard, Caller("same", "same"), b"same")
    (entity,) = await entities(account)
    assert len({entity[name] for name in ("PartitionKey", "RowKey", "body")}) == 3


async def test_hashes_depend_on_the_key(table: Table, account: StorageAccount, clock: Clock) -> None:
    for key in (KEY, b"x" * 32):
        await claimed(ReplayGuard(table, key, clock))
    first, second = await entities(account)
    assert not {first[name] for name in ("PartitionKey", "RowKey", "body")} & set(map(str, second.values()))


async def test_sweep_deletes_what_is_old(table: Table) -> None:
    """The table's own clock says how old: here a week passes for the guard alone."""
    clock = Clock()
    clock.now = time.time()
    guard = ReplayGuard(table, KEY, clock)
    for number in range(3):
        await guard.finish(await claimed(guard, Caller("flare", f"{number}")), ANSWER)
    assert await guard.sweep() == 0
    clock.now += KEPT.total_seconds() - 60
    assert await guard.sweep() == 0
    clock.now += 120
    assert await guard.sweep() == 3
    assert await guard.sweep() == 0
    await claimed(guard, Caller("flare", "1"))


async def test_a_table_that_is_missing(account: StorageAccount, clock: Clock) -> None:
    async with TableClient.from_connection_string(account.connection_string, "absent") as client:
        guard = ReplayGuard(Table(client), KEY, clock)
        for call in (guard.claim(CALLER, BODY), guard.sweep()):
            with pytest.raises(StorageUnavailable, match="`absent`"):
                await call


async def test_logs_hold_nothing_private(guard: ReplayGuard, clock: Clock, logged: Callable[[], str]) -> None:
    await claimed(guard)
    clock.now += DEAD
    await guard.finish(await claimed(guard), ANSWER)
    text = logged()
    assert "webhook.claim_taken_over" in text
    for private in ("hunter2", "message-0123456789", KEY.decode()):
        assert private not in text
