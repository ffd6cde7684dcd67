"""The demo's own words and numbers, without any process."""

import json
import os
import re
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sandbox.demo.app_api import BuildProgress, CurrentRun, DatasetProgress
from sandbox.demo.coverage import Authentication, Coverage, User, count_coverage
from sandbox.demo.json_text import json_text
from sandbox.demo.process_usage import usage_of
from sandbox.demo.progress import progress_view
from sandbox.demo.summary import share, size

WIDTH = 40

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(documents)
def test_json_text_says_the_same(document: Any) -> None:
    assert json.loads(json_text(document, WIDTH)) == document


@given(documents)
def test_json_text_breaks_what_would_be_too_wide(document: Any) -> None:
    """A line that is too wide holds nothing that could be broken."""
    for line in json_text(document, WIDTH).splitlines():
        if len(line) > WIDTH:
            value = line.rstrip(",").strip()
            _, _, member = value.rpartition('": ')
            assert (member or value)[0] not in "[{" or len(member or value) <= 2


def test_json_text_keeps_on_a_line_what_fits() -> None:
    document = {"uid": "1", "groups": [{"uid": "2", "name": "All"}, {"uid": "3", "name": "Some"}], "none": []}
    assert json_text(document, WIDTH) == "\n".join(
        [
            "{",
            '  "uid": "1",',
            '  "groups": [',
            '    {"uid": "2", "name": "All"},',
            '    {"uid": "3", "name": "Some"}',
            "  ],",
            '  "none": []',
            "}",
        ]
    )


def test_absent_is_counted_neither_as_yes_nor_as_no() -> None:
    users = [
        User("1", "Member", True, Authentication(is_mfa_registered=True, is_mfa_capable=True, is_admin=True)),
        User("2", "Member", True, Authentication(is_admin=True, is_passwordless_capable=True)),
        User("3", "Guest", False),
        User("4"),
    ]
    assert count_coverage(users) == Coverage(
        users=4,
        guests=1,
        disabled=1,
        known=2,
        registered=1,
        capable=1,
        passwordless=1,
        admins=2,
        admins_without_mfa=1,
    )
    assert count_coverage(users).not_covered == 2


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (2048, "2 KiB"), (1024 * 1024 * 3 // 2, "1.5 MiB")]
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text


def test_share_of_nothing_is_not_a_number() -> None:
    assert (share(1, 3), share(0, 0)) == ("33%", "")


def test_usage_of_a_process() -> None:
    usage = usage_of(os.getpid())
    assert usage is not None
    assert usage.cpu_seconds > 0
    assert usage.peak_memory > 10_000_000
    assert usage_of(2**22 + 1) is None


STATES = [
    CurrentRun(
        "run-1",
        "collecting",
        {
            "users": DatasetProgress("reading", rows=400, total=2000),
            "authentication": DatasetProgress("reading"),
        },
        BuildProgress(0, 2),
    ),
    CurrentRun(
        "run-1",
        "building",
        {
            "users": DatasetProgress("complete", rows=2001, total=2000),
            "authentication": DatasetProgress("unavailable", reason="licence"),
        },
        BuildProgress(1, 2),
    ),
]


def _shown(*, terminal: bool) -> str:
    output = StringIO()
    console = Console(file=output, width=100, force_terminal=terminal, color_system=None, highlight=False)
    with progress_view(console) as view:
        for run in (*STATES, STATES[-1]):
            view.show(run)
        view.finish()
    return output.getvalue()


def test_progress_in_lines_says_each_change_once() -> None:
    assert [line.split() for line in _shown(terminal=False).splitlines()] == [
        ["users", "400", "of", "2,000", "reading"],
        ["authentication", "0", "reading"],
        ["users", "2,001", "complete"],
        ["authentication", "0", "unavailable", "(licence)"],
        ["build", "1", "of", "2", "buckets", "building"],
        ["build", "2", "of", "2", "buckets", "complete"],
    ]


def test_progress_in_bars_ends_full() -> None:
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", _shown(terminal=True))
    last = [line for line in printed.splitlines() if line.strip()][-3:]
    assert [line.split()[0] for line in last] == ["users", "authentication", "build"]
    assert "2,001 complete" in last[0]
    assert "unavailable (licence)" in last[1]
    assert "2 of 2 buckets complete" in last[2]
