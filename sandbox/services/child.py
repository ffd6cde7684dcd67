"""One Python module as a process of its own: started, waited for until it is ready, stopped."""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from sandbox.services.errors import SandboxError

REPOSITORY = Path(__file__).parents[2]
STOP_SECONDS = 15.0
READY_SECONDS = 60.0


class Child:
    """A process that says `<ready> <url>` on its standard output once it is ready.

    Its output goes to `log`. It ends when we do, however we end (`sandbox.services.leashed`), and it does
    not see the terminal's Ctrl-C: children are stopped in order, each while what it needs is still there.
    """

    def __init__(
        self, name: str, module: str, *arguments: str, environment: Mapping[str, str], ready: str, log: Path
    ) -> None:
        self.name = name
        self.log = log
        self.url = ""
        self._command = [sys.executable, "-m", "sandbox.services.leashed", module, *arguments]
        self._environment = environment
        self._ready = ready
        self._process: asyncio.subprocess.Process | None = None
        self._output: IO[bytes] | None = None
        self._copying: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.returncode if self._process else None

    async def start(self) -> None:
        """Start, without waiting until it is ready."""
        self._output = self.log.open("wb")
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=REPOSITORY,
            env=dict(self._environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._output,
            process_group=0,
        )

    async def until_ready(self) -> str:
        """Wait; returns the URL. Raises SandboxError with the last line that it wrote."""
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_SECONDS):
                line = (await self._process.stdout.readline()).decode().strip()
                if not line.startswith(self._ready):
                    await self._process.wait()
                    raise SandboxError(f"{self.name} did not start: {self.last_words()} (log: {self.log})")
        except TimeoutError:
            raise SandboxError(
                f"{self.name} was not ready within {READY_SECONDS:g} s (log: {self.log})."
            ) from None
        self.url = line.removeprefix(self._ready).strip()
        self._copying = asyncio.create_task(self._copy_output())
        return self.url

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, and kill it if it does not."""
        if self._process is not None:
            if self._process.returncode is None:
                with suppress(ProcessLookupError):
                    self._process.terminate()
                try:
                    async with asyncio.timeout(STOP_SECONDS):
                        await self._process.wait()
                except TimeoutError:
                    self._process.kill()
                    await self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()
        if self._copying is not None:
            await self._copying
            self._copying = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def last_words(self) -> str:
        """The line of the log that says best why it ended."""
        lines = [line.strip() for line in self.log.read_text("utf-8", "replace").splitlines() if line.strip()]
        # A failed start of the app is told with a stack trace behind the sentence, and a path in it.
        sentences = [line for line in lines if line.startswith("The app could not be indexed")]
        return (sentences or lines or ["it said nothing"])[-1].partition(" Current sys.path:")[0]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _copy_output(self) -> None:
        """Keep the pipe empty: a full one would block the process."""
        assert self._process is not None
        assert self._process.stdout is not None
        while chunk := await self._process.stdout.read(65536):
            if self._output is not None:
                self._output.write(chunk)
                self._output.flush()


def inherited_environment(without: tuple[str, ...]) -> dict[str, str]:
    """Our environment for a child, without settings of the app, and never through a proxy to loopback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    hosts = ",".join(filter(None, (kept.get("NO_PROXY", ""), "127.0.0.1,localhost")))
    return kept | {"NO_PROXY": hosts, "no_proxy": hosts}
