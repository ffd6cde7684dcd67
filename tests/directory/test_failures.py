"""What stops a run: the last snapshot stays, one sentence says why, and the next tick begins anew."""

from typing import Any

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import CLIENT_ID, Tenant, faults, generate
from shared.directory.sync import LAST_ATTEMPT
from shared.errors import RunUnderWay, SignInRefused, StorageUnavailable
from tests.directory.expected import assert_changes_lead, assert_equals_tenant, next_run
from tests.directory.stores import restarted
from tests.support.events import events_in
from tests.support.world import World, world

FAULTS = {
    "permission": (faults.respond(403, code="Authorization_RequestDenied"), "{permission}"),
    "gateway": (faults.respond(200, body="<html>proxy</html>"), "HTML"),
    "truncated": (faults.truncate(), "cannot be read"),
    "no link": (faults.without_links(), "neither"),
    "both links": (faults.both_links(), "both"),
    "loop": (faults.self_link(), "second time"),
    "another host": (faults.foreign_link("https://graph.example/v1.0/users"), "graph.example"),
    "rejected": (faults.respond(400, code="Request_BadRequest", message="No."), "Request_BadRequest"),
}


LIST = r"/users\?.*expand"
PATHS = {"users listed": LIST, "users": "/users/delta", "groups": "/groups/delta"}


@pytest.mark.parametrize(
    ("path", "fault", "full"),
    [
        # A list that has no link is at its end.
        *(("users listed", fault, True) for fault in FAULTS if fault != "no link"),
        ("users", "permission", True),
        ("users", "truncated", True),
        *(("users", fault, False) for fault in FAULTS),
        *(("groups", fault, full) for fault in ("permission", "truncated") for full in (True, False)),
    ],
)
async def test_required_dataset_that_fails_leaves_the_snapshot_in_place(
    account: StorageAccount, caplog: pytest.LogCaptureFixture, fault: str, path: str, full: bool
) -> None:
    tenant = Tenant(generate(users=12, seed=51))
    tenant.list_page_objects = tenant.delta_page_objects = 5
    action, word = FAULTS[fault]
    dataset = path.split()[0]
    word = word.format(permission={"users": "User.Read.All", "groups": "GroupMember.Read.All"}[dataset])
    async with world(tenant, account) as w:
        before = await next_run(w)
        tenant.directory.update_user(sorted(tenant.directory.users)[0], {"city": "Oslo"})
        tenant.directory.update_group(sorted(tenant.directory.groups)[0], {"description": "New"})
        rule = tenant.faults.add(action, PATHS[path], times=None)
        await assert_failed(w, caplog, dataset, word, before.pointer, full=full)
        assert rule.hits

        tenant.faults.clear()
        now = await next_run(w)
        assert_equals_tenant(now, tenant.directory)
        assert_changes_lead(before, now)
        assert (await w.status())["current"] is None


async def assert_failed(
    w: World,
    caplog: pytest.LogCaptureFixture,
    dataset: str,
    word: str,
    pointer: dict[str, Any],
    *,
    full: bool,
) -> None:
    w.clock.forward(hours=1)
    caplog.clear()
    run_id = await (w.run_full() if full else w.run())
    status = await w.status()
    assert status["published"]["run_id"] == pointer["run_id"]
    assert (await w.snapshot()).pointer == pointer
    current = status["current"]
    assert (current["run_id"], current["status"]) == (run_id, "failed")
    assert current["kind"] == ("full" if full else "incremental")
    assert current["ended_at"]
    assert word in current["error"]
    assert dataset in current["error"]
    assert current["error"].rstrip().endswith((".", "!"))
    assert current["datasets"][dataset]["status"] == "failed"
    (failed,) = events_in(caplog.records, "directory.run_failed")
    assert failed["run_id"] == run_id
    assert failed["sentence"] == current["error"]
    assert failed["reason"] == current["datasets"][dataset]["reason"]
    for record in caplog.records:
        assert "skiptoken" not in record.getMessage()
        assert "Bearer" not in str(record.__dict__)


async def test_failed_first_run_publishes_nothing(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=12, seed=51))
    tenant.clients[CLIENT_ID].permissions.clear()
    async with world(tenant, account) as w:
        await w.run()
        status = await w.status()
        assert (status["published"], status["current"]["status"]) == (None, "failed")
        assert [name async for name in w.sync.output.names("")] == []


async def test_failure_late_in_a_chain_publishes_nothing(account: StorageAccount) -> None:
    tenant = Tenant(generate(users=30, seed=51))
    tenant.list_page_objects = 5
    tenant.faults.add(faults.respond(400, code="Request_BadRequest"), LIST, skip=5, times=None)
    async with world(tenant, account) as w:
        await w.run()
        status = await w.status()
    assert (status["published"], status["current"]["status"]) == (None, "failed")


