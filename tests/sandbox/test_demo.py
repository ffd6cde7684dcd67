"""The demo's own words and numbers, without any process."""

import gzip
import json
import os
import re
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sandbox.demo.app_api import BuildProgress, CurrentRun, DatasetProgress
from sandbox.demo.changes import Entries, Entry, changes_between
from sandbox.demo.changes_summary import fitting, show_changes, show_events
from sandbox.demo.coverage import Authentication, Coverage, User, count_coverage
from sandbox.demo.json_text import json_text
from sandbox.demo.process_usage import usage_of
from sandbox.demo.progress import progress_view
from sandbox.demo.snapshot import Manifest, Snapshot
from sandbox.demo.summary import WIDTH as PAGE_WIDTH
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


def _snapshot(directory: Path, run_id: str, **datasets: list[dict[str, Any]]) -> Snapshot:
    """A snapshot on disk; `changes` are what it changed."""

    def part(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        path = f"{run_id}-{name}.jsonl.gz"
        (directory / path).write_bytes(gzip.compress(b"\n".join(json.dumps(row).encode() for row in rows)))
        return {"path": path, "rows": len(rows), "bytes": 0, "sha256": ""}

    changes = datasets.pop("changes", [])
    counts = {
        dataset: {
            operation: sum((one["dataset"], one["operation"]) == (dataset, operation) for one in changes)
            for operation in ("added", "updated", "removed")
        }
        for dataset in ("users", "groups", "memberships")
    }
    manifest = {
        "run_id": run_id,
        "sequence": 2,
        "kind": "incremental",
        "buckets": 1,
        "datasets": {
            name: {"status": "complete", "rows": len(rows), "parts": [part(name, rows)]}
            for name, rows in datasets.items()
        },
        "graph": {"requests": 1, "resource_units": 1, "throttled": 0, "retried": 0},
        "changes": {"datasets": counts, "parts": [part("changes", changes)] if changes else []},
    }
    return Snapshot(directory, "manifest.json", msgspec.convert(manifest, Manifest))


ANNA = {"id": "a", "display_name": "Anna", "job_title": "Clerk", "groups": ["g"], "changed_at": "1"}
BERT = {"id": "b", "display_name": "Bert", "city": "Paris", "groups": ["g"], "changed_at": "1"}
CLEO = {"id": "c", "display_name": "Cleo", "changed_at": "1"}
STAFF = {"id": "g", "display_name": "Staff", "member_count": 1, "changed_at": "1"}


@pytest.fixture
def two_runs(tmp_path: Path) -> tuple[Snapshot, Snapshot]:
    """Anna came, Bert moved and left a group, Cleo was deleted."""
    bert = {"id": "b", "display_name": "Bert", "country": "France", "groups": [], "changed_at": "2"}
    staff = STAFF | {"member_count": 2, "changed_at": "2"}
    changes: list[dict[str, Any]] = [
        {"dataset": "users", "operation": "added", "id": "a", "record": ANNA},
        {"dataset": "users", "operation": "updated", "id": "b", "record": bert},
        {"dataset": "users", "operation": "removed", "id": "c", "reason": "deleted"},
        {"dataset": "groups", "operation": "updated", "id": "g", "record": staff},
        {"dataset": "memberships", "operation": "added", "id": "g|member|a", "record": {}},
        {"dataset": "memberships", "operation": "added", "id": "g|owner|0123456789", "record": {}},
        {"dataset": "memberships", "operation": "removed", "id": "g|member|b"},
        {"dataset": "memberships", "operation": "removed", "id": "g|owner|c"},
    ]
    return (
        _snapshot(tmp_path, "1", users=[BERT, CLEO], groups=[STAFF]),
        _snapshot(tmp_path, "2", users=[ANNA, bert], groups=[staff], changes=changes),
    )


def test_changes_have_names_and_fields(two_runs: tuple[Snapshot, Snapshot]) -> None:
    assert changes_between(*two_runs) == {
        "users": Entries(
            added=[Entry("Anna", ("Clerk", "in 1 group"))],
            updated=[Entry("Bert", ("country", "city", "groups"))],
            removed=[Entry("Cleo", ("deleted",))],
        ),
        "groups": Entries(updated=[Entry("Staff", ("member_count 1 \u2192 2",))]),
        "memberships": Entries(
            added=[
                Entry("Anna", ("member of Staff",)),
                Entry("object 01234567", ("owner of Staff",)),
            ],
            removed=[Entry("Bert", ("member of Staff",)), Entry("Cleo", ("owner of Staff",))],
        ),
    }


def test_few_changes_are_shown_and_the_rest_counted(two_runs: tuple[Snapshot, Snapshot]) -> None:
    changes = changes_between(*two_runs)
    changes["users"].added = [Entry("N" * 90, ("x" * 60, "y" * 60))] * 6
    output = StringIO()
    show_changes(Console(file=output, width=PAGE_WIDTH), two_runs[1], changes)
    printed = output.getvalue().splitlines()
    assert max(map(len, printed)) <= PAGE_WIDTH
    assert sum(line.startswith("    + N") for line in printed) == 4
    assert "      and 2 more added" in printed
    assert "  memberships     2 added, 2 removed" in printed


def test_parts_are_shown_as_far_as_they_fit() -> None:
    parts = ["city", "country", "department"]
    assert [fitting(parts, width) for width in (25, 24, 22, 14)] == [
        "city, country, department",
        "city, country and 1 more",
        "city and 2 more",
        "city, country\u2026",
    ]
    assert fitting([], 10) == ""


def test_events_are_not_broken_over_lines() -> None:
    output = StringIO()
    events = {f"something_of_kind_{number}": 10 + number for number in range(12)}
    show_events(Console(file=output, width=PAGE_WIDTH), events)
    _, title, *lines = output.getvalue().splitlines()
    assert title == "The tenant changes  186 things happen"
    assert max(map(len, lines)) <= PAGE_WIDTH
    assert all(re.match(r"  \d+ \S something of kind \d+", line) for line in lines)
    assert ", ".join(line.strip().removesuffix(",") for line in lines).count("something of kind") == 12
