"""Every query is one that Azure takes, over tables that exist, of events and fields that the code tells."""

import json
import re
import shutil
import subprocess
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.operate.logs import EVENTS, QUERIES, TABLES, query_names, query_text
from tests.support.events import KINDS

ALL = [*query_names("alerts"), *query_names("workbook")]
VOCABULARY = {kind.name: {field.name for field in fields(kind)} for kind in KINDS}
DIAGNOSE = Path(__file__).parent / "kusto" / "diagnose.js"


DOCUMENT = (QUERIES.parents[1] / "docs" / "operate.md").read_text()
PRELUDE, *TO_COPY = re.findall(r"^```kusto\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
"""The queries of the runbook: the lines that come first, and those that people copy."""

WRONG = {
    "Events | where Evnt == 'x'": "Evnt",
    "Events | sumarize count()": "operator",
    "AppTrace | take 1": "AppTrace",
    "Events | where TimeGenerated > 5": "datetime",
}
"""Queries with a mistake, and a word of what is said of it."""


@cache
def diagnoses() -> dict[str, dict[str, Any]]:
    """Of all queries at once: to load the parser takes seconds."""
    return diagnose(
        {name: query_text(name) for name in ALL}
        | {query: f"{EVENTS}\n{query}" for query in (*WRONG, *TO_COPY)}
    )


def diagnose(queries: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What Microsoft's parser says of each query: its problems, and the columns of its result."""
    node = shutil.which("node")
    assert node is not None
    tables = {
        table: "(" + ", ".join(f"{name}: {kind}" for name, kind in columns.items()) + ")"
        for table, columns in TABLES.items()
    }
    asked = json.dumps({"tables": tables, "queries": queries})
    done = subprocess.run([node, str(DIAGNOSE)], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"`npm ci` in {DIAGNOSE.parent} installs the parser.\n{done.stderr}"
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def test_every_query_is_looked_at() -> None:
    assert {f"{path.parent.name}/{path.name}" for path in QUERIES.rglob("*/*.kql")} == set(ALL)
    assert len(ALL) > 20


@pytest.mark.parametrize("name", ALL)
def test_microsofts_parser_finds_nothing_wrong(name: str) -> None:
    assert diagnoses()[name]["problems"] == []


@pytest.mark.parametrize(("query", "word"), WRONG.items())
def test_the_parser_would_find_it(query: str, word: str) -> None:
    assert word in str(diagnoses()[query]["problems"])


@pytest.mark.parametrize("name", query_names("alerts"))
def test_an_alert_is_one_number(name: str) -> None:
    columns = diagnoses()[name]["columns"]
    assert columns.keys() == {"Value"}
    assert columns["Value"] in ("long", "real")


@pytest.mark.parametrize("name", query_names("workbook"))
def test_a_chart_begins_with_its_time_or_has_none(name: str) -> None:
    columns = list(diagnoses()[name]["columns"].values())
    assert columns
    assert "dynamic" not in columns


def test_the_runbook_shows_the_lines_that_come_first() -> None:
    assert "".join(f"{line}\n" for line in EVENTS.splitlines() if line.startswith("//")) + PRELUDE == EVENTS


@pytest.mark.parametrize("query", TO_COPY)
def test_queries_of_the_runbook_can_be_copied(query: str) -> None:
    assert diagnoses()[query]["problems"] == []
    assert unknown(query) == set()


def names_and_fields(query: str) -> tuple[set[str], set[str]]:
    """The events that a query asks for, and the fields that it reads of them."""
    names = re.findall(r'"(\w+\.\w+)"', query)
    return set(names), set(re.findall(r"\bFields(?:\.|\[\")(\w+)", query))


def unknown(query: str) -> set[str]:
    """What a query asks for and no event has."""
    names, read = names_and_fields(query)
    # A query that names no event is about all of them.
    known = set[str]().union(*(VOCABULARY.get(name, set()) for name in names or VOCABULARY))
    return (names - VOCABULARY.keys()) | (read - known)


@pytest.mark.parametrize("name", ALL)
def test_events_and_fields_are_those_of_the_code(name: str) -> None:
    assert unknown((QUERIES / name).read_text()) == set()


def test_an_event_or_a_field_of_no_event_would_be_found() -> None:
    assert unknown('Events | where Event == "directory.run_pubished"') == {"directory.run_pubished"}
    assert unknown('Events | where Event == "directory.run_held" | project Fields.drift') == {"drift"}
