"""One call of the webhook, from its bytes to its answer: who calls, was it answered before, what is asked."""

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shared.clouds import Cloud
from shared.credentials.answers import encode_answer
from shared.credentials.budgets import LEAST_KEY_BYTES
from shared.credentials.candidates import decode_candidates
from shared.credentials.validator import Validator
from shared.errors import SecretUnavailable, TooManyCalls
from shared.identity.secrets import SecretStore
from shared.tables import Table
from shared.webhooks.interface import Caller, WebhookScheme
from shared.webhooks.replay import ReplayGuard

MEMORY_KEY = "credential-memory-key"
MOST_AT_ONCE = 32
"""Calls in work in one process; more would only wait for each other until the platform gives up."""


@dataclass(slots=True)
class CredentialCalls:
    """Answers calls. Everything that it works with is injected."""

    scheme: WebhookScheme
    secrets: SecretStore
    requests: Table
    validator: Validator
    cloud: Cloud
    now: Callable[[], float] = time.time
    _in_work: int = field(default=0, init=False)

    async def answer(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """The answer to a call, the stored one if the same call was answered before.

        Raises `CallerRefused`, `CallInWork`, `CallAltered`, `InvalidRequest`, `TooManyCalls`, or what the
        operator has to mend.
        """
        if self._in_work >= MOST_AT_ONCE:
            raise TooManyCalls(f"{MOST_AT_ONCE} calls are in work. Send it again in a few seconds.")
        self._in_work += 1
        try:
            caller = await self.scheme.authenticate(headers, body)
            return await self._once(caller, body)
        finally:
            self._in_work -= 1

    async def sweep(self) -> int:
        """Forget the answers whose time is over, and count them."""
        # Nothing is hashed for it, so that it also works before there is a key.
        return await ReplayGuard(self.requests, b"", self.now).sweep()

    async def _once(self, caller: Caller, body: bytes) -> bytes:
        key = await self._key()
        guard = ReplayGuard(self.requests, key, self.now)
        claim = await guard.claim(caller, body)
        if isinstance(claim, bytes):
            return claim
        try:
            results = await self.validator.validate(decode_candidates(body), caller, key)
            answer = encode_answer(results, self.cloud)
            await guard.finish(claim, answer)
        except BaseException:
            # Also when the host cancels: the next delivery is worked anew, and memory knows what was tried.
            await guard.abandon(claim)
            raise
        return answer

    async def _key(self) -> bytes:
        return memory_key(await self.secrets.get(MEMORY_KEY))


def memory_key(text: str) -> bytes:
    """The key of passwords' fingerprints, from the secret's text. Raises `SecretUnavailable`."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:  # the error of base64 among them; what is no ASCII has another, that quotes it
        key = b""
    if len(key) < LEAST_KEY_BYTES:
        raise SecretUnavailable(
            f"Key Vault secret {MEMORY_KEY} is no key: store {LEAST_KEY_BYTES} or more random bytes in "
            "base64 as a new version."
        )
    return key
