"""The messages that work a run off, and the queue that carries them."""

from typing import TYPE_CHECKING, Literal

import msgspec

from shared.errors import StorageUnavailable
from shared.snapshots.state import Stage

if TYPE_CHECKING:
    from azure.storage.queue.aio import QueueClient

QUEUE = "directory-sync"

MAX_DELAY_SECONDS = 6 * 24 * 3600
"""Storage keeps a message invisible for seven days at most."""


class Step(msgspec.Struct, omit_defaults=True):
    """One message: a slice to read, buckets to build, or what is due next.

    Another version of the app may have sent it; its run is then of another version, too, and it is stale.
    """

    run_id: str
    action: Literal["collect", "build", "publish"]
    dataset: str | None = None
    slice: int | None = None
    stage: Stage | None = None
    batch: int | None = None
    """Which buckets of the stage, as the run has them by their number."""


class StepQueue:
    """Queue `directory-sync`. `client` is the SDK's and encodes base64, as the Functions host expects."""

    def __init__(self, client: "QueueClient") -> None:
        self._client = client

    async def send(self, step: Step, delay: float = 0.0) -> None:
        """Enqueue the step; it becomes visible after `delay` seconds."""
        from azure.core.exceptions import AzureError, ResourceNotFoundError

        text = msgspec.json.encode(step)
        delay_seconds = int(min(delay, MAX_DELAY_SECONDS))
        try:
            try:
                await self._client.send_message(text, visibility_timeout=delay_seconds)
            except ResourceNotFoundError:
                # A deployment creates the queue up front; a laptop does not.
                await self._client.create_queue()
                await self._client.send_message(text, visibility_timeout=delay_seconds)
        except AzureError as error:
            raise StorageUnavailable(
                f"Queue `{QUEUE}` does not take messages ({type(error).__name__}). Check DIRECTORY_STORAGE, "
                "and grant the app's identity Storage Queue Data Contributor."
            ) from None


def decode_step(body: bytes) -> Step:
    """The step in a message. Raises msgspec.DecodeError for anything else, which ends in the poison queue."""
    return msgspec.json.decode(body, type=Step)
