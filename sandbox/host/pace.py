"""How long to wait between two looks into an empty queue."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

SHORTEST_SECONDS = 0.05
LONGEST_SECONDS = 1.0


class Pace:
    """Waits a tenth of the time since work was last seen anywhere in the host, from 50 ms to 1 s.

    Shared by all pumps, and woken by the end of every invocation: the next message usually comes from one.
    """

    def __init__(self, longest_seconds: float = LONGEST_SECONDS) -> None:
        self._longest = min(longest_seconds, LONGEST_SECONDS)
        self._seen_at = time.monotonic()
        self._seen = asyncio.Event()

    def work_seen(self) -> None:
        self._seen_at = time.monotonic()
        self._seen.set()
        self._seen = asyncio.Event()

    async def wait(self) -> None:
        idle = time.monotonic() - self._seen_at
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(idle / 10, SHORTEST_SECONDS), self._longest)):
                await self._seen.wait()
