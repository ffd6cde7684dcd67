"""A running host with a real Azurite: HTTP, queues, timers by hand, the admin API."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator

import pytest
from azure.storage.queue import QueueClient, QueueServiceClient

from sandbox.azurite import Azurite, StorageAccount
from tests.sandbox.host_process import HostProcess, eventually

LEASE_SECONDS = 2


@pytest.fixture(scope="module")
def account() -> Iterator[StorageAccount]:
    with Azurite() as azurite:
        yield azurite.account()


@pytest.fixture(scope="module")
def queues(account: StorageAccount) -> Iterator[QueueServiceClient]:
    with QueueServiceClient.from_connection_string(account.connection_string) as client:
        yield client


@pytest.fixture(scope="module")
def host(account: StorageAccount, queues: QueueServiceClient) -> Iterator[HostProcess]:
    with HostProcess(
        {"STORE": account.connection_string}, "--message-lease", str(LEASE_SECONDS), "--grace", "1"
    ) as process:
        # The host is up before the queue is: it polls until there is one, and makes none.
        assert [queue.name for queue in queues.list_queues()] == []
        queues.create_queue("work")
        yield process


@pytest.fixture
def work(queues: QueueServiceClient, host: HostProcess) -> QueueClient:
    return queues.get_queue_client("work")


def enqueue(queue: QueueClient, text: str) -> str:
    return queue.send_message(base64.b64encode(text.encode()).decode()).id


def deliveries(host: HostProcess, message_id: str) -> list[int]:
    return [entry["dequeue_count"] for entry in host.seen() if entry.get("id") == message_id]


def test_request_and_response_arrive_whole(host: HostProcess) -> None:
    response = host.http.post(
        "/API/Echo/räum%2Fe/12?x=1&x=2&empty=&q=a%20b", content='{"é": 1}', headers={"X-Test": "One"}
    )
    assert response.status_code == 201
    assert response.headers["X-From"] == "app"
    assert response.headers["Content-Type"] == "application/json"
    seen = response.json()
    assert seen["method"] == "POST"
    assert seen["url"].startswith(str(host.http.base_url))
    assert seen["params"] == {"section": "räum%2Fe", "id": "12"}
    assert seen["query"] == {"x": "1,2", "q": "a b"}
    assert seen["header"] == "One"
    assert all(name == name.lower() for name in seen["header_names"])
    assert seen["body"] == '{"é": 1}'


def test_body_without_content_length_is_empty(host: HostProcess) -> None:
    response = host.http.post("/api/echo/fixed", content=iter([b"chunk"]))
    assert response.text == "fixed 0"
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_literal_route_wins_over_parameter(host: HostProcess) -> None:
    assert host.http.post("/api/echo/fixed", content=b"four").text == "fixed 4"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/none"), ("GET", "/seen"), ("GET", "/api/echo/a/1"), ("POST", "/api/echo/a/letters")],
)
def test_unknown_path_or_method_is_404(host: HostProcess, method: str, path: str) -> None:
    assert host.http.request(method, path).status_code == 404


def test_raising_function_is_500_without_body(host: HostProcess) -> None:
    response = host.http.get("/api/raise")
    assert (response.status_code, response.content) == (500, b"")
    assert "error=ValueError: no such luck (" in host.log


def test_record_is_one_line_with_its_extra_fields(host: HostProcess) -> None:
    host.http.post("/api/echo/lines", content=b"", headers={"X-Test": ""})
    line = next(line for line in host.log.splitlines() if "section=lines" in line)
    assert line.endswith("INFO    host_app: echo called  section=lines note='two words'")


def test_message_is_decoded_and_deleted(host: HostProcess, work: QueueClient) -> None:
    text = f"grüß {uuid.uuid4()}"
    message_id = enqueue(work, text)
    seen = eventually(lambda: [entry for entry in host.seen() if entry.get("text") == text])
    assert seen == [{"id": message_id, "text": text, "dequeue_count": 1}]
    eventually(lambda: message_id not in [message.id for message in work.peek_messages(32)])


def test_failed_message_comes_again(host: HostProcess, work: QueueClient) -> None:
    message_id = enqueue(work, "twice")
    assert eventually(lambda: (counts := deliveries(host, message_id)) == [1, 2] and counts)


def test_message_goes_to_poison_queue_after_max_dequeue_count(
    host: HostProcess, work: QueueClient, queues: QueueServiceClient
) -> None:
    message_id = enqueue(work, "poison")
    poison = queues.get_queue_client("work-poison")
    eventually(lambda: "Moving message to queue 'work-poison'" in host.log)
    eventually(lambda: base64.b64encode(b"poison").decode() in [m.content for m in poison.peek_messages(32)])
    assert deliveries(host, message_id) == [1, 2, 3]


def test_message_that_is_not_base64_goes_to_poison_queue(
    host: HostProcess, work: QueueClient, queues: QueueServiceClient
) -> None:
    eventually(lambda: host.seen() is not None)
    work.send_message("not base64!")
    eventually(lambda: "work-poison" in [queue.name for queue in queues.list_queues()])
    poison = queues.get_queue_client("work-poison")
    eventually(lambda: "not base64!" in [message.content for message in poison.peek_messages(32)])


def test_lease_of_a_long_message_is_renewed(host: HostProcess, work: QueueClient) -> None:
    message_id = enqueue(work, "slow")  # runs longer than the lease
    eventually(lambda: deliveries(host, message_id))
    eventually(lambda: work.get_queue_properties().approximate_message_count == 0)
    assert deliveries(host, message_id) == [1]


def test_log_level_of_one_function(host: HostProcess, queues: QueueServiceClient) -> None:
    queue = queues.create_queue("quiet")
    enqueue(queue, "hush")
    eventually(lambda: {"quiet": "hush"} in host.seen())
    assert "not worth a line" not in host.log
    assert "Function.hear_quietly" not in host.log


def test_timer_by_hand(host: HostProcess) -> None:
    assert host.http.post("/admin/functions/Tick", json={"input": ""}).status_code == 202
    timer = eventually(lambda: [entry for entry in host.seen() if "timer" in entry])[0]
    assert timer["past_due"] is False
    assert timer["timer"].endswith("-01-01T05:00:00+00:00")


def test_queue_function_by_hand(host: HostProcess) -> None:
    text = str(uuid.uuid4())
    # No message, hence no times: the app's own asserts fail, and only the log tells.
    assert host.http.post("/admin/functions/hear", json={"input": text}).status_code == 202
    eventually(lambda: "error=AssertionError" in host.log)


@pytest.mark.parametrize(
    ("name", "body", "status"), [("none", "{}", 404), ("echo", "{}", 404), ("tick", "[", 400)]
)
def test_admin_refuses(host: HostProcess, name: str, body: str, status: int) -> None:
    assert host.http.post(f"/admin/functions/{name}", content=body).status_code == status


def test_admin_lists_functions_and_state(host: HostProcess) -> None:
    functions = {
        entry["name"]: entry["config"]["bindings"] for entry in host.http.get("/admin/functions").json()
    }
    assert set(functions) == {
        "echo",
        "fixed",
        "tell",
        "fail",
        "slow",
        "stuck",
        "tick",
        "hear",
        "hear_quietly",
    }
    (trigger,) = functions["hear"]
    assert trigger["type"] == "queueTrigger"
    assert trigger["queueName"] == "%HOST_APP_QUEUE%"
    assert host.http.get("/admin/host/status").json()["state"] == "Running"


def test_message_bodies_may_be_json(host: HostProcess, work: QueueClient) -> None:
    text = json.dumps({"slice": 1, "run": str(uuid.uuid4())})
    enqueue(work, text)
    eventually(lambda: text in [entry.get("text") for entry in host.seen()])
