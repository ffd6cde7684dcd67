"""The law: a snapshot and the changes since give the snapshot of now, which is what the tenant holds.

Whatever happened, however many runs of either kind came between, however the directory is cut.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sandbox.azurite import StorageAccount
from sandbox.tenant import Tenant, churn, generate
from tests.directory.expected import apply_changes, state_of
from tests.directory.stores import restarted, use_memory
from tests.incremental.support import (
    RENDERINGS,
    assert_changes_lead,
    assert_holds,
    assert_nothing_left,
    assert_same_as_full,
    run,
)
from tests.support.world import Snapshot, World, world


def odd_tenant(users: int, seed: int) -> Tenant:
    """Small pages, in one of four orders, some of them empty or twice."""
    tenant = Tenant(generate(users=users, seed=seed))
    tenant.delta_page_objects, tenant.delta_page_links = 7, 11
    tenant.delta_scatter = seed % 2 == 0
    tenant.delta_removed_on_first_pass = seed % 3 == 0
    tenant.delta_empty_page_every = seed % 4
    tenant.delta_replay_every = seed % 5
    return tenant


class History:
    """The snapshots of a tenant from run to run, and what was known of authentication in each."""

    def __init__(self, w: World) -> None:
        self.world = w
        self.snapshots: list[Snapshot] = []
        self.registrations: dict[str, Any] = {}

    async def go_on(self, *, full: bool, hours: float, validate: bool = True) -> Snapshot:
        now = await run(self.world, full=full, hours=hours, validate=validate)
        directory = self.world.tenant.directory
        if now.manifest["datasets"]["authentication"]["as_of"] >= now.manifest["started_at"]:
            self.registrations = dict(directory.registrations)
        # What was known of somebody who left is forgotten with the record.
        self.registrations = {u: row for u, row in self.registrations.items() if u in directory.users}
        assert_holds(now, directory, self.registrations)
        if self.snapshots:
            assert_changes_lead(self.snapshots[-1], now)
        self.snapshots.append(now)
        await assert_nothing_left(self.world)
        return now

    def assert_law(self) -> None:
        """From every snapshot, the changes lead to the last one."""
        for number, snapshot in enumerate(self.snapshots):
            state = state_of(snapshot)
            for later in self.snapshots[number + 1 :]:
                state = apply_changes(state, later.changes)
            assert state == state_of(self.snapshots[-1])


days = st.tuples(
    st.integers(0, 10_000), st.sampled_from((0, 1, 3, 20, 60)), st.sampled_from((1, 7)), st.booleans()
)


@hypothesis_settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    company=st.integers(0, 10_000),
    users=st.integers(0, 40),
    days=st.lists(days, min_size=1, max_size=5),
    rows=st.sampled_from((2, 8, 64)),
)
async def test_law_of_any_history(
    new_account: Callable[[], StorageAccount],
    company: int,
    users: int,
    days: list[tuple[int, int, float, bool]],
    rows: int,
) -> None:
    tenant = odd_tenant(users, company)
    options = {"DIRECTORY_FORMATS": RENDERINGS, "SYNC_MAX_REMOVAL_PERCENT": "100"}
    async with world(tenant, new_account(), bucket_rows=rows, **options) as w:
        use_memory(w)
        history = History(w)
        await history.go_on(full=False, hours=0)
        for seed, count, hours, full in days:
            churn(tenant.directory, seed=seed, count=count)
            w.sync = restarted(w.sync)
            now = await history.go_on(full=full, hours=hours)
            assert now.manifest["kind"] == ("full" if full else "incremental")
        history.assert_law()
        if history.registrations == {
            user: row
            for user, row in tenant.directory.registrations.items()
            if user in tenant.directory.users
        }:
            await assert_same_as_full(w, history.snapshots[-1])


async def test_law_on_real_storage(account: StorageAccount) -> None:
    """A few changes each time, then a full run that finds nothing else."""
    tenant = odd_tenant(40, 5)
    async with world(tenant, account, bucket_rows=16, DIRECTORY_FORMATS="ocsf") as w:
        history = History(w)
        await history.go_on(full=False, hours=0)
        for day in range(3):
            churn(tenant.directory, seed=day, count=5)
            await history.go_on(full=False, hours=6.5)
        history.assert_law()
        await assert_same_as_full(w, history.snapshots[-1])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_law_of_a_long_history(account: StorageAccount, seed: int) -> None:
    tenant = odd_tenant(120, seed)
    options = {"DIRECTORY_FORMATS": RENDERINGS, "SYNC_MAX_REMOVAL_PERCENT": "100"}
    async with world(tenant, account, bucket_rows=16, **options) as w:
        use_memory(w)
        history = History(w)
        await history.go_on(full=False, hours=0)
        for day in range(60):
            churn(tenant.directory, seed=seed * 1000 + day, count=(day * 7) % 40)
            full = day % 13 == 12
            await history.go_on(full=full, hours=7, validate=day % 10 == 0)
            if full:
                drift = history.snapshots[-1].manifest["drift"]
                assert drift == {"users": 0, "groups": 0, "memberships": 0}
        history.assert_law()
        await assert_same_as_full(w, history.snapshots[-1])
