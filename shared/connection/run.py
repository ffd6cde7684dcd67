"""Runs checks side by side, each on its own: what one of them meets never hides another one's finding."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from shared.connection.faults import finding_of
from shared.connection.interface import Check, Finding, Row, not_checked
from shared.errors import EntraConnectorError

log = logging.getLogger(__name__)

DEADLINE_SECONDS = 8.0
"""For the whole test, once the SDKs are loaded. A caller waits, and the SDKs would go on for minutes."""


async def run_checks(checks: Sequence[Check], deadline_seconds: float = DEADLINE_SECONDS) -> list[Row]:
    """The rows, in the order of the checks. Each check comes after those that it names."""
    began = asyncio.get_running_loop().time()
    tasks: dict[str, asyncio.Task[Row]] = {}
    async with asyncio.TaskGroup() as group:
        for check in checks:
            named = {name: tasks[name] for name in (*check.needs, *check.after) if name in tasks}
            ends_at = began + deadline_seconds * check.share
            tasks[check.capability] = group.create_task(_row(check, named, ends_at))
    return [task.result() for task in tasks.values()]


async def _row(check: Check, named: Mapping[str, asyncio.Task[Row]], ends_at: float) -> Row:
    # Those that it waits for end by their own deadline.
    earlier = {name: await task for name, task in named.items()}
    if cause := _first_trouble(earlier[name] for name in check.needs):
        return check.row(not_checked(cause))
    try:
        async with asyncio.timeout_at(ends_at):
            return check.row(await check.run(earlier))
    except TimeoutError:
        return check.row(
            Finding(
                "unreachable",
                f"No answer for {check.capability} in time.",
                "Check the app's outbound network and its network rules, and ask again.",
            )
        )
    except EntraConnectorError as error:
        return check.row(finding_of(error))
    except Exception as error:
        # The other rows are worth having. The error's own text may hold anything, so only its kind is told.
        log.error("connection check failed: %s, %s", check.capability, _kind(error))
        return check.row(
            Finding(
                "misconfigured",
                f"The check itself failed ({_kind(error)}).",
                "Look for `connection check failed` in the app's log, and report it.",
            )
        )


def _first_trouble(rows: Iterable[Row]) -> Row | None:
    return next((row for row in rows if row.status != "ok"), None)


def _kind(error: Exception) -> str:
    """The error's type, and the line that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    file = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"{type(error).__name__} in {file}, line {trace.tb_lineno}"
