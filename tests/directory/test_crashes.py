"""A worker that dies between any two writes: later ticks finish the run, and the snapshot is the same."""

from typing import Any, Literal

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import Tenant, churn, generate
from tests.directory.expected import (
    assert_changes_lead,
    assert_equals_tenant,
    left_behind,
)
from tests.directory.stores import Fuse, WorkerDied, restarted, use_fuse, use_memory
from tests.incremental.support import assert_holds
from tests.snapshots.memory import MemoryContainer
from tests.support.world import Snapshot, World, world

MOST_TICKS = 6

type Kind = Literal["first", "full", "incremental"]

KINDS = pytest.mark.parametrize("kind", ["first", "full", "incremental"])


async def live_through(w: World) -> None:
    """Tick and drain until the run is published, whoever dies on the way."""
    sequence = (await w.status())["published"]
    for _ in range(MOST_TICKS):
        try:
            await w.sync.tick()
            await w.drain()
        except WorkerDied:
            w.sync = restarted(w.sync)
        status = await w.status()
        if status["current"] is None and status["published"] != sequence:
            return
    raise AssertionError(f"not published after {MOST_TICKS} ticks: {await w.status()}")


def content(snapshot: Snapshot) -> dict[str, Any]:
    return {"datasets": snapshot.datasets, "changes": snapshot.changes}


async def fall_and_rise(w: World, at: int, *, stored: tuple[MemoryContainer, MemoryContainer]) -> int:
    """Die once before write number `at` and live through it. How many writes there were."""
    w.sync = restarted(w.sync, state=type(w.sync.state)(stored[0]), output=stored[1])
    w.messages.waiting = []
    fuse = Fuse(at)
    use_fuse(w, fuse)
    await live_through(w)
    return fuse.count


async def crash_at(account: StorageAccount, kind: Kind, writes_to_die_at: slice) -> None:
    """Run undisturbed; then from the same beginning, with one death before each of these writes."""
    tenant = Tenant(generate(users=12, seed=71))
    tenant.delta_page_objects = 5
    tenant.list_page_objects = 5
    options = {"SYNC_MAX_REMOVAL_PERCENT": "100", "SYNC_FULL_EVERY": "30m" if kind == "full" else "7d"}
    async with world(tenant, account, bucket_rows=8, **options) as w:
        stores = use_memory(w)
        before = None
        registrations = dict(tenant.directory.registrations)
        if kind != "first":
            await w.run()
            before = await w.snapshot()
            churn(tenant.directory, seed=3, count=12)
            w.clock.forward(hours=1)
        if kind != "incremental":
            registrations = dict(tenant.directory.registrations)
        beginning = [store.saved() for store in stores]
        moment = w.clock.moment

        async def attempt(at: int) -> tuple[int, Snapshot]:
            for store, saved in zip(stores, beginning, strict=True):
                store.restore(saved)
            w.clock.moment = moment
            writes = await fall_and_rise(w, at, stored=stores)
            return writes, await w.snapshot(validate=False)

        writes, expected = await attempt(0)
        assert expected.manifest["kind"] == ("incremental" if kind == "incremental" else "full")
        assert_holds(expected, tenant.directory, registrations)
        assert writes > 20
        failures = []
        for at in range(1, writes + 1)[writes_to_die_at]:
            try:
                _, snapshot = await attempt(at)
                assert content(snapshot) == content(expected)
                if before is not None:
                    assert_changes_lead(before, snapshot)
                run_id = snapshot.pointer["run_id"]
                # What a death left behind goes with the next run at the latest.
                w.clock.forward(hours=1)
                await w.run()
                later = await w.snapshot(validate=False)
                assert later.changes == []
                kept = await w.sync.state.published(later.pointer["run_id"])
                assert kept is not None
                assert left_behind(stores[0].blobs, kept) == set()
                assert run_id != later.pointer["run_id"]
            except Exception as error:  # all of them are of interest
                failures.append(f"write {at} of {writes}: {type(error).__name__}: {str(error)[:300]}")
        assert not failures, "\n".join(failures)


START = slice(1, 9)
"""Its checkpoints are made, the run is stored, what an earlier one left is deleted, and it is begun."""


@KINDS
async def test_death_before_some_writes(account: StorageAccount, kind: Kind) -> None:
    await crash_at(account, kind, slice(START.stop, None, 7))


@pytest.mark.slow
@KINDS
async def test_death_before_any_write(account: StorageAccount, kind: Kind) -> None:
    await crash_at(account, kind, slice(START.stop, None))


@KINDS
async def test_death_before_anything_was_written(account: StorageAccount, kind: Kind) -> None:
    await crash_at(account, kind, slice(0, START.start))


@KINDS
async def test_death_while_a_run_is_started(account: StorageAccount, kind: Kind) -> None:
    await crash_at(account, kind, START)


async def test_deaths_in_a_row(account: StorageAccount) -> None:
    """Every worker dies after a few writes, on real storage; each still brings the run forward."""
    tenant = Tenant(generate(users=12, seed=72))
    async with world(tenant, account, bucket_rows=8) as w:
        state, output, messages = w.sync.state, w.sync.output, w.messages
        for _ in range(40):
            w.sync = restarted(w.sync, state=state, output=output, queue=messages)
            w.messages = messages
            use_fuse(w, Fuse(20))
            try:
                await w.sync.tick()
                await w.drain()
            except WorkerDied:
                messages.waiting = w.messages.waiting
                continue
            break
        assert_equals_tenant(await w.snapshot(), tenant.directory)
