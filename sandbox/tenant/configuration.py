"""What a tenant is made of besides its directory: app registrations, the managed identity, vault secrets,
limits."""

import base64
import hashlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from cryptography import x509

TENANT_ID = "0c1f6b0e-5a7d-4c52-9a35-6f1d2b9c7e10"
CLIENT_ID = "7b0a3f52-91c4-4b1e-8d6c-2f6a8b4e5d01"
CLIENT_SECRET = "sandbox~client-secret~0123456789abcdefgh"
MANAGED_IDENTITY_CLIENT_ID = "3d9e5c84-6f20-4a7b-b1d3-8c5e7a9f1b22"
VALIDATION_CLIENT_ID = "e1a47c29-5d38-4f60-9b7e-4c0d8f2a6b33"
VALIDATION_CLIENT_SECRET = "sandbox~validation-secret~0123456789abcd"
FEDERATED_DOMAIN = "tailspintoys.com"
CALLER_CLIENT_ID = "a4c8e0d2-7b16-4e59-8f3a-1d5b9c7e2f44"
CALLER_CLIENT_SECRET = "sandbox~caller-secret~0123456789abcdefgh"
API_IDENTIFIER = f"api://{CLIENT_ID}"
"""The audience of our own application, for the tokens of those who call it."""
CALLER_ROLE = "Credentials.Validate"
IDENTITY_HEADER = "sandbox-identity-header"
TOKEN_EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"
TOKEN_EXCHANGE_AUDIENCES = frozenset(
    {TOKEN_EXCHANGE_AUDIENCE, f"{TOKEN_EXCHANGE_AUDIENCE}USGov", f"{TOKEN_EXCHANGE_AUDIENCE}China"}
)

RESOURCES = frozenset(
    {
        "https://graph.microsoft.com",
        "https://graph.microsoft.us",
        "https://dod-graph.microsoft.us",
        "https://microsoftgraph.chinacloudapi.cn",
        "https://vault.azure.net",
        "https://vault.usgovcloudapi.net",
        "https://vault.azure.cn",
        "https://storage.azure.com",
    }
)
"""Microsoft's own services that tokens are issued for."""

ALL_PERMISSIONS = frozenset(
    {
        "User.Read.All",
        "GroupMember.Read.All",
        "Group.Read.All",
        "Member.Read.Hidden",
        "AuditLog.Read.All",
        "UserAuthenticationMethod.Read.All",
        "User-LifeCycleInfo.Read.All",
        "Organization.Read.All",
        "Domain.Read.All",
    }
)
"""What the sandbox's app registration and its managed identity are granted unless a test says otherwise."""


@dataclass(slots=True)
class Secret:
    """A client secret. `expires_at` in seconds since the epoch; None never expires."""

    value: str
    expires_at: float | None = None


@dataclass(slots=True)
class FederatedCredential:
    """Whose tokens an app registration accepts instead of a secret."""

    subject: str
    audience: str = TOKEN_EXCHANGE_AUDIENCE


@dataclass(slots=True)
class Client:
    """An app registration or a managed identity. All fields may be changed while the tenant serves."""

    client_id: str
    display_name: str = "Entra Connector"
    secrets: list[Secret] = field(default_factory=list)
    certificates: list[x509.Certificate] = field(default_factory=list)
    federated: list[FederatedCredential] = field(default_factory=list)
    permissions: set[str] = field(default_factory=lambda: set(ALL_PERMISSIONS))
    """Application permissions on Graph.

    They go into new tokens; a revoked one is refused at once, though real Graph would honour a token until
    it expires.
    """
    identifier_uris: list[str] = field(default_factory=list)
    """The names by which tokens for this application's own API are asked for; empty if it has none."""
    token_version: Literal[1, 2] = 1
    """Of the tokens that this application's API accepts. The audience of 2 is the client id."""
    app_roles: dict[str, set[str]] = field(default_factory=dict)
    """Roles granted to this application on other applications, by their client id."""
    enabled: bool = True
    """Whether its users and itself may sign in; disabled is AADSTS7000112."""
    assignment_required: bool = False
    """Whether a user needs to be in `assigned` to sign in to it."""
    assigned: set[str] = field(default_factory=set)
    """Ids of users."""
    object_id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of the tenant. The passwords of a federated one are checked elsewhere."""

    name: str
    authentication_type: Literal["Managed", "Federated"] = "Managed"
    is_default: bool = False
    is_initial: bool = False
    is_verified: bool = True


class RateLimit:
    """A token bucket: `capacity` units, refilled over `seconds`. None of its answers wait."""

    def __init__(self, capacity: float, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.capacity = capacity
        self.seconds = seconds
        self._clock = clock
        self._left = capacity
        self._at = clock()

    def take(self, units: float) -> float:
        """Take units and answer 0, or take none and answer the seconds until they are there."""
        self._refill()
        if self._left >= units:
            self._left -= units
            return 0.0
        return (units - self._left) * self.seconds / self.capacity

    @property
    def used(self) -> float:
        """The spent share of the bucket, 0 to 1."""
        self._refill()
        return 1.0 - self._left / self.capacity

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self.capacity, self._left + (now - self._at) * self.capacity / self.seconds)
        self._at = now


class Vault:
    """The secrets of a simulated Key Vault.

    A secret is a list of versions, oldest first; the last one is current.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.secrets: dict[str, list[SecretVersion]] = {}
        self.forbidden = False
        """When set, every read answers 403 as without the role *Key Vault Secrets User*."""
        self.forbidden_names: set[str] = set()
        """Secrets whose reads alone are answered so: the role may be assigned for single secrets."""
        self._clock = clock

    def put(
        self,
        name: str,
        value: str,
        *,
        enabled: bool = True,
        expires: float | None = None,
        content_type: str | None = None,
    ) -> "SecretVersion":
        """Add a version, which becomes the current one."""
        versions = self.secrets.setdefault(name, [])
        created = int(self._clock())
        if versions and created <= versions[-1].created:
            created = versions[-1].created + 1  # whole seconds in Key Vault; readers sort by them
        version = SecretVersion(value, created, enabled, expires, content_type)
        versions.append(version)
        return version

    def remove(self, name: str) -> None:
        """Take a secret away, all versions of it; one that is not there stays so."""
        self.secrets.pop(name, None)


@dataclass(slots=True)
class SecretVersion:
    """One version of a vault secret. Times are seconds since the epoch."""

    value: str
    created: int
    enabled: bool = True
    expires: float | None = None
    content_type: str | None = None
    version: str = field(default_factory=lambda: uuid.uuid4().hex)


def vault_secrets() -> dict[str, str]:
    """What the sandbox's vault holds from the start, by name. Fixed: nothing is secret here."""
    webhook, memory = (hashlib.sha256(f"sandbox {name}".encode()).digest() for name in ("webhook", "memory"))
    return {
        "entra-client-secret": CLIENT_SECRET,
        "validation-client-secret": VALIDATION_CLIENT_SECRET,
        "webhook-secret": f"whsec_{base64.b64encode(webhook).decode()}",
        "credential-memory-key": base64.b64encode(memory).decode(),
    }
