"""Which runs and parts stay in the published container, and what stays in `sync-state`."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import Tenant, churn, faults, generate
from shared.snapshots.retention import sweep_published
from shared.snapshots.state import StateStore
from tests.directory.stores import Fuse, FusedContainer, WorkerDied, restarted
from tests.incremental.support import assert_nothing_left, configured, quick_world, run
from tests.snapshots.memory import MemoryContainer
from tests.support.world import World, world


def memory(w: World) -> MemoryContainer:
    output = w.sync.output
    assert isinstance(output, MemoryContainer)
    return output


def manifests(output: MemoryContainer) -> dict[int, dict[str, object]]:
    """Those that are there, by sequence."""
    found = [json.loads(content) for name, content in output.blobs.items() if name.endswith("manifest.json")]
    return {manifest["sequence"]: manifest for manifest in found}


def named(manifest: dict[str, object]) -> set[str]:
    entries = manifest["datasets"]
    assert isinstance(entries, dict)
    parts = {part["path"] for entry in entries.values() for part in entry["parts"]}
    changes = manifest.get("changes", {"parts": []})
    assert isinstance(changes, dict)
    return parts | {part["path"] for part in changes["parts"]}


def assert_whole(output: MemoryContainer) -> None:
    """Every part that a manifest names is there, and nothing else but them."""
    everything = {name for manifest in manifests(output).values() for name in named(manifest)}
    assert everything <= output.blobs.keys()
    parts = {name for name in output.blobs if name.startswith("parts/")}
    assert parts <= everything


async def history(w: World, runs: int, *, hours: float) -> None:
    for number in range(runs):
        churn(w.tenant.directory, seed=number, count=6)
        await run(w, hours=hours, validate=False)


@pytest.fixture
def tenant() -> Tenant:
    return Tenant(generate(users=16, seed=81))


async def test_last_runs_stay(account: StorageAccount, tenant: Tenant) -> None:
    async with quick_world(tenant, account, bucket_rows=8, SYNC_KEEP_RUNS="3") as w:
        await history(w, 8, hours=25)
        output = memory(w)
        assert sorted(manifests(output)) == [6, 7, 8]
        assert_whole(output)
        folders = {name.split("/")[1] for name in output.blobs if name.startswith("runs/")}
        assert len(folders) == 3
        await assert_nothing_left(w)


async def test_what_was_current_a_day_ago_stays(account: StorageAccount, tenant: Tenant) -> None:
    async with quick_world(tenant, account, bucket_rows=8, SYNC_KEEP_RUNS="1") as w:
        await history(w, 5, hours=10)
        # At 40 h: run 1 was replaced at 10 h, run 2 at 20 h, which is less than a day ago.
        assert sorted(manifests(memory(w))) == [2, 3, 4, 5]
        assert_whole(memory(w))


async def test_real_storage_is_swept(account: StorageAccount, tenant: Tenant) -> None:
    async with world(tenant, account, bucket_rows=16, SYNC_KEEP_RUNS="1", DIRECTORY_FORMATS="") as w:
        await history(w, 3, hours=25)
        names = {name async for name in w.sync.output.names("")}
        snapshot = await w.snapshot()
        await assert_nothing_left(w)
    assert sum(name.endswith("manifest.json") for name in names) == 2
    assert named(snapshot.manifest) <= names


async def test_old_part_that_is_used_again_stays(account: StorageAccount, tenant: Tenant) -> None:
    """A value that changes and changes back: the same part, named by an old run and by the last."""
    directory = tenant.directory
    user = sorted(directory.users)[0]
    async with quick_world(tenant, account, bucket_rows=8, SYNC_KEEP_RUNS="1") as w:
        for number in range(6):
            group = sorted(directory.groups)[0]
            directory.update_group(group, {"displayName": "Odd" if number % 2 else "Even"})
            directory.update_user(user, {"city": "Odd" if number % 2 else "Even"})
            snapshot = await run(w, hours=30)
            assert_whole(memory(w))
            assert named(snapshot.manifest) <= memory(w).blobs.keys()


async def test_interrupted_sweep_is_finished_by_the_next(account: StorageAccount, tenant: Tenant) -> None:
    async with quick_world(tenant, account, bucket_rows=8, SYNC_KEEP_RUNS="100") as w:
        await history(w, 6, hours=30)
        output = memory(w)
        beginning = output.saved()
        now = w.clock.now() + timedelta(hours=1)
        assert await sweep_published(output, 2, now) > 0
        swept = dict(output.blobs)
        assert_whole(output)
        for at in (1, 2):
            output.restore(beginning)
            with pytest.raises(WorkerDied):
                await sweep_published(FusedContainer(output, Fuse(at)), 2, now)
            assert {5, 6} <= manifests(output).keys()
            await sweep_published(output, 2, now)
            assert output.blobs == swept


async def test_pointer_that_was_set_back_keeps_its_run(account: StorageAccount, tenant: Tenant) -> None:
    """An operator restored an older one: never sweep what it names."""
    async with quick_world(tenant, account, bucket_rows=8, SYNC_KEEP_RUNS="100") as w:
        await history(w, 2, hours=30)
        output = memory(w)
        pointer = output.blobs["current.json"]
        first = json.loads(pointer)
        await history(w, 4, hours=30)
        output.blobs["current.json"] = pointer
        await sweep_published(output, 1, datetime(2030, 1, 1, tzinfo=UTC))
        kept = manifests(output)
        assert first["sequence"] in kept
        assert named(kept[first["sequence"]]) <= output.blobs.keys()


async def test_new_history_is_not_swept_in_favour_of_an_old_one(
    account: StorageAccount, tenant: Tenant
) -> None:
    """Where the pointer was taken away, numbers begin anew; what counts is when a run was published."""
    async with quick_world(tenant, account, bucket_rows=8, SYNC_KEEP_RUNS="100") as w:
        await history(w, 4, hours=30)
        output = memory(w)
        del output.blobs["current.json"]
        old = {str(manifest["run_id"]) for manifest in manifests(output).values()}
        configured(w, keep_runs=2)
        await history(w, 3, hours=30)
        left = [json.loads(c)["run_id"] for n, c in output.blobs.items() if n.endswith("manifest.json")]
        assert len(left) == 2
        assert not old & set(left)


async def test_failed_and_held_runs_leave_nothing_in_the_state(
    account: StorageAccount, tenant: Tenant
) -> None:
    async with quick_world(tenant, account, bucket_rows=8) as w:
        await run(w)
        for path in ("/groups/delta", "/users/delta"):
            churn(tenant.directory, seed=1, count=5)
            tenant.faults.add(faults.respond(403, code="Authorization_RequestDenied"), path)
            w.clock.forward(hours=1)
            await w.run()
            assert (await w.status())["current"]["status"] == "failed"
        await run(w, hours=7)
        await assert_nothing_left(w)


async def test_sweep_spares_a_run_that_began_meanwhile(account: StorageAccount, tenant: Tenant) -> None:
    """Somebody asks for a run right when one is published, before its state is swept."""
    async with quick_world(tenant, account, bucket_rows=8) as w:
        await run(w)
        churn(tenant.directory, seed=2, count=10)
        state = w.sync.state.container
        other = restarted(w.sync)
        started: list[str] = []

        class Interrupted(FusedContainer):
            async def write(self, path: str, content: bytes, **options: object) -> str | None:
                etag = await super().write(path, content, **options)
                if path == "run.json" and b'"published"' in content and not started:
                    w.clock.forward(hours=1)
                    started.append(await other.start())
                return etag

        w.sync = restarted(w.sync, state=StateStore(Interrupted(state, Fuse())))
        w.clock.forward(hours=1)
        first = await w.sync.tick()
        await w.drain()
        assert started
        snapshot = await w.snapshot()
        assert snapshot.pointer["run_id"] == started[0] != first
        assert (await w.status())["current"] is None
        await assert_nothing_left(w)
