"""What a process knows about itself: CPU time, memory, garbage collection."""

import gc
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """The most memory that this process has held, in bytes."""
    # The kernel's own count begins with this program; getrusage also counts what its parent held at the fork.
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Stopwatch:
    """CPU seconds (user and system, all threads of this process) by phase. Phases may lie within others."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = {}
        self._phases = ["start"]
        self._since = 0.0
        """Everything from the start of the interpreter belongs to the first phase."""

    @property
    def phase(self) -> str:
        return self._phases[-1]

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """What runs within is this phase's, and not that of the phase around it."""
        self._book()
        self._phases.append(phase)
        try:
            yield
        finally:
            self._book()
            self._phases.pop()

    def _book(self) -> None:
        now = time.process_time()
        self.cpu[self.phase] = self.cpu.get(self.phase, 0.0) + now - self._since
        self._since = now


class CollectorWatch:
    """CPU seconds of Python's cyclic garbage collector, from now on. They are part of every phase."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self._began = 0.0
        gc.callbacks.append(self._observe)

    def _observe(self, stage: str, _: dict[str, int]) -> None:
        if stage == "start":
            self._began = time.process_time()
        else:
            self.cpu += time.process_time() - self._began
