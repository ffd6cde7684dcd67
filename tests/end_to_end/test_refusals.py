"""What keeps the sandbox from starting is told in one sentence, with exit code 1."""

import socket
from pathlib import Path

import pytest

import sandbox.azurite
from sandbox.__main__ import main
from tests.end_to_end.command import run


def test_without_node(tmp_path: Path) -> None:
    code, _, errors = run("demo", "--users=20", f"--directory={tmp_path}", PATH=str(tmp_path))
    assert code == 1
    assert errors == "Node.js is not installed: Azurite needs version 18 or newer.\n"


def test_with_an_old_node(tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v16.20.2\n")
    node.chmod(0o755)
    code, _, errors = run("demo", "--users=20", f"--directory={tmp_path}", PATH=str(tmp_path))
    assert code == 1
    assert errors == "Node.js is v16.20.2, but Azurite needs version 18 or newer.\n"


def test_without_azurite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sandbox.azurite, "SCRIPT", tmp_path / "azurite.js")
    monkeypatch.setattr("sys.argv", ["sandbox", "demo", "--users=20", f"--directory={tmp_path}"])
    assert main() == 1
    errors = capsys.readouterr().err
    assert "run `make setup`" in errors
    assert errors.count("\n") == 1


def test_with_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code, _, errors = run("run", f"--port={port}", f"--directory={tmp_path}")
    assert code == 1
    assert errors == f"Port {port} is in use: choose another with --port, or a free one with --port 0.\n"


def test_with_an_app_that_does_not_start(tmp_path: Path) -> None:
    code, _, errors = run("run", "--users=20", "--port=0", "--schedule=hourly", f"--directory={tmp_path}")
    assert code == 1
    assert errors.startswith("The app did not start: The 'directory_timer' function is in error")
    assert errors.count("\n") == 1
    assert str(tmp_path / "host.log") in errors
