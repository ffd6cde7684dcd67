"""What changes while the first run lists the directory: the delta that was begun before tells it."""

from collections.abc import Callable

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import Directory, Tenant
from sandbox.tenant.faults import Action, Answer
from sandbox.tenant.messages import Call, Reply
from tests.directory.stores import restarted
from tests.incremental.support import assert_holds, assert_same_as_full, follow, quick_world, run
from tests.support.world import World

PAGE = 4
LIST = r"/v1.0/users\?"
EVENTS = (
    "added",
    "changed",
    "cleared",
    "come and gone",
    "deleted",
    "deleted and restored",
    "group joined",
    "managed by another",
    "managed by nobody",
    "purged",
)


@pytest.fixture
def tenant() -> Tenant:
    directory = Directory()
    manager = directory.add_user({"id": "00000000-0000-4000-8000-000000000000"})
    for number in range(1, 12):
        user = directory.add_user(
            {"id": f"{number:x}0000000-0000-4000-8000-000000000000", "city": "Oslo", "mobilePhone": "1"}
        )
        directory.set_manager(user, manager)
    group = directory.add_group({})
    for user in directory.users:
        directory.add_member(group, user)
    return Tenant(directory)


def then(happen: Callable[[], None], *, before: bool = False) -> Action:
    """Let something happen right after (or before) this page is made."""

    async def act(_: Call, answer: Answer) -> Reply:
        if before:
            happen()
        reply = await answer()
        if not before:
            happen()
        return reply

    return act


def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.graph.queries.LIST_PAGE", PAGE)


def what_happens(directory: Directory) -> dict[str, Callable[[], None]]:
    """By name; to a user of the first page, and to one of the last."""
    first, *_, last = sorted(directory.users)[1:]

    def both(*changes: Callable[[str], None]) -> Callable[[], None]:
        def happen() -> None:
            for user in (first, last):
                for change in changes:
                    change(user)

        return happen

    def come_and_go() -> None:
        directory.delete_user(directory.add_user({}))

    return {
        "added": lambda: directory.add_member(next(iter(directory.groups)), directory.add_user({})),
        "changed": both(lambda user: directory.update_user(user, {"city": "Bergen"})),
        "cleared": both(lambda user: directory.update_user(user, {"mobilePhone": None})),
        "managed by another": both(lambda user: directory.set_manager(user, sorted(directory.users)[5])),
        "managed by nobody": both(lambda user: directory.set_manager(user, None)),
        "deleted": both(directory.delete_user),
        "purged": both(directory.purge_user),
        "deleted and restored": both(directory.delete_user, directory.restore_user),
        "come and gone": come_and_go,
        "group joined": lambda: directory.add_member(directory.add_group({}), first),
    }


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("page", [0, 2])
async def test_change_during_the_list(
    account: StorageAccount, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, event: str, page: int
) -> None:
    """After the first page or after the last: the snapshot tells it, if the next one does not."""
    small_pages(monkeypatch)
    async with quick_world(tenant, account, bucket_rows=4) as w:
        fault = tenant.faults.add(then(what_happens(tenant.directory)[event]), LIST, skip=page)
        first = await run(w)
        assert fault.hits == 1
        assert set(first.by_id("users")) == set(tenant.directory.users)
        if "group" not in event and event != "added":
            assert_holds(first, tenant.directory)
        now = await follow(w, first)  # the groups had been asked for already
        await assert_same_as_full(w, now)


@pytest.mark.parametrize("when", ["before the list", "before the replay"])
async def test_user_who_is_restored_during_the_list(
    account: StorageAccount, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    small_pages(monkeypatch)
    directory = tenant.directory
    user = sorted(directory.users)[3]
    directory.delete_user(user)
    path = LIST if when == "before the list" else "/users/delta.*deltatoken=(?!latest)"
    async with quick_world(tenant, account, bucket_rows=4) as w:
        fault = tenant.faults.add(then(lambda: directory.restore_user(user), before=True), path)
        first = await run(w)
        assert fault.hits == 1
        assert user in first.by_id("users")
        now = await follow(w, first)
        await assert_same_as_full(w, now)


@pytest.mark.parametrize("seconds", [1.0, 1000.0])
async def test_changes_between_all_pages_of_all_slices(
    account: StorageAccount, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Something after each request for users, also where each page is a slice of its own."""
    small_pages(monkeypatch)
    directory = tenant.directory
    tenant.delta_page_objects = 1
    changes: list[Callable[[], object]] = [
        lambda: directory.delete_user(sorted(directory.users)[2]),
        lambda: directory.add_user({}),
        lambda: directory.restore_user(next(iter(directory.deleted_users))),
        lambda: directory.update_user(sorted(directory.users)[1], {"city": "Hamar"}),
        lambda: directory.delete_user(sorted(directory.users)[4]),
    ]
    events = iter(changes)

    def something() -> None:
        event = next(events, None)
        if event is not None:
            event()

    async with quick_world(tenant, account, bucket_rows=4, SYNC_SLICE_SECONDS="10") as w:
        w.sync = restarted(w.sync, clock=ticking(seconds))
        tenant.faults.add(then(something), "/v1.0/users", times=None)
        first = await run(w)
        assert next(events, None) is None
        now = await settled(w, first_users=set(first.by_id("users")))
        assert now == set(directory.users)


def ticking(seconds: float) -> Callable[[], float]:
    moment = 0.0

    def look() -> float:
        nonlocal moment
        moment += seconds
        return moment

    return look


async def settled(w: World, first_users: set[str]) -> set[str]:
    """Who is there after another run; the first one had nobody that was never there."""
    directory = w.tenant.directory
    assert first_users <= directory.users.keys() | directory.deleted_users.keys()
    snapshot = await run(w)
    assert_holds(snapshot, directory)
    return set(snapshot.by_id("users"))
