"""Starts the processes that are measured, in turn, and collects what they print."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import msgspec

from bench.pages.changes import ROUNDS
from bench.processes.engine import STORAGE
from bench.results import (
    FloorCost,
    Growth,
    IndexingCost,
    IndexingPair,
    Machine,
    Repetition,
    Results,
    Sized,
    SyncCost,
    TypedCost,
    WorkerCost,
)
from bench.scale import Scale
from bench.server import REQUESTS, Ready
from sandbox.azurite import Azurite
from shared.graph.queries import LIST_PAGE

ROOT = Path(__file__).resolve().parents[1]
_WARM_UP_REQUESTS = 1

_EMPTY_APP = """\
import azure.functions as func

app = func.FunctionApp()


@app.route("ping")
def ping(req: func.HttpRequest) -> str:
    return "pong"
"""


class Plan(msgspec.Struct, frozen=True):
    """How much is measured how often."""

    scale: Scale
    repetitions: int = 3
    typed_users: int = 2_000
    typed_group_pages: int = 5
    indexing_pairs: int = 9


class Failed(Exception):
    """A measured process ended badly; the text is its last output."""


class Served:
    """The running server and its pages."""

    def __init__(self, ready: Ready, directory: Path) -> None:
        self.origin = ready.origin
        self.facts = ready.facts
        self._directory = directory

    def floor(self) -> FloorCost:
        return _measure(FloorCost, "floor", "--directory", str(self._directory))

    def typed(self, plan: Plan) -> TypedCost:
        pages = ["--user-pages", str(ceil(plan.typed_users / LIST_PAGE))]
        pages += ["--group-pages", str(plan.typed_group_pages)]
        return _measure(TypedCost, "typed", "--origin", self.origin, *pages)

    def sync(self, *arguments: str) -> SyncCost:
        """One full sync into an Azurite of its own, so that none inherits another's blobs."""
        return self.syncs(*arguments, rounds=0)[0]

    def syncs(self, *arguments: str, rounds: int = len(ROUNDS)) -> tuple[SyncCost, list[SyncCost]]:
        """A full sync, and another one after each round of changes, each in a process of its own."""
        with Azurite() as azurite:
            full = self._sync(azurite, 0, arguments)
            following = [
                self._sync(azurite, number, [*arguments, *(["--full"] if happened.full else [])])
                for number, happened in enumerate(ROUNDS[:rounds], 1)
            ]
        return full, following

    def workers(self, count: int) -> list[WorkerCost]:
        """One full sync by so many processes, which share a real queue."""
        with Azurite() as azurite:
            environment = {STORAGE: azurite.account().connection_string}
            command = ["worker", "--origin", self.origin]
            processes = [_start(*command, "--first", environment=environment)]
            processes += [_start(*command, environment=environment) for _ in range(count - 1)]
            return [_collect(WorkerCost, "worker", process) for process in processes]

    def _sync(self, azurite: Azurite, number: int, arguments: Sequence[str]) -> SyncCost:
        before = self._requests()
        environment = {STORAGE: azurite.account().connection_string}
        command = ["--origin", self.origin, "--number", str(number), *arguments]
        cost = _measure(SyncCost, "sync", *command, environment=environment)
        cost.requests = self._requests() - before - _WARM_UP_REQUESTS
        return cost

    def _requests(self) -> int:
        with urlopen(f"{self.origin}{REQUESTS}") as answer:
            return int(answer.read())


@contextmanager
def serving(scale: Scale) -> Iterator[Served]:
    """Make the pages and serve them from another process."""
    with TemporaryDirectory(prefix="bench-") as name:
        command = [sys.executable, "-m", "bench.server", *scale.arguments()]
        command += ["--directory", name]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise Failed("The page server did not start.")
            yield Served(msgspec.json.decode(line, type=Ready), Path(name))
        finally:
            process.stdin.close()
            process.wait(10)
            process.stdout.close()


def run(plan: Plan, say: Callable[[str], None]) -> Results:
    """Measure everything. `say` is told what comes next."""
    with serving(plan.scale) as served:
        repetitions = []
        for number in range(1, plan.repetitions + 1):
            say(f"repetition {number} of {plan.repetitions}: floor, sync, what follows, sync without formats")
            floor = served.floor()
            sync, rounds = served.syncs()
            repetitions.append(Repetition(floor, sync, served.sync("--formats", ""), rounds))
        say("the SDK's typed loop")
        typed = served.typed(plan)
        facts = served.facts
    say("cold start")
    return Results(plan.scale, machine(), facts, repetitions, typed, _indexing(plan.indexing_pairs))


def grow(scales: Sequence[Scale], workers: Sequence[int], say: Callable[[str], None]) -> Growth:
    """Measure each scale once, and by so many workers; with none, they are left out."""
    sizes = []
    for scale, count in zip(scales, workers, strict=True):
        say(f"{scale.users:,} users: making the pages")
        with serving(scale) as served:
            say(f"{scale.users:,} users: sync, and what follows")
            sync, rounds = served.syncs()
            if count:
                say(f"{scale.users:,} users: the same sync by {count} workers")
            sizes.append(Sized(scale, served.facts, sync, rounds, served.workers(count) if count else []))
    return Growth(machine(), sizes)


def _indexing(pairs: int) -> list[IndexingPair]:
    with TemporaryDirectory(prefix="bench-app-") as name:
        empty = Path(name)
        (empty / "function_app.py").write_text(_EMPTY_APP)
        (empty / "host.json").write_text('{"version": "2.0"}')
        # Once before, so that no first reading from disk and no compiling is counted.
        for app in (ROOT, empty):
            _measure(IndexingCost, "indexing", "--app", str(app))
        return [
            IndexingPair(
                _measure(IndexingCost, "indexing", "--app", str(ROOT)),
                _measure(IndexingCost, "indexing", "--app", str(empty)),
            )
            for _ in range(pairs)
        ]


def _measure[T](kind: type[T], module: str, *arguments: str, environment: dict[str, str] | None = None) -> T:
    return _collect(kind, module, _start(module, *arguments, environment=environment))


def _start(
    module: str, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"bench.processes.{module}", *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _collect[T](kind: type[T], module: str, process: subprocess.Popen[bytes]) -> T:
    output, errors = process.communicate()
    if process.returncode:
        raise Failed(f"The process `{module}` failed:\n{errors.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(output.splitlines()[-1], type=kind)


def machine() -> Machine:
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return Machine(os.cpu_count() or 1, model, platform.python_version())
