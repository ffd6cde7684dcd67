"""Puts the app together: from the settings to a `DirectorySync` that is ready to work.

Clients are made once per event loop and kept, since the Functions worker runs all async functions on one
long-lived loop. Nothing heavy is imported until a function needs it.
"""

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from shared.config import Settings
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient
    from azure.storage.queue.aio import QueueClient

    from shared.directory.sync import DirectorySync
    from shared.graph.client import GraphClient
    from shared.identity.secrets import SecretStore

STATE_CONTAINER = "sync-state"

QUIET_LOGGERS = ("azure", "httpx", "httpcore", "msal")
"""They log a line or more a request, with full URLs."""

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


class App:
    """Everything that lives as long as the process: clients, credentials, the sync."""

    def __init__(self, settings: Settings) -> None:
        for name in QUIET_LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        self.settings = settings
        self._stack = AsyncExitStack()
        self._graph: GraphClient | None = None
        self._graph_turn = asyncio.Lock()
        self._own: Any = None
        self._secrets: SecretStore | None = None
        self._sync: DirectorySync | None = None

    @property
    def directory(self) -> "DirectorySync":
        """The directory sync of this tenant."""
        if self._sync is None:
            from shared.directory.steps import QUEUE, StepQueue
            from shared.directory.sync import DirectorySync
            from shared.snapshots.blobs import BlobContainer
            from shared.snapshots.state import StateStore

            self._sync = DirectorySync(
                settings=self.settings,
                state=StateStore(BlobContainer(self._container(STATE_CONTAINER))),
                output=BlobContainer(self._container(self.settings.container)),
                queue=StepQueue(self._queue(QUEUE)),
                graph=self.graph,
            )
        return self._sync

    async def graph(self) -> "GraphClient":
        """The client of Microsoft Graph; the first call loads the SDK."""
        async with self._graph_turn:
            if self._graph is None:
                from shared.graph.client import GraphClient
                from shared.identity.credentials import graph_credential

                credential = graph_credential(self.settings, self._secret_store(), self._own_identity())
                self._stack.push_async_callback(credential.close)
                self._graph = GraphClient(
                    credential, self.settings.graph_origin, self.settings.cloud.graph_scope
                )
                self._stack.push_async_callback(self._graph.close)
        return self._graph

    async def close(self) -> None:
        await self._stack.aclose()

    def _own_identity(self) -> Any:
        if self._own is None:
            from shared.identity.own import own_credential

            self._own = own_credential(self.settings)
            self._stack.push_async_callback(self._own.close)
        return self._own

    def _secret_store(self) -> Any:
        if self._secrets is None and self.settings.key_vault_url:
            from shared.identity.secrets import secret_store

            self._secrets = secret_store(self.settings, self._own_identity())
            self._stack.push_async_callback(self._secrets.close)
        return self._secrets

    def _container(self, name: str) -> "ContainerClient":
        from azure.storage.blob.aio import ContainerClient

        storage = self.settings.storage
        if storage.connection_string:
            with _explained_connection_string():
                client = ContainerClient.from_connection_string(
                    storage.connection_string, name, **STORAGE_OPTIONS
                )
        else:
            client = ContainerClient(
                storage.blob_uri or "", name, credential=self._own_identity(), **STORAGE_OPTIONS
            )
        self._stack.push_async_callback(client.close)
        return client

    def _queue(self, name: str) -> "QueueClient":
        from azure.storage.queue import BinaryBase64DecodePolicy, BinaryBase64EncodePolicy
        from azure.storage.queue.aio import QueueClient

        options: dict[str, Any] = {
            **STORAGE_OPTIONS,
            # As the Functions host reads and writes messages.
            "message_encode_policy": BinaryBase64EncodePolicy(),
            "message_decode_policy": BinaryBase64DecodePolicy(),
        }
        storage = self.settings.storage
        if storage.connection_string:
            with _explained_connection_string():
                client = QueueClient.from_connection_string(storage.connection_string, name, **options)
        else:
            client = QueueClient(storage.queue_uri or "", name, credential=self._own_identity(), **options)
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


_apps: dict[int, App] = {}


def app(environment: Mapping[str, str] = os.environ) -> App:
    """The app of the running event loop. Raises `ConfigurationError` naming every problem.

    Settings are read once: the host restarts the process when they change.
    """
    loop = id(asyncio.get_running_loop())
    if loop not in _apps:
        _apps[loop] = App(Settings.from_environment(environment))
    return _apps[loop]
