"""A child process: ready or not, stopped, and ended with its parent."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from sandbox.services.child import Child, inherited_environment
from sandbox.services.errors import SandboxError


def host(app: Path, log: Path) -> Child:
    return Child(
        "The app", "sandbox.host", f"--app={app}", environment=os.environ, ready="Host ready on", log=log
    )


async def test_app_that_cannot_be_indexed_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    (tmp_path / "function_app.py").write_text("import a_package_that_is_not_there\n")
    async with host(tmp_path, tmp_path / "log") as child:
        with pytest.raises(SandboxError) as raised:
            await child.until_ready()
    sentence = str(raised.value)
    assert sentence.startswith("The app did not start: The app could not be indexed:")
    assert "a_package_that_is_not_there" in sentence
    assert "\n" not in sentence
    assert child.exit_code == 1


async def test_child_ends_with_its_input(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sandbox.services.leashed",
        "http.server",
        "--bind=127.0.0.1",
        "0",
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(10):
        assert (await process.stdout.readline()).startswith(b"Serving HTTP")
        process.stdin.close()
        assert await process.wait() == -signal.SIGTERM


def test_child_gets_no_settings_and_no_proxy_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTRA_TENANT_ID", "a real one")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    environment = inherited_environment(without=("ENTRA_",))
    assert "ENTRA_TENANT_ID" not in environment
    assert environment["NO_PROXY"] == "intranet.example,127.0.0.1,localhost"
    assert environment["PATH"] == os.environ["PATH"]
