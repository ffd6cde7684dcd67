"""Slices: they end by time or by what Graph asks for, and the next one goes on where they ended."""

import json
from typing import Literal

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import Tenant, faults, generate
from sandbox.tenant.faults import Answer
from sandbox.tenant.messages import Call, Reply
from shared.directory.slices import MAX_RESTARTS, MAX_STALLS
from tests.directory.expected import assert_changes_lead, assert_equals_tenant, next_run
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
    """Six pages of users, however they are read."""
    tenant = Tenant(generate(users=60, seed=41))
    tenant.list_page_objects = tenant.delta_page_objects = 10
    return tenant


LIST, DELTA = r"/users\?.*expand", r"/users/delta\?\$(delta|skip)token="
"""What a full run reads of users, and then what changed meanwhile; an incremental one has only that."""


async def test_one_slice_is_enough_for_a_small_tenant(account: StorageAccount) -> None:
    async with world(a_tenant(), account) as w:
        await w.run()
        assert slices_of(w, "users") == slices_of(w, "groups") == [0]


async def test_slice_ends_by_time_and_the_next_goes_on(account: StorageAccount) -> None:
    """A look at the clock takes 8 s: two pages a slice of 10 s. The seventh is the delta's."""
    tenant = a_tenant()
    async with world(tenant, account, SYNC_SLICE_SECONDS="10", bucket_rows=16) as w:
        w.sync = restarted(w.sync, clock=ManualClock(8.0))
        await w.run()
        snapshot = await w.snapshot()
        assert slices_of(w, "users") == [0, 1, 2, 3]
        assert all(delay == 0 for _, delay in w.messages.sent)
    assert_equals_tenant(snapshot, tenant.directory)
    assert (len(tenant.requests_to(LIST)), len(tenant.requests_to(DELTA))) == (6, 1)


async def test_slice_reads_at_least_one_page(account: StorageAccount) -> None:
    tenant = a_tenant()
    async with world(tenant, account, SYNC_SLICE_SECONDS="10") as w:
        w.sync = restarted(w.sync, clock=ManualClock(1000.0))
        await w.run()
        assert slices_of(w, "users") == [0, 1, 2, 3, 4, 5, 6]
        assert_equals_tenant(await w.snapshot(), tenant.directory)


async def test_slices_of_an_incremental_run(account: StorageAccount) -> None:
    tenant = a_tenant()
    async with world(tenant, account, SYNC_SLICE_SECONDS="10", bucket_rows=16) as w:
        before = await next_run(w)
        w.messages.sent.clear()
        tenant.requests.clear()
        for user in sorted(tenant.directory.users)[:45]:
            tenant.directory.update_user(user, {"city": "Oslo"})
        w.sync = restarted(w.sync, clock=ManualClock(8.0))
        now = await next_run(w)
        assert slices_of(w, "users") == [0, 1, 2]
    assert_equals_tenant(now, tenant.directory)
    assert_changes_lead(before, now)
    assert (len(tenant.requests_to(LIST)), len(tenant.requests_to(DELTA))) == (0, 5)


async def test_throttled_slice_hands_the_delay_to_its_message(account: StorageAccount) -> None:
    """Sleeping would be billed. What was read is kept."""
    tenant = a_tenant()
    tenant.faults.add(faults.throttle(300), f"{LIST}.*skiptoken", skip=1)
    async with world(tenant, account) as w:
        await w.run()
        delays = [(step.slice, delay) for step, delay in w.messages.sent if step.dataset == "users"]
        assert delays == [(0, 0.0), (1, 300.0)]
        assert w.clock.slept == []
        snapshot = await w.snapshot()
    assert_equals_tenant(snapshot, tenant.directory)
    assert snapshot.manifest["graph"]["throttled"] == 1
    assert len(tenant.requests_to(LIST)) == 7


async def test_short_throttling_is_waited_for(account: StorageAccount) -> None:
    tenant = a_tenant()
    tenant.faults.add(faults.throttle("2.128"), f"{LIST}.*skiptoken")
    async with world(tenant, account) as w:
        await w.run()
        assert slices_of(w, "users") == [0]
        assert sum(w.clock.slept) == pytest.approx(2.128, abs=0.1)
        manifest = (await w.snapshot()).manifest
    assert (manifest["graph"]["throttled"], manifest["graph"]["retried"]) == (1, 1)


