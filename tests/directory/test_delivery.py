"""Messages come twice, late, in any order, not at all, and to two workers at once: one snapshot, the same."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sandbox.azurite import StorageAccount
from sandbox.tenant import Tenant, churn, faults, generate
from shared.directory.steps import Step
from shared.errors import RunUnderWay
from tests.directory.expected import assert_changes_lead, assert_equals_tenant, next_run
from tests.directory.stores import restarted, use_memory
from tests.incremental.support import assert_holds
from tests.support.world import Snapshot, World, world


def a_tenant(users: int = 40) -> Tenant:
    tenant = Tenant(generate(users=users, seed=61))
    tenant.delta_page_objects = tenant.list_page_objects = 10
    return tenant


async def undisturbed(tenant: Tenant, account: StorageAccount, **options: Any) -> Snapshot:
    async with world(tenant, account, **options) as w:
        await w.run()
        return await w.snapshot()


def assert_same(snapshot: Snapshot, other: Snapshot) -> None:
    assert snapshot.datasets == other.datasets
    assert snapshot.changes == other.changes
    assert {name: entry["parts"] for name, entry in snapshot.manifest["datasets"].items()} == {
        name: entry["parts"] for name, entry in other.manifest["datasets"].items()
    }


async def manifests(w: World) -> list[str]:
    return [name async for name in w.sync.output.names("runs/") if name.endswith("manifest.json")]


@pytest.mark.parametrize("seed", range(2))
async def test_every_message_comes_twice_in_any_order(
    account: StorageAccount, new_account: Callable[[], StorageAccount], seed: int
) -> None:
    tenant, rng = a_tenant(), random.Random(seed)
    expected = await undisturbed(tenant, new_account(), bucket_rows=8)
    async with world(tenant, account, bucket_rows=8, SYNC_SLICE_SECONDS="10") as w:
        w.sync = restarted(w.sync, clock=Looks(6.0))
        await w.sync.tick()
        while w.messages.waiting:
            w.messages.waiting += w.messages.waiting
            done = len(w.messages.waiting)
            rng.shuffle(w.messages.waiting)
            for _ in range(done):
                step, _delay = w.messages.waiting.pop(0)
                await w.sync.handle(step)
            assert len(w.messages.waiting) < 500
            w.messages.waiting = list(
                {repr(step): (step, delay) for step, delay in w.messages.waiting}.values()
            )
        assert_same(await w.snapshot(), expected)
        assert len(await manifests(w)) == 1
        assert (await w.status())["current"] is None


class Looks:
    """A monotonic clock on which each look takes so long."""

    def __init__(self, seconds: float) -> None:
        self._each, self._now = seconds, 0.0

    def __call__(self) -> float:
        self._now += self._each
        return self._now


@pytest.fixture
async def expected(new_account: Callable[[], StorageAccount]) -> Snapshot:
    return await undisturbed(a_tenant(20), new_account(), bucket_rows=8)


@hypothesis_settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=st.randoms(use_true_random=False), ticks=st.integers(0, 3), lost=st.floats(0, 0.6))
async def test_messages_in_any_order_some_of_them_lost(
    account: StorageAccount, expected: Snapshot, order: random.Random, ticks: int, lost: float
) -> None:
    """Whatever is lost, later ticks bring it back."""
    async with world(a_tenant(20), account, bucket_rows=8, SYNC_SLICE_SECONDS="10") as w:
        use_memory(w)
        w.sync = restarted(w.sync, clock=Looks(7.0))
        run_id = await w.sync.tick()
        for _ in range(ticks):
            for _ in range(order.randint(0, 12)):
                if not w.messages.waiting:
                    break
                step, _delay = w.messages.waiting.pop(order.randrange(len(w.messages.waiting)))
                if order.random() >= lost:
                    await w.sync.handle(step)
            w.messages.waiting = [one for one in w.messages.waiting if order.random() >= lost]
            if (await w.status())["published"] is None:
                assert await w.sync.tick() == run_id
        if not w.messages.waiting and (await w.status())["published"] is None:
            await w.sync.tick()
        await w.drain(lambda count: order.randrange(count))
        while (await w.status())["published"] is None:
            assert await w.sync.tick() == run_id
            await w.drain()
        assert_same(await w.snapshot(), expected)


async def test_lost_messages_are_healed_by_a_tick(account: StorageAccount) -> None:
    tenant = a_tenant()
    async with world(tenant, account, bucket_rows=8) as w:
        run_id = await w.sync.tick()
        for _ in range(40):
            if not w.messages.waiting:
                break
            step, _ = w.messages.waiting[0]
            await w.sync.handle(step)
            w.messages.waiting.clear()  # all that it sent, too
            assert await w.sync.tick() == run_id or (await w.status())["published"] is not None
            if (await w.status())["published"] is not None:
                break
        assert (await w.status())["published"]["run_id"] == run_id
        assert_equals_tenant(await w.snapshot(), tenant.directory)


async def test_every_message_is_given_to_two_workers_at_once(
    account: StorageAccount, new_account: Callable[[], StorageAccount]
) -> None:
    tenant = a_tenant()
    expected = await undisturbed(tenant, new_account(), bucket_rows=8)
    async with world(tenant, account, bucket_rows=8) as w:
        other = restarted(w.sync)
        run_id = await w.sync.tick()
        for _ in range(200):
            batch, w.messages.waiting = w.messages.waiting[:4], w.messages.waiting[4:]
            if not batch:
                break
            await asyncio.gather(*(worker.handle(step) for step, _ in batch for worker in (w.sync, other)))
        snapshot = await w.snapshot()
        assert snapshot.pointer["run_id"] == run_id
        assert len(await manifests(w)) == 1
    assert_same(snapshot, expected)


@pytest.mark.parametrize("first", [True, False])
async def test_two_ticks_at_once_are_one_run(account: StorageAccount, first: bool) -> None:
    """The timer is a singleton, but a request may come with it. Whoever is late may say that it is."""
    tenant = a_tenant(20)
    async with world(tenant, account) as w:
        sequence = 1
        if not first:
            await w.run()
            w.clock.forward(hours=1)
            sequence = 2
        other = restarted(w.sync)
        outcomes = await asyncio.gather(w.sync.tick(), other.tick(), return_exceptions=True)
        runs = {outcome for outcome in outcomes if isinstance(outcome, str)}
        late = [outcome for outcome in outcomes if not isinstance(outcome, str)]
        assert len(runs) == 1
        assert all(isinstance(outcome, RunUnderWay) for outcome in late)
        await w.drain()
        snapshot = await w.snapshot()
        assert (snapshot.pointer["run_id"], snapshot.pointer["sequence"]) == (runs.pop(), sequence)
        assert len(await manifests(w)) == sequence
        assert_equals_tenant(snapshot, tenant.directory)


async def test_tick_that_is_late_is_no_failure(account: StorageAccount) -> None:
    """The run that it wanted is there: an alert on failed timers must stay quiet."""
    async with world(a_tenant(10), account) as w:
        other = restarted(w.sync)
        outcomes = await asyncio.gather(w.sync.tick(), other.tick(), return_exceptions=True)
        assert [outcome for outcome in outcomes if not isinstance(outcome, str)] == []


@pytest.mark.parametrize("full", [True, False])
async def test_late_messages_of_a_superseded_run_change_nothing(account: StorageAccount, full: bool) -> None:
    tenant = a_tenant(20)
    async with world(tenant, account, bucket_rows=8) as w:
        await w.run()
        late = [step for step, _ in w.messages.sent]
        churn(tenant.directory, seed=1, count=10)
        w.clock.forward(hours=7)  # so that every run reads what no delta tells
        before = await w.snapshot()
        await (w.sync.start(full=True) if full else w.sync.tick())
        for step in late:
            await w.sync.handle(step)
        await w.drain()
        now = await w.snapshot()
        assert_changes_lead(before, now)
        assert now.manifest["kind"] == ("full" if full else "incremental")
        assert_holds(now, tenant.directory)
        for step in late:
            await w.sync.handle(step)
        assert w.messages.waiting == []
        assert await w.snapshot() == now


async def test_messages_of_a_failed_run_change_nothing(account: StorageAccount) -> None:
    tenant = a_tenant(20)
    tenant.faults.add(faults.respond(403, code="Authorization_RequestDenied"), "/users/delta", times=2)
    async with world(tenant, account) as w:
        await w.run()
        late = [step for step, _ in w.messages.sent]
        status = await w.status()
        assert status["current"]["status"] == "failed"
        for step in late:
            await w.sync.handle(step)
        assert await w.status() == status
        assert w.messages.waiting == []


@pytest.mark.parametrize(
    "step",
    [
        Step("no-such-run", "collect", dataset="users", slice=0),
        Step("{run}", "collect", dataset="no-such-dataset", slice=0),
        Step("{run}", "collect", dataset="users", slice=7),
        Step("{run}", "collect"),
        Step("{run}", "build", stage="members", batch=0),
        Step("{run}", "build", stage="groups", batch=99),
        Step("{run}", "build"),
        Step("{run}", "publish"),
    ],
)
async def test_message_that_makes_no_sense_now_ends_quietly(account: StorageAccount, step: Step) -> None:
    tenant = a_tenant(10)
    async with world(tenant, account) as w:
        run_id = await w.sync.tick()
        step.run_id = step.run_id.format(run=run_id)
        sent = len(w.messages.sent)
        await w.sync.handle(step)
        assert len(w.messages.sent) == sent
        await w.drain()
        assert_equals_tenant(await w.snapshot(), tenant.directory)


async def test_tick_on_a_run_under_way_sends_its_pending_steps_again(account: StorageAccount) -> None:
    tenant = a_tenant(20)
    async with world(tenant, account) as w:
        run_id = await w.sync.tick()
        pending = [step for step, _ in w.messages.waiting]
        w.messages.waiting.clear()
        assert await w.sync.tick() == run_id
        assert [step for step, _ in w.messages.waiting] == pending


async def test_three_runs_are_three_sequences(account: StorageAccount) -> None:
    async with world(a_tenant(10), account) as w:
        for sequence in (1, 2, 3):
            snapshot = await next_run(w)
            assert snapshot.pointer["sequence"] == snapshot.manifest["sequence"] == sequence


async def test_run_of_another_version_is_started_anew(
    account: StorageAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a deployment that understands an older run's state no longer."""
    import shared.directory.sync as sync

    tenant = a_tenant(10)
    async with world(tenant, account) as w:
        old = await w.sync.tick()
        late = [step for step, _ in w.messages.waiting]
        stored = await w.sync.state.run()
        assert stored is not None
        monkeypatch.setattr(sync, "STATE_VERSION", stored[0].state_version + 1)
        w.messages.waiting.clear()
        assert await w.sync.tick() != old
        for step in late:
            await w.sync.handle(step)
        assert (await w.status())["current"]["run_id"] != old


async def test_directory_whose_size_graph_does_not_tell(account: StorageAccount) -> None:
    """A guess at first, then the size of the last snapshot."""
    tenant = a_tenant(40)
    tenant.faults.add(faults.respond(403, code="Authorization_RequestDenied"), r"/\$count", times=None)
    async with world(tenant, account, bucket_rows=16) as w:
        first, second = await next_run(w), await next_run(w, full=True)
    assert second.manifest["kind"] == "full"
    assert (first.manifest["buckets"], second.manifest["buckets"]) == (8, 4)
    assert_equals_tenant(second, tenant.directory)
    assert_changes_lead(first, second)
    assert second.changes == []
