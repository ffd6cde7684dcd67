"""Clients of Blob, Queue and Table storage: by connection string on a laptop, by the app's identity in Azure.

Nothing of the SDKs is imported before the first client is made.
"""

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from shared.config import StorageSettings
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient
    from azure.storage.queue.aio import QueueClient

    from shared.tables import Table

STORAGE_OPTIONS: dict[str, Any] = {
    "retry_total": 3,
    "initial_backoff": 0,
    "increment_base": 1.5,
    "random_jitter_range": 0.5,
    "connection_timeout": 10,
    "read_timeout": 60,
}
"""Four tries within nine seconds, with waits of about 1.5, 2.3 and 3.4 s. The SDK's default waits 15 s before
its first retry alone, longer than a caller of the status waits; what is away for longer is tried again by the
message or the timer."""

CALLER_WAITS_OPTIONS: dict[str, Any] = {
    "retry_total": 2,
    "retry_backoff_factor": 0.4,
    "connection_timeout": 5,
    "read_timeout": 15,
}
"""For tables, which are only asked while a caller of the webhook waits."""


class StorageClients:
    """Makes clients, which `stack` closes. `identity` gives the app's own identity when it is needed."""

    def __init__(self, storage: StorageSettings, identity: Callable[[], Any], stack: AsyncExitStack) -> None:
        self._settings = storage
        self._identity = identity
        self._stack = stack

    def container(self, name: str) -> "ContainerClient":
        from azure.storage.blob.aio import ContainerClient

        if self._settings.connection_string:
            with _explained_connection_string():
                client = ContainerClient.from_connection_string(
                    self._settings.connection_string, name, **STORAGE_OPTIONS
                )
        else:
            client = ContainerClient(
                self._settings.blob_uri or "", name, credential=self._identity(), **STORAGE_OPTIONS
            )
        self._stack.push_async_callback(client.close)
        return client

    def table(self, name: str) -> "Table":
        from azure.data.tables.aio import TableClient

        from shared.tables import Table

        if self._settings.connection_string:
            with _explained_connection_string():
                client = TableClient.from_connection_string(
                    self._settings.connection_string, name, **CALLER_WAITS_OPTIONS
                )
        elif self._settings.table_uri:
            client = TableClient(
                self._settings.table_uri, name, credential=self._identity(), **CALLER_WAITS_OPTIONS
            )
        else:
            raise ConfigurationError(
                ["DIRECTORY_STORAGE__tableServiceUri is missing: credential validation needs tables."]
            )
        self._stack.push_async_callback(client.close)
        return Table(client)

    def queue(self, name: str) -> "QueueClient":
        from azure.storage.queue import BinaryBase64DecodePolicy, BinaryBase64EncodePolicy
        from azure.storage.queue.aio import QueueClient

        options: dict[str, Any] = {
            **STORAGE_OPTIONS,
            # As the Functions host reads and writes messages.
            "message_encode_policy": BinaryBase64EncodePolicy(),
            "message_decode_policy": BinaryBase64DecodePolicy(),
        }
        if self._settings.connection_string:
            with _explained_connection_string():
                client = QueueClient.from_connection_string(self._settings.connection_string, name, **options)
        else:
            client = QueueClient(self._settings.queue_uri or "", name, credential=self._identity(), **options)
        self._stack.push_async_callback(client.close)
        return client


@contextmanager
def _explained_connection_string() -> Iterator[None]:
    """The SDK's error quotes the connection string, so it is neither shown nor chained."""
    try:
        yield
        return
    except ValueError:
        pass
    raise ConfigurationError(
        [
            "DIRECTORY_STORAGE is no connection string that Azure Storage understands: "
            "copy it whole, or use DIRECTORY_STORAGE__blobServiceUri and __queueServiceUri instead."
        ]
    )
