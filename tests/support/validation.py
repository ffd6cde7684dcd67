"""Credential validation between a simulated tenant and a real Azurite, without a host.

Everything is real but the clock: HTTP to Graph, Entra and Key Vault, their SDKs, tables and blobs. Several
instances of the app can share the storage.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import aiohttp
from azure.core.credentials import AccessToken
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from standardwebhooks import Webhook

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates
from sandbox.tenant import VALIDATION_CLIENT_ID, Tenant, TenantServer
from shared.config import Settings
from shared.credentials.audit import AUDIT_CONTAINER, AuditLog
from shared.credentials.budgets import Limits
from shared.credentials.calls import CredentialCalls
from shared.credentials.ledger import BUDGET_TABLE, USERS_TABLE, Ledger
from shared.credentials.probe import TIMEOUT_SECONDS, SignInProbe
from shared.credentials.users import DirectoryUsers
from shared.credentials.validator import Validator
from shared.graph.client import GraphClient
from shared.graph.policy import RetryPolicy
from shared.identity.secrets import SecretStore, secret_store
from shared.snapshots.blobs import BlobContainer
from shared.tables import Table
from shared.webhooks.replay import TABLE as REQUESTS_TABLE
from shared.webhooks.standard import StandardWebhooksScheme
from tests.support.tls import serving
from tests.support.world import TenantCredential, settings

BEGIN = datetime(2026, 11, 25, 9, 0, tzinfo=UTC).timestamp()

type Sent = dict[str, Any]
type Answered = dict[str, Any]


@dataclass
class Clock:
    """Seconds since the epoch, moved by tests alone."""

    now: float = BEGIN

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class ValidationWorld:
    tenant: Tenant
    clock: Clock
    settings: Settings
    graph: GraphClient
    secrets: SecretStore
    session: aiohttp.ClientSession
    tables: TableServiceClient
    blobs: BlobServiceClient
    probe_timeout_seconds: float = TIMEOUT_SECONDS
    calls: CredentialCalls = field(init=False)
    numbers: Any = field(default_factory=count)

    def instance(
        self,
        *,
        through: Callable[[Any], Any] = lambda client: client,
        clock: Callable[[], float] | None = None,
        **changes: Any,
    ) -> CredentialCalls:
        """The app of another process: its own memory, the same storage. `changes` are settings' fields.

        `through` is given each client of Storage and sign-in, and returns what is used in its place; `clock`
        is the process's own, where it is not right.
        """
        chosen = replace(self.settings, **changes)
        clock = clock or self.clock

        async def graph() -> GraphClient:
            return self.graph

        async def probe() -> SignInProbe:
            return SignInProbe(
                chosen,
                self.secrets,
                through(self.session),
                now=clock,
                timeout_seconds=self.probe_timeout_seconds,
            )

        users, budget, requests = (
            Table(through(self.tables.get_table_client(name)))
            for name in (USERS_TABLE, BUDGET_TABLE, REQUESTS_TABLE)
        )
        return CredentialCalls(
            scheme=StandardWebhooksScheme(self.secrets, clock),
            secrets=self.secrets,
            requests=requests,
            validator=Validator(
                settings=chosen,
                users=DirectoryUsers(graph),
                ledger=Ledger(users, budget, chosen.tenant_id, Limits.from_settings(chosen), clock=clock),
                audit=AuditLog(
                    BlobContainer(through(self.blobs.get_container_client(AUDIT_CONTAINER))),
                    clock=lambda: datetime.fromtimestamp(clock(), UTC),
                ),
                probe=probe,
                now=clock,
            ),
            cloud=chosen.cloud,
            now=clock,
        )

    def use(self, **changes: Any) -> None:
        """Start the app anew with other settings."""
        self.calls = self.instance(**changes)

    def staff(self, number: int = 0) -> dict[str, Any]:
        """A plain, enabled member of the tenant's own domain."""
        plain = (
            user
            for user in self.tenant.directory.users.values()
            if user["accountEnabled"]
            and user["userType"] == "Member"
            and user["userPrincipalName"].endswith("@contoso.com")
            and not user.get("onPremisesSyncEnabled")
        )
        return [*plain][number]

    def password_of(self, user: dict[str, Any]) -> str:
        return self.tenant.password_of(user["id"]) or ""

    def headers(self, body: bytes, call_id: str) -> dict[str, str]:
        """What a sender of Standard Webhooks puts beside a body."""
        sent = datetime.fromtimestamp(self.clock(), UTC)
        secret = self.tenant.vault.secrets["webhook-secret"][-1].value
        return {
            "webhook-id": call_id,
            "webhook-timestamp": str(int(self.clock())),
            "webhook-signature": Webhook(secret).sign(call_id, sent, body.decode()),
        }

    async def send(
        self, body: bytes, call_id: str | None = None, calls: CredentialCalls | None = None
    ) -> bytes:
        call_id = call_id or f"msg_{next(self.numbers)}"
        return await (calls or self.calls).answer(self.headers(body, call_id), body)

    async def ask(
        self, *credentials: Sent, call_id: str | None = None, calls: CredentialCalls | None = None
    ) -> list[Answered]:
        """The results of a signed call."""
        answer = await self.send(encode(*credentials), call_id, calls)
        results: list[Answered] = json.loads(answer)["results"]
        return results

    async def said(self, user: dict[str, Any], password: str, **more: Any) -> Answered:
        """The result for one password of one user."""
        [result] = await self.ask(
            {"id": "leak", "username": user["userPrincipalName"], "password": password, **more}
        )
        return result

    @property
    def attempts(self) -> int:
        """Sign-ins that Entra has seen."""
        return len(self.tenant.sign_ins)

    async def audited(self) -> list[dict[str, Any]]:
        """All lines of the audit."""
        container = self.blobs.get_container_client(AUDIT_CONTAINER)
        lines: list[dict[str, Any]] = []
        async for name in container.list_blob_names():
            content = await (await container.download_blob(name)).readall()
            lines += [json.loads(line) for line in content.decode().splitlines()]
        return lines