@pytest.mark.parametrize("path", [LIST, DELTA, "/users/delta"])
async def test_dataset_waits_longer_the_longer_graph_does_not_answer(
    account: StorageAccount, path: str
) -> None:
    tenant = a_tenant()
    tenant.faults.add(faults.html(503), path, times=12)
    async with world(tenant, account) as w:
        await w.run()
        waits = [delay for step, delay in w.messages.sent if step.dataset == "users"][1:]
        assert waits == sorted(waits)
        assert waits
        assert waits[0] > 0
        assert_equals_tenant(await w.snapshot(), tenant.directory)


@pytest.mark.parametrize("path", [LIST, "/users/delta"])
async def test_dataset_is_given_up_when_graph_never_answers(account: StorageAccount, path: str) -> None:
    tenant = a_tenant()
    tenant.faults.add(faults.html(503), path, times=None)
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
    tenant.faults.add(action, f"{LIST}.*skiptoken", skip=3)
    async with world(tenant, account) as w:
        await w.run()
        snapshot = await w.snapshot()
    assert_equals_tenant(snapshot, tenant.directory)
    assert len(tenant.requests_to(LIST)) == 4 + 1 + 6


@pytest.mark.parametrize("expiry", ["gone", "syncStateNotFound"])
async def test_link_that_is_lost_while_the_list_is_read_is_made_anew(
    account: StorageAccount, expiry: Literal["gone", "syncStateNotFound"]
) -> None:
    """The list begins anew as well: what changed since the first link can no longer be told."""
    tenant = a_tenant()
    tenant.delta_expiry = expiry
    changed = sorted(tenant.directory.users)[0]

    async def forget(_call: Call, answer: Answer) -> Reply:
        tenant.directory.update_user(changed, {"city": "Oslo"})
        tenant.expire_delta_tokens()
        return await answer()

    tenant.faults.add(forget, f"{LIST}.*skiptoken", skip=3)
    async with world(tenant, account) as w:
        await w.run()
        snapshot = await w.snapshot()
        published = await w.sync.state.published(snapshot.pointer["run_id"])
    assert_equals_tenant(snapshot, tenant.directory)
    assert len(tenant.requests_to("deltatoken=latest")) == 2
    assert len(tenant.requests_to(LIST)) == 12
    assert published is not None
    assert published.delta_links.keys() == {"users", "groups"}


async def test_incremental_dataset_starts_anew_when_its_page_token_is_lost(account: StorageAccount) -> None:
    """From the delta link with which it began."""
    tenant = a_tenant()
    async with world(tenant, account) as w:
        before = await next_run(w)
        for user in tenant.directory.users:
            tenant.directory.update_user(user, {"city": "Oslo"})
        tenant.requests.clear()
        tenant.faults.add(faults.expired_page_token(), "/users/delta.*skiptoken", skip=3)
        now = await next_run(w)
    assert_equals_tenant(now, tenant.directory)
    assert_changes_lead(before, now)
    assert (len(tenant.requests_to(LIST)), len(tenant.requests_to(DELTA))) == (0, 4 + 1 + 6)


async def test_dataset_starts_anew_a_few_times_only(account: StorageAccount) -> None:
    tenant = a_tenant()
    tenant.faults.add(faults.expired_page_token(), f"{LIST}.*skiptoken", times=None)
    async with world(tenant, account) as w:
        await w.run()
        status = await w.status()
    assert status["current"]["status"] == "failed"
    assert len(tenant.requests_to(LIST)) == 2 * (MAX_RESTARTS + 1)


async def test_memory_is_set_aside_in_turns(account: StorageAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    import shared.snapshots.shuffle as shuffle

    monkeypatch.setattr(shuffle, "FLUSH_BYTES", 2000)
    monkeypatch.setattr(shuffle, "FILE_BYTES", 1)
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
    tenant.faults.add(faults.throttle(300), f"{LIST}.*skiptoken", skip=1)
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
        assert (progress["total"], progress["throttled"], progress["requests"]) == (60, 1, 4)
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
