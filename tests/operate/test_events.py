"""The vocabulary: what an event looks like to the host, and that documents and code know the same events."""

import ast
import logging
import re
from dataclasses import fields
from pathlib import Path

import pytest

from shared import events
from shared.events import LONGEST_SENTENCE, Event
from tests.support.events import KINDS, parse

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = (REPOSITORY / "docs" / "operate.md").read_text()

VOCABULARY: dict[str, type[Event]] = {kind.name: kind for kind in KINDS}
LEVELS = {logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error"}


def message(event: Event, caplog: pytest.LogCaptureFixture) -> str:
    with caplog.at_level(logging.INFO):
        event.emit()
    return caplog.records[-1].getMessage()


def test_an_event_is_one_line_of_a_word_a_name_and_an_object(caplog: pytest.LogCaptureFixture) -> None:
    event = events.RunHeld(run_id="r", would_remove={"users": 60}, sentence='Of "Zoë":\nmany | event x {}')
    text = message(event, caplog)
    assert text == (
        'event directory.run_held {"run_id":"r","would_remove":{"users":60},'
        '"sentence":"Of \\"Zo\\u00eb\\":\\nmany | event x {}"}'
    )
    assert caplog.records[-1].levelno == logging.ERROR


def test_what_is_none_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    event = events.GraphThrottled(subject="users", retry_after_seconds=None, scope=None)
    assert message(event, caplog) == 'event graph.throttled {"subject":"users"}'


def test_a_long_sentence_leaves_the_object_whole(caplog: pytest.LogCaptureFixture) -> None:
    event = events.RunFailed(run_id="r", reason="fault", sentence="\U0001f600" * 100_000)
    text = message(event, caplog)
    _, found = parse(text)
    assert found["sentence"] == "\U0001f600" * LONGEST_SENTENCE
    assert len(text) < 32_768


def test_what_no_encoding_knows_reaches_the_host_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    text = message(events.CallerRefused(sentence="half a pair: \ud83d"), caplog)
    assert text.encode("ascii")
    assert parse(text)[1]["sentence"] == "half a pair: \ud83d"


def test_names_are_unique_and_of_one_form() -> None:
    assert len(VOCABULARY) == len(KINDS)
    for name in VOCABULARY:
        assert re.fullmatch(r"(directory|graph|secret|credentials)\.[a-z_]+", name)


def documented() -> dict[str, tuple[str, list[str]]]:
    """The events table: name → level and fields."""
    rows = re.findall(r"^\| `([a-z_.]+)` \| (\w+) \| ([^|]*) \| [^|]+ \|$", DOCUMENT, re.MULTILINE)
    return {name: (level, re.findall(r"`([a-z_]+)`", columns)) for name, level, columns in rows}


def test_the_document_has_a_row_for_every_event() -> None:
    assert documented() == {
        name: (LEVELS[kind.level], [field.name for field in fields(kind)])
        for name, kind in VOCABULARY.items()
    }


def _emitted() -> set[str]:
    """The classes of which the product makes an event."""
    found = set()
    for path in [*(REPOSITORY / "shared").rglob("*.py"), *(REPOSITORY / "functions").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and path.name != "events.py":
                called = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
                found.add(called)
    return found


def test_every_event_is_told_somewhere() -> None:
    assert {kind.__name__ for kind in VOCABULARY.values()} <= _emitted()
