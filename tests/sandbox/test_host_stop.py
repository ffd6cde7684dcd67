"""How a host ends: on a signal, with work under way, and killed."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from azure.storage.queue import QueueClient

from sandbox.azurite import Azurite
from tests.sandbox.host_process import HostProcess, assert_clean, eventually
from tests.sandbox.test_host import deliveries, enqueue

NO_QUEUES = {"AzureWebJobs.hear.Disabled": "true", "AzureWebJobs.hear_quietly.Disabled": "1", "STORE": ""}


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    with Azurite(accounts=2) as azurite:
        yield azurite


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_running_request_is_answered_and_the_end_is_clean(number: signal.Signals) -> None:
    answers: list[httpx.Response] = []
    with HostProcess(NO_QUEUES) as host:
        caller = threading.Thread(target=lambda: answers.append(host.http.get("/api/slow?seconds=0.5")))
        caller.start()
        eventually(lambda: "Function.slow: Executing" in host.log)
        host.signal(number)
        caller.join()
        code, log = host.end(signal.SIGCONT)
    assert (code, answers[0].status_code) == (0, 200)
    assert_clean(log)


def test_stuck_thread_does_not_keep_the_host() -> None:
    with HostProcess(NO_QUEUES, "--grace", "0.1") as host:
        threading.Thread(target=_call_and_lose, args=(host, "/api/stuck?seconds=30"), daemon=True).start()
        eventually(lambda: "Function.stuck: Executing" in host.log)
        started = time.monotonic()
        code, log = host.end(signal.SIGTERM)
    assert (code, time.monotonic() - started < 10) == (0, True)
    assert_clean(log)


def test_message_in_work_is_given_back(azurite: Azurite) -> None:
    connection_string = azurite.account(0).connection_string
    with QueueClient.from_connection_string(connection_string, "work") as queue:
        queue.create_queue()
        with HostProcess({"STORE": connection_string}, "--grace", "0.1") as host:
            message_id = enqueue(queue, "slow")
            eventually(lambda: deliveries(host, message_id))
        assert [message.dequeue_count for message in queue.peek_messages()] == [1]


def test_killed_host_leaves_the_message_to_the_next(azurite: Azurite) -> None:
    connection_string = azurite.account(1).connection_string
    with QueueClient.from_connection_string(connection_string, "work") as queue:
        queue.create_queue()
        with HostProcess({"STORE": connection_string}, "--message-lease", "2") as host:
            message_id = enqueue(queue, "slow")
            eventually(lambda: deliveries(host, message_id))
            host.end(signal.SIGKILL)
        with HostProcess({"STORE": connection_string}, "--grace", "0.1") as host:
            assert eventually(lambda: deliveries(host, message_id)) == [2]


def _call_and_lose(host: HostProcess, path: str) -> None:
    with pytest.raises(httpx.HTTPError):
        host.http.get(path, timeout=60)
