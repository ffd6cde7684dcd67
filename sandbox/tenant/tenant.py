"""A tenant: its directory, who may ask, how it behaves; and the one entrance for every request."""

import random
import re
import time
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Literal

from sandbox.tenant import batch, control
from sandbox.tenant.access import authenticate
from sandbox.tenant.accounts import Accounts
from sandbox.tenant.configuration import (
    API_IDENTIFIER,
    CALLER_CLIENT_ID,
    CALLER_CLIENT_SECRET,
    CALLER_ROLE,
    CLIENT_ID,
    CLIENT_SECRET,
    FEDERATED_DOMAIN,
    IDENTITY_HEADER,
    MANAGED_IDENTITY_CLIENT_ID,
    TENANT_ID,
    VALIDATION_CLIENT_ID,
    VALIDATION_CLIENT_SECRET,
    Client,
    Domain,
    FederatedCredential,
    RateLimit,
    Secret,
    Vault,
    vault_secrets,
)
from sandbox.tenant.directory import Directory, timestamp
from sandbox.tenant.entra import Entra
from sandbox.tenant.faults import Faults
from sandbox.tenant.graph import Graph
from sandbox.tenant.key_vault import KeyVault
from sandbox.tenant.managed_identity import ManagedIdentity
from sandbox.tenant.messages import Call, Record, Reply, json_reply
from sandbox.tenant.password_grant import SignIn
from sandbox.tenant.smart_lockout import Cloud, SmartLockout
from sandbox.tenant.tokens import AccessToken, TokenIssuer


