"""The budgets of `budgets.py` in Table storage, right for any number of instances at once.

    validationusers     one entity a user     what was tried and is remembered, and how long they rest
    validationbudget    one entity            what the whole tenant has spent

Every write says which state it was decided on (ETag). Whoever loses a race reads again and decides again.

**Order of writes.** Before an attempt the user's side is written, then the tenant's; the attempt begins when
both are stored. A crash in between leaves a user charged for an attempt that never was, and never the other
way about. The user comes first since calls race for users as well: whoever loses there has not yet taken from
the tenant what somebody else is then denied. After the attempt both sides are written at the same time. A
crash in between leaves a user suspect, or a verdict forgotten; the charge stays in any case.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from itertools import batched
from typing import Any

import msgspec

from shared.credentials import budgets
from shared.credentials.budgets import (
    DAY,
    LEDGER_VERSION,
    Charged,
    Denied,
    Limits,
    Outcome,
    Settled,
    Spent,
    TenantLedger,
    Ticket,
    UserLedger,
)
from shared.credentials.verdicts import Verdict
from shared.errors import StateUnreadable, StorageUnavailable
from shared.tables import Entity, Row, Table

USERS_TABLE = "validationusers"
BUDGET_TABLE = "validationbudget"
TENANT_ROW = "tenant"

TRIES = 12
LONGEST_PAUSE_SECONDS = 0.25
CHARGE_SECONDS = 20
"""A charge that took longer is not used: `SLACK_SECONDS` also has to cover the attempt, and the clocks."""
BUSY_RETRY_SECONDS = 5
SEEN_AT_MOST = 256
FORGET_AFTER_SECONDS = 90 * DAY
DELETED_AT_ONCE = 16

_RANDOM = random.SystemRandom()


class _Seen[L: UserLedger | TenantLedger](msgspec.Struct, frozen=True):
    """A ledger as it is stored. Without an ETag nobody has stored one yet."""

    ledger: L
    etag: str | None


class Ledger:
    """The budgets and the memory of one tenant. Tables are injected and closed by whoever made them."""

    def __init__(
        self,
        users: Table,
        budget: Table,
        tenant_id: str,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.limits = limits
        """May be replaced, as when the tenant's own lockout threshold becomes known."""
        self._users = _Side(users, tenant_id, UserLedger)
        self._tenant = _Side(budget, tenant_id, TenantLedger)
        self._clock = clock
        # Without turns, the calls of one process would race with each other for the tenant's entity.
        self._turn = asyncio.Lock()

    async def ensure(self) -> None:
        """Create the tables where nobody has."""
        await self._users.table.ensure()
        await self._tenant.table.ensure()

    async def recall(self, user_id: str, fingerprint: str, password_changed_at: str | None) -> Verdict | None:
        """What is known of this password without trying it. One read."""
        self._users.forget(user_id)
        user = await self._users.read(user_id)
        return budgets.recall(user.ledger, fingerprint, password_changed_at)

    async def charge(
        self, user_id: str, fingerprint: str, password_changed_at: str | None
    ) -> Ticket | Denied | Verdict:
        """Charge one attempt. With a ticket it may be made, at once; then `settle` has to be called.

        A `Verdict` if the answer became known since `recall`. Where nobody interferes: two writes, decided on
        what `recall` read and the last call wrote.
        """
        async with self._turn:
            ticket = Ticket(
                id=secrets.token_hex(4),
                user_id=user_id,
                fingerprint=fingerprint,
                password_changed_at=password_changed_at,
                at=self._clock(),
            )
            return await self._charge(ticket)

    async def settle(
        self,
        ticket: Ticket,
        outcome: Outcome,
        *,
        verdict: Verdict | None = None,
        retry_after_seconds: float = 0,
    ) -> bool:
        """Enter what came of an attempt. True if all attempts are now stopped: somebody has to know.

        Where nobody interferes: at most two writes at the same time. Raises `StorageUnavailable` when they
        cannot be made; the attempt then stays charged.
        """
        async with self._turn:
            settled = await self._settle(
                ticket, outcome, verdict=verdict, retry_after_seconds=retry_after_seconds
            )
        if settled is None:
            raise StorageUnavailable(
                f"The outcome of an attempt could not be entered: {TRIES} times others had just changed "
                f"table `{self._users.table.name}` or `{self._tenant.table.name}`. It stays charged."
            )
        return settled.stopped

    def spent(self) -> Spent | None:
        """What is spent of the whole tenant's budgets, as it was last seen here; None if it was not."""
        seen = self._tenant.seen(TENANT_ROW)
        return None if seen is None else budgets.spent(seen.ledger, self._clock())

    async def sweep(self) -> int:
        """Remove users that were not touched for 90 days. Returns how many went."""
        moment = datetime.fromtimestamp(self._clock() - FORGET_AFTER_SECONDS, UTC)
        return await self._users.remove_older_than(moment)

    async def _charge(self, ticket: Ticket) -> Ticket | Denied | Verdict:
        """Decide and write until both sides are stored, or the answer is no."""
        written = False
        for turn in range(TRIES):
            fresh = not (self._users.has_seen(ticket.user_id) or self._tenant.has_seen(TENANT_ROW))
            user, tenant = await self._read(ticket.user_id)
            decision = budgets.charge(user.ledger, tenant.ledger, self.limits, ticket)
            if isinstance(decision, Charged):
                ticket, written = decision.ticket, True
                stored = await self._users.write(
                    ticket.user_id, user, decision.user
                ) and await self._tenant.write(TENANT_ROW, tenant, decision.tenant)
                if not stored:
                    await _pause(turn)
                    continue
                if self._clock() - ticket.at <= CHARGE_SECONDS:
                    return ticket
                break
            if fresh:
                if written:
                    await self._settle(ticket, "refunded")
                return decision
            # What was seen earlier may be out of date. A no rests on what is stored now.
            self._users.forget(ticket.user_id)
            self._tenant.forget(TENANT_ROW)
        # Where that does not succeed the attempt stays charged, which is the safe side.
        await self._settle(ticket, "refunded")
        return Denied(
            "ledger_busy",
            BUSY_RETRY_SECONDS,
            "Too many checks at the same time: this one found no turn to enter its attempt.",
        )

    async def _settle(
        self,
        ticket: Ticket,
        outcome: Outcome,
        *,
        verdict: Verdict | None = None,
        retry_after_seconds: float = 0,
    ) -> Settled | None:
        """None if others were faster each time."""
        now = self._clock()
        for turn in range(TRIES):
            user, tenant = await self._read(ticket.user_id)
            settled = budgets.settle(
                user.ledger,
                tenant.ledger,
                self.limits,
                ticket,
                outcome,
                verdict=verdict,
                retry_after_seconds=retry_after_seconds,
                now=now,
            )
            stored = await _together(
                self._users.write(ticket.user_id, user, settled.user),
                self._tenant.write(TENANT_ROW, tenant, settled.tenant),
            )
            if all(stored):
                return settled
            await _pause(turn)
        return None

    async def _read(self, user_id: str) -> tuple[_Seen[UserLedger], _Seen[TenantLedger]]:
        return await _together(self._users.read(user_id), self._tenant.read(TENANT_ROW))


