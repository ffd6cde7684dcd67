"""Puts the app together: from the settings to what is ready to work.

Clients are made once per event loop and kept, since the Functions worker runs all async functions on one
long-lived loop. Nothing heavy is imported until a function needs it.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.config import Settings
from shared.errors import ConfigurationError
from shared.storage_clients import StorageClients

if TYPE_CHECKING:
    import ssl

    from shared.connection.checks import Clients
    from shared.connection.interface import Row
    from shared.credentials.calls import CredentialCalls
    from shared.credentials.ledger import Ledger
    from shared.credentials.probe import SignInProbe
    from shared.directory.sync import DirectorySync
    from shared.graph.client import GraphClient
    from shared.graph.policy import RetryPolicy
    from shared.identity.credentials import GraphCredential
    from shared.identity.secrets import SecretStore
    from shared.snapshots.blobs import BlobContainer
    from shared.tables import Table

log = logging.getLogger(__name__)

STATE_CONTAINER = "sync-state"

QUIET_LOGGERS = ("azure", "httpx", "httpcore", "msal")
"""They log a line or more a request, with full URLs."""


HASTY_SDK: dict[str, Any] = {"retry_total": 1, "connection_timeout": 3, "read_timeout": 5}
"""For the Test connector: a second try, and no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How clients try, where it is not as the app usually does."""

    sdk: Mapping[str, Any] = field(default_factory=dict)
    """Of the clients of Azure's SDKs: storage, Key Vault, sign-in."""
    graph: "RetryPolicy | None" = None
    tls: "ssl.SSLContext | None" = None
    """Whom to trust at the token endpoint, for a sign-in service of the sandbox."""


