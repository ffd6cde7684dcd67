"""Log records of the app and of the host as lines that people read, filtered by the levels of host.json."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from typing import TextIO

from sandbox.host.settings import HostSettings

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# What the worker library and the host's own SDK clients say about themselves; the real host is not Python.
_OWN_CHATTER = ("azure", "asyncio", "aiohttp", "msal", "urllib3")


def log_to(
    stream: TextIO, settings: HostSettings, running_here: Callable[[], str | None], *, debug: bool
) -> None:
    """Send every record to `stream`.

    The level of the root logger is the worker's: INFO, or DEBUG with PYTHON_ENABLE_DEBUG_LOGGING.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(stack_traces=debug))
    handler.addFilter(CategoryFilter(settings, running_here))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)


class CategoryFilter(logging.Filter):
    """Applies `logging.logLevel`: a record made inside function `x` is of category `Function.x.User`."""

    def __init__(self, settings: HostSettings, running_here: Callable[[], str | None]) -> None:
        super().__init__()
        self._settings = settings
        self._running_here = running_here

    def filter(self, record: logging.LogRecord) -> bool:
        function = self._running_here()
        from_host = record.name.startswith(("Function.", "Host."))
        if function is None and record.name.startswith(_OWN_CHATTER) and record.levelno < logging.WARNING:
            return False
        category = f"Function.{function}.User" if function and not from_host else record.name
        return record.levelno >= self._settings.log_level(category)


class LineFormatter(logging.Formatter):
    """`21:36:04.120 INFO    functions.sync: page read  dataset=users rows=999`, one line a record.

    An exception is its type, text and innermost place; its whole trace only with `stack_traces`.
    """

    def __init__(self, *, stack_traces: bool) -> None:
        super().__init__()
        self._stack_traces = stack_traces

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        message = " ".join(record.getMessage().splitlines())
        parts = [
            f"{clock}.{int(record.msecs):03} {record.levelname:<7} {record.name}: {message}",
            *_extra(vars(record)),
        ]
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            parts.append(f"error={_summary(error)}")
            if self._stack_traces:
                parts.append("\n" + "".join(traceback.format_exception(error)).rstrip())
        return "  ".join(parts)


def _extra(fields: Mapping[str, object]) -> list[str]:
    extra = [f"{name}={_value(value)}" for name, value in fields.items() if name not in _STANDARD_FIELDS]
    return [" ".join(extra)] if extra else []


def _value(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(character.isspace() for character in text) else text


def _summary(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}{place}".splitlines())
