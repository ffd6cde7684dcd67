"""The summary as tables: the same rows for the terminal and for Markdown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.graph_time import GraphTime, full_time, incremental_time
from bench.growth import GrowthSummary
from bench.pages.changes import ROUNDS
from bench.pages.make import FULL
from bench.results import Machine, Profile, ProfileLine, Sized, SyncCost
from bench.summary import Bar, Summary

_TOP = 40
_TOP_OF_A_PHASE = 12
_TOP_PACKAGES = 15
_MINUTE = 60
_EVERYTHING = 0.95
"""What holds more than this share of all is only the way there."""


@dataclass(frozen=True, slots=True)
class Section:
    """One table. The first column is text, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def sections(summary: Summary) -> list[Section]:
    return [
        verdicts(summary.bars()),
        _cpu(summary),
        _phases(summary),
        _incremental(summary),
        _rest(summary),
    ]


def growth_sections(summary: GrowthSummary) -> list[Section]:
    sizes = summary.growth.sizes
    return [
        verdicts(summary.bars()),
        _sizes(summary),
        *(_following(f"Syncs that follow, {one.scale.users:,} users", one.sync, one.rounds) for one in sizes),
        _workers(summary),
        _graph_time(sizes),
    ]


def verdicts(bars: list[Bar]) -> Section:
    rows = [(bar.name, bar.measured, "PASS" if bar.holds else "FAIL") for bar in bars]
    return Section("Bars", ("bar", "measured", ""), rows)


def _cpu(summary: Summary) -> Section:
    typed = summary.typed_by_kind()
    parts = f"users {typed['users']:.0f}, groups {typed['groups']:.0f}, report {typed['authentication']:.0f}"
    return Section(
        "CPU seconds per 100,000 users, with their groups and memberships: median (least to most)",
        ("what", "CPU s", "ratio"),
        [
            ("floor", summary.floor.text(), ""),
            ("floor of what is published", summary.published.text(), ""),
            (
                "sync without formats",
                summary.bare.text(),
                f"{summary.bare_by_floor.text()} x floor, {summary.bare_by_published.text()} x published",
            ),
            ("floor, with renderings", summary.floor_with_renderings.text(), ""),
            ("floor of what is published, with renderings", summary.published_with_renderings.text(), ""),
            (
                "sync, default (OCSF)",
                summary.sync.text(),
                f"{summary.sync_by_floor.text()} x floor, {summary.sync_by_published.text()} x published",
            ),
            (
                "the SDK's typed loop, only reading",
                f"{summary.typed:.0f} ({parts})",
                f"{summary.typed_by_sync.text(0)} x default sync, "
                f"{summary.typed_by_collecting.text(0)} x its collecting",
            ),
        ],
    )


def _phases(summary: Summary) -> Section:
    default = summary.phases(lambda one: one.sync)
    bare = summary.phases(lambda one: one.bare)
    rows = [
        (phase, f"{cpu:.2f}", f"{cpu / summary.sync.median:.0%}", f"{bare.get(phase, 0.0):.2f}")
        for phase, cpu in default.items()
    ]
    repetitions = summary.results.repetitions
    scale = 100_000 / summary.results.scale.users
    collected = median(one.sync.garbage_collection for one in repetitions) * scale
    collected_bare = median(one.bare.garbage_collection for one in repetitions) * scale
    rows.append(
        (
            "in them: Python's garbage collector",
            f"{collected:.2f}",
            f"{collected / summary.sync.median:.0%}",
            f"{collected_bare:.2f}",
        )
    )
    return Section(
        "Where a sync's CPU goes: seconds per 100,000 users",
        ("phase", "default", "share", "without formats"),
        rows,
    )


def _incremental(summary: Summary) -> Section:
    """Of the last repetition; the bars have the spread of all."""
    last = summary.results.repetitions[-1]
    return _following("Syncs after the default one", last.sync, last.rounds)


def _following(title: str, full: SyncCost, rounds: list[SyncCost]) -> Section:
    changed = ["everything", *(one.name for one in ROUNDS)]
    rows = []
    for name, cost in zip(changed, [full, *rounds], strict=True):
        touched, use = cost.touched, cost.storage
        rows.append(
            (
                name if cost is not full else "full sync",
                f"{cost.cpu:.2f} s",
                f"{cost.cpu / full.cpu:.1%}",
                f"{cost.start_cpu:.2f} s",
                f"{cost.requests:,}",
                f"{sum(cost.changes.values()):,}" if cost is not full else "",
                f"{touched.members + touched.groups} of {touched.all_members + touched.all_groups}",
                f"{use.bytes_read / 1e6:,.1f} in {use.reads:,}",
                f"{use.bytes_written / 1e6:,.1f} in {use.writes:,}",
                f"{cost.peak / 1e6:.0f} MB",
            )
        )
    return Section(
        title,
        (
            "what changed",
            "CPU",
            "of the full",
            "CPU before",
            "Graph requests",
            "records changed",
            "buckets built",
            "MB read from Storage",
            "MB written",
            "peak",
        ),
        rows,
    )