class App:
    """Everything that lives as long as the process: clients, credentials, the sync."""

    def __init__(self, settings: Settings, options: ClientOptions | None = None) -> None:
        for name in QUIET_LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        self.settings = settings
        self._options = options or ClientOptions()
        self._stack = AsyncExitStack()
        self._storage = StorageClients(settings.storage, self._own_identity, self._stack, self._options.sdk)
        self._graph: GraphClient | None = None
        self._graph_turn = asyncio.Lock()
        self._own: Any = None
        self._secrets: SecretStore | None = None
        self._sync: DirectorySync | None = None
        self._credential: GraphCredential | None = None
        self._calls: CredentialCalls | None = None
        self._calls_turn = asyncio.Lock()
        self._to_make: list[Ledger | Table | BlobContainer] = []
        self._probe: SignInProbe | None = None

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
                state=StateStore(BlobContainer(self._storage.container(STATE_CONTAINER))),
                output=BlobContainer(self._storage.container(self.settings.container)),
                queue=StepQueue(self._storage.queue(QUEUE)),
                graph=self.graph,
            )
        return self._sync

    async def graph(self) -> "GraphClient":
        """The client of Microsoft Graph; the first call loads the SDK."""
        async with self._graph_turn:
            if self._graph is None:
                self._graph = self._graph_client()
        return self._graph

    async def credential_calls(self) -> "CredentialCalls":
        """The webhook of credential validation."""
        async with self._calls_turn:
            if self._calls is None:
                self._calls = self._assemble_calls()
            while self._to_make:
                await self._to_make[-1].ensure()
                self._to_make.pop()
        return self._calls

    async def tell_expiring_secrets(self) -> None:
        """An event for each secret that ends soon."""
        from shared.identity.expiry import ending_soon

        secrets = self._secret_store()
        if secrets is not None:
            for event in ending_soon(await secrets.expiries(), datetime.now(UTC)):
                event.emit()

    async def sweep_credentials(self) -> None:
        """Forget answered calls and untouched users whose time is over; nothing where nobody validates."""
        if self._secret_store() is None or not self._storage.has_tables:
            return
        calls = await self.credential_calls()
        swept = {"calls": await calls.sweep(), "users": await calls.validator.ledger.sweep()}
        log.info("credentials swept", extra=swept)

    def connection_clients(self) -> "Clients":
        """What the Test connector tries."""
        from shared.connection.checks import Clients

        return Clients(
            secrets=self._secret_store(),
            container=self._storage.container,
            queue=self._storage.queue,
            table=self._storage.table,
            credential=self._graph_credential,
            graph=self.graph,
            probe=self._sign_in_probe,
            state_container=STATE_CONTAINER,
        )

    async def close(self) -> None:
        await self._stack.aclose()

    def _graph_credential(self) -> "GraphCredential":
        from shared.identity.credentials import graph_credential

        if self._credential is None:
            self._credential = graph_credential(
                self.settings, self._secret_store(), self._own_identity(), **self._options.sdk
            )
            self._stack.push_async_callback(self._credential.close)
        return self._credential

    def _graph_client(self, policy: "RetryPolicy | None" = None) -> "GraphClient":
        from shared.graph.client import GraphClient

        client = GraphClient(
            self._graph_credential(),
            self.settings.graph_origin,
            self.settings.cloud.graph_scope,
            policy or self._options.graph,
        )
        self._stack.push_async_callback(client.close)
        return client

    def _assemble_calls(self) -> "CredentialCalls":
        from shared.credentials.audit import AUDIT_CONTAINER, AuditLog
        from shared.credentials.budgets import Limits
        from shared.credentials.calls import CredentialCalls
        from shared.credentials.ledger import BUDGET_TABLE, USERS_TABLE, Ledger
        from shared.credentials.users import DirectoryUsers
        from shared.credentials.validator import Validator
        from shared.graph.policy import RetryPolicy
        from shared.snapshots.blobs import BlobContainer
        from shared.tables import Table
        from shared.webhooks import webhook_scheme
        from shared.webhooks.replay import TABLE as REQUESTS_TABLE

        secrets = self._secret_store()
        if secrets is None:
            raise ConfigurationError(
                ["KEY_VAULT_URL is missing: credential validation reads its secrets from the vault."]
            )
        users, budget, requests = (
            Table(self._storage.table(name)) for name in (USERS_TABLE, BUDGET_TABLE, REQUESTS_TABLE)
        )
        audit = BlobContainer(self._storage.container(AUDIT_CONTAINER))
        ledger = Ledger(users, budget, self.settings.tenant_id, Limits.from_settings(self.settings))
        self._to_make = [ledger, requests, audit]
        graph: GraphClient | None = None

        async def impatient_graph() -> "GraphClient":
            """A caller waits, so that little is tried again."""
            nonlocal graph
            graph = graph or self._graph_client(RetryPolicy(attempts=2, longest_wait=5.0))
            return graph

        return CredentialCalls(
            scheme=webhook_scheme(self.settings, secrets),
            secrets=secrets,
            requests=requests,
            validator=Validator(
                settings=self.settings,
                users=DirectoryUsers(impatient_graph),
                ledger=ledger,
                audit=AuditLog(audit),
                probe=self._sign_in_probe,
            ),
            cloud=self.settings.cloud,
        )

    async def _sign_in_probe(self) -> "SignInProbe":
        if self._probe is None:
            import aiohttp

            from shared.credentials.probe import SignInProbe

            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._options.tls or True),
                # No cookie of one user's attempt may travel with the next one's.
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=True,
            )
            self._stack.push_async_callback(session.close)
            self._probe = SignInProbe(self.settings, self._secret_store(), session)
        return self._probe

    def _own_identity(self) -> Any:
        if self._own is None:
            from shared.identity.own import own_credential

            self._own = own_credential(self.settings, **self._options.sdk)
            self._stack.push_async_callback(self._own.close)
        return self._own

    def _secret_store(self) -> Any:
        if self._secrets is None and self.settings.key_vault_url:
            from shared.identity.secrets import secret_store

            self._secrets = secret_store(self.settings, self._own_identity(), **self._options.sdk)
            self._stack.push_async_callback(self._secrets.close)
        return self._secrets


async def connection_rows(
    environment: Mapping[str, str] = os.environ,
    options: ClientOptions | None = None,
    deadline_seconds: float | None = None,
) -> "list[Row]":
    """The Test connector: what works, capability by capability, also when the settings are wrong.

    It has clients of its own: what was granted, stored or opened a moment ago counts, and a sync that is
    throttled neither holds it up nor is held up by it.
    """
    from shared.connection.checks import all_checks, checks_without_settings
    from shared.connection.run import DEADLINE_SECONDS, run_checks
    from shared.graph.policy import RetryPolicy

    deadline_seconds = deadline_seconds or DEADLINE_SECONDS
    try:
        settings = Settings.from_environment(environment)
    except ConfigurationError as error:
        return await run_checks(checks_without_settings(error), deadline_seconds)
    hasty = ClientOptions(sdk=HASTY_SDK, graph=RetryPolicy(attempts=2, longest_wait=2.0))
    app = App(settings, options or hasty)
    try:
        # Loads the SDK, which is no part of what is tried and of its time.
        await app.graph()
        return await run_checks(
            all_checks(settings, app.connection_clients(), deadline_seconds), deadline_seconds
        )
    finally:
        await app.close()


_apps: dict[int, App] = {}


def app(environment: Mapping[str, str] = os.environ) -> App:
    """The app of the running event loop. Raises `ConfigurationError` naming every problem.

    Settings are read once: the host restarts the process when they change.
    """
    loop = id(asyncio.get_running_loop())
    if loop not in _apps:
        _apps[loop] = App(Settings.from_environment(environment))
    return _apps[loop]