class VaultCredential(TenantCredential):
    """The app's own identity, at the vault."""

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        token = self._tenant.token_for(self._tenant.managed_identity, scopes[0].removesuffix("/.default"))
        return AccessToken(token.text, int(datetime.now(UTC).timestamp()) + 3600)


def encode(*credentials: Sent) -> bytes:
    return json.dumps({"credentials": credentials}).encode()


@asynccontextmanager
async def validation_world(
    tenant: Tenant,
    clock: Clock,
    account: StorageAccount,
    certificates: ServerCertificates,
    **overrides: str,
) -> AsyncIterator[ValidationWorld]:
    """Everything started; `overrides` are settings. `clock` is also the tenant's."""
    async with AsyncExitStack() as opened:
        plain = await opened.enter_async_context(TenantServer(tenant))
        vault = await opened.enter_async_context(TenantServer(tenant, serving(certificates)))
        chosen = settings(KEY_VAULT_URL=vault.url, VALIDATION_CLIENT_ID=VALIDATION_CLIENT_ID, **overrides)
        chosen = replace(chosen, authority=plain.url, graph_origin=plain.url)
        policy = RetryPolicy(attempts=2, longest_wait=5.0, first_backoff=0.01)
        graph = await opened.enter_async_context(
            GraphClient(TenantCredential(tenant), plain.url, chosen.cloud.graph_scope, policy)  # type: ignore[arg-type]
        )
        secrets = secret_store(
            chosen,
            VaultCredential(tenant),  # type: ignore[arg-type]
            connection_verify=str(certificates.authority),
            retry_backoff_factor=0,
        )
        opened.push_async_callback(secrets.close)
        session = await opened.enter_async_context(aiohttp.ClientSession())
        tables = await opened.enter_async_context(
            TableServiceClient.from_connection_string(account.connection_string)
        )
        blobs = await opened.enter_async_context(
            BlobServiceClient.from_connection_string(account.connection_string)
        )
        for name in (USERS_TABLE, BUDGET_TABLE, REQUESTS_TABLE):
            await tables.create_table(name)
        await blobs.create_container(AUDIT_CONTAINER)
        world = ValidationWorld(tenant, clock, chosen, graph, secrets, session, tables, blobs)
        world.use()
        yield world
