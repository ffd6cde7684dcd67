"""When everything is read anew; and delta links, which are only as far as the snapshot is."""

from datetime import timedelta

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import Tenant, churn, faults, generate
from shared.errors import RunUnderWay
from tests.directory.stores import Fuse, FusedContainer, WorkerDied, restarted
from tests.incremental.support import (
    assert_changes_lead,
    assert_holds,
    configured,
    follow,
    published,
    quick_world,
    run,
)


@pytest.fixture
def tenant() -> Tenant:
    return Tenant(generate(users=30, seed=51))


async def test_full_run_is_due_after_so_long(account: StorageAccount, tenant: Tenant) -> None:
    """Counted from the last full run, whatever came between."""
    async with quick_world(tenant, account, SYNC_FULL_EVERY="1d") as w:
        snapshot = await run(w)
        started = w.clock.moment
        kinds = []
        for hour in range(7):
            churn(tenant.directory, seed=hour, count=3)
            snapshot = await follow(w, snapshot, hours=8)
            kinds.append(snapshot.manifest["kind"])
        assert w.clock.moment - started == timedelta(hours=56)
    assert kinds == [
        "incremental",
        "incremental",
        "full",
        "incremental",
        "incremental",
        "full",
        "incremental",
    ]


async def test_forced_full_run_sets_the_clock_back(account: StorageAccount, tenant: Tenant) -> None:
    async with quick_world(tenant, account, SYNC_FULL_EVERY="1d") as w:
        snapshot = await run(w)
        snapshot = await follow(w, snapshot, hours=20, full=True)
        assert snapshot.manifest["kind"] == "full"
        snapshot = await follow(w, snapshot, hours=20)
        assert snapshot.manifest["kind"] == "incremental"
        w.clock.forward(hours=1)
        run_id = await w.sync.start(full=True)
        with pytest.raises(RunUnderWay) as refused:
            await w.sync.start(full=True)
        assert refused.value.run_id == run_id
        await w.drain()


@pytest.mark.parametrize("expiry", ["gone", "syncStateNotFound"])
@pytest.mark.parametrize("dataset", ["users", "groups"])
async def test_full_run_follows_at_once_when_graph_has_forgotten(
    account: StorageAccount, tenant: Tenant, expiry: str, dataset: str
) -> None:
    """Without another tick, and without waiting for the dataset that is still being read."""
    async with quick_world(tenant, account, bucket_rows=8) as w:
        before = await run(w)
        churn(tenant.directory, seed=1, count=10)
        action = faults.gone() if expiry == "gone" else faults.respond(400, code="syncStateNotFound")
        fault = tenant.faults.add(action, f"/{dataset}/delta.*deltatoken=(?!latest)", times=None)
        w.clock.forward(hours=1)
        incremental = await w.sync.tick()
        while w.messages.waiting and not fault.hits:
            step, _ = w.messages.waiting.pop(0)
            await w.sync.handle(step)
        tenant.faults.clear()
        await w.drain()
        now = await w.snapshot()
        assert (await w.status())["current"] is None
    assert now.manifest["kind"] == "full"
    assert now.pointer["run_id"] != incremental
    assert now.manifest["sequence"] == before.manifest["sequence"] + 1
    assert_holds(now, tenant.directory)
    assert_changes_lead(before, now)


async def test_links_that_expired_in_the_tenant(account: StorageAccount, tenant: Tenant) -> None:
    """Then nobody knows the drift, and the full run does not need it."""
    async with quick_world(tenant, account) as w:
        before = await run(w)
        tenant.expire_delta_tokens()
        churn(tenant.directory, seed=2, count=10)
        now = await follow(w, before)
        assert now.manifest["kind"] == "full"
        assert "drift" not in now.manifest
        assert (await follow(w, now)).manifest["kind"] == "incremental"


