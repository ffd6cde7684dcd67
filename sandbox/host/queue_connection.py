"""The Storage queue client of a trigger's connection: by connection string, or by managed identity."""

from __future__ import annotations

from collections.abc import Mapping

from azure.core.credentials_async import AsyncTokenCredential
from azure.identity.aio import ManagedIdentityCredential
from azure.storage.queue.aio import QueueServiceClient

from sandbox.host.errors import SettingMissing

DEFAULT_CONNECTION = "AzureWebJobsStorage"


class QueueConnections:
    """One client for each connection name, made when first asked for; `close` closes what was made."""

    def __init__(
        self, environment: Mapping[str, str], credential: AsyncTokenCredential | None = None
    ) -> None:
        self._environment = environment
        self._credential = credential
        self._clients: dict[str, QueueServiceClient] = {}
        self._own_credentials: list[ManagedIdentityCredential] = []

    def client(self, function: str, connection: str) -> QueueServiceClient:
        """The client by `<connection>` (connection string) or `<connection>__queueServiceUri` (identity)."""
        if connection not in self._clients:
            self._clients[connection] = self._make(function, connection)
        return self._clients[connection]

    def _make(self, function: str, connection: str) -> QueueServiceClient:
        setting = self._environment.get
        if text := setting(connection) or setting(f"AzureWebJobs{connection}"):
            return QueueServiceClient.from_connection_string(text)
        if uri := setting(f"{connection}__queueServiceUri"):
            return QueueServiceClient(uri, credential=self._credential or self._managed_identity(connection))
        raise SettingMissing(
            f"The '{function}' function is in error: the queue connection {connection!r} does not resolve. "
            f"Set the app setting {connection} (connection string) "
            f"or {connection}__queueServiceUri (managed identity)."
        )

    def _managed_identity(self, connection: str) -> ManagedIdentityCredential:
        client_id = self._environment.get(f"{connection}__clientId") or self._environment.get(
            "AZURE_CLIENT_ID"
        )
        credential = ManagedIdentityCredential(client_id=client_id)
        self._own_credentials.append(credential)
        return credential

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        for credential in self._own_credentials:
            await credential.close()
