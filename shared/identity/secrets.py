"""Secrets from Key Vault, kept in memory for a while. No message here holds a secret's value."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)

from shared.config import LOOPBACK_HOSTS, Settings
from shared.errors import ConfigurationError, SecretTrouble, SecretUnavailable
from shared.identity.azure_options import CLIENT_OPTIONS, DEADLINE_SECONDS
from shared.identity.single_flight import SingleFlight

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.keyvault.secrets import KeyVaultSecret
    from azure.keyvault.secrets.aio import SecretClient

_ROLE = "Key Vault Secrets User"

_EMPTY: tuple[SecretTrouble, str] = ("unusable", "is empty. Store its value as a new version.")
_NOTHING_IN_FORCE: tuple[SecretTrouble, str] = (
    "missing",
    "does not exist, or has no version in force. Store it in the vault.",
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is read: the latest version of a secret, or all versions that hold."""

    name: str
    all_versions: bool = False


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One version of a secret, with what Key Vault says of its validity."""

    value: str = field(repr=False)
    not_before: datetime | None
    expires_on: datetime | None


@dataclass(frozen=True, slots=True)
class _Kept:
    values: tuple[str, ...] = field(repr=False)
    until: float


class SecretStore:
    """Reads secrets by name; concurrent callers share one read. Raises `SecretUnavailable`."""

    def __init__(
        self,
        client: "SecretClient",
        ttl_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._client = client
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._kept: dict[_Wanted, _Kept] = {}
        self._reads = SingleFlight[_Wanted, tuple[str, ...]]()

    async def get(self, name: str) -> str:
        """The latest version's value, at most `ttl_seconds` old."""
        return (await self._get(_Wanted(name)))[0]

    async def refresh(self, name: str) -> str:
        """The latest version's value, read now: for when the far side refused the one we have."""
        return (await self._refresh(_Wanted(name)))[0]

    async def versions(self, name: str) -> tuple[str, ...]:
        """The values of all versions that are enabled and in force, newest first; never empty.

        Old and new overlap while a secret that others sign with is rotated.
        """
        return await self._get(_Wanted(name, all_versions=True))

    async def refresh_versions(self, name: str) -> tuple[str, ...]:
        """As `versions`, read now."""
        return await self._refresh(_Wanted(name, all_versions=True))

    async def inspect(self, name: str, *, all_versions: bool = False) -> list[SecretVersion]:
        """What the vault has now, whatever is kept: the latest version, in force or not; or all versions that
        are enabled and in force, newest first. Never empty."""
        return [
            SecretVersion(secret.value or "", secret.properties.not_before, secret.properties.expires_on)
            for secret in await self._fetch(_Wanted(name, all_versions))
        ]

    async def expiries(self) -> dict[str, datetime]:
        """When the latest version of each secret ends, by name. What never ends, or is disabled, is left out.

        One request for the whole vault, and no value is read.
        """
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return {
                    secret.name: secret.expires_on
                    async for secret in self._client.list_properties_of_secrets()
                    if secret.name and secret.enabled and secret.expires_on is not None
                }
        except (AzureError, TimeoutError, ValueError) as error:
            trouble, words = self._trouble(error)
        # Raised here, not above: the SDK's error holds the request with its token.
        raise SecretUnavailable(f"The list of Key Vault secrets at {self._host} {words}", trouble=trouble)

    async def close(self) -> None:
        """Forget all secrets, and close the client that was given."""
        await self._reads.close()
        self._kept.clear()
        await self._client.close()

    async def _get(self, wanted: _Wanted) -> tuple[str, ...]:
        kept = self._kept.get(wanted)
        if kept is not None and self._clock() < kept.until:
            return kept.values
        return await self._refresh(wanted)

    async def _refresh(self, wanted: _Wanted) -> tuple[str, ...]:
        return await self._reads.run(wanted, lambda: self._read(wanted))

    async def _read(self, wanted: _Wanted) -> tuple[str, ...]:
        values = tuple(secret.value or "" for secret in await self._fetch(wanted))
        self._kept[wanted] = _Kept(values, self._clock() + self._ttl_seconds)
        return values

    async def _fetch(self, wanted: _Wanted) -> list["KeyVaultSecret"]:
        """The versions that have a value, at least one. Raises `SecretUnavailable`."""
        secrets: list[KeyVaultSecret] = []
        trouble, sentence = _NOTHING_IN_FORCE if wanted.all_versions else _EMPTY
        try:
            async with asyncio.timeout(self._deadline_seconds):
                if wanted.all_versions:
                    secrets = await self._versions_in_force(wanted.name)
                else:
                    secrets = [await self._client.get_secret(wanted.name)]
        except (AzureError, TimeoutError, ValueError) as error:
            trouble, sentence = self._trouble(error)
        secrets = [secret for secret in secrets if secret.value and secret.value.strip()]
        if not secrets:
            # Raised here, not above: the SDK's error holds the request with its token.
            raise SecretUnavailable(
                f"Key Vault secret {wanted.name} at {self._host} {sentence}", trouble=trouble
            )
        return secrets

    async def _versions_in_force(self, name: str) -> list["KeyVaultSecret"]:
        now = datetime.now(UTC)
        versions = [
            version
            async for version in self._client.list_properties_of_secret_versions(name)
            if version.enabled
            and (version.not_before is None or version.not_before <= now)
            and (version.expires_on is None or now < version.expires_on)
        ]
        oldest = datetime.min.replace(tzinfo=UTC)
        versions.sort(key=lambda version: version.created_on or oldest, reverse=True)
        return [await self._client.get_secret(name, version.version) for version in versions]

    @property
    def _host(self) -> str:
        return urlsplit(self._client.vault_url).netloc

    def _is_answer_of_vault(self, error: HttpResponseError) -> bool:
        request = getattr(error.response, "request", None)
        return request is not None and request.url.startswith(f"{self._client.vault_url}/secrets")

    def _trouble(self, error: Exception) -> tuple[SecretTrouble, str]:
        """A word for it, and the rest of the sentence that begins with the secret and its vault."""
        if isinstance(error, ResourceNotFoundError):
            return _NOTHING_IN_FORCE
        if isinstance(error, ClientAuthenticationError) and not self._is_answer_of_vault(error):
            return (
                "no-identity",
                "cannot be read: the app's own identity gave no token. Assign a managed identity to the app "
                "and set AZURE_CLIENT_ID to its client id; on a laptop, run `az login`.",
            )
        if isinstance(error, HttpResponseError):
            return _trouble_of_answer(error)
        if isinstance(error, ValueError):
            return (
                "unreachable",
                "cannot be read: the vault's sign-in challenge names another domain. Check KEY_VAULT_URL.",
            )
        return (
            "unreachable",
            "cannot be read: the vault is unreachable. Check KEY_VAULT_URL, and the vault's network rules.",
        )