@pytest.mark.parametrize("code", ["Request_BadRequest", "invalidRequest"])
async def test_other_refusals_start_no_full_run(account: StorageAccount, tenant: Tenant, code: str) -> None:
    """The run fails, the snapshot stays, the next run begins at the same link."""
    async with quick_world(tenant, account) as w:
        before = await run(w)
        links = (await published(w)).delta_links
        churn(tenant.directory, seed=3, count=10)
        fault = tenant.faults.add(faults.respond(400, code=code), "/users/delta")
        w.clock.forward(hours=1)
        failed = await w.run()
        assert fault.hits == 1
        status = await w.status()
        assert (status["current"]["run_id"], status["current"]["status"]) == (failed, "failed")
        assert status["published"]["run_id"] == before.pointer["run_id"]
        assert (await published(w)).delta_links == links
        now = await follow(w, before, hours=7)
    assert now.manifest["kind"] == "incremental"


@pytest.mark.parametrize("changed", ["formats", "datasets", "records"])
async def test_full_run_after_another_wish(
    account: StorageAccount, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    async with quick_world(tenant, account) as w:
        before = await run(w)
        if changed == "formats":
            configured(w, formats=("ocsf", "sekoia"))
        elif changed == "datasets":
            configured(w, datasets=(*w.sync.settings.datasets, "sign-in"))
        else:
            monkeypatch.setattr("shared.directory.schedule.RECORD_VERSION", 99)
        now = await run(w)
        assert now.manifest["kind"] == "full"
        assert_changes_lead(before, now)
        if changed != "records":
            assert (await run(w)).manifest["kind"] == "incremental"


async def test_dataset_that_is_no_longer_wanted(account: StorageAccount, tenant: Tenant) -> None:
    """Its fields vanish, and the manifest does not name it."""
    async with quick_world(tenant, account) as w:
        before = await run(w)
        configured(w, datasets=("users", "groups", "memberships"))
        now = await run(w)
        assert_changes_lead(before, now)
        later = await run(w)
    assert "authentication" not in now.manifest["datasets"]
    assert not any("authentication" in user for user in now.datasets["users"])
    assert later.changes == []


async def test_links_are_committed_with_the_snapshot(account: StorageAccount, tenant: Tenant) -> None:
    """A worker that dies right before the pointer: nothing is lost, and the same run ends."""
    async with quick_world(tenant, account) as w:
        before = await run(w)
        churn(tenant.directory, seed=4, count=10)
        state, output = w.sync.state, w.sync.output
        fuse = PointerFuse()
        w.sync = restarted(w.sync, output=FusedContainer(output, fuse))
        w.clock.forward(hours=1)
        run_id = await w.sync.tick()
        with pytest.raises(WorkerDied):
            await w.drain()
        assert (await w.snapshot()).pointer == before.pointer
        w.sync = restarted(w.sync, state=state, output=output)
        w.messages.waiting.clear()
        assert await w.sync.tick() == run_id
        await w.drain()
        now = await w.snapshot()
        assert now.pointer["run_id"] == run_id
        assert_changes_lead(before, now)
        await follow(w, now, hours=7)


async def test_run_that_fails_before_its_end_leaves_the_old_links(
    account: StorageAccount, tenant: Tenant
) -> None:
    """What it had read is read again, from the links of the snapshot."""
    async with quick_world(tenant, account) as w:
        before = await run(w)
        links = (await published(w)).delta_links
        churn(tenant.directory, seed=5, count=10)
        tenant.faults.add(faults.respond(403, code="Authorization_RequestDenied"), "/groups/delta")
        w.clock.forward(hours=1)
        await w.run()
        assert (await w.status())["current"]["status"] == "failed"
        assert len(tenant.requests_to("/users/delta.*deltatoken=(?!latest)")) >= 1
        assert (await published(w)).delta_links == links
        churn(tenant.directory, seed=6, count=10)
        now = await follow(w, before, hours=7)
        assert now.manifest["kind"] == "incremental"
        assert (await published(w)).delta_links != links


class PointerFuse(Fuse):
    """Blows before the pointer is written."""

    def burn(self, what: str) -> None:
        if "current.json" in what:
            raise WorkerDied(what)
