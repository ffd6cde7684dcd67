"""Clients of Blob, Queue and Table storage: by connection string on a laptop, by the app's identity in Azure.

Nothing of the SDKs is imported before the first client is made.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from shared.config import StorageSettings
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient
    from azure.storage.blob.aio import ContainerClient
    from azure.storage.queue.aio import QueueClient

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


def _environment_options() -> dict[str, Any]:
    """aiohttp would look for a proxy and for a .netrc in a thread, anew for each request. Only where there is
    a proxy may it do so."""
    from urllib.request import getproxies_environment

    return {"use_env_settings": bool(getproxies_environment())}


class StorageClients:
    """Makes clients, which `stack` closes. `identity` gives the app's own identity when it is needed.

    `options` are the SDK's, over those above.
    """

    def __init__(
        self,
        storage: StorageSettings,
        identity: Callable[[], Any],
        stack: AsyncExitStack,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._settings = storage
        self._identity = identity
        self._stack = stack
        chosen = _environment_options() | dict(options or {})
        self._options = STORAGE_OPTIONS | chosen
        self._table_options = CALLER_WAITS_OPTIONS | chosen

    @property
    def has_tables(self) -> bool:
        """Whether the settings say where tables are: a directory sync alone needs none."""
        return bool(self._settings.connection_string or self._settings.table_uri)

    def container(self, name: str) -> "ContainerClient":
        from azure.storage.blob.aio import ContainerClient

        from shared.snapshots.blobs import CLIENT_OPTIONS

        options = {**self._options, **CLIENT_OPTIONS}
        if self._settings.connection_string:
            with _explained_connection_string():
                client = ContainerClient.from_connection_string(
                    self._settings.connection_string, name, **options
                )
        else:
            client = ContainerClient(
                self._settings.blob_uri or "", name, credential=self._identity(), **options
            )
        self._stack.push_async_callback(client.close)
        return client

    def table(self, name: str) -> "TableClient":
        from azure.data.tables.aio import TableClient

        if self._settings.connection_string:
            with _explained_connection_string():
                client = TableClient.from_connection_string(
                    self._settings.connection_string, name, **self._table_options
                )
        elif self._settings.table_uri:
            client = TableClient(
                self._settings.table_uri, name, credential=self._identity(), **self._table_options
            )
        else:
            raise ConfigurationError(
                ["DIRECTORY_STORAGE__tableServiceUri is missing: credential validation needs tables."]
            )
        self._stack.push_async_callback(client.close)
        return client

    def queue(self, name: str) -> "QueueClient":
        from azure.storage.queue import BinaryBase64DecodePolicy, BinaryBase64EncodePolicy
        from azure.storage.queue.aio import QueueClient

        options: dict[str, Any] = {
            **self._options,
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