async def test_sign_in_that_is_refused_fails_the_run_with_its_sentence(account: StorageAccount) -> None:
    sentence = "Entra refused the client secret (AADSTS7000215). Renew it in Key Vault."

    async def refused() -> Any:
        raise SignInRefused(sentence, 7000215)

    tenant = Tenant(generate(users=12, seed=51))
    async with world(tenant, account) as w:
        graph = w.sync.graph
        w.sync = restarted(w.sync, graph=refused)
        await w.run()
        status = await w.status()
        assert status["current"]["status"] == "failed"
        assert sentence in status["current"]["error"]
        w.sync = restarted(w.sync, graph=graph)
        await w.run()
        assert_equals_tenant(await w.snapshot(), tenant.directory)


class Bug(Exception):
    """Something that nobody thought of. Its text may hold anything."""


async def test_bug_is_tried_again_and_fails_the_run_at_its_last_delivery(
    account: StorageAccount, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> Any:
        raise Bug("ada@contoso.com")

    tenant = Tenant(generate(users=12, seed=51))
    async with world(tenant, account) as w:
        run_id = await w.sync.tick()
        graph = w.sync.graph
        w.sync = restarted(w.sync, graph=broken)
        step = next(step for step, _ in w.messages.waiting if step.dataset == "users")
        for delivery in range(1, LAST_ATTEMPT):
            with pytest.raises(Bug):
                await w.sync.handle(step, delivery)
            current = (await w.status())["current"]
            assert (current["run_id"], current["status"]) == (run_id, "collecting")
        await w.sync.handle(step, LAST_ATTEMPT)
        current = (await w.status())["current"]
        assert (current["run_id"], current["status"]) == (run_id, "failed")
        assert "Bug" in current["error"]
        assert "users" in current["error"]
        assert "contoso" not in current["error"]
        assert len(events_in(caplog.records, "directory.run_failed")) == 1

        await w.drain()  # what the failed run still had in the queue
        assert (await w.status())["current"]["run_id"] == run_id
        w.sync = restarted(w.sync, graph=graph)
        assert await w.run() != run_id
        assert_equals_tenant(await w.snapshot(), tenant.directory)


@pytest.mark.parametrize("delivery", [1, LAST_ATTEMPT])
async def test_storage_that_is_away_is_raised_so_that_the_message_stays(
    account: StorageAccount, delivery: int
) -> None:
    """There is nowhere to note a failure; the run goes on when storage is back."""
    async with world(Tenant(generate(users=12, seed=51)), account) as w:
        run_id = await w.sync.tick()
        working = w.sync
        step, _ = w.messages.waiting[0]

        async def away(*_: Any, **__: Any) -> Any:
            raise StorageUnavailable("Storage is unreachable (ServiceRequestError).")

        container = w.sync.state.container
        broken = type(container)(container._client)
        broken.write = away  # type: ignore[method-assign]
        w.sync = restarted(w.sync, state=type(w.sync.state)(broken))
        with pytest.raises(StorageUnavailable):
            await w.sync.handle(step, delivery)
        w.sync = working
        await w.drain()
        assert (await w.status())["published"]["run_id"] == run_id


async def test_request_while_a_run_is_under_way_is_refused(account: StorageAccount) -> None:
    async with world(Tenant(generate(users=12, seed=51)), account) as w:
        run_id = await w.sync.start()
        with pytest.raises(RunUnderWay) as raised:
            await w.sync.start()
        assert raised.value.run_id == run_id
        assert await w.sync.tick() == run_id
        await w.drain()
        assert (await w.status())["published"]["run_id"] == run_id
        assert await w.sync.start() != run_id


async def test_run_whose_snapshot_was_taken_away_makes_room_for_another(account: StorageAccount) -> None:
    """Somebody deletes current.json to begin anew, as a message of ours advises, while a run is under way."""
    tenant = Tenant(generate(users=12, seed=51))
    async with world(tenant, account) as w:
        await w.run()
        await w.sync.tick()
        await w.blobs.get_blob_client("directory", "current.json").delete_blob()
        await w.drain()
        for _ in range(2):
            await next_tick(w)
        assert (await w.status())["published"] is not None
        assert_equals_tenant(await w.snapshot(), tenant.directory)


async def test_part_of_the_last_snapshot_that_is_gone_stops_one_run_only(account: StorageAccount) -> None:
    """There is nothing to compare with, so the next run begins a new history, without changes."""
    tenant = Tenant(generate(users=12, seed=51))
    async with world(tenant, account) as w:
        before = await next_run(w)
        for part in before.manifest["datasets"]["users"]["parts"]:
            await w.blobs.get_blob_client("directory", part["path"]).delete_blob()
        tenant.directory.update_user(sorted(tenant.directory.users)[0], {"city": "Oslo"})
        w.clock.forward(hours=1)
        await w.run()
        current = (await w.status())["current"]
        assert current["status"] == "failed"
        assert "is gone" in current["error"]
        await next_tick(w)
        after = await w.snapshot()
        assert_equals_tenant(after, tenant.directory)
        assert "changes" not in after.manifest
        assert after.manifest["sequence"] == before.manifest["sequence"] + 1


async def next_tick(w: World) -> None:
    """A tick an hour later; a message that fails is gone, as after its last delivery."""
    w.clock.forward(hours=1)
    await w.sync.tick()
    for _ in range(100):
        if not w.messages.waiting:
            return
        try:
            await w.drain()
        except StorageUnavailable:
            continue