def _sizes(summary: GrowthSummary) -> Section:
    sizes = summary.growth.sizes

    def row(name: str, value: Callable[[Sized], str]) -> tuple[str, ...]:
        return (name, *map(value, sizes))

    return Section(
        "Growth of a full sync",
        ("", *(f"{one.scale.users:,} users" for one in sizes)),
        [
            row("groups", lambda one: f"{one.scale.groups:,}"),
            row("memberships", lambda one: f"{one.scale.memberships:,}"),
            row("pages, as JSON", lambda one: f"{_pages(one)[0] / 1e6:,.0f} MB"),
            row("pages, as gzip", lambda one: f"{_pages(one)[1] / 1e6:,.0f} MB"),
            row("CPU", lambda one: f"{one.sync.cpu:,.1f} s"),
            row("CPU for 1,000 users", lambda one: f"{one.sync.cpu / one.scale.users * 1e6:.1f} ms"),
            row("users a second of CPU", lambda one: f"{one.scale.users / one.sync.cpu:,.0f}"),
            row("wall time", lambda one: f"{one.sync.wall:,.1f} s"),
            row("peak memory", lambda one: f"{one.sync.peak / 1e6:.0f} MB"),
            row("buckets", lambda one: f"{one.sync.touched.all_members} + {one.sync.touched.all_groups}"),
            row(
                "Graph requests, and the least",
                lambda one: f"{one.sync.requests:,} of {one.scale.least_requests:,}",
            ),
            row("bytes stored at the end", lambda one: f"{one.sync.stored / 1e6:,.0f} MB"),
            *(
                row(phase, lambda one, phase=phase: f"{one.sync.phases.get(phase, 0.0):.2f} s")  # type: ignore[misc]
                for phase in sizes[-1].sync.phases
            ),
        ],
    )


def _workers(summary: GrowthSummary) -> Section:
    rows = []
    for one in summary.growth.sizes:
        workers = one.workers
        if not workers:
            continue
        rows.append(
            (
                f"{one.scale.users:,}",
                f"{one.sync.wall:.1f} s",
                f"{max(worker.wall for worker in workers):.1f} s",
                " + ".join(f"{worker.cpu:.1f}" for worker in workers),
                " + ".join(str(worker.messages) for worker in workers),
                ", ".join(f"{worker.peak / 1e6:.0f}" for worker in workers),
                "same" if all(worker.digest == one.sync.digest for worker in workers) else "DIFFERENT",
            )
        )
    return Section(
        f"The same full sync by {summary.workers} processes at one queue",
        ("users", "wall, 1 process", "wall", "CPU s", "messages", "peak MB", "parts, byte for byte"),
        rows,
    )


def _graph_time(sizes: list[Sized]) -> Section:
    rows = []
    for one in sizes:
        full = full_time(one.scale, one.pages)
        rows.append(_graph_row(f"{one.scale.users:,} users, full", full))
        for number, happened in enumerate(ROUNDS, 1):
            time = full if happened.full else incremental_time(one.pages, number)
            rows.append(_graph_row(f"{one.scale.users:,} users, {happened.name}", time))
    return Section(
        "Graph's part of a run, computed: the longest chain, since chains run side by side",
        ("run", "users", "groups", "report", "units", "units alone", "Graph's part"),
        rows,
    )


def _graph_row(name: str, time: GraphTime) -> tuple[str, ...]:
    return (
        name,
        _duration(time.users),
        _duration(time.groups),
        _duration(time.report),
        f"{time.units:,}",
        _duration(time.by_units),
        _duration(time.total),
    )


def _duration(seconds: float) -> str:
    return f"{seconds / _MINUTE:,.1f} min" if seconds >= _MINUTE else f"{seconds:.2f} s"


def _pages(one: Sized) -> tuple[int, int]:
    """Bytes of the pages of a full sync: plain, and as gzip."""
    facts = [one.pages[kind] for kind in FULL]
    return sum(fact.plain for fact in facts), sum(fact.compressed for fact in facts)


def _rest(summary: Summary) -> Section:
    results = summary.results
    indexing = results.indexing
    return Section(
        "The rest of it",
        ("what", "measured"),
        [
            ("users a second on one core, default sync", f"{summary.users_a_second.median:,.0f}"),
            ("wall time of the default sync", f"{summary.wall.median:.1f} s"),
            ("peak memory, default sync", f"{summary.peak.text(0)} MB"),
            ("peak memory, without formats", f"{summary.bare_peak.text(0)} MB"),
            ("memory before the sync", f"{summary.start_peak.median:.0f} MB"),
            ("CPU before the sync: imports, clients, first requests", f"{summary.start_cpu.median:.2f} s"),
            ("requests, and the least possible", f"{summary.requests} of {results.scale.least_requests}"),
            ("gunzip of the pages, in no floor", f"{summary.gunzip.median:.2f} CPU s"),
            ("model modules after the sync", str(summary.model_modules)),
            ("model modules after the typed loop", str(results.typed.model_modules)),
            ("peak memory of the typed loop", f"{results.typed.peak / 1e6:.0f} MB"),
            ("indexing, the whole app", f"{median(pair.app.wall for pair in indexing) * 1e3:.0f} ms"),
            ("indexing, one empty function", f"{median(pair.empty.wall for pair in indexing) * 1e3:.0f} ms"),
            ("indexing, ratio in CPU time", f"{summary.indexing_cpu.text()} x"),
        ],
    )


