"""What keeps a call that is delivered twice from being worked twice: one entity a call, in Table storage.

    claim ─▶ working ─▶ finish: the answer is kept, and given again to the same call
                    └─▶ abandon: nothing is kept, the next delivery is worked anew

Nothing that a caller sent stands in the table: its keys and the body's fingerprint are keyed hashes, since a
plain hash of a body with a password would tell the password to whoever can guess.
"""

import hmac
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.errors import CallAltered, CallInWork
from shared.tables import PROPERTY_BYTES, Entity, Table, Value
from shared.webhooks.interface import Caller

TABLE = "webhookrequests"
WORKER_IS_DEAD_AFTER = timedelta(minutes=5)
"""Longer than an HTTP call may take in Azure Functions, 230 seconds."""
KEPT = timedelta(days=7)
"""Longer than senders try again: about 76 hours in the example of Standard Webhooks."""
LARGEST_ANSWER = PROPERTY_BYTES

_ROUNDS = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work one call. `entity` is None for a call without an id: nothing is stored for it."""

    entity: Entity | None
    etag: str


class ReplayGuard:
    """Claims calls. `key` is the key of all hashes; `clock` gives seconds since the epoch."""

    def __init__(self, table: Table, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._key = key
        self._clock = clock

    async def claim(self, caller: Caller, body: bytes) -> Claim | bytes:
        """The right to work this call; or the answer, if it was worked before.

        Raises `CallInWork` while somebody works it, and `CallAltered` where an earlier call with this id had
        another body.
        """
        if caller.call_id is None:
            return Claim(None, "")
        entity = self._entity(caller, body)
        for _ in range(_ROUNDS):
            etag = await self._table.insert(entity) or await self._take_over(entity)
            if isinstance(etag, str):
                return Claim(entity, etag)
            if isinstance(etag, bytes):
                return etag
        raise CallInWork("The call is being worked on at this moment, by several deliveries at once.")

    async def finish(self, claim: Claim, answer: bytes) -> None:
        """Keep the answer for the same call. Raises ValueError where it is larger than a table can hold."""
        if claim.entity is None:
            return
        if len(answer) > LARGEST_ANSWER:
            raise ValueError(
                f"The answer has {len(answer)} bytes; what is kept for a repeated call is at most "
                f"{LARGEST_ANSWER}. Answer with less."
            )
        if await self._table.replace({**claim.entity, "answer": answer}, claim.etag) is None:
            # The call took so long that another delivery took it over; or an earlier try was stored.
            _log.info("webhook.claim_superseded")

    async def abandon(self, claim: Claim) -> None:
        """Forget the call, which failed without an answer."""
        if claim.entity is not None:
            await self._table.delete(
                str(claim.entity["PartitionKey"]), str(claim.entity["RowKey"]), claim.etag
            )

    async def sweep(self) -> int:
        """Delete what is older than `KEPT`, and count it."""
        moment = datetime.fromtimestamp(self._clock(), UTC) - KEPT
        swept = 0
        async for old in self._table.older_than(moment):
            swept += await self._table.delete(*old)
        return swept

    async def _take_over(self, entity: Entity) -> str | bytes | None:
        """What becomes of a call whose entity is there: its answer, or a dead worker's place. None if it
        changed meanwhile."""
        found = await self._table.get(str(entity["PartitionKey"]), str(entity["RowKey"]))
        if found is None:
            return None
        stored, etag = found
        if stored["claim"] == entity["claim"]:
            return etag  # our own, whose confirmation was lost on the way
        if not hmac.compare_digest(str(stored["body"]), str(entity["body"])):
            raise CallAltered("An earlier call with this id had another body. Send a new call with a new id.")
        if isinstance(answer := stored.get("answer"), bytes):
            return answer
        if self._clock() - _integer(stored["claimed_at"]) < WORKER_IS_DEAD_AFTER.total_seconds():
            raise CallInWork("The call is being worked on at this moment. Send it again later.")
        _log.warning("webhook.claim_taken_over")
        return await self._table.replace(entity, etag)

    def _entity(self, caller: Caller, body: bytes) -> Entity:
        return {
            "PartitionKey": self._hash("caller", caller.name.encode()),
            "RowKey": self._hash("call", (caller.call_id or "").encode()),
            "body": self._hash("body", body),
            "claim": secrets.token_hex(16),
            "claimed_at": int(self._clock()),
        }

    def _hash(self, what: str, content: bytes) -> str:
        """Keyed, and different for each use: the key serves others too."""
        return hmac.digest(self._key, f"webhook {what}\0".encode() + content, "sha256").hex()


def _integer(value: Value) -> int:
    assert isinstance(value, int)
    return value
