"""Starts Azurite, Microsoft's Storage emulator (Node.js): blob, queue and table on free loopback ports.

Installed by `make setup` into `sandbox/azurite/node_modules`.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import hashlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from sandbox.certificates import ServerCertificates

SCRIPT = Path(__file__).parent / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
OLDEST_NODE = 18
START_SECONDS = 30.0
STOP_SECONDS = 5.0

# Azurite ends when its standard input does. Our end of the pipe closes with this process, however that
# dies, so no emulator is ever left behind; this works on every system, unlike PR_SET_PDEATHSIG.
_LAUNCHER = """
const script = process.argv[1];
process.stdin.on("end", () => process.kill(process.pid, "SIGTERM")).resume();
require(script);
"""
_LISTENING = re.compile(
    r"Azurite (Blob|Queue|Table) service is successfully listening at (https?)://127\.0\.0\.1:(\d+)"
)


class AzuriteError(Exception):
    """Azurite could not be started; the text says what to do."""


@dataclass(frozen=True)
class StorageAccount:
    """One account of the emulator. Accounts share nothing, so each test can have its own."""

    name: str
    key: str
    blob_uri: str
    queue_uri: str
    table_uri: str

    @property
    def connection_string(self) -> str:
        protocol = self.blob_uri.partition(":")[0]
        return (
            f"DefaultEndpointsProtocol={protocol};AccountName={self.name};AccountKey={self.key};"
            f"BlobEndpoint={self.blob_uri};QueueEndpoint={self.queue_uri};TableEndpoint={self.table_uri};"
        )


class Azurite:
    """A running Azurite; a context manager, async and plain, not bound to an event loop.

    With `certificates` it speaks HTTPS and takes bearer tokens (`--oauth basic`: audience, issuer and times
    are checked, the signature is not). Data is in memory unless `location` names a directory.
    """

    def __init__(
        self,
        *,
        accounts: int = 1,
        certificates: ServerCertificates | None = None,
        location: Path | None = None,
    ) -> None:
        self._names = [f"sandbox{number}" for number in range(accounts)]
        self._certificates = certificates
        self._location = location
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._origins: dict[str, str] = {}

    def account(self, number: int = 0) -> StorageAccount:
        """The account of that number, from 0. Its name and key are the same in every run."""
        name = self._names[number]
        return StorageAccount(
            name=name,
            key=_account_key(name),
            blob_uri=f"{self._origins['Blob']}/{name}",
            queue_uri=f"{self._origins['Queue']}/{name}",
            table_uri=f"{self._origins['Table']}/{name}",
        )

    def start(self) -> None:
        """Start and wait until all three services listen, about a second. Raises AzuriteError."""
        node = find_node()
        if not SCRIPT.is_file():
            raise AzuriteError(f"Azurite is not installed ({SCRIPT} is missing): run `make setup`.")
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [node, "-e", _LAUNCHER, str(SCRIPT), *self._options()],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"AZURITE_ACCOUNTS": self._accounts_setting()},
            process_group=0,  # Ctrl-C is for us: whoever uses the storage has to stop first
        )
        atexit.register(self.stop)
        try:
            self._wait_until_listening()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it; with `location`, what it holds is written first. May be called twice."""
        atexit.unregister(self.stop)
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _options(self) -> list[str]:
        # Port 0 lets the system choose: no race between finding a free port and using it.
        options = ["--blobPort", "0", "--queuePort", "0", "--tablePort", "0"]
        options += ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        options += ["--location", str(self._location)] if self._location else ["--inMemoryPersistence"]
        if self._certificates:
            options += ["--oauth", "basic"]
            options += ["--cert", str(self._certificates.certificate), "--key", str(self._certificates.key)]
        return options

    def _accounts_setting(self) -> str:
        return ";".join(f"{name}:{_account_key(name)}" for name in self._names)

    def _wait_until_listening(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while len(self._origins) < 3:
            if self._process.poll() is not None:
                raise AzuriteError(
                    f"Azurite ended with exit code {self._process.returncode} before it listened. "
                    f"Its last output:\n{self._last_output()}"
                )
            if time.monotonic() > deadline:
                raise AzuriteError(
                    f"Azurite did not listen within {START_SECONDS:g} s. "
                    f"Its last output:\n{self._last_output()}"
                )
            time.sleep(0.02)
            for service, protocol, port in _LISTENING.findall(self._all_output()):
                # The SDK would spend 15 s in retries on a port that does not answer yet.
                with socket.create_connection(("127.0.0.1", int(port)), timeout=5):
                    self._origins[service] = f"{protocol}://127.0.0.1:{port}"

    def _all_output(self) -> str:
        assert self._output is not None
        # os.pread leaves the offset alone, which the child shares.
        descriptor = self._output.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode("utf-8", "replace")

    def _last_output(self) -> str:
        return "\n".join(self._all_output().splitlines()[-15:])


def find_node() -> str:
    """Path of Node.js. Raises AzuriteError when it is missing or too old."""
    node = shutil.which("node")
    if node is None:
        raise AzuriteError(f"Node.js is not installed: Azurite needs version {OLDEST_NODE} or newer.")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        raise AzuriteError(f"Node.js is {version}, but Azurite needs version {OLDEST_NODE} or newer.")
    return node


def _account_key(name: str) -> str:
    return base64.b64encode(hashlib.sha512(name.encode()).digest()).decode()
