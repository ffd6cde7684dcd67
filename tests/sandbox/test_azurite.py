"""Azurite: accounts, TLS, kept data, and that no process is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from sandbox import azurite as azurite_module
from sandbox.azurite import Azurite, AzuriteError, StorageAccount
from tests.sandbox.host_process import REPOSITORY, eventually


async def test_accounts_share_nothing() -> None:
    async with Azurite(accounts=200) as azurite:
        for number in (0, 199):
            with QueueServiceClient.from_connection_string(
                azurite.account(number).connection_string
            ) as queues:
                queues.create_queue(f"queue-{number}")
                assert [queue.name for queue in queues.list_queues()] == [f"queue-{number}"]
        wrong = StorageAccount("sandbox3", azurite.account(4).key, *["x"] * 3)
        with (
            QueueServiceClient(azurite.account(3).queue_uri, credential=wrong.key) as queues,
            pytest.raises(ClientAuthenticationError),
        ):
            queues.create_queue("queue")


def test_location_keeps_data(tmp_path: Path) -> None:
    for existing in (set(), {"kept"}):
        with (
            Azurite(location=tmp_path) as azurite,
            BlobServiceClient.from_connection_string(azurite.account().connection_string) as blobs,
        ):
            assert {container.name for container in blobs.list_containers()} == existing
            if not existing:
                blobs.create_container("kept")


def test_missing_installation_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(azurite_module, "SCRIPT", tmp_path / "azurite.js")
    with pytest.raises(AzuriteError, match="run `make setup`"), Azurite():
        pass


def test_missing_node_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AzuriteError, match=r"Node\.js is not installed"), Azurite():
        pass


def test_old_node_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v16.20.2\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AzuriteError, match=r"v16\.20\.2, but Azurite needs version 18"), Azurite():
        pass


def test_failing_start_shows_the_last_output(tmp_path: Path) -> None:
    file = tmp_path / "not a directory"
    file.touch()
    with (
        pytest.raises(AzuriteError, match=r"(?s)exit code 1 before it listened.*not a directory"),
        Azurite(location=file),
    ):
        pass


PARENT = """
import sys, time
from sandbox.azurite import Azurite
with Azurite() as azurite:
    print(azurite._process.pid, flush=True)
    time.sleep(60)
"""


def test_dies_with_a_killed_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        azurite = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    eventually(lambda: not _runs(azurite))


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
        # A process that nobody waits for stays as a zombie in a container without an init.
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False
        )
        return not state.stdout.strip().startswith("Z")
    except ProcessLookupError:
        return False
