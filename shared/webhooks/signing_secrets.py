"""The secrets that callers sign with: every version of the Key Vault secret that is in force."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from shared import events
from shared.errors import SecretUnavailable

if TYPE_CHECKING:
    from shared.identity.secrets import SecretStore

SECRET = "webhook-secret"  # noqa: S105 - its name, not its value
LEAST_SECONDS_BETWEEN_READS = 30.0
"""A flood of wrong signatures must not become a flood on Key Vault."""


class SigningSecrets:
    """Tells whether a signature fits a secret in force; reads Key Vault again when it fits none that is kept.

    `key_of` turns a secret's text into the key, or says by a ValueError what the secret should be.
    """

    def __init__(
        self,
        store: "SecretStore",
        key_of: Callable[[str], bytes],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._key_of = key_of
        self._clock = clock
        self._turn = asyncio.Lock()
        self._not_before = float("-inf")

    async def keys_if_one_fits(self, fits: Callable[[bytes], bool]) -> list[bytes] | None:
        """The keys in force, newest first, if the signature fits at least one of them; else None.

        Raises `SecretUnavailable` where there is no secret; and where none fits and a version cannot be used,
        since the caller may be right then.
        """
        keys, fault = self._keys(await self._store.versions(SECRET))
        if not any(map(fits, keys)):
            keys, fault = self._keys(await self._renewed())
        if any(map(fits, keys)):
            return keys
        if fault is not None:
            raise SecretUnavailable(fault)
        return None

    async def _renewed(self) -> tuple[str, ...]:
        """The versions after one more look. If the last such look is too short ago, its versions: calls that
        waited here for another one's look have those to compare with."""
        async with self._turn:
            if self._clock() < self._not_before:
                return await self._store.versions(SECRET)
            self._not_before = self._clock() + LEAST_SECONDS_BETWEEN_READS
            events.SecretReread(used_for="webhook").emit()
            return await self._store.refresh_versions(SECRET)

    def _keys(self, versions: Iterable[str]) -> tuple[list[bytes], str | None]:
        """The keys of these versions, and what is wrong with those that cannot be used."""
        keys: list[bytes] = []
        fault = None
        for text in versions:
            try:
                keys.append(self._key_of(text.strip()))
            except ValueError as error:
                fault = (
                    f"A version of the Key Vault secret {SECRET} cannot be used: it is not {error}. Disable "
                    "that version, store such a secret as a new one, and give it to the caller."
                )
        return keys, fault
