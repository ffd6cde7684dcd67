"""The app's events as the host gets them: from the messages of log records, and from nothing else of them."""

import json
import logging
from collections.abc import Iterable
from typing import Any

from shared import events
from shared.events import Event

KINDS: list[type[Event]] = [
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]
"""The whole vocabulary."""


def events_in(records: Iterable[logging.LogRecord], name: str) -> list[dict[str, Any]]:
    """The fields of every event of this name, in order."""
    return [fields for found, fields in map(parse, (one.getMessage() for one in records)) if found == name]


def parse(message: str) -> tuple[str | None, dict[str, Any]]:
    """An event's name and fields; None and nothing for any other message."""
    if not message.startswith("event "):
        return None, {}
    name, _, text = message.removeprefix("event ").partition(" ")
    fields = json.loads(text)
    assert isinstance(fields, dict)
    assert "\n" not in message
    return name, fields
