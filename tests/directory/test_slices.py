"""Slices: they end by time or by what Graph asks for, and the next one goes on where they ended."""

import json

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import Tenant, faults, generate
from shared.directory.slices import MAX_RESTARTS, MAX_STALLS
from tests.directory.expected import assert_equals_tenant
from tests.directory.stores import restarted
from tests.support.world import World, world


class ManualClock:
    """A monotonic clock; each look moves it on."""

    def __init__(self, step: float) -> None:
        self.step = step
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += self.step
        return self.seconds


def slices_of(w: World, dataset: str) -> list[int | None]:
    return [step.slice for step, _ in w.messages.sent if step.dataset == dataset]


def a_tenant() -> Tenant:
    tenant = Tenant(generate(users=60, seed=41))
    tenant.delta_page_objects = 10
    return tenant


async def test_one_slice_is_enough_for_a_small_tenant(account: StorageAccount) -> None:
    async with world(a_tenant(), account) as w:
        await w.run()
        assert slices_of(w, "users") == slices_of(w, "groups") == [0]


async def test_slice_ends_by_time_and_the_next_goes_on(account: StorageAccount) -> None:
    """A look at the clock takes 8 s: two pages a slice of 10 s."""
    tenant = a_tenant()
    async with world(tenant, account, SYNC_SLICE_SECONDS="10", bucket_rows=16) as w:
        w.sync = restarted(w.sync, clock=ManualClock(8.0))
        await w.run()
        snapshot = await w.snapshot()
        assert slices_of(w, "users") == [0, 1, 2]
        assert all(delay == 0 for _, delay in w.messages.sent)
    assert_equals_tenant(snapshot, tenant.directory)
    assert len(tenant.requests_to("/users/delta")) == 6


async def test_slice_reads_at_least_one_page(account: StorageAccount) -> None:
    tenant = a_tenant()
    async with world(tenant, account, SYNC_SLICE_SECONDS="10") as w:
        w.sync = restarted(w.sync, clock=ManualClock(1000.0))
        await w.run()
        assert slices_of(w, "users") == [0, 1, 2, 3, 4, 5]
        assert_equals_tenant(await w.snapshot(), tenant.directory)


async def test_throttled_slice_hands_the_delay_to_its_message(account: StorageAccount) -> None:
    """Sleeping would be billed. What was read is kept."""
    tenant = a_tenant()
    tenant.faults.add(faults.throttle(300), "/users/delta.*skiptoken", skip=1)
    async with world(tenant, account) as w:
        await w.run()
        delays = [(step.slice, delay) for step, delay in w.messages.sent if step.dataset == "users"]
        assert delays == [(0, 0.0), (1, 300.0)]
        assert w.clock.slept == []
        snapshot = await w.snapshot()
    assert_equals_tenant(snapshot, tenant.directory)
    assert snapshot.manifest["graph"]["throttled"] == 1
    assert len(tenant.requests_to("/users/delta")) == 7


async def test_short_throttling_is_waited_for(account: StorageAccount) -> None:
    tenant = a_tenant()
    tenant.faults.add(faults.throttle("2.128"), "/users/delta.*skiptoken")
    async with world(tenant, account) as w:
        await w.run()
        assert slices_of(w, "users") == [0]
        assert sum(w.clock.slept) == pytest.approx(2.128, abs=0.1)
        manifest = (await w.snapshot()).manifest
    assert (manifest["graph"]["throttled"], manifest["graph"]["retried"]) == (1, 1)


async def test_dataset_waits_longer_the_longer_graph_does_not_answer(account: StorageAccount) -> None:
    tenant = a_tenant()
    tenant.faults.add(faults.html(503), "/users/delta", times=12)
    async with world(tenant, account) as w:
        await w.run()
        waits = [delay for step, delay in w.messages.sent if step.dataset == "users"][1:]
        assert waits == sorted(waits)
        assert waits
        assert waits[0] > 0
        assert_equals_tenant(await w.snapshot(), tenant.directory)


async def test_dataset_is_given_up_when_graph_never_answers(account: StorageAccount) -> None:
    tenant = a_tenant()
    tenant.faults.add(faults.html(503), "/users/delta", times=None)
    async with world(tenant, account) as w:
        started = w.clock.moment
        await w.run()
        status = await w.status()
        took = w.clock.moment - started
    assert status["published"] is None
    assert status["current"]["status"] == "failed"
    assert "users" in status["current"]["error"]
    assert slices_of(w, "users") == list(range(MAX_STALLS + 1))
    assert 1800 < took.total_seconds() < 3 * 3600


@pytest.mark.parametrize("fault", ["expired page token", "gone"])
async def test_dataset_starts_anew_when_its_chain_is_lost(account: StorageAccount, fault: str) -> None:
    """Nothing is published twice, and nothing of the lost chain."""
    tenant = a_tenant()
    action = faults.expired_page_token() if fault == "expired page token" else faults.gone()
    tenant.faults.add(action, "/users/delta.*skiptoken", skip=3)
    async with world(tenant, account) as w:
        await w.run()
        snapshot = await w.snapshot()
    assert_equals_tenant(snapshot, tenant.directory)
    assert len(tenant.requests_to("/users/delta")) == 4 + 1 + 6


async def test_dataset_starts_anew_a_few_times_only(account: StorageAccount) -> None:
    tenant = a_tenant()
    tenant.faults.add(faults.expired_page_token(), "/users/delta.*skiptoken", times=None)
    async with world(tenant, account) as w:
        await w.run()
        status = await w.status()
    assert status["current"]["status"] == "failed"
    assert len(tenant.requests_to("/users/delta")) == 2 * (MAX_RESTARTS + 1)


async def test_memory_is_set_aside_in_turns(account: StorageAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    import shared.snapshots.shuffle as shuffle

    monkeypatch.setattr(shuffle, "FLUSH_BYTES", 2000)
    tenant = a_tenant()
    async with world(tenant, account, bucket_rows=16) as w:
        await w.sync.tick()
        step, _ = w.messages.waiting.pop(0)
        await w.sync.handle(step)
        names = [name async for name in w.sync.state.container.names("runs/") if name.endswith(".rows")]
        assert len(names) > 3
        await w.drain()
        assert_equals_tenant(await w.snapshot(), tenant.directory)


async def test_status_shows_progress(account: StorageAccount) -> None:
    tenant = a_tenant()
    tenant.faults.add(faults.throttle(300), "/users/delta.*skiptoken", skip=1)
    async with world(tenant, account) as w:
        assert await w.status() == {"current": None, "published": None, "held": None}
        run_id = await w.sync.tick()
        users, *others = w.messages.waiting
        w.messages.waiting = [users]
        step, _ = w.messages.waiting.pop()
        await w.sync.handle(step)
        status = await w.status()
        assert status["published"] is None
        assert status["current"]["run_id"] == run_id
        assert (status["current"]["status"], status["current"]["kind"]) == ("collecting", "full")
        progress = status["current"]["datasets"]["users"]
        assert (progress["status"], progress["rows"], progress["pages"]) == ("reading", 20, 2)
        assert (progress["total"], progress["throttled"], progress["requests"]) == (60, 1, 3)
        w.messages.waiting += others
        await w.drain()
        status = await w.status()
        assert status["current"] is None
        assert status["published"] == {
            "run_id": run_id,
            "sequence": 1,
            "published_at": json.loads(await w.sync.output.read("current.json") or b"")["published_at"],
            "manifest": f"runs/{run_id}/manifest.json",
        }
