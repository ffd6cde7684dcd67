"""One queue message, from receipt to its end: deleted, given back, or moved to the poison queue."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from sandbox.host.errors import InvocationFailed
from sandbox.host.settings import QueueSettings
from sandbox.host.worker import Datum

_log = logging.getLogger("Host.Triggers.Queue")

type Invoke = Callable[[Datum, dict[str, Datum]], Awaitable[object]]


@dataclass(frozen=True)
class Source:
    """Where messages come from and go to. Without `poison`, a failing message is tried for ever."""

    queue: QueueClient
    poison: QueueClient | None
    settings: QueueSettings
    lease_seconds: int
    invoke: Invoke


class Delivery:
    """Keeps the receipt of one message, which changes each time that its lease is renewed."""

    def __init__(self, source: Source, message: QueueMessage) -> None:
        self._source = source
        self._message = message
        self._receipt = str(message.pop_receipt)

    async def run(self) -> None:
        """Deliver it. A storage fault leaves the message to its lease, after which it comes again."""
        try:
            await self._deliver()
        except Exception as error:
            _log.warning("Message %s in %s: %r", self._message.id, self._queue_name, error)

    async def give_back(self, seconds: int = 0) -> None:
        """Make it visible again after `seconds`."""
        try:
            await self._hide(seconds)
        except AzureError as error:
            _log.warning("Message %s in %s: %r", self._message.id, self._queue_name, error)

    @property
    def _queue_name(self) -> str:
        return str(self._source.queue.queue_name)

    async def _deliver(self) -> None:
        settings = self._source.settings
        count = self._message.dequeue_count or 1
        # More deliveries than allowed: the process died during the last one, so it was never moved.
        if count > settings.max_dequeue_count and self._source.poison is not None:
            await self._move_to(self._source.poison)
        elif await self._succeeds():
            await self._source.queue.delete_message(str(self._message.id), self._receipt)
        elif count >= settings.max_dequeue_count and self._source.poison is not None:
            await self._move_to(self._source.poison)
        else:
            await self.give_back(round(settings.visibility_timeout.total_seconds()))

    async def _succeeds(self) -> bool:
        try:
            body = decode_body(str(self._message.content), base64_encoded=self._source.settings.base64)
        except binascii.Error:
            _log.error("Message %s in %s is not base64", self._message.id, self._queue_name)
            return False
        renewal = asyncio.create_task(self._keep_lease())
        try:
            await self._source.invoke(body, trigger_metadata(self._message, body))
        except InvocationFailed:
            return False
        except asyncio.CancelledError:
            await _end(renewal)
            await self.give_back()
            raise
        finally:
            await _end(renewal)
        return True

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(self._source.lease_seconds / 2)
            try:
                await self._hide(self._source.lease_seconds)
            except ResourceNotFoundError as error:
                _log.warning("The lease of message %s is lost: %s", self._message.id, error.message)
                return
            except AzureError as error:
                _log.warning("The lease of message %s was not renewed: %r", self._message.id, error)

    async def _hide(self, seconds: int) -> None:
        updated = await self._source.queue.update_message(
            str(self._message.id), self._receipt, visibility_timeout=seconds
        )
        self._receipt = str(updated.pop_receipt)

    async def _move_to(self, poison: QueueClient) -> None:
        text = str(self._message.content)
        try:
            await poison.send_message(text)
        except ResourceNotFoundError:
            await poison.create_queue()
            await poison.send_message(text)
        await self._source.queue.delete_message(str(self._message.id), self._receipt)
        _log.warning(
            "Message has reached MaxDequeueCount of %s. Moving message to queue '%s'.",
            self._source.settings.max_dequeue_count,
            poison.queue_name,
        )


def decode_body(text: str, *, base64_encoded: bool) -> Datum:
    """The message as the function gets it: text, or bytes when it is not UTF-8. Raises binascii.Error."""
    if not base64_encoded:
        return Datum(text, "string")
    body = base64.b64decode(text, validate=True)
    try:
        return Datum(body.decode("utf-8"), "string")
    except UnicodeDecodeError:
        return Datum(body, "bytes")


def trigger_metadata(message: QueueMessage, body: Datum) -> dict[str, Datum]:
    """What the host says about a message. Texts travel as texts; numbers and times as JSON."""
    return {
        "QueueTrigger": body,
        "Id": Datum(str(message.id), "string"),
        "PopReceipt": Datum(str(message.pop_receipt), "string"),
        "DequeueCount": Datum(json.dumps(message.dequeue_count), "json"),
        "InsertionTime": _time(message.inserted_on),
        "ExpirationTime": _time(message.expires_on),
        "NextVisibleTime": _time(message.next_visible_on),
    }


def _time(moment: datetime | None) -> Datum:
    return Datum(json.dumps(moment.isoformat() if moment else None), "json")


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