def _trouble_of_answer(error: HttpResponseError) -> tuple[SecretTrouble, str]:
    inner = error.error.innererror if error.error is not None else None
    code = inner.get("code") if isinstance(inner, dict) else None
    if code == "SecretDisabled" or "disabled secret" in (error.message or ""):
        return "unusable", "is disabled. Enable it, or store a new version."
    if code == "ForbiddenByFirewall":
        return (
            "firewall",
            "cannot be read: the vault's firewall refuses the app. Allow the app's network.",
        )
    if error.status_code in (401, 403):
        return (
            "refused",
            f"cannot be read: the vault refuses the app's own identity ({error.status_code}). "
            f"Grant it the role {_ROLE} on the vault.",
        )
    return (
        "unreachable",
        f"cannot be read: the vault answers with HTTP {error.status_code}. Try again later.",
    )


def secret_store(
    settings: Settings,
    credential: "AsyncTokenCredential",
    **client_options: Any,
) -> SecretStore:
    """The store for the vault in the settings; the credential stays the caller's to close."""
    if settings.key_vault_url is None:
        raise ConfigurationError(
            ["KEY_VAULT_URL is missing: set the URL of the vault with the app's secrets."]
        )
    from azure.keyvault.secrets.aio import SecretClient

    client = SecretClient(
        settings.key_vault_url,
        credential,
        # The simulated vault on loopback cannot have a name under vault.azure.net.
        verify_challenge_resource=urlsplit(settings.key_vault_url).hostname not in LOOPBACK_HOSTS,
        **(CLIENT_OPTIONS | client_options),
    )
    return SecretStore(client, settings.secret_ttl.total_seconds())
