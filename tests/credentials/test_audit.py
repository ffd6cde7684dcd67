"""The audit log over a real store: complete, in order, and silent about what nobody may read there."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta, timezone

import pytest
from aiohttp import web
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from sandbox.azurite import StorageAccount
from shared.credentials.audit import AUDIT_CONTAINER, AuditEntry, AuditLog
from shared.errors import StorageUnavailable
from shared.snapshots.blobs import BlobContainer

NOON = datetime(2026, 10, 31, 12, tzinfo=UTC)


def entry(credential: str) -> AuditEntry:
    return AuditEntry(
        at="2026-10-31T12:00:00Z",
        caller="standard-webhooks",
        call="0f" * 32,
        credential=credential,
        user="3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        status="valid",
        account_state="mfa_required",
        attempt_made=True,
        evidence=("AADSTS50076",),
        trace_id="5cc4e9a1-0000-4000-8000-000000000001",
        correlation_id="5cc4e9a1-0000-4000-8000-000000000002",
    )


@pytest.fixture
async def container(account: StorageAccount) -> AsyncIterator[BlobContainer]:
    async with ContainerClient.from_connection_string(account.connection_string, AUDIT_CONTAINER) as client:
        container = BlobContainer(client)
        await container.ensure()
        yield container


async def blobs(container: BlobContainer) -> dict[str, list[str]]:
    """Blob → the ids of the credentials in it."""
    contents = {name: await container.read(name) or b"" async for name in container.names("")}
    return {
        name: [json.loads(line)["credential"] for line in content.splitlines()]
        for name, content in contents.items()
    }


async def test_an_entry_is_a_line_of_json(container: BlobContainer) -> None:
    await AuditLog(container, clock=lambda: NOON).append([entry("leak-1")])
    assert json.loads(await container.read("2026-10-31.jsonl") or b"") == {
        "at": "2026-10-31T12:00:00Z",
        "caller": "standard-webhooks",
        "call": "0f" * 32,
        "credential": "leak-1",
        "user": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "status": "valid",
        "account_state": "mfa_required",
        "attempt_made": True,
        "evidence": ["AADSTS50076"],
        "trace_id": "5cc4e9a1-0000-4000-8000-000000000001",
        "correlation_id": "5cc4e9a1-0000-4000-8000-000000000002",
    }


async def test_what_is_not_known_is_absent(container: BlobContainer) -> None:
    nobody = AuditEntry(
        at="2026-10-31T12:00:00Z", caller="flare", credential="x", status="not_found", attempt_made=False
    )
    await AuditLog(container, clock=lambda: NOON).append([nobody])
    assert set(json.loads(await container.read("2026-10-31.jsonl") or b"")) == {
        "at",
        "caller",
        "credential",
        "status",
        "attempt_made",
    }


async def test_entries_of_a_call_stand_together_and_calls_in_order(container: BlobContainer) -> None:
    log = AuditLog(container, clock=lambda: NOON)
    await log.append([entry("a"), entry("b")])
    await log.append([])
    await log.append([entry("c")])
    assert await blobs(container) == {"2026-10-31.jsonl": ["a", "b", "c"]}


async def test_nothing_to_say_makes_no_blob(container: BlobContainer) -> None:
    await AuditLog(container).append([])
    assert await blobs(container) == {}


async def test_each_day_has_its_blob_by_the_clock_of_utc(container: BlobContainer) -> None:
    now = datetime(2026, 10, 31, 23, 59, tzinfo=timezone(timedelta(hours=-1)))
    log = AuditLog(container, clock=lambda: now)
    await log.append([entry("a")])
    now -= timedelta(hours=1)
    await log.append([entry("b")])
    assert await blobs(container) == {"2026-11-01.jsonl": ["a"], "2026-10-31.jsonl": ["b"]}


async def test_blob_is_an_append_blob(container: BlobContainer, account: StorageAccount) -> None:
    await AuditLog(container, clock=lambda: NOON).append([entry("a")])
    async with BlobServiceClient.from_connection_string(account.connection_string) as service:
        blob = service.get_blob_client(AUDIT_CONTAINER, "2026-10-31.jsonl")
        assert (await blob.get_blob_properties()).blob_type == "AppendBlob"


async def test_full_blob_is_followed_by_the_next(container: BlobContainer) -> None:
    log = AuditLog(container, clock=lambda: NOON, blocks_at_most=2)
    for number in range(5):
        await log.append([entry(f"{number}")])
    assert await blobs(container) == {
        "2026-10-31.jsonl": ["0", "1"],
        "2026-10-31-0002.jsonl": ["2", "3"],
        "2026-10-31-0003.jsonl": ["4"],
    }


async def test_another_instance_goes_on_where_the_day_stands(container: BlobContainer) -> None:
    first = AuditLog(container, clock=lambda: NOON, blocks_at_most=2)
    for number in range(3):
        await first.append([entry(f"{number}")])
    await AuditLog(container, clock=lambda: NOON, blocks_at_most=2).append([entry("3")])
    assert (await blobs(container))["2026-10-31-0002.jsonl"] == ["2", "3"]


async def test_many_instances_at_once_lose_and_double_nothing(account: StorageAccount) -> None:
    async with AsyncExitStack() as stack:
        containers = [
            BlobContainer(
                await stack.enter_async_context(
                    ContainerClient.from_connection_string(account.connection_string, AUDIT_CONTAINER)
                )
            )
            for _ in range(4)
        ]
        await containers[0].ensure()
        logs = [AuditLog(container, clock=lambda: NOON, blocks_at_most=5) for container in containers]
        names = [f"{worker}{number}" for worker in range(4) for number in range(10)]

        async def work(worker: int) -> None:
            for number in range(0, 10, 2):
                await asyncio.gather(
                    *(logs[worker].append([entry(f"{worker}{number + n}")] * 2) for n in range(2))
                )

        await asyncio.gather(*map(work, range(4)))
        written = await blobs(containers[0])
    lines = [credential for name in sorted(written) for credential in written[name]]
    assert sorted(lines) == sorted(names * 2)
    assert lines[0::2] == lines[1::2], "the two entries of a call stand together"
    assert len(written) > 1


async def test_a_blob_that_storage_calls_full_is_left() -> None:
    """Azure refuses block 50,001, whoever has written the others."""
    appended: dict[str, bytes] = {}

    async def answer(request: web.Request) -> web.Response:
        name = request.path.removeprefix("/account/audit/")
        if request.method == "GET":
            listing = "<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>"
            return web.Response(text=listing, content_type="application/xml")
        if name != "2026-10-31-0003.jsonl":
            headers = {"x-ms-error-code": "BlockCountExceedsLimit"}
            return web.Response(status=409, headers=headers)
        appended[name] = await request.read()
        headers = {"x-ms-blob-committed-block-count": "7", "x-ms-blob-append-offset": "0"}
        return web.Response(status=201, headers=headers)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with ContainerClient(f"http://{host}:{port}/account", AUDIT_CONTAINER) as client:
            await AuditLog(BlobContainer(client), clock=lambda: NOON).append([entry("a")])
    finally:
        await runner.cleanup()
    assert [json.loads(line)["credential"] for line in appended["2026-10-31-0003.jsonl"].splitlines()] == [
        "a"
    ]


async def test_container_that_is_not_there_is_an_error(account: StorageAccount) -> None:
    async with ContainerClient.from_connection_string(account.connection_string, AUDIT_CONTAINER) as client:
        with pytest.raises(StorageUnavailable, match="container `audit`: ContainerNotFound"):
            await AuditLog(BlobContainer(client)).append([entry("a")])
