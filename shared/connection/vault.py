"""Key Vault: whether it lets the app read, and whether each secret that the settings need can be used.

No finding shows anything of a secret but its name, and when it begins and ends to hold.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import override

from shared.connection.commands import Commands
from shared.connection.faults import ASK_AGAIN, VAULT_STATUS
from shared.connection.interface import Check, Finding, Row, ok
from shared.errors import SecretUnavailable
from shared.identity.secrets import SecretStore, SecretVersion

KEY_VAULT = "key-vault"
ROLE = "Key Vault Secrets User"
SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSecret:
    """A secret that the settings need."""

    name: str
    store: str
    """The command that stores the first version."""
    renew: str
    """The command that stores another one."""
    without: str
    all_versions: bool = False
    """Whether every version in force counts, and not the latest alone."""
    key_of: Callable[[str], bytes] | None = None
    """What the app makes of its text. Raises ValueError or `SecretUnavailable` where it is no such thing."""
    fallback: str | None = None
    """The secret that is used where there is none of this name."""

    @property
    def capability(self) -> str:
        return f"secret:{self.name}"


type Found = dict[str, list[SecretVersion] | SecretUnavailable]


@dataclass(kw_only=True)
class VaultCheck(Check):
    """Reads all wanted secrets at once, and judges the vault by what is common to the answers."""

    capability: str = KEY_VAULT
    permission: str | None = ROLE
    share: float = 0.5
    read_seconds: float
    """For one secret, so that one that hangs does not hide the others."""
    store: SecretStore | None
    wanted: list[WantedSecret]
    commands: Commands
    found: Found = field(default_factory=dict)
    """What was read, for the checks of single secrets."""

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        if self.store is None:
            return Finding(
                "misconfigured",
                "KEY_VAULT_URL is not set, and credential validation reads its secrets from the vault.",
                "Set KEY_VAULT_URL; or VALIDATION_ENABLED to false if no password is to be tried.",
            )
        outcomes = await asyncio.gather(*(self._read(self.store, secret) for secret in self.wanted))
        self.found.update(zip((secret.name for secret in self.wanted), outcomes, strict=True))
        refusals = [one for one in outcomes if isinstance(one, SecretUnavailable)]
        answered = len(refusals) < len(outcomes) or any(
            one.trouble in ("missing", "unusable") for one in refusals
        )
        return ok("The vault lets the app read secrets.") if answered else self._refused(refusals[0])

    async def _read(
        self, store: SecretStore, secret: WantedSecret
    ) -> list[SecretVersion] | SecretUnavailable:
        try:
            async with asyncio.timeout(self.read_seconds):
                return await store.inspect(secret.name, all_versions=secret.all_versions)
        except SecretUnavailable as error:
            return error
        except TimeoutError:
            return SecretUnavailable(
                f"Key Vault does not answer for the secret {secret.name} in time.", trouble="unreachable"
            )

    def _refused(self, error: SecretUnavailable) -> Finding:
        fixes = {
            "refused": self.commands.role_on_vault(ROLE),
            "firewall": self.commands.allow_network(),
            "no-identity": "Assign a managed identity to the app, and set AZURE_CLIENT_ID to its client id.",
            "unreachable": "Check KEY_VAULT_URL, and the network rules of the vault.",
        }
        return Finding(VAULT_STATUS[error.trouble], str(error), fixes[error.trouble])


@dataclass(kw_only=True)
class SecretCheck(Check):
    """One secret: there, enabled, in force, and of the form that the app can use."""

    permission: str | None = ROLE
    needs: tuple[str, ...] = (KEY_VAULT,)
    share: float = 0.5
    secret: WantedSecret
    commands: Commands
    found: Found

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        outcome = self.found[self.secret.name]
        if isinstance(outcome, SecretUnavailable):
            return self._unavailable(outcome)
        return self._malformed(outcome) or self._validity(outcome)

    def _unavailable(self, error: SecretUnavailable) -> Finding:
        fallback = self.secret.fallback
        if error.missing and fallback and not isinstance(self.found.get(fallback), SecretUnavailable):
            return ok(f"There is none of this name; `{fallback}` is used.")
        fix = {
            "missing": self.secret.store,
            "unusable": self.secret.renew,
            "refused": self.commands.role_on_vault(ROLE, self.secret.name),
        }.get(error.trouble, ASK_AGAIN)
        return Finding(VAULT_STATUS[error.trouble], str(error), fix)

    def _malformed(self, versions: list[SecretVersion]) -> Finding | None:
        for version in versions if self.secret.key_of else ():
            try:
                self.secret.key_of(version.value.strip())  # type: ignore[misc]
            except SecretUnavailable as error:
                return Finding("misconfigured", str(error), self.secret.renew)
            except ValueError as error:
                # Its text says what is expected, never what is there.
                which = "A version of it" if len(versions) > 1 else "It"
                return Finding("misconfigured", f"{which} is not {error}.", self.secret.renew)
        return None

    def _validity(self, versions: list[SecretVersion]) -> Finding:
        now = datetime.now(UTC)
        begins = versions[0].not_before
        ends = [version.expires_on for version in versions if version.expires_on is not None]
        # As long as one version holds, callers that sign with it are let in.
        expires = max(ends) if len(ends) == len(versions) else None
        if begins is not None and now < begins:
            return Finding(
                "misconfigured", f"It is not in force before {begins:%Y-%m-%d}.", self.secret.renew
            )
        if expires is None:
            return ok("It is there and in force.")
        if expires <= now:
            return Finding("misconfigured", f"It expired on {expires:%Y-%m-%d}.", self.secret.renew)
        if expires - now < SOON:
            return ok(
                f"It is in force, and expires soon, on {expires:%Y-%m-%d}. To renew it: {self.secret.renew}"
            )
        return ok(f"It is there and in force, until {expires:%Y-%m-%d}.")
