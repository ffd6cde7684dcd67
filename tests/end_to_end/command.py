"""Runs `python -m sandbox …` as its own process, and knows what it leaves behind."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
MARK = "SANDBOX_TEST"
WARNINGS = "always,ignore::DeprecationWarning"
"""Without deprecations, since those of msgraph-sdk cannot be told apart: it deprecates its own classes."""
DEADLINE_SECONDS = 60


class Command:
    """One call. Every process that it starts carries a mark in its environment."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._mark = uuid.uuid4().hex
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", *arguments],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONWARNINGS": WARNINGS, MARK: self._mark} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def lines_until(self, last: str) -> str:
        """What it prints, up to a line that begins like this."""
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if line.startswith(last):
                return "".join(lines)
        raise AssertionError(f"it ended: {''.join(lines)}{self.end()}")

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Wait; exit code, standard output and standard error."""
        output, errors = self._process.communicate(timeout=DEADLINE_SECONDS)
        return self._process.returncode, output, errors

    def left_behind(self) -> dict[int, str]:
        """Process ids and command lines of processes with our mark that still run."""
        wanted = f"{MARK}={self._mark}".encode()
        found = {}
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (directory / "environ").read_bytes().split(b"\0"):
                    command_line = (directory / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(directory.name)] = command_line.decode()
            except OSError:
                continue  # ended meanwhile, or another user's
        return found

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[Command]:
    """Killed at the end, if it still runs; what it started has to be gone a little later."""
    command = Command(*arguments, **environment)
    try:
        yield command
    finally:
        command.kill()
        deadline = time.monotonic() + 10
        while left := command.left_behind():
            assert time.monotonic() < deadline, left
            time.sleep(0.05)


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error; nothing may be left at the moment of its end."""
    with started(*arguments, **environment) as command:
        outcome = command.end()
        assert command.left_behind() == {}
    return outcome