class _Versioned(msgspec.Struct):
    version: int


class _Side[L: UserLedger | TenantLedger]:
    """The ledgers of one table. The last ones seen are kept with their ETag: what was decided on an old one
    is not stored."""

    def __init__(self, table: Table, partition: str, kind: type[L]) -> None:
        self.table = table
        self._partition = partition
        self._kind = kind
        self._seen: dict[str, _Seen[L]] = {}

    def has_seen(self, row: str) -> bool:
        return row in self._seen

    def seen(self, row: str) -> _Seen[L] | None:
        return self._seen.get(row)

    def forget(self, row: str) -> None:
        self._seen.pop(row, None)

    async def read(self, row: str) -> _Seen[L]:
        """The ledger as it was last seen here, or else as it is stored."""
        if row in self._seen:
            return self._seen[row]
        entity = await self.table.get(self._partition, row)
        seen = (
            _Seen(self._kind(), None) if entity is None else _Seen(self._decoded(row, entity[0]), entity[1])
        )
        self._keep(row, seen)
        return seen

    async def write(self, row: str, seen: _Seen[L], ledger: L) -> bool:
        """Store the ledger in place of what was seen, if it is another. False if somebody was faster."""
        if ledger == seen.ledger:
            return True
        # If this fails, nobody knows whether it was stored.
        self.forget(row)
        entity: Entity = {
            "PartitionKey": self._partition,
            "RowKey": row,
            "state": msgspec.msgpack.encode(ledger),
        }
        if seen.etag is None:
            etag = await self.table.insert(entity)
        else:
            etag = await self.table.replace(entity, seen.etag)
        if etag is not None:
            self._keep(row, _Seen(ledger, etag))
        return etag is not None

    async def remove_older_than(self, moment: datetime) -> int:
        """Delete what was last written before the moment. Returns how many went."""

        async def remove(row: Row) -> bool:
            self.forget(row.row)
            return await self.table.delete(row.partition, row.row, row.etag)

        rows = [row async for row in self.table.older_than(moment, self._partition)]
        removed = 0
        for some in batched(rows, DELETED_AT_ONCE, strict=False):
            removed += sum(await asyncio.gather(*map(remove, some)))
        return removed

    def _keep(self, row: str, seen: _Seen[L]) -> None:
        self.forget(row)
        self._seen[row] = seen
        if len(self._seen) > SEEN_AT_MOST:
            del self._seen[next(iter(self._seen))]

    def _decoded(self, row: str, entity: Entity) -> L:
        state = entity.get("state")
        try:
            if isinstance(state, bytes) and _version(state) == LEDGER_VERSION:
                return msgspec.msgpack.decode(state, type=self._kind)
        except msgspec.DecodeError:
            pass
        raise StateUnreadable(
            f"Row {row} of table `{self.table.name}` cannot be read; another version of the app may have "
            "written it. No password is tried until it can be. Deploy that version again; or delete the row, "
            "and with it the count of the attempts that were made."
        )


def _version(state: bytes) -> int:
    return msgspec.msgpack.decode(state, type=_Versioned).version


async def _together[A, B](one: Coroutine[Any, Any, A], other: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Both results. If one fails, the other is still waited for: a write must not go on unseen."""
    first, second = await asyncio.gather(one, other, return_exceptions=True)
    if isinstance(first, BaseException):
        raise first
    if isinstance(second, BaseException):
        raise second
    return first, second


async def _pause(turn: int) -> None:
    """Let those who were faster end, in another order each time."""
    await asyncio.sleep(_RANDOM.uniform(0, min(LONGEST_PAUSE_SECONDS, 0.02 * 2**turn)))