class Tenant:
    """Configuration and state. Every public attribute may be changed while the tenant is being served."""

    def __init__(
        self,
        directory: Directory | None = None,
        *,
        tenant_id: str = TENANT_ID,
        domain: str = "contoso.com",
        cloud: Cloud = "public",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.tenant_id = tenant_id
        self.domain = domain
        self.domains = {
            each.name: each
            for each in (
                Domain(domain, is_default=True),
                Domain(f"{domain.partition('.')[0]}.onmicrosoft.com", is_initial=True),
                Domain(FEDERATED_DOMAIN, "Federated"),
                Domain(f"new.{domain}", is_verified=False),
            )
        }
        """By name, in lower case."""
        self.directory = directory if directory is not None else Directory()
        self.clock = clock
        self.issuer = TokenIssuer(tenant_id, clock)
        self.instance = uuid.uuid4().hex[:8]
        """Marks delta tokens: one from another run of the sandbox counts as expired."""

        self.managed_identity = Client(MANAGED_IDENTITY_CLIENT_ID, "entra-connector")
        self.identity_header = IDENTITY_HEADER
        self.clients: dict[str, Client] = {}
        self.add_client(
            Client(
                CLIENT_ID,
                secrets=[Secret(CLIENT_SECRET)],
                federated=[FederatedCredential(self.managed_identity.object_id)],
                identifier_uris=[API_IDENTIFIER],
            )
        )
        self.add_client(
            Client(
                CALLER_CLIENT_ID,
                "Exposure platform",
                secrets=[Secret(CALLER_CLIENT_SECRET)],
                permissions=set(),
                app_roles={CLIENT_ID: {CALLER_ROLE}},
            )
        )
        self.add_client(
            Client(
                VALIDATION_CLIENT_ID,
                "Credential probe",
                secrets=[Secret(VALIDATION_CLIENT_SECRET)],
                permissions=set(),
                assignment_required=True,
            )
        )
        self.vault = Vault(clock)
        for name, value in vault_secrets().items():
            self.vault.put(name, value)

        self.accounts = Accounts(self.directory.seed)
        """Passwords and the states of sign-in, by user id; see `password_of` and `set_password`."""
        self.lockout = SmartLockout(cloud, clock)
        self.sign_ins: list[SignIn] = []
        """Every attempt with a user's name and password, oldest first. Never the password."""
        self.malicious_address = False
        """Whether our address is known for attacks: every sign-in is answered with 50053."""
        self.cloud_password_validation = False
        """Whether a policy lets federated users sign in with a password that was synchronised."""

        self.directory_roles: dict[str, set[str]] = {}
        """Ids of directory roles, by the id of the user or group that holds them."""

        self.graph_resource = "https://graph.microsoft.com"
        """The audience that Graph accepts: another cloud's origin for a tenant of that cloud."""
        self.premium = True
        self.token_lifetime: float = 3599
        """Seconds."""

        self.throttle: RateLimit | None = None
        """Resource units of this app in this tenant; `RateLimit(8000, 10)` is what Graph gives a large
        tenant."""
        self.report_throttle: RateLimit | None = None
        """Requests to reports; `RateLimit(5, 10)` in Graph."""
        self.sign_in_throttle: RateLimit | None = None
        """Requests with signInActivity; `RateLimit(10, 60)` in Graph."""

        self.list_page_objects = 999
        """Most objects of a page of a list: Graph may send fewer than `$top` asks for."""
        self.delta_page_objects = 200
        self.delta_page_links = 500
        self.delta_resource_units = 1
        """What a delta page costs; the documentation says 1, one of Microsoft's own tools counts 5."""
        self.delta_removed_on_first_pass = False
        """Whether soft-deleted objects come as `@removed` in the first round."""
        self.delta_empty_page_every = 0
        """An empty page with a nextLink before the first and after each so many pages; 0 for none."""
        self.delta_scatter = False
        """Whether objects come in another order and the same group on many pages, not in a row."""
        self.delta_replay_every = 0
        """Each so many pages, one comes twice; 0 for none."""
        self.delta_token_lifetime: float | None = 7 * 24 * 3600.0
        """Seconds until a delta link expires; None for never."""
        self.delta_expiry: Literal["gone", "syncStateNotFound"] = "gone"
        """How Graph says so: 410 with Location, or 400."""
        self.delta_tokens_expired_to = 0

        self.faults = Faults()
        self.requests: list[Record] = []
        """Every request that was answered or dropped, oldest first."""
        self.batch_order = random.Random(0)

        self._graph = Graph(self)
        self._entra = Entra(self)
        self._identity = ManagedIdentity(self)
        self._vault = KeyVault(self)

    # --- for tests and scenarios ------------------------------------------------------------------

    def add_client(self, client: Client) -> Client:
        """Register an application."""
        self.clients[client.client_id] = client
        return client

    def client(self, client_id: str) -> Client | None:
        """The application or managed identity with this client id."""
        if client_id == self.managed_identity.client_id:
            return self.managed_identity
        return self.clients.get(client_id)

    def password_of(self, user_id: str) -> str | None:
        """The user's password, made from seed and id until `set_password`; None for a user without one."""
        return self.accounts[user_id].password

    def set_password(self, user_id: str, password: str | None) -> None:
        """Change the password at the time of the tenant's clock; it is fresh, so not expired."""
        account = self.accounts[user_id]
        account.password, account.expired = password, False
        self.directory.update_user(user_id, {"lastPasswordChangeDateTime": timestamp(self.now())})

    def token_for(self, client: Client, resource: str | None = None) -> AccessToken:
        """A token without a request; for Graph unless another resource is named."""
        resource = resource or self.graph_resource
        api = self.api(resource)
        if api is not None:
            audience = resource if api.token_version == 1 else api.client_id
            roles: Iterable[str] = client.app_roles.get(api.client_id, ())
            version = api.token_version
        else:
            audience, version = resource, 1
            roles = client.permissions if "graph" in resource else ()
        return self.issuer.issue(
            audience, client.client_id, client.object_id, roles, self.token_lifetime, version
        )

    def api(self, resource: str) -> Client | None:
        """The application that has this identifier, or this client id and any identifier."""
        return next(
            (
                client
                for client in self.clients.values()
                if resource in client.identifier_uris
                or (client.identifier_uris and resource == client.client_id)
            ),
            None,
        )

    def expire_delta_tokens(self) -> None:
        """Make every delta link that was handed out so far an expired one."""
        self.delta_tokens_expired_to = self._graph.links_issued

    def now(self) -> datetime:
        """The tenant's clock."""
        return datetime.fromtimestamp(self.clock(), UTC)

    def requests_to(self, pattern: str) -> list[Record]:
        """The recorded requests whose decoded path with query matches a regular expression somewhere."""
        return [record for record in self.requests if re.search(pattern, record.path)]

    @property
    def resource_units(self) -> int:
        """What Graph charged for all requests."""
        return sum(record.resource_units for record in self.requests)

    # --- requests ---------------------------------------------------------------------------------

    async def answer(self, call: Call) -> Reply:
        """Any request to any of the services, through the faults, and recorded."""
        if call.path.startswith(control.PREFIX):
            return control.answer_control(self, call)
        reply = await self.faults.apply(call, lambda: self._dispatch(call))
        self.requests.append(
            Record(
                call.method,
                call.target,
                reply.status,
                call.bearer() is not None,
                reply.resource_units,
                tuple(reply.items),
                call.headers.get("client-request-id"),
            )
        )
        return reply

    async def _dispatch(self, call: Call) -> Reply:
        path = call.path
        if path.startswith(Graph.PREFIX + "/"):
            inner = call.at(re.sub(r"/{2,}", "/", path.removeprefix(Graph.PREFIX)))
            if inner.path == batch.PATH:
                return await batch.answer_batch(inner, self._check_token, self._answer_item, self.batch_order)
            return await self._graph.answer(inner)
        if path == ManagedIdentity.PATH:
            return await self._identity.answer(call)
        if path == KeyVault.PREFIX or path.startswith(KeyVault.PREFIX + "/"):
            return await self._vault.answer(call)
        if self._entra.answers(path):
            return await self._entra.answer(call)
        return json_reply({"error": {"code": "NotFound", "message": f"Nothing is simulated at {path}."}}, 404)

    def _check_token(self, call: Call) -> None:
        authenticate(self, call)

    async def _answer_item(self, call: Call) -> Reply:
        return await self.faults.apply(call, lambda: self._graph.answer(call))
