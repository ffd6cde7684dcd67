"""Timers: NCRONTAB schedules in UTC, and the JSON that the host hands to a timer function."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from croniter import CroniterError, croniter

from sandbox.host.errors import InvalidSetting, InvocationFailed
from sandbox.host.worker import Datum

_log = logging.getLogger("Host.Triggers.Timer")
# croniter also takes @daily, L, #, ? and random fields, which NCRONTAB does not.
_VALUE = r"(?:\*|\d+|[A-Za-z]{3,9})"
_ITEM = rf"{_VALUE}(?:-{_VALUE})?(?:/\d+)?"
_FIELD = re.compile(rf"{_ITEM}(?:,{_ITEM})*")


class Schedule:
    """An NCRONTAB expression of six fields, seconds first (or five, without seconds)."""

    def __init__(self, function: str, expression: str) -> None:
        fields = expression.split()
        self._expression = " ".join(["0", *fields] if len(fields) == 5 else fields)
        known = len(fields) in (5, 6) and all(_FIELD.fullmatch(field) for field in fields)
        if not known or not _parses(self._expression):
            raise InvalidSetting(
                f"The '{function}' function is in error: the schedule expression {expression!r} was not "
                "recognized as a valid cron expression (six fields: second minute hour day month weekday)."
            )

    def next_after(self, moment: datetime) -> datetime:
        """The next occurrence. Day and weekday must both match, unlike in Unix cron."""
        following: datetime = croniter(
            self._expression, moment, second_at_beginning=True, day_or=False
        ).get_next(datetime)
        return following


async def _sleep_until(moment: datetime) -> None:
    """Sleep, again when the loop's clock wakes us early: a timer that fires before its time fires twice."""
    seconds = (moment - datetime.now(UTC)).total_seconds()
    while seconds > 0:
        await asyncio.sleep(seconds)
        seconds = (moment - datetime.now(UTC)).total_seconds()


def _parses(expression: str) -> bool:
    try:
        croniter(expression, second_at_beginning=True)
    except CroniterError:
        return False
    return True


class Timer:
    """Fires one function. Occurrences that pass while it runs are left out, as the real host does.

    The real host remembers the last occurrence over restarts and reports `IsPastDue`; this one starts afresh.
    """

    def __init__(
        self,
        function: str,
        schedule: Schedule,
        invoke: Callable[[Datum], Awaitable[object]],
        *,
        on_startup: bool,
    ) -> None:
        self._function = function
        self._schedule = schedule
        self._invoke = invoke
        self._on_startup = on_startup
        self._last: datetime | None = None

    async def run(self) -> None:
        """Until cancelled. The invocation itself is not cancelled with it: `invoke` shields it."""
        if self._on_startup:
            await self.fire()
        while True:
            due = self._schedule.next_after(datetime.now(UTC))
            await _sleep_until(due)
            await self.fire()

    async def fire(self) -> None:
        """Invoke once now. A failure is logged by the host and not tried again."""
        payload = self.payload(datetime.now(UTC))
        try:
            await self._invoke(payload)
        except InvocationFailed:
            _log.debug("Timer of %s ended with a failure", self._function)

    def payload(self, now: datetime) -> Datum:
        """TimerInfo as the host serializes it."""
        never = datetime.min.replace(tzinfo=UTC)
        status = {
            "Last": (self._last or never).isoformat(),
            "Next": self._schedule.next_after(now).isoformat(),
            "LastUpdated": (self._last or never).isoformat(),
        }
        self._last = now
        timer = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": False}
        return Datum(json.dumps(timer), "json")
