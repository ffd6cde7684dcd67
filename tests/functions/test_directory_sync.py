"""The directory's functions in Microsoft's worker: what a caller gets, whatever is missing or away."""

import base64
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from sandbox.azurite import StorageAccount
from sandbox.tenant import MANAGED_IDENTITY_CLIENT_ID, TENANT_ID, Tenant, TenantServer, generate
from tests.worker.run import Report, run_app

SETTINGS = {
    "ENTRA_TENANT_ID": TENANT_ID,
    "ENTRA_CREDENTIAL": "managed-identity",
    "AZURE_CLIENT_ID": MANAGED_IDENTITY_CLIENT_ID,
    "SYNC_SCHEDULE": "0 0 * * * *",
}
URL = "https://app.example/api/directory"

STATUS = {"function": "directory_status", "http": {"method": "GET", "url": f"{URL}/status", "body": ""}}
TIMER = {"function": "directory_timer"}


def start(body: str = "", **more: Any) -> dict[str, Any]:
    http = {"method": "POST", "url": f"{URL}/sync", "body": body}
    return {"function": "directory_start", "http": http, **more}


def message(text: str, **more: Any) -> dict[str, Any]:
    return {"function": "directory_step", "message": text, **more}


def after(call: dict[str, Any]) -> dict[str, Any]:
    return {**call, "after": True}


def problem_of(outcome: dict[str, Any], status: int) -> dict[str, Any]:
    """The problem document (RFC 9457) of an outcome."""
    assert outcome["status"] == status, outcome
    assert outcome["headers"]["content-type"].startswith("application/problem+json")
    document: dict[str, Any] = json.loads(outcome["body"])
    assert document["status"] == status
    assert document["type"] == "about:blank"
    assert document["title"]
    assert document["detail"].endswith((".", ")"))
    return document


def json_of(outcome: dict[str, Any], status: int) -> dict[str, Any]:
    assert outcome["status"] == status, outcome
    assert outcome["headers"]["content-type"].startswith("application/json")
    document: dict[str, Any] = json.loads(outcome["body"])
    return document


@pytest.fixture
async def tenant() -> AsyncIterator[tuple[Tenant, dict[str, str]]]:
    """A small tenant, and the settings that lead to it."""
    simulated = Tenant(generate(users=10, seed=81))
    async with TenantServer(simulated) as server:
        yield (
            simulated,
            {
                "GRAPH_ENDPOINT": server.url,
                "IDENTITY_ENDPOINT": f"{server.url}/msi/token",
                "IDENTITY_HEADER": simulated.identity_header,
            },
        )


@pytest.fixture
def environment(account: StorageAccount, tenant: tuple[Tenant, dict[str, str]]) -> dict[str, str]:
    return {**SETTINGS, **tenant[1], "DIRECTORY_STORAGE": account.connection_string}


async def test_settings_that_are_missing_are_told_all_at_once() -> None:
    """By every route; the timer and the message fail, so that an alert sees it and nothing is lost."""
    report = await run_app([STATUS, start(), TIMER, message("{}")], {"ENTRA_CREDENTIAL": "certificate"})
    status, started, timer, step = report.outcomes
    for outcome in (status, started):
        document = problem_of(outcome, 503)
        named = " ".join(document["problems"])
        for setting in ("ENTRA_TENANT_ID", "ENTRA_CLIENT_ID", "KEY_VAULT_URL", "DIRECTORY_STORAGE"):
            assert setting in named, setting
            assert setting in document["detail"]
    for outcome in (timer, step):
        assert "failed" in outcome
    assert "ConfigurationError" in timer["failed"] or "settings need attention" in timer["failed"]


async def test_setting_that_only_the_credential_refuses_is_told_at_once(environment: dict[str, str]) -> None:
    authority = {"AZURE_AUTHORITY_HOST": environment["GRAPH_ENDPOINT"]}
    report = await run_app([start()], environment | authority)
    assert "AZURE_AUTHORITY_HOST" in problem_of(report.outcomes[0], 503)["detail"]


async def test_settings_are_told_without_their_values() -> None:
    secret = "AccountKey=dG9wLXNlY3JldA=="
    report = await run_app([STATUS], {**SETTINGS, "DIRECTORY_STORAGE": secret, "ENTRA_TENANT_ID": secret})
    problem_of(report.outcomes[0], 503)
    assert "dG9wLXNlY3JldA" not in json.dumps(report.outcomes) + report.log


async def test_connection_string_that_lacks_something_is_a_problem() -> None:
    report = await run_app([STATUS], {**SETTINGS, "DIRECTORY_STORAGE": "AccountName=a"})
    assert "DIRECTORY_STORAGE" in problem_of(report.outcomes[0], 503)["detail"]


async def test_bodies_that_are_not_understood(environment: dict[str, str]) -> None:
    bodies = ["{", "[]", '"full"', '{"kind": "incremental"}', '{"kind": null}', '{"kind": ["full"]}']
    bodies += ['{"kinds": "full"}', "\xff\xfe", "5", "null"]
    report = await run_app([start(body) for body in bodies], environment)
    for body, outcome in zip(bodies, report.outcomes, strict=True):
        assert "full" in problem_of(outcome, 400)["detail"], body


