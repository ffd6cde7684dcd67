"""Runs `python -m sandbox.host` as its own process, since the worker library allows one app a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

APP = Path(__file__).parent / "host_app"
REPOSITORY = Path(__file__).parents[2]
READY = "Host ready on "
BINDINGS = {"HOST_APP_SCHEDULE": "0 0 5 1 1 *", "HOST_APP_QUEUE": "work"}


class HostProcess:
    """A host that is up when the context begins, and whose clean end is asserted when it ends."""

    def __init__(self, environment: Mapping[str, str], *options: str, app: Path = APP) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-W", "always", "-m", "sandbox.host", "--app", str(app), *options],
            cwd=REPOSITORY,
            env=os.environ | BINDINGS | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.http = httpx.Client()

    @property
    def log(self) -> str:
        return os.pread(self._log.fileno(), 1_000_000, 0).decode()

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith(READY):
            self.end(signal.SIGKILL)
            raise AssertionError(f"the host is not ready: {line}\n{self.log}")
        self.http.base_url = line.removeprefix(READY).strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            code, log = self.end(signal.SIGTERM)
            if error is None:
                assert code == 0, log
                assert_clean(log)
        self._log.close()

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send the signal and wait; the exit code and everything that was logged."""
        self._process.send_signal(number)
        code = self._process.wait(20)
        self._close()
        return code, self.log

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def _close(self) -> None:
        assert self._process.stdout is not None
        self._process.stdout.close()
        self.http.close()

    def seen(self) -> list[dict[str, Any]]:
        """What the app's functions were given."""
        return list(self.http.get("/api/seen").raise_for_status().json())


def assert_clean(log: str) -> None:
    for word in ("Traceback", "Unclosed", "unclosed", "never retrieved", "was destroyed", "Warning:"):
        assert word not in log, log


def fail_to_start(environment: Mapping[str, str], app: Path = APP) -> str:
    """Run a host that cannot start; what it says. The exit code must be 1."""
    outcome = subprocess.run(
        [sys.executable, "-m", "sandbox.host", "--app", str(app)],
        cwd=REPOSITORY,
        env=os.environ | BINDINGS | dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert outcome.returncode == 1, outcome.stderr
    assert READY not in outcome.stdout
    return outcome.stderr


def eventually[T](look: Callable[[], T], seconds: float = 15) -> T:
    """Look until there is something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.03)
    return found
