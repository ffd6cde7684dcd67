"""Progress of a run: moving bars on a terminal, a line for each change elsewhere."""

from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from sandbox.demo.app_api import CurrentRun, DatasetProgress

BUILD = "build"


class ProgressView(Protocol):
    """Shows the states of one run, as they come."""

    def show(self, run: CurrentRun) -> None: ...

    def finish(self) -> None:
        """The run was published: everything that was shown has ended."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def progress_view(console: Console) -> ProgressView:
    return Bars(console) if console.is_terminal else Lines(console)


class Bars:
    """One bar for each dataset, and one for the build."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("  {task.description:<16}"),
            BarColumn(bar_width=36),
            TextColumn("{task.fields[counted]:>18}"),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._stack = ExitStack()

    def show(self, run: CurrentRun) -> None:
        for name, dataset in run.datasets.items():
            ended = dataset.status != "reading"
            # Rows are counted at the end of a slice; until then the bar only shows that something is done.
            total = max(dataset.rows, 1) if ended else dataset.total if dataset.rows else None
            self._update(name, dataset.rows, total, counted_rows(dataset), state_of(dataset), ended=ended)
        if run.status == "building":
            build = run.build
            counted = f"{build.done} of {build.of} buckets"
            self._update(BUILD, build.done, build.of, counted, "building", ended=build.done == build.of)

    def finish(self) -> None:
        for task in self._progress.tasks:
            if not task.finished:
                total = task.total or max(task.completed, 1)
                counted = str(task.fields["counted"])
                if task.description == BUILD:
                    counted = f"{total:.0f} of {total:.0f} buckets"
                self._progress.update(
                    task.id, completed=total, total=total, state="complete", counted=counted
                )

    def _update(
        self, name: str, done: int, total: int | None, counted: str, state: str, *, ended: bool
    ) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, counted="", state="")
        completed = total if ended and total else done
        self._progress.update(
            self._tasks[name], completed=completed, total=total, counted=counted, state=state
        )

    def __enter__(self) -> Self:
        self._stack.enter_context(self._progress)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


class Lines:
    """A line whenever a dataset has gone on, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, tuple[str, str]] = {}
        self._buckets = 0

    def show(self, run: CurrentRun) -> None:
        for name, dataset in run.datasets.items():
            self._line(name, counted_rows(dataset), state_of(dataset))
        if run.status == "building":
            self._buckets = run.build.of
            self._line(BUILD, f"{run.build.done} of {run.build.of} buckets", "building")

    def finish(self) -> None:
        # What ended after the last look is told without a number: the summary has it.
        for name, (_, state) in list(self._shown.items()):
            if state == "reading":
                self._line(name, "", "complete")
        if self._buckets:
            self._line(BUILD, f"{self._buckets} of {self._buckets} buckets", "complete")

    def _line(self, name: str, counted: str, state: str) -> None:
        if self._shown.get(name) != (counted, state):
            self._shown[name] = (counted, state)
            self._console.print(f"  {name:<16}{counted:>18}   {state}", highlight=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def counted_rows(dataset: DatasetProgress) -> str:
    if dataset.status == "reading" and dataset.total:
        return f"{dataset.rows:,} of {dataset.total:,}"
    return f"{dataset.rows:,}"


def state_of(dataset: DatasetProgress) -> str:
    return f"{dataset.status} ({dataset.reason})" if dataset.reason else dataset.status