def describe(summary: Summary) -> str:
    """What was measured, in one paragraph."""
    results = summary.results
    scale, machine = results.scale, results.machine
    plain = sum(results.pages[kind].plain for kind in FULL)
    stored = sum(results.pages[kind].compressed for kind in FULL)
    return (
        f"{scale.users:,} users, {scale.groups:,} groups, {scale.memberships:,} memberships; "
        f"{plain / 1e6:,.0f} MB of pages, {stored / 1e6:,.0f} MB as gzip. "
        f"{len(results.repetitions)} repetitions, {len(results.indexing)} pairs of cold starts. "
        f"{on(machine)}"
    )


def describe_growth(summary: GrowthSummary) -> str:
    sizes = ", ".join(f"{one.scale.users:,}" for one in summary.growth.sizes)
    return f"{sizes} users; one repetition. {on(summary.growth.machine)}"


def on(machine: Machine) -> str:
    return f"Python {machine.python} on {machine.cpus} x {machine.model}."


def show(summary: Summary | GrowthSummary, console: Console) -> None:
    show_sections(*_content(summary), console)


def show_sections(description: str, tables: Sequence[Section], console: Console) -> None:
    console.print(description, soft_wrap=True)
    for section in tables:
        _print(section, console)


def _content(summary: Summary | GrowthSummary) -> tuple[str, list[Section]]:
    if isinstance(summary, GrowthSummary):
        return describe_growth(summary), growth_sections(summary)
    return describe(summary), sections(summary)


def show_profile(profile: Profile, console: Console) -> None:
    """Packages, functions and lines by own time, over all and by phase."""
    packages: dict[str, float] = {}
    for line in profile.lines:
        package = line.place.partition(":")[0].partition("/")[0]
        packages[package] = packages.get(package, 0.0) + line.total
    whole = sum(packages.values())
    rows = [
        (name, f"{seconds:.3f}", f"{seconds / whole:.1%}")
        for name, seconds in sorted(packages.items(), key=lambda item: -item[1])[:_TOP_PACKAGES]
    ]
    _print(Section("Packages by own CPU", ("package", "s", "share"), rows), console)
    _print(_own("Functions by own CPU", profile.functions, whole), console)
    below = [line for line in profile.inclusive if line.total < whole * _EVERYTHING]
    _print(_own("Functions by CPU with all that they call", below, whole), console)
    _print(_own("Lines by own CPU, with the C code that they call", profile.lines, whole), console)
    phases: dict[str, float] = {}
    for line in profile.lines:
        for phase, seconds in line.phases.items():
            phases[phase] = phases.get(phase, 0.0) + seconds
    for phase, total in phases.items():
        within = [line for line in profile.lines if phase in line.phases]
        within.sort(key=lambda line: line.phases[phase], reverse=True)
        top = [_row(line, line.phases[phase], total) for line in within[:_TOP_OF_A_PHASE]]
        _print(Section(f"{phase}: {total:.2f} s", ("line", "s", "share"), top), console)


def markdown(summary: Summary | GrowthSummary) -> str:
    return markdown_of(*_content(summary))


def markdown_of(description: str, tables: Sequence[Section]) -> str:
    pieces = [description]
    for section in tables:
        lines = [f"| {' | '.join(section.columns)} |", "|---" + "|---:" * (len(section.columns) - 1) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in section.rows]
        pieces += [f"**{section.title}**", "\n".join(lines)]
    return "\n\n".join(pieces)


def _own(title: str, lines: list[ProfileLine], total: float) -> Section:
    return Section(
        f"{title}: {total:.2f} s",
        ("place", "s", "share"),
        [_row(line, line.total, total) for line in lines[:_TOP]],
    )


def _row(line: ProfileLine, seconds: float, total: float) -> tuple[str, ...]:
    place = f"{line.place}  {line.source}" if line.source else line.place
    return place, f"{seconds:.3f}", f"{seconds / total:.1%}"


def _print(section: Section, console: Console) -> None:
    # A pipe gets plain columns without lines drawn around them.
    table = Table(
        title=section.title, title_justify="left", box=None if not console.is_terminal else box.ROUNDED
    )
    for number, column in enumerate(section.columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in section.rows:
        # As text: square brackets in a line of source are no markup.
        table.add_row(*(Text(cell) for cell in row))
    console.print()
    console.print(table)
