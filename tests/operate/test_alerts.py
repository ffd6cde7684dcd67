"""Each alert is raised by the history that it is for, and by no other. The history is what real code logs.

The queries run as they are deployed, each over as much time as its rule reads.
"""

import logging
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates
from sandbox.tenant import (
    CLIENT_ID,
    MANAGED_IDENTITY_CLIENT_ID,
    TENANT_ID,
    VALIDATION_CLIENT_ID,
    Tenant,
    TenantServer,
    faults,
    generate,
)
from shared.identity.expiry import ending_soon
from tests.operate.logs import Line, WorkerLog, Workspace
from tests.operate.rules import RULES, firing
from tests.support.tls import serving
from tests.support.validation import ValidationWorld
from tests.support.world import World
from tests.worker.run import run_app

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
LEVELS = {"INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR}


def workspace_of(lines: Iterable[Line]) -> Workspace:
    workspace = Workspace()
    workspace.take(lines)
    return workspace


def lines_of(printed: str, at: datetime) -> list[Line]:
    """What the app logged in a process of its own, in Microsoft's worker."""
    found = re.findall(r"^(\w+) shared\.events (event .*?) *$", printed, re.MULTILINE)
    return [Line(at, LEVELS[level], message) for level, message in found]


async def hours(w: World, number: int) -> None:
    """So many runs, one an hour, in each of which something changed."""
    for _ in range(number):
        w.clock.forward(hours=1)
        user = sorted(w.tenant.directory.users)[0]
        w.tenant.directory.update_user(user, {"city": f"Oslo {w.clock.moment}"})
        await w.run()


def remove(w: World, number: int) -> None:
    for user in sorted(w.tenant.directory.users)[:number]:
        w.tenant.directory.delete_user(user)


# --- the directory ------------------------------------------------------------------------------------


async def test_a_healthy_day_raises_nothing(w: World, log: WorkerLog) -> None:
    await hours(w, 3)
    remove(w, 10)
    await w.run_full()
    w.tenant.faults.add(faults.respond(429, headers={"Retry-After": "2"}), "/users/delta", times=1)
    w.tenant.faults.add(faults.gone(), "/groups/delta", times=1)
    await hours(w, 2)
    names = {line.message.split()[1] for line in log.lines if line.message.startswith("event ")}
    assert {"directory.run_published", "directory.delta_lost", "graph.throttled"} <= names
    assert firing(workspace_of(log.lines), w.clock.now()) == set()


async def test_no_publication_for_hours(w: World, log: WorkerLog) -> None:
    await hours(w, 1)
    workspace, published = workspace_of(log.lines), w.clock.now()
    limit = timedelta(hours=RULES["no-publish"].threshold)
    assert firing(workspace, published + limit - timedelta(minutes=1)) == set()
    assert firing(workspace, published + limit + timedelta(minutes=1)) == {"no-publish"}
    assert firing(workspace, published + timedelta(days=9)) == {"no-publish"}


def test_no_logs_at_all() -> None:
    assert firing(Workspace(), NOW) == {"no-publish"}


async def test_runs_that_go_on_without_ever_being_published(w: World, log: WorkerLog) -> None:
    await hours(w, 1)
    for _ in range(RULES["no-publish"].threshold):
        w.clock.forward(hours=1)
        await w.sync.tick()
        w.messages.waiting.clear()  # as if the queue's messages were lost, each hour
    assert firing(workspace_of(log.lines), w.clock.now()) == {"no-publish"}


async def test_a_held_run_until_a_full_one_agrees(w: World, log: WorkerLog) -> None:
    await hours(w, 1)
    remove(w, 60)
    w.clock.forward(hours=1)
    await w.run()
    assert firing(workspace_of(log.lines), w.clock.now()) == {"run-held"}
    assert firing(workspace_of(log.lines), w.clock.now() + timedelta(minutes=50)) == {"run-held"}
    w.clock.forward(hours=1)
    await w.run()
    assert firing(workspace_of(log.lines), w.clock.now()) == set()


async def test_a_held_run_until_it_is_accepted(w: World, log: WorkerLog) -> None:
    await hours(w, 1)
    remove(w, 60)
    w.clock.forward(hours=1)
    held = await w.run()
    w.clock.forward(minutes=15)
    w.sync.settings = replace(w.sync.settings, accept_shrink=held)
    await w.sync.tick()
    assert firing(workspace_of(log.lines), w.clock.now()) == set()


async def test_run_after_run_fails_until_one_is_published(w: World, log: WorkerLog) -> None:
    await hours(w, 1)
    granted = set(w.tenant.clients[CLIENT_ID].permissions)
    w.tenant.clients[CLIENT_ID].permissions.clear()
    limit = RULES["runs-failing"].threshold
    await hours(w, limit - 1)
    assert firing(workspace_of(log.lines), w.clock.now()) == set()
    await hours(w, 1)
    assert firing(workspace_of(log.lines), w.clock.now()) == {"runs-failing"}
    w.tenant.clients[CLIENT_ID].permissions |= granted
    await hours(w, 1)
    assert firing(workspace_of(log.lines), w.clock.now()) == set()


async def test_runs_that_cannot_even_start_count_as_failed() -> None:
    """In Microsoft's worker, with settings that are wrong."""
    report = await run_app([{"function": "directory_timer"}], {"ENTRA_CREDENTIAL": "certificate"})
    (line,) = lines_of(report.log, NOW)
    assert line.level == logging.ERROR
    limit = RULES["runs-failing"].threshold
    lines = [Line(NOW + timedelta(hours=hour), line.level, line.message) for hour in range(limit)]
    assert "runs-failing" not in firing(workspace_of(lines[1:]), lines[-1].at)
    assert "runs-failing" in firing(workspace_of(lines), lines[-1].at)


# --- what others log ----------------------------------------------------------------------------------


def test_a_message_in_the_poison_queue() -> None:
    """As Storage logs it: https://learn.microsoft.com/azure/storage/queues/monitor-queue-storage-reference"""
    queue = "https://stdata.queue.core.windows.net:443/directory-sync"
    workspace = Workspace()
    workspace.add("StorageQueueLogs", NOW, "PutMessage", f"{queue}/messages?visibilitytimeout=0")
    workspace.add("StorageQueueLogs", NOW, "DeleteMessage", f"{queue}-poison/messages/5f3a?popreceipt=x")
    workspace.add("StorageQueueLogs", NOW, "CreateQueue", f"{queue}-poison")
    assert "poison-messages" not in firing(workspace, NOW)
    workspace.add("StorageQueueLogs", NOW, "PutMessage", f"{queue}-poison/messages")
    assert "poison-messages" in firing(workspace, NOW + timedelta(hours=5))
    assert "poison-messages" not in firing(workspace, NOW + timedelta(hours=7))


def test_errors_that_nobody_foresaw() -> None:
    workspace = Workspace()
    limit = RULES["exceptions"].threshold
    for minute in range(limit):
        assert "exceptions" not in firing(workspace, NOW + timedelta(minutes=minute))
        workspace.add("AppExceptions", NOW + timedelta(minutes=minute), "Result: Failure Exception: KeyError")
    assert "exceptions" in firing(workspace, NOW + timedelta(minutes=limit))


@pytest.mark.parametrize(
    "message",
    [
        "No job functions found. Try making your job classes and methods public.",
        "A host error has occurred during startup operation '5ad9e1b0-4304-4e7c-9b11-3b1141950950'.",
    ],
)
def test_a_host_that_does_not_start(message: str) -> None:
    """As the host says it. Its words are its own: see `docs/operate.md`."""
    assert "host-start" in firing(workspace_of([Line(NOW, logging.WARNING, message)]), NOW)
    event = f'event directory.run_failed {{"run_id":"r","reason":"fault","sentence":"{message}"}}'
    assert "host-start" not in firing(workspace_of([Line(NOW, logging.ERROR, event)]), NOW)


# --- secrets and credentials --------------------------------------------------------------------------


def test_a_secret_that_ends_soon_until_it_is_renewed() -> None:
    """Looked at every night at 3:40."""
    moment = datetime(2026, 11, 21, 3, 40, tzinfo=UTC)
    with WorkerLog(lambda: moment) as log:
        for left in (32, 31, 30, 29, 400):
            for event in ending_soon({"entra-client-secret": moment + timedelta(days=left)}, moment):
                event.emit()
            workspace = workspace_of(log.lines)
            day = moment + timedelta(hours=23, minutes=59)
            assert ("secret-expires" in firing(workspace, day)) is (left in (30, 29)), left
            moment += timedelta(days=1)
    assert "secret-expires" not in firing(workspace, moment + timedelta(hours=3))


async def test_validations_that_go_well_raise_nothing(v: ValidationWorld, validation_log: WorkerLog) -> None:
    user = v.staff()
    assert (await v.said(user, v.password_of(user)))["status"] == "valid"
    assert (await v.said(user, "wrong"))["status"] == "superseded"
    v.clock.forward(3600)
    v.tenant.accounts[v.staff(1)["id"]].instead_of_password = (999_999,)
    await v.said(v.staff(1), "wrong")
    names = {line.message.split()[1] for line in validation_log.lines if line.message.startswith("event ")}
    assert names >= {"credentials.validated", "credentials.budgets", "credentials.unknown_code"}
    workspace = workspace_of(validation_log.lines)
    assert firing(workspace, _now(v)) == {"no-publish"}


async def test_validation_stopped_for_as_long_as_it_stays_stopped(
    v: ValidationWorld, validation_log: WorkerLog
) -> None:
    for number in range(3):
        assert "validation-stopped" not in firing(workspace_of(validation_log.lines), _now(v))
        v.tenant.lockout.lock(v.staff(number)["id"])
        await v.said(v.staff(number), "wrong")
    workspace = workspace_of(validation_log.lines)
    assert "validation-stopped" in firing(workspace, _now(v))
    assert "validation-stopped" in firing(workspace, _now(v) + timedelta(hours=23))
    assert "validation-stopped" not in firing(workspace, _now(v) + timedelta(hours=25))


def _now(v: ValidationWorld) -> datetime:
    return datetime.fromtimestamp(v.clock(), UTC)


@pytest.fixture
async def environment(
    account: StorageAccount, certificates: ServerCertificates
) -> AsyncIterator[dict[str, str]]:
    """Of an app in Microsoft's worker."""
    tenant = Tenant(generate(users=20, seed=93))
    async with TenantServer(tenant, serving(certificates)) as server:
        yield {
            "ENTRA_TENANT_ID": TENANT_ID,
            "ENTRA_CREDENTIAL": "managed-identity",
            "AZURE_CLIENT_ID": MANAGED_IDENTITY_CLIENT_ID,
            "VALIDATION_CLIENT_ID": VALIDATION_CLIENT_ID,
            "SYNC_SCHEDULE": "0 0 * * * *",
            "KEY_VAULT_URL": server.url,
            "GRAPH_ENDPOINT": server.url,
            "AZURE_AUTHORITY_HOST": server.url,
            "IDENTITY_ENDPOINT": f"{server.url}/msi/token",
            "IDENTITY_HEADER": tenant.identity_header,
            "DIRECTORY_STORAGE": account.connection_string,
            **certificates.environment,
        }


def call(number: int) -> dict[str, Any]:
    """Of somebody who has no secret."""
    http = {
        "method": "POST",
        "url": "https://app.example/api/credentials/validate",
        "body": "{}",
        "headers": {
            "webhook-id": f"msg_{number}",
            "webhook-timestamp": str(int(datetime.now(UTC).timestamp())),
            "webhook-signature": "v1,bm90IG91cnM=",
        },
    }
    return {"function": "credentials_validate", "http": http}


async def test_callers_that_are_refused(environment: dict[str, str]) -> None:
    limit = RULES["callers-refused"].threshold
    report = await run_app([call(number) for number in range(limit)], environment)
    assert {outcome["status"] for outcome in report.outcomes} == {401}
    lines = [one for one in lines_of(report.log, NOW) if "credentials." in one.message]
    assert len(lines) == limit
    assert firing(workspace_of(lines), NOW) == {"no-publish", "callers-refused"}
    assert "callers-refused" not in firing(workspace_of(lines[1:]), NOW)
    assert "callers-refused" not in firing(workspace_of(lines), NOW + timedelta(hours=2))


async def test_validation_that_lacks_a_setting(environment: dict[str, str]) -> None:
    report = await run_app([call(1)], environment | {"KEY_VAULT_URL": ""})
    assert [outcome["status"] for outcome in report.outcomes] == [503]
    workspace = workspace_of(lines_of(report.log, NOW))
    assert firing(workspace, NOW) == {"no-publish", "validation-misconfigured"}


def test_every_rule_has_a_test_here() -> None:
    text = Path(__file__).read_text()
    for name in RULES:
        assert f'"{name}"' in text, name
