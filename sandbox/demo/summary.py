"""The summary of a published run, for people: plain columns, at most 100 wide."""

from dataclasses import dataclass

from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from sandbox.demo.coverage import Coverage
from sandbox.demo.json_text import json_text
from sandbox.demo.process_usage import ProcessUsage
from sandbox.demo.snapshot import CONTAINER, POINTER, Dataset, Snapshot

WIDTH = 100
NAME_WIDTH = 16
COUNTED_WIDTH = 28


@dataclass(frozen=True)
class Measured:
    """What the run took. `cpu_seconds` and `process` are of the process with app and host, where known."""

    wall_seconds: float
    cpu_seconds: float | None
    process: ProcessUsage | None


def heading(console: Console, title: str, note: str = "") -> None:
    console.print()
    line(console, (title, "bold"), (f"  {note}" if note else "", "dim"))


def fact(console: Console, name: str, text: str) -> None:
    """A name and what is to say about it."""
    line(console, (f"  {name:<{NAME_WIDTH}}", "dim"), text)


def line(console: Console, *parts: str | tuple[str, str]) -> None:
    """One line, whole: a path or URL that is broken cannot be copied."""
    console.print(Text.assemble(*parts), soft_wrap=True)


def show_published(console: Console, snapshot: Snapshot) -> None:
    manifest = snapshot.manifest
    heading(console, "Published", f"run {manifest.run_id}, {manifest.kind}, sequence {manifest.sequence}")
    line(console, (f"  {'dataset':<{NAME_WIDTH}}{'rows':>10}{'parts':>9}{'size':>12}", "dim"))
    for name, dataset in manifest.datasets.items():
        line(console, f"  {name:<{NAME_WIDTH}}{dataset.rows:>10,}{_where(dataset)}")


def _where(dataset: Dataset) -> str:
    if dataset.parts:
        return f"{len(dataset.parts):>9}{size(dataset.bytes):>12}"
    return "   in the users" if dataset.status == "complete" else f"   {dataset.status}: {dataset.reason}"


def show_cost(console: Console, snapshot: Snapshot, measured: Measured) -> None:
    heading(console, "Cost")
    graph = snapshot.manifest.graph
    fact(
        console,
        "Graph",
        f"{graph.requests:,} requests, {graph.resource_units:,} resource units, "
        f"{graph.throttled:,} throttled, {graph.retried:,} retried",
    )
    fact(console, "time", f"{measured.wall_seconds:.1f} s from the timer to the new snapshot")
    if measured.cpu_seconds is None or measured.process is None:
        fact(console, "worker", "CPU and memory are only known on Linux")
        return
    peak = size(measured.process.peak_memory)
    fact(
        console, "worker", f"{measured.cpu_seconds:.1f} s of CPU, {peak} at its peak, the local host included"
    )


def show_coverage(console: Console, coverage: Coverage) -> None:
    known = coverage.known
    heading(console, "Authentication", f"of the {known:,} users that the report covers")
    _counted(console, "MFA registered", coverage.registered, share(coverage.registered, known))
    _counted(console, "MFA capable", coverage.capable, share(coverage.capable, known))
    _counted(console, "passwordless capable", coverage.passwordless, share(coverage.passwordless, known))
    without = coverage.admins_without_mfa
    _counted(console, "admins without MFA", without, f"of {coverage.admins:,}", "red" if without else "")
    heading(console, "Users", f"{coverage.users:,}")
    for name, count in (
        ("guests", coverage.guests),
        ("disabled", coverage.disabled),
        ("not covered by the report", coverage.not_covered),
    ):
        _counted(console, name, count, share(count, coverage.users))


def _counted(console: Console, name: str, count: int, of: str, style: str = "") -> None:
    line(console, (f"  {name:<{COUNTED_WIDTH}}", "dim"), (f"{count:>8,}", style), f"{of:>8}")


def show_files(console: Console, snapshot: Snapshot, shown_directory: str) -> None:
    heading(console, "Files", f"of container `{CONTAINER}`, copied to {shown_directory}/")
    first = snapshot.manifest.datasets["users"].parts[0].path
    shortened = first[: len("parts/users/") + 8] + "*"
    fact(console, "pointer", POINTER)
    fact(console, "manifest", snapshot.manifest_path)
    fact(console, "look inside", f"gzip -dc {shown_directory}/{shortened} | head -1 | python3 -m json.tool")


def show_document(console: Console, title: str, note: str, document: object) -> None:
    heading(console, title, note)
    text = json_text(document, WIDTH)
    if console.is_terminal:
        console.print(Syntax(text, "json", theme="ansi_dark", background_color="default"))
    else:
        console.out(text, highlight=False)


def size(count: int) -> str:
    """Bytes for reading, in units of 1024."""
    if count < 1024:
        return f"{count} B"
    if count < 1024 * 1024:
        return f"{count / 1024:.0f} KiB"
    return f"{count / 1024 / 1024:.1f} MiB"


def share(count: int, of: int) -> str:
    return f"{count / of:.0%}" if of else ""
