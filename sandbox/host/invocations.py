"""Runs invocations: limits their time, logs their start and end, and knows which are under way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import timedelta

from sandbox.host.errors import InvocationFailed
from sandbox.host.pace import Pace
from sandbox.host.worker import Datum, Worker


class Invocations:
    """Invocations in tasks of their own, so that a caller that goes away does not end them."""

    def __init__(self, worker: Worker, timeout: timedelta | None, pace: Pace) -> None:
        self._worker = worker
        self._pace = pace
        self._timeout = timeout.total_seconds() if timeout else None
        self._running: set[asyncio.Task[Datum | None]] = set()

    async def run(
        self,
        name: str,
        reason: str,
        inputs: Mapping[str, Datum],
        trigger_metadata: Mapping[str, Datum] | None = None,
    ) -> Datum | None:
        """Invoke and return the `$return` value. Raises InvocationFailed, after `functionTimeout` too."""
        log = logging.getLogger(f"Function.{name}")
        log.info("Executing (%s)", reason)
        started = time.perf_counter()
        outcome = "Failed"
        try:
            async with asyncio.timeout(self._timeout):
                value = await self._worker.invoke(name, inputs, trigger_metadata)
            outcome = "Succeeded"
            return value
        except TimeoutError:
            raise InvocationFailed(name, f"ran longer than functionTimeout ({self._timeout:g} s)") from None
        except asyncio.CancelledError:
            outcome = "Cancelled"
            raise
        finally:
            self._pace.work_seen()  # it may have enqueued something
            milliseconds = round((time.perf_counter() - started) * 1000)
            level = logging.INFO if outcome == "Succeeded" else logging.ERROR
            log.log(level, "Executed (%s, Duration=%dms)", outcome, milliseconds)

    async def run_apart(
        self,
        name: str,
        reason: str,
        inputs: Mapping[str, Datum],
        trigger_metadata: Mapping[str, Datum] | None = None,
    ) -> Datum | None:
        """As `run`, and goes on when the caller is cancelled; `drain` waits for it."""
        task = asyncio.create_task(self.run(name, reason, inputs, trigger_metadata))
        self._running.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[Datum | None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # already logged; asyncio would complain that nobody looked

    async def drain(self, seconds: float) -> None:
        """Wait for what runs apart, then cancel it."""
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
