"""Storage queue triggers: poll, lease, invoke, delete, retry, poison.

Behaves as the extension Microsoft.Azure.WebJobs.Extensions.Storage.Queues: a batch is asked for whenever no
more than `newBatchThreshold` messages are in work; a message in work stays hidden by a lease that is
renewed; one that failed `maxDequeueCount` times goes to `<queue>-poison`, which is created on demand. A
queue that does not exist is polled on.
"""

from __future__ import annotations

import asyncio
import logging

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from sandbox.host.pace import Pace
from sandbox.host.queue_delivery import Delivery, Invoke, Source
from sandbox.host.settings import QueueSettings

_log = logging.getLogger("Host.Triggers.Queue")

POISON_SUFFIX = "-poison"
LONGEST_QUEUE_NAME = 63


class QueuePump:
    """Feeds one function from one queue.

    `lease_seconds` is how long a message stays hidden when the process dies; renewed at half of it. The real
    extension has 600, fixed.
    """

    def __init__(
        self,
        service: QueueServiceClient,
        queue: str,
        settings: QueueSettings,
        invoke: Invoke,
        pace: Pace,
        lease_seconds: int,
    ) -> None:
        self._source = Source(
            service.get_queue_client(queue), _poison_queue(service, queue), settings, lease_seconds, invoke
        )
        self._pace = pace
        self._in_work: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def run(self) -> None:
        """Until `stop` is called."""
        while not self._stopping:
            if len(self._in_work) > self._source.settings.new_batch_threshold:
                await asyncio.wait(self._in_work, return_when=asyncio.FIRST_COMPLETED)
                continue
            messages = await self._receive()
            for message in messages:
                self._take(message)
            if messages:
                self._pace.work_seen()
            else:
                await self._pace.wait()

    def stop(self) -> None:
        """Take no new message. A batch that is on its way is given back."""
        self._stopping = True
        self._pace.work_seen()

    async def drain(self, seconds: float) -> None:
        """Wait for the messages in work; then cancel them, which gives them back."""
        if not self._in_work:
            return
        _, late = await asyncio.wait(self._in_work, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _receive(self) -> list[QueueMessage]:
        source = self._source
        pages = source.queue.receive_messages(
            messages_per_page=source.settings.batch_size, visibility_timeout=source.lease_seconds
        ).by_page()
        try:
            page = await anext(pages, None)
            return [] if page is None else [message async for message in page]
        except ResourceNotFoundError:
            return []
        except Exception as error:
            # Whatever it is (azure-identity lets KeyError through), a pump that ended would never be noticed.
            _log.warning("Queue %s cannot be read: %r", source.queue.queue_name, error)
            return []

    def _take(self, message: QueueMessage) -> None:
        delivery = Delivery(self._source, message)
        task = asyncio.create_task(delivery.give_back() if self._stopping else delivery.run())
        self._in_work.add(task)
        task.add_done_callback(self._in_work.discard)


def _poison_queue(service: QueueServiceClient, queue: str) -> QueueClient | None:
    """None for a poison queue, and where the name would be too long: messages are then tried for ever."""
    name = queue + POISON_SUFFIX
    if queue.endswith(POISON_SUFFIX) or len(name) > LONGEST_QUEUE_NAME:
        return None
    return service.get_queue_client(name)