async def test_body_that_is_nested_too_deeply_is_no_fault_of_the_app(environment: dict[str, str]) -> None:
    report = await run_app([start("[" * 100_000)], environment)
    problem_of(report.outcomes[0], 400)


async def test_start_then_conflict_then_progress(
    environment: dict[str, str], account: StorageAccount
) -> None:
    calls = [STATUS, after(start()), after(start('{"kind": "full"}')), after(STATUS)]
    report = await run_app(calls, environment)
    before, started, again, status = report.outcomes
    assert json_of(before, 200) == {"current": None, "published": None, "held": None}
    run_id = json_of(started, 202)["run_id"]
    document = problem_of(again, 409)
    assert document["run_id"] == run_id
    assert run_id in document["detail"]
    shown = json_of(status, 200)
    assert (shown["published"], shown["held"]) == (None, None)
    current = shown["current"]
    assert (current["run_id"], current["status"], current["kind"]) == (run_id, "collecting", "full")
    assert set(current["datasets"]) == {"users", "groups", "authentication"}
    for progress in current["datasets"].values():
        assert progress["status"] == "reading"
        assert {"rows", "pages", "requests", "resource_units", "throttled", "retried"} <= progress.keys()
    assert current["build"] == {"done": 0, "of": 2}
    async with QueueServiceClient.from_connection_string(account.connection_string) as queues:
        peeked = await queues.get_queue_client("directory-sync").peek_messages(32)
    assert len(peeked) == 3


async def test_timer_starts_a_run_and_messages_work_it_off(
    environment: dict[str, str], tenant: tuple[Tenant, dict[str, str]], account: StorageAccount
) -> None:
    """A process a round, as on a machine that restarts all the time; the queue carries what is to be done."""
    (outcome,) = (await run_app([TIMER], environment)).outcomes
    assert "failed" not in outcome
    async with (
        QueueServiceClient.from_connection_string(account.connection_string) as queues,
        BlobServiceClient.from_connection_string(account.connection_string) as blobs,
    ):
        queue = queues.get_queue_client("directory-sync")
        for _ in range(10):
            received = [one async for one in queue.receive_messages(max_messages=32)]
            if not received:
                break
            calls = [message(_decoded(one.content)) for one in received]
            report = await run_app(calls, environment)
            assert [outcome for outcome in report.outcomes if "failed" in outcome] == []
            for one in received:
                await queue.delete_message(one)
        pointer = json.loads(
            await (await blobs.get_blob_client("directory", "current.json").download_blob()).readall()
        )
    report = await run_app([STATUS], environment)
    status = json_of(report.outcomes[0], 200)
    assert status["current"] is None
    assert status["published"] == {name: pointer[name] for name in status["published"]}
    assert tenant[0].requests_to("/users/delta")


def _decoded(content: str) -> str:
    return base64.b64decode(content, validate=True).decode()


NONE_OF_OURS = [
    "",
    "not JSON",
    "{}",
    "[]",
    '{"run_id": "r"}',
    '{"run_id": "r", "action": "explode"}',
    '{"run_id": 5, "action": "publish"}',
    '{"run_id": "r", "action": "build", "stage": "members", "batch": "one"}',
]


async def test_messages_that_are_none_of_ours_are_left_to_the_poison_queue(
    environment: dict[str, str], account: StorageAccount
) -> None:
    report = await run_app([message(text) for text in NONE_OF_OURS], environment)
    for text, outcome in zip(NONE_OF_OURS, report.outcomes, strict=True):
        assert "failed" in outcome, text
    async with BlobServiceClient.from_connection_string(account.connection_string) as blobs:
        assert [container.name async for container in blobs.list_containers()] == []


async def test_message_of_a_run_that_nobody_knows_ends_quietly(
    environment: dict[str, str], account: StorageAccount
) -> None:
    texts = [
        '{"run_id": "gone", "action": "publish"}',
        # Of another version of the app.
        '{"run_id": "gone", "action": "build", "stage": "members", "bucket": 1, "more": [2]}',
    ]
    report = await run_app([message(text) for text in texts], environment)
    assert not any("failed" in outcome for outcome in report.outcomes)
    async with BlobServiceClient.from_connection_string(account.connection_string) as blobs:
        assert [container.name async for container in blobs.list_containers()] == []


def closed_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


async def away() -> Report:
    port = closed_port()
    storage = ";".join(
        f"{service}Endpoint=http://127.0.0.1:{port}/a" for service in ("Blob", "Queue", "Table")
    )
    connection = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;{storage}"
    calls = [STATUS, start(), TIMER, message('{"run_id": "r", "action": "publish"}')]
    return await run_app(calls, {**SETTINGS, "DIRECTORY_STORAGE": connection})


@pytest.mark.slow
async def test_storage_that_is_away_is_told_in_bounded_time() -> None:
    """A caller waits for the answer; the timer and the message fail, to come again."""
    report = await away()
    status, started, timer, step = report.outcomes
    for outcome in (status, started):
        document = problem_of(outcome, 503)
        assert document["title"] == "Storage is not available"
        assert "unreachable" in document["detail"]
        assert "YQ==" not in outcome["body"]
    assert "failed" in timer
    assert "failed" in step
    assert max(outcome["seconds"] for outcome in report.outcomes) < 40
