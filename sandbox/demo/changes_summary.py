"""The summary of a second run, beside the first: what happened, what changed, what it cost."""

import textwrap
from collections.abc import Mapping, Sequence

from rich.console import Console

from sandbox.demo.changes import DATASETS, Entries, Entry
from sandbox.demo.snapshot import Snapshot
from sandbox.demo.summary import NAME_WIDTH, WIDTH, Measured, heading, line

SHOWN = 4
"""Of each kind; the rest is counted."""
WHO_WIDTH = 30
ROOM = WIDTH - len("    + ") - WHO_WIDTH - 1
COST_WIDTH = 14
NO_BREAK = "\u00a0"
UNBROKEN = str.maketrans({" ": NO_BREAK, "_": NO_BREAK})
TIMES = "\u00d7"
NOTES = (
    "The first run also loads the Graph SDK, and reads the authentication report: due every 6 hours.",
    "A part is a bucket of some 8,000 users. What did not change in it is copied as it is stored.",
)
SIGNS = {"added": ("+", "green"), "updated": ("~", "yellow"), "removed": ("-", "red")}


def show_events(console: Console, events: Mapping[str, int]) -> None:
    """What happened in the tenant, the most frequent first."""
    heading(console, "The tenant changes", f"{sum(events.values()):,} things happen")
    ordered = sorted(events.items(), key=lambda event: (-event[1], event[0]))
    # Lines break between events only.
    told = [f"{count:,} {TIMES} {name}".translate(UNBROKEN) for name, count in ordered]
    for wrapped in textwrap.wrap(", ".join(told), WIDTH - 2):
        line(console, f"  {wrapped.replace(NO_BREAK, ' ')}")


def show_changes(console: Console, now: Snapshot, changes: Mapping[str, Entries]) -> None:
    manifest = now.manifest
    heading(console, "What changed", f"run {manifest.run_id}, {manifest.kind}, sequence {manifest.sequence}")
    for dataset in DATASETS:
        counts = manifest.changes.datasets[dataset] if manifest.changes else None
        if counts is None:
            continue
        told = f"{counts.added:,} added, {counts.updated:,} updated, {counts.removed:,} removed"
        if dataset == "memberships":
            told = f"{counts.added:,} added, {counts.removed:,} removed"
        line(console, (f"  {dataset:<{NAME_WIDTH}}", "dim"), (told, "bold"))
        for operation, (sign, style) in SIGNS.items():
            entries: list[Entry] = getattr(changes[dataset], operation)
            for entry in entries[:SHOWN]:
                text = f"{fitting([entry.name], WHO_WIDTH):<{WHO_WIDTH}} {fitting(entry.details, ROOM)}"
                line(console, (f"    {sign} ", style), text.rstrip())
            if (rest := len(entries) - SHOWN) > 0:
                line(console, (f"      and {rest:,} more {operation}", "dim"))


def show_costs(
    console: Console, before: Snapshot, measured_before: Measured, now: Snapshot, measured: Measured
) -> None:
    """Both runs side by side."""
    console.print()
    kinds = "".join(f"{one.manifest.kind:>{COST_WIDTH}}" for one in (before, now))
    line(console, (f"{'Cost beside the first run':<28}", "bold"), (kinds, "dim"))
    carried = before.manifest.paths & now.manifest.paths
    rows = [
        ("requests", *(f"{one.manifest.graph.requests:,}" for one in (before, now))),
        ("resource units", *(f"{one.manifest.graph.resource_units:,}" for one in (before, now))),
        ("time", *(f"{one.wall_seconds:.1f} s" for one in (measured_before, measured))),
        ("CPU", *(_cpu(one) for one in (measured_before, measured))),
        ("parts written", f"{len(before.manifest.paths):,}", f"{len(now.manifest.paths - carried):,}"),
        ("parts carried over", "", f"{len(carried):,}"),
    ]
    for name, first, second in rows:
        line(console, (f"  {name:<26}", "dim"), f"{first:>{COST_WIDTH}}{second:>{COST_WIDTH}}")
    for note in NOTES:
        line(console, (f"  {note}", "dim"))


def _cpu(measured: Measured) -> str:
    return "unknown" if measured.cpu_seconds is None else f"{measured.cpu_seconds:.2f} s"


def fitting(parts: Sequence[str], width: int) -> str:
    """As many of the parts as fit, and how many more there are."""
    for shown in range(len(parts), 0, -1):
        text = ", ".join(parts[:shown])
        if shown < len(parts):
            text += f" and {len(parts) - shown} more"
        if len(text) <= width:
            return text
    text = ", ".join(parts)
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"
