"""What was asked of credential validation and what was answered, for good: an append blob a day.

    audit/2026-10-31.jsonl
    audit/2026-10-31-0002.jsonl     when the first one is full

Blocks are only ever appended, so the container may be made immutable (a time-based retention policy with
protected appends). Each line is a JSON object. Users stand in it by object id alone: no password, no user
name, neither the one that was sent nor the one that Graph has.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec

from shared.credentials.verdicts import Status
from shared.snapshots.blobs import BlobContainer

AUDIT_CONTAINER = "audit"

BLOCKS_AT_MOST = 50_000
"""Source: https://learn.microsoft.com/azure/storage/blobs/scalability-targets"""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answer. What is not known is absent."""

    at: str
    """When it was given; RFC 3339, UTC."""
    caller: str
    """Who asked: the way in which the call was signed, or the object id of the calling app."""
    call: str | None = None
    """A digest of the call's id; all credentials of the call have the same."""
    credential: str
    """The caller's own id of the credential."""
    user: str | None = None
    """The object id; absent when no user was found."""
    status: Status
    account_state: str | None = None
    attempt_made: bool
    evidence: tuple[str, ...] = ()
    trace_id: str | None = None
    correlation_id: str | None = None
    """Both are Entra's, for a search in its sign-in logs or a question to Microsoft."""


class AuditLog:
    """Appends to the log of the day. Right for several instances at once, whose lines then mix.

    `blocks_at_most` is for tests: Azure itself refuses more than 50,000.
    """

    def __init__(
        self,
        container: BlobContainer,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        blocks_at_most: int = BLOCKS_AT_MOST,
    ) -> None:
        self._container = container
        self._clock = clock
        self._blocks_at_most = blocks_at_most
        self._day = ""
        self._number = 0
        """The blob of the day that is written to, from 1."""

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Append these entries as one block, so that they stand together. Raises `StorageUnavailable`.

        A call costs one request, and a listing on the first one of a day. After a broken connection lines may
        stand twice; none is ever lost without an error.
        """
        if not entries:
            return
        block = msgspec.json.Encoder().encode_lines(entries)
        day = self._clock().astimezone(UTC).date().isoformat()
        number = await self._current_number(day)
        while (blocks := await self._container.append(_name(day, number), block)) is None:
            number += 1
        if blocks >= self._blocks_at_most:
            number += 1
        if day == self._day:
            # Other calls of this process may be further on: never back.
            self._number = max(self._number, number)

    async def _current_number(self, day: str) -> int:
        if day == self._day:
            return self._number
        number = await self._last_number(day)
        if day > self._day:
            self._day, self._number = day, number
        return number

    async def _last_number(self, day: str) -> int:
        """The newest blob of the day that somebody has begun, or the first."""
        names = {name async for name in self._container.names(day)}
        number = 1
        while _name(day, number + 1) in names:
            number += 1
        return number


def _name(day: str, number: int) -> str:
    return f"{day}.jsonl" if number == 1 else f"{day}-{number:04}.jsonl"
