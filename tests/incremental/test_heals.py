"""Whatever happens to the workers of an incremental run, it ends as an undisturbed one does."""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Literal, override

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import Tenant, churn, generate
from shared.errors import StorageUnavailable
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.state import StateStore
from tests.directory.stores import Fuse, FusedContainer, restarted, use_fuse, use_memory
from tests.incremental.disturbed import Weather, live_through, use_fused_graph, use_storm
from tests.incremental.support import (
    assert_changes_lead,
    assert_holds,
    assert_nothing_left,
    assert_same_as_full,
    follow,
    published,
    quick_world,
    run,
)
from tests.support.world import Snapshot, World, world

type What = Literal["storage", "graph"]


def a_tenant(users: int = 14) -> Tenant:
    tenant = Tenant(generate(users=users, seed=95))
    tenant.delta_page_objects = 5
    return tenant


def content(snapshot: Snapshot) -> dict[str, Any]:
    parts = {name: entry["parts"] for name, entry in snapshot.manifest["datasets"].items()}
    return {"datasets": snapshot.datasets, "changes": snapshot.changes, "parts": parts}


async def published_runs(w: World) -> int:
    return len([name async for name in w.sync.output.names("runs/") if name.endswith("manifest.json")])


async def crash(account: StorageAccount, what: What, moments: slice) -> None:
    """Run undisturbed; then from the same beginning, with one death before each of these moments."""
    tenant = a_tenant()
    async with world(tenant, account, bucket_rows=8, SYNC_MAX_REMOVAL_PERCENT="100") as w:
        stores = use_memory(w)
        before = await run(w)
        churn(tenant.directory, seed=3, count=14)
        w.clock.forward(hours=7)
        beginning, moment, calm = [store.saved() for store in stores], w.clock.moment, w.sync

        async def attempt(at: int) -> tuple[int, Snapshot]:
            for store, saved in zip(stores, beginning, strict=True):
                store.restore(saved)
            w.clock.moment, w.messages.waiting, w.sync = moment, [], restarted(calm, queue=w.messages)
            fuse = Fuse(at)
            if what == "storage":
                use_fuse(w, fuse)
            else:
                use_fused_graph(w, fuse)
            await live_through(w, 2)
            assert fuse.count >= at
            return fuse.count, await w.snapshot(validate=False)

        count, expected = await attempt(0)
        assert_holds(expected, tenant.directory)
        assert_changes_lead(before, expected)
        assert expected.manifest["kind"] == "incremental"
        failures = []
        for at in range(1, count + 1)[moments]:
            try:
                _, snapshot = await attempt(at)
                assert content(snapshot) == content(expected)
                assert await published_runs(w) == 2
                w.sync = restarted(calm, queue=w.messages)
                later = await run(w, validate=False)
                assert later.changes == []
                await assert_nothing_left(w)
            except Exception as error:  # all of them are of interest
                failures.append(f"{what} {at} of {count}: {type(error).__name__}: {str(error)[:300]}")
        assert not failures, "\n".join(failures)


@pytest.mark.parametrize(("what", "each"), [("storage", 9), ("graph", 3)])
async def test_death_at_some_moments(account: StorageAccount, what: What, each: int) -> None:
    await crash(account, what, slice(0, None, each))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["storage", "graph"])
async def test_death_at_any_moment(account: StorageAccount, what: What) -> None:
    await crash(account, what, slice(None))


async def test_many_deaths(account: StorageAccount) -> None:
    """No worker lives longer than a dozen writes; together they get there."""
    tenant = a_tenant()
    async with quick_world(tenant, account, bucket_rows=8, SYNC_MAX_REMOVAL_PERCENT="100") as w:
        before = await run(w)
        churn(tenant.directory, seed=4, count=14)
        w.clock.forward(hours=7)
        calm = w.sync
        for _ in range(40):
            w.sync = restarted(calm, queue=w.messages)
            use_fuse(w, Fuse(25))
            try:
                await w.sync.tick()
                await w.drain()
                break
            except BaseException as died:
                if type(died).__name__ != "WorkerDied":
                    raise
        w.sync = calm
        use_fuse(w, Fuse())  # that of the last worker may have some writes left
        now = await w.snapshot()
        assert now.manifest["sequence"] == 2
        assert_holds(now, tenant.directory)
        assert_changes_lead(before, now)
        await follow(w, now)
        await assert_nothing_left(w)


async def storm(account: StorageAccount, seed: int) -> None:
    """Real storage whose calls fail now and then, before or after they were carried out."""
    tenant = a_tenant()
    async with world(
        tenant, account, bucket_rows=16, DIRECTORY_FORMATS="", SYNC_MAX_REMOVAL_PERCENT="100"
    ) as w:
        before = await run(w)
        churn(tenant.directory, seed=seed, count=14)
        w.clock.forward(hours=7)
        weather = Weather(seed, 0.06)
        calm = use_storm(w, weather)
        await live_through(w, 2)
        assert weather.failures
        calm()
        now = await w.snapshot()
        assert now.manifest["sequence"] == 2
        assert_holds(now, tenant.directory)
        assert_changes_lead(before, now)
        assert await published_runs(w) == 2
        await assert_same_as_full(w, now)
        await assert_nothing_left(w)


