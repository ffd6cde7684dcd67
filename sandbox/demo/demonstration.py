"""The demo from start to end: start everything, fire the timer, watch, show what was published; let the
tenant change, and do it again; then ask about leaked credentials."""

import asyncio
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from sandbox.demo.app_api import AppApi, CurrentRun, SyncStatus
from sandbox.demo.changes import changes_between
from sandbox.demo.changes_summary import show_changes, show_costs, show_events
from sandbox.demo.connection import show_connection
from sandbox.demo.coverage import User, count_coverage
from sandbox.demo.example import example_user
from sandbox.demo.paths import shown
from sandbox.demo.process_usage import usage_of
from sandbox.demo.progress import ProgressView, progress_view
from sandbox.demo.snapshot import Snapshot, download_snapshot
from sandbox.demo.summary import (
    Measured,
    fact,
    heading,
    show_cost,
    show_coverage,
    show_document,
    show_files,
    show_published,
)
from sandbox.demo.tenant_api import let_things_happen
from sandbox.demo.validation import show_validation
from sandbox.services.errors import SandboxError
from sandbox.services.sandbox import Sandbox, running_sandbox

POLL_SECONDS = 0.1
STALLED_SECONDS = 120.0
LEAST_EVENTS = 12
USERS_PER_EVENT = 100
SETTINGS = {
    # The demo fires the timer itself.
    "SYNC_SCHEDULE": "0 0 0 1 1 *",
    # Progress moves at the end of a slice: this is the shortest that the app takes.
    "SYNC_SLICE_SECONDS": "10",
}


async def demonstrate(
    console: Console, directory: Path, *, users: int, seed: int, settings: Mapping[str, str] = SETTINGS
) -> None:
    """Show a sync, and one after the tenant has changed; leave what they published in `directory/snapshot`.

    Certificates and logs lie in `directory/demo`, beside those of a sandbox that runs meanwhile.
    Raises SandboxError if it does not publish.
    """
    copy = directory / "snapshot"
    heading(console, "Entra Connector", f"a simulated tenant of {users:,} users, seed {seed}")
    async with running_sandbox(directory / "demo", users=users, seed=seed, settings=settings) as sandbox:
        show_services(console, sandbox)
        first_measured = await _sync(console, sandbox, "Sync")
        shutil.rmtree(copy, ignore_errors=True)
        first = await asyncio.to_thread(download_snapshot, sandbox.account, sandbox.certificates, copy)
        show_summary(console, first, first_measured)

        count = max(LEAST_EVENTS, users // USERS_PER_EVENT)
        show_events(console, await let_things_happen(sandbox, count, seed))
        measured = await _sync(console, sandbox, "Sync again", after=first.manifest.run_id)
        second = await asyncio.to_thread(download_snapshot, sandbox.account, sandbox.certificates, copy)
        show_changes(console, second, changes_between(first, second))
        show_costs(console, first, first_measured, second, measured)
        show_files(console, second, shown(second.directory))
        await show_connection(console, sandbox)
        await show_validation(console, sandbox, second)


def show_services(console: Console, sandbox: Sandbox) -> None:
    fact(console, "tenant", f"{sandbox.tenant.url}  simulated Graph, Entra, Key Vault, managed identity")
    storage = sandbox.account.blob_uri.rpartition("/")[0]
    fact(console, "storage", f"{storage}  Azurite, reached with the managed identity")
    assert sandbox.host is not None
    fact(console, "app", f"{sandbox.host.url}   function_app.py in Microsoft's Python worker library")


async def _sync(console: Console, sandbox: Sandbox, title: str, *, after: str | None = None) -> Measured:
    """Fire the timer and watch until a run is published that is not `after`."""
    assert sandbox.host is not None
    heading(console, title)
    before = usage_of(sandbox.host.pid)
    started = time.perf_counter()
    async with AppApi(sandbox.host) as api:
        await api.fire_timer()
        with progress_view(console) as view:
            await _watch(api, view, after)
    wall_seconds = time.perf_counter() - started
    used = usage_of(sandbox.host.pid)
    cpu_seconds = used.cpu_seconds - before.cpu_seconds if before and used else None
    return Measured(wall_seconds, cpu_seconds, used)


async def _watch(api: AppApi, view: ProgressView, after: str | None) -> None:
    """Until a run is published that is not `after`.

    Raises SandboxError with the run's own sentence when it failed.
    """
    last: SyncStatus | None = None
    moved = time.monotonic()
    while True:
        status = await api.status()
        if status.current is not None:
            view.show(status.current)
            _raise_if_ended(status.current)
        elif status.published is not None and status.published.run_id != after:
            view.finish()
            return
        if status != last:
            last, moved = status, time.monotonic()
        elif time.monotonic() - moved > STALLED_SECONDS:
            what = "The run has not moved" if status.current else "The timer was fired, but no run started,"
            raise SandboxError(f"{what} for {STALLED_SECONDS:g} s.")
        await asyncio.sleep(POLL_SECONDS)


def _raise_if_ended(run: CurrentRun) -> None:
    if run.status in ("failed", "held"):
        raise SandboxError(f"Run {run.run_id} is {run.status}: {run.error}")


def show_summary(console: Console, snapshot: Snapshot, measured: Measured) -> None:
    """Everything that a first snapshot tells, and what it took."""
    user, event = example_user(snapshot)
    show_document(console, "One user as published", "dataset users", user)
    show_document(console, "The same user as OCSF 1.8.0", "dataset ocsf-users", event)
    show_published(console, snapshot)
    show_cost(console, snapshot, measured)
    show_coverage(console, count_coverage(snapshot.rows("users", User)))
