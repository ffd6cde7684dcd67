"""A sampling profiler that counts CPU time by line and by phase, and hardly slows what it watches.

A signal comes after some CPU time; the handler books all CPU since the last one for the line that runs. C
code cannot be interrupted, so its time falls to the line that called it, in full, however long it took. What
frees memory counts where the signal is then seen: often the line that a big function returns to.
"""

import linecache
import signal
import time
from collections import defaultdict
from pathlib import Path
from types import CodeType, FrameType

from bench.processes.measure import Stopwatch
from bench.results import Profile, ProfileLine

INTERVAL_SECONDS = 0.001
"""The kernel rounds it up to its own tick, 1 to 4 ms."""

_ROOT = Path(__file__).resolve().parents[2]

type _Line = tuple[CodeType, int]


class Sampler:
    """Samples from its creation to `stop`. One a process, in the main thread."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch
        self._own: dict[_Line, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._inclusive: dict[CodeType, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._samples = 0
        self._last = time.process_time()
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)

    def stop(self) -> Profile:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        functions: dict[CodeType, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for (code, _), phases in self._own.items():
            for phase, seconds in phases.items():
                functions[code][phase] += seconds
        return Profile(
            lines=_ranked([_line(key, phases) for key, phases in self._own.items()]),
            functions=_ranked([_function(code, phases) for code, phases in functions.items()]),
            inclusive=_ranked([_function(code, phases) for code, phases in self._inclusive.items()]),
            samples=self._samples,
        )

    def _sample(self, _: int, frame: FrameType | None) -> None:
        now = time.process_time()
        seconds = now - self._last
        if frame is not None and frame.f_code is _HANDLER:
            return
        self._samples += 1
        phase = self._stopwatch.phase
        if frame is not None:
            self._own[frame.f_code, frame.f_lineno or 0][phase] += seconds
        seen: set[CodeType] = set()
        while frame is not None:
            if frame.f_code not in seen:
                seen.add(frame.f_code)
                self._inclusive[frame.f_code][phase] += seconds
            frame = frame.f_back
        # What the handler itself took is nobody's.
        self._last = time.process_time()


_HANDLER = Sampler._sample.__code__


def _line(key: _Line, phases: dict[str, float]) -> ProfileLine:
    code, number = key
    source = linecache.getline(code.co_filename, number).strip()
    return ProfileLine(f"{_short(code.co_filename)}:{number} {code.co_qualname}", source, dict(phases))


def _function(code: CodeType, phases: dict[str, float]) -> ProfileLine:
    place = f"{_short(code.co_filename)}:{code.co_firstlineno} {code.co_qualname}"
    return ProfileLine(place, "", dict(phases))


def _ranked(lines: list[ProfileLine]) -> list[ProfileLine]:
    return sorted(lines, key=lambda line: line.total, reverse=True)


def _short(path: str) -> str:
    """A path as people write it: within the repository, or within the package."""
    for marker in ("/site-packages/", "/lib/python3.13/"):
        if marker in path:
            return path.rpartition(marker)[2]
    return path.removeprefix(f"{_ROOT}/")
