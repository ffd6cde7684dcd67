"""host.json, local.settings.json and app settings, read as the real host reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sandbox.host.errors import InvalidSetting, SettingMissing

_TIME_SPAN = re.compile(
    r"(?:(?P<days>\d+)\.)?(?P<hours>\d{1,2}):(?P<minutes>\d{2})(?::(?P<seconds>\d{2}(?:\.\d+)?))?"
)
_SETTING = re.compile(r"%([^%]+)%")

# The levels of .NET that host.json names, as Python's numbers.
_LEVELS = {
    "trace": 5,
    "debug": 10,
    "information": 20,
    "warning": 30,
    "error": 40,
    "critical": 50,
    "none": 100,
}


@dataclass(frozen=True)
class QueueSettings:
    """`extensions.queues` of host.json, with the defaults of the extension (one core counted)."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout: timedelta = timedelta()
    """How long a message stays hidden after a failure."""
    max_polling_interval: timedelta = timedelta(minutes=1)
    base64: bool = True


@dataclass(frozen=True)
class HostSettings:
    """What the local host uses of host.json."""

    route_prefix: str = "api"
    function_timeout: timedelta | None = timedelta(minutes=30)
    """None: no limit. The default is that of the Flex Consumption plan."""
    queues: QueueSettings = QueueSettings()
    log_levels: Mapping[str, int] = field(default_factory=dict)
    """Category prefix to level; `default` for the rest."""

    def log_level(self, category: str) -> int:
        """The level of the longest prefix of the category; else `default`; else information."""
        matching = [prefix for prefix in self.log_levels if category.startswith(prefix)]
        return self.log_levels[max(matching, key=len)] if matching else self.log_levels.get("default", 20)


def read_host_json(path: Path) -> HostSettings:
    """Read host.json. Raises InvalidSetting when it is missing or malformed."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidSetting(f"There is no {path}: a Functions app needs a host.json.") from None
    except ValueError as error:
        raise InvalidSetting(f"{path} is not JSON: {error}") from None
    if document.get("version") != "2.0":
        raise InvalidSetting(f'{path} needs "version": "2.0".')
    extensions = document.get("extensions", {})
    timeout = document.get("functionTimeout", "00:30:00")
    levels = document.get("logging", {}).get("logLevel", {})
    return HostSettings(
        route_prefix=extensions.get("http", {}).get("routePrefix", "api").strip("/"),
        function_timeout=None if timeout in (None, "-1") else time_span(timeout),
        queues=_queue_settings(extensions.get("queues", {})),
        log_levels={category: _log_level(level) for category, level in levels.items()},
    )


def _queue_settings(queues: Mapping[str, Any]) -> QueueSettings:
    batch_size = int(queues.get("batchSize", 16))
    if not 1 <= batch_size <= 32:
        raise InvalidSetting(f"host.json: queues.batchSize is {batch_size}, but must be from 1 to 32.")
    encoding = str(queues.get("messageEncoding", "base64")).lower()
    if encoding not in ("base64", "none"):
        raise InvalidSetting(
            f"host.json: queues.messageEncoding is {encoding!r}, but must be base64 or none."
        )
    return QueueSettings(
        batch_size=batch_size,
        new_batch_threshold=int(queues.get("newBatchThreshold", batch_size // 2)),
        max_dequeue_count=int(queues.get("maxDequeueCount", 5)),
        visibility_timeout=time_span(queues.get("visibilityTimeout", "00:00:00")),
        max_polling_interval=time_span(queues.get("maxPollingInterval", "00:01:00")),
        base64=encoding == "base64",
    )


def _log_level(name: str) -> int:
    try:
        return _LEVELS[name.lower()]
    except KeyError:
        raise InvalidSetting(f"host.json: {name!r} is not a log level.") from None


def time_span(text: str) -> timedelta:
    """A .NET TimeSpan: `[days.]hours:minutes[:seconds]`."""
    match = _TIME_SPAN.fullmatch(text.strip())
    if match is None:
        raise InvalidSetting(f"{text!r} is not a time span such as 00:05:00.")
    return timedelta(**{unit: float(value) for unit, value in match.groupdict("0").items()})


def read_local_settings(path: Path, environment: MutableMapping[str, str]) -> None:
    """Add `Values` of local.settings.json to the environment.

    What is set there already wins, as in Core Tools.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidSetting(f"There is no settings file {path}.") from None
    except ValueError as error:
        raise InvalidSetting(f"{path} is not JSON: {error}") from None
    if document.get("IsEncrypted"):
        raise InvalidSetting(f"{path} is encrypted: decrypt it with `func settings decrypt`.")
    for name, value in document.get("Values", {}).items():
        environment.setdefault(name, str(value))


def resolve_settings(
    function: str, binding: Mapping[str, Any], environment: Mapping[str, str]
) -> dict[str, Any]:
    """The binding with every `%SETTING%` in its texts replaced.

    Raises SettingMissing, naming function and setting.
    """

    def value_of(match: re.Match[str]) -> str:
        name = match.group(1)
        if not environment.get(name):
            raise SettingMissing(
                f"The '{function}' function is in error: '%{name}%' does not resolve to a value. "
                f"Set the app setting {name}."
            )
        return environment[name]

    return {
        key: _SETTING.sub(value_of, value) if isinstance(value, str) else value
        for key, value in binding.items()
    }
