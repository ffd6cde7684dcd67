"""Messages and their queue, on real storage."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.storage.queue import BinaryBase64DecodePolicy, BinaryBase64EncodePolicy
from azure.storage.queue.aio import QueueClient

from sandbox.azurite import StorageAccount
from shared.directory.steps import MAX_DELAY_SECONDS, QUEUE, Step, StepQueue, decode_step
from shared.errors import StorageUnavailable

STEPS = [
    Step("r", "collect", dataset="users", slice=0),
    Step("r", "build", stage="groups", batch=1023),
    Step("r", "publish"),
]


@pytest.fixture
async def client(account: StorageAccount) -> AsyncIterator[QueueClient]:
    async with QueueClient.from_connection_string(
        account.connection_string,
        QUEUE,
        message_encode_policy=BinaryBase64EncodePolicy(),
        message_decode_policy=BinaryBase64DecodePolicy(),
    ) as queue:
        yield queue


@pytest.mark.parametrize("step", STEPS)
def test_step_comes_back_and_is_small(step: Step) -> None:
    encoded = msgspec.json.encode(step)
    assert decode_step(encoded) == step
    assert b"null" not in encoded
    assert len(base64.b64encode(encoded)) < 1000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"{",
        b"{}",
        b'{"run_id":"r","action":"x"}',
        b'{"run_id":"r","action":"build","batch":"x"}',
    ],
)
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_step(body)


async def test_queue_is_made_by_the_first_message_and_encodes_as_the_host_reads(
    client: QueueClient, account: StorageAccount
) -> None:
    queue = StepQueue(client)
    for step in STEPS:
        await queue.send(step)
    plain = QueueClient.from_connection_string(account.connection_string, QUEUE)
    async with plain:
        received = [message.content async for message in plain.receive_messages(max_messages=32)]
    assert [decode_step(base64.b64decode(content, validate=True)) for content in received] == STEPS


async def test_message_with_a_delay_is_not_seen_yet(client: QueueClient) -> None:
    queue = StepQueue(client)
    await queue.send(STEPS[0], 0.4)  # less than a second is no delay
    await queue.send(STEPS[1], 3600.0)
    received = [message async for message in client.receive_messages(max_messages=32)]
    assert [decode_step(message.content) for message in received] == [STEPS[0]]
    assert (await client.get_queue_properties()).approximate_message_count == 2


async def test_delay_is_no_longer_than_storage_takes(client: QueueClient) -> None:
    await StepQueue(client).send(STEPS[0], 10.0 * MAX_DELAY_SECONDS)
    assert (await client.get_queue_properties()).approximate_message_count == 1


@pytest.mark.parametrize("error", [ServiceRequestError("secret"), ClientAuthenticationError("secret")])
async def test_queue_that_takes_no_message_says_so(error: Exception) -> None:
    class Refusing:
        async def send_message(self, *_: Any, **__: Any) -> None:
            raise error

    with pytest.raises(StorageUnavailable, match=type(error).__name__) as raised:
        await StepQueue(Refusing()).send(STEPS[0])  # type: ignore[arg-type]
    assert "secret" not in str(raised.value)
