"""What a process has used, from Linux's /proc; elsewhere it is not known."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessUsage:
    """`cpu_seconds` of all its threads, user and system; the most memory that it ever had, in bytes."""

    cpu_seconds: float
    peak_memory: int


def usage_of(pid: int) -> ProcessUsage | None:
    """The usage until now, or None where there is no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
        # The command's name comes in brackets and may hold anything.
        numbers = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    user, system = int(numbers[11]), int(numbers[12])
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return ProcessUsage((user + system) / os.sysconf("SC_CLK_TCK"), int(peak) * 1024)