@pytest.mark.parametrize("seed", [0, 1, 2, pytest.param(6, id="while edges are counted")])
async def test_storage_that_fails_now_and_then(account: StorageAccount, seed: int) -> None:
    await storm(account, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 4, 5, *range(7, 20)])
async def test_storage_that_fails_in_many_ways(account: StorageAccount, seed: int) -> None:
    await storm(account, seed)


@pytest.mark.parametrize("seed", range(3))
async def test_messages_come_twice_and_in_any_order(
    account: StorageAccount, new_account: Callable[[], StorageAccount], seed: int
) -> None:
    tenant = a_tenant()
    async with quick_world(tenant, account, bucket_rows=8, SYNC_MAX_REMOVAL_PERCENT="100") as w:
        before = await run(w)
        churn(tenant.directory, seed=seed, count=20)
        w.clock.forward(hours=7)
        order = random.Random(seed)
        await live_through(w, 2, pick=lambda count: order.randrange(count), doubled=True)
        now = await w.snapshot()
        assert_holds(now, tenant.directory)
        assert_changes_lead(before, now)
        assert await published_runs(w) == 2
        await assert_nothing_left(w)


async def test_two_workers_at_once(account: StorageAccount) -> None:
    """Two timers, and every message in two hands, on real storage."""
    tenant = a_tenant()
    async with world(
        tenant, account, bucket_rows=16, DIRECTORY_FORMATS="", SYNC_MAX_REMOVAL_PERCENT="100"
    ) as w:
        before = await run(w)
        churn(tenant.directory, seed=5, count=20)
        w.clock.forward(hours=7)
        other = restarted(w.sync)
        first, second = await asyncio.gather(w.sync.tick(), other.tick())
        assert first == second
        while w.messages.waiting:
            some, w.messages.waiting = w.messages.waiting[:3], w.messages.waiting[3:]
            await asyncio.gather(*(one.handle(step) for step, _ in some for one in (w.sync, other)))
        now = await w.snapshot()
        assert now.pointer["run_id"] == first
        assert_holds(now, tenant.directory)
        assert_changes_lead(before, now)
        assert await published_runs(w) == 2
        await assert_nothing_left(w)


async def test_late_messages_of_earlier_runs(account: StorageAccount) -> None:
    """All that was ever sent comes again, in the middle of the next run and after it."""
    tenant = a_tenant()
    async with quick_world(tenant, account, bucket_rows=8, SYNC_MAX_REMOVAL_PERCENT="100") as w:
        snapshot = await run(w)
        for day in range(3):
            churn(tenant.directory, seed=day, count=10)
            w.clock.forward(hours=7)
            late = [step for step, _ in w.messages.sent]
            run_id = await w.sync.tick()
            for step in late:
                await w.sync.handle(step)
            await w.drain()
            for step in late:
                await w.sync.handle(step)
            assert not w.messages.waiting
            now = await w.snapshot()
            assert now.pointer["run_id"] == run_id
            assert_holds(now, tenant.directory)
            assert_changes_lead(snapshot, now)
            await assert_nothing_left(w)
            snapshot = now


async def test_ticks_all_the_time(account: StorageAccount) -> None:
    """A tick before every message heals what is not ill."""
    tenant = a_tenant()
    async with quick_world(tenant, account, bucket_rows=8, SYNC_MAX_REMOVAL_PERCENT="100") as w:
        before = await run(w)
        churn(tenant.directory, seed=6, count=20)
        w.clock.forward(hours=7)
        run_id = await w.sync.tick()
        for _ in range(300):
            if (await w.status())["published"]["run_id"] == run_id:
                break
            assert await w.sync.tick() == run_id
            step, _ = w.messages.waiting.pop(0)
            await w.sync.handle(step)
        await w.drain()
        now = await w.snapshot()
        assert now.pointer["run_id"] == run_id
        assert_changes_lead(before, now)
        assert_holds(now, tenant.directory)
        await assert_nothing_left(w)


class FailsOnce(FusedContainer):
    """The first reading of a blob fails."""

    def __init__(self, inner: BlobContainer, path: str) -> None:
        super().__init__(inner, Fuse())
        self.failing: str | None = path

    @override
    async def read(self, path: str) -> bytes | None:
        if path == self.failing:
            self.failing = None
            raise StorageUnavailable("Storage is away for a moment.")
        return await super().read(path)


async def test_plan_that_broke_off_is_made_anew_by_the_same_worker(account: StorageAccount) -> None:
    """What the worker found out before must not outlive it: members would show a group's old name."""
    tenant = a_tenant()
    directory = tenant.directory
    async with quick_world(tenant, account, bucket_rows=8) as w:
        before, kept = await run(w), await published(w)
        group = max(directory.members, key=lambda one: len(directory.members[one]))
        directory.update_group(group, {"displayName": "Another name"})
        table = kept.edge_tables[kept.group_cut.bucket_of(group)]
        assert table is not None
        container = FailsOnce(w.sync.state.container, table)
        w.sync = restarted(w.sync, state=StateStore(container))
        w.clock.forward(hours=1)
        with pytest.raises(StorageUnavailable):
            await w.run()
        assert container.failing is None
        w.messages.waiting.clear()
        await w.run()
        now = await w.snapshot()
        assert_holds(now, directory)
        assert_changes_lead(before, now)
        await assert_same_as_full(w, now)
