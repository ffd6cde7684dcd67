"""Starts the processes that are measured, in turn, and collects what they print."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import msgspec

from bench.processes.sync import STORAGE
from bench.results import (
    FloorCost,
    IndexingCost,
    IndexingPair,
    Machine,
    Repetition,
    Results,
    SyncCost,
    TypedCost,
)
from bench.scale import Scale
from bench.server import REQUESTS, Ready
from sandbox.azurite import Azurite

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
        return _measure(TypedCost, "typed", "--origin", self.origin, "--pages", str(plan.typed_group_pages))

    def sync(self, *arguments: str) -> SyncCost:
        """One sync into an Azurite of its own, so that none inherits another's blobs."""
        before = self._requests()
        with Azurite() as azurite:
            environment = {STORAGE: azurite.account().connection_string}
            cost = _measure(SyncCost, "sync", "--origin", self.origin, *arguments, environment=environment)
        cost.requests = self._requests() - before - _WARM_UP_REQUESTS
        return cost

    def _requests(self) -> int:
        with urlopen(f"{self.origin}{REQUESTS}") as answer:
            return int(answer.read())


@contextmanager
def serving(plan: Plan) -> Iterator[Served]:
    """Make the pages and serve them from another process."""
    with TemporaryDirectory(prefix="bench-") as name:
        command = [sys.executable, "-m", "bench.server", *plan.scale.arguments()]
        command += ["--directory", name, "--listed-users", str(plan.typed_users)]
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
    with serving(plan) as served:
        repetitions = []
        for number in range(1, plan.repetitions + 1):
            say(f"repetition {number} of {plan.repetitions}: floor, sync, sync without formats")
            repetitions.append(Repetition(served.floor(), served.sync(), served.sync("--formats", "")))
        say("the SDK's typed loop")
        typed = served.typed(plan)
        facts = served.facts
    say("cold start")
    return Results(plan.scale, _machine(), facts, repetitions, typed, _indexing(plan.indexing_pairs))


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
    command = [sys.executable, "-m", f"bench.processes.{module}", *arguments]
    ended: subprocess.CompletedProcess[Any] = subprocess.run(
        command, cwd=ROOT, env=os.environ | (environment or {}), capture_output=True, check=False
    )
    if ended.returncode:
        raise Failed(f"The process `{module}` failed:\n{ended.stderr.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(ended.stdout.splitlines()[-1], type=kind)


def _machine() -> Machine:
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return Machine(os.cpu_count() or 1, model, platform.python_version())
