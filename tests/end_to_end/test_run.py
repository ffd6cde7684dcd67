"""`make sandbox`: it answers, and it ends when it is told to, or when it is killed."""

import json
import os
import re
import signal
import ssl
import time
from pathlib import Path

import httpx

from tests.end_to_end.command import run, started
from tests.sandbox.host_process import REPOSITORY, HostProcess

LAST_LINE = "Ctrl-C"


def test_it_answers_until_ctrl_c(tmp_path: Path) -> None:
    with started("run", "--users=50", "--port=0", f"--directory={tmp_path}") as command:
        printed = command.lines_until(LAST_LINE)
        app = _url(printed, "App")
        assert "GET   /api/directory/status" in printed
        assert "timer directory_timer, by SYNC_SCHEDULE" in printed
        status = httpx.get(f"{app}/api/directory/status").raise_for_status().json()
        assert status == {"current": None, "published": None, "held": None}

        trusted = ssl.create_default_context(cafile=tmp_path / "certificates" / "authority.pem")
        tenant = _url(printed, "Tenant")
        churned = httpx.post(f"{tenant}/_sandbox/churn", json={"count": 5}, verify=trusted)
        assert churned.raise_for_status().json()["changes"] > 0

        asked = time.monotonic()
        command.send(signal.SIGINT)
        code, _, errors = command.end()
        assert (code, errors) == (0, "")
        assert time.monotonic() - asked < 10
        assert command.left_behind() == {}


def test_nothing_survives_a_kill(tmp_path: Path) -> None:
    with started("run", "--users=50", "--port=0", f"--directory={tmp_path}") as command:
        command.lines_until(LAST_LINE)
        assert len(command.left_behind()) == 4  # itself, tenant, Azurite, host
        command.send(signal.SIGKILL)
    # The context waits for the rest to go.


def test_an_end_of_the_app_is_told(tmp_path: Path) -> None:
    with started("run", "--users=50", "--port=0", f"--directory={tmp_path}") as command:
        command.lines_until(LAST_LINE)
        (host,) = (pid for pid, line in command.left_behind().items() if "sandbox.host" in line)
        os.kill(host, signal.SIGKILL)
        code, _, errors = command.end()
        assert code == 1
        assert errors.startswith("The app ended: ")
        assert errors.count("\n") == 1
        assert command.left_behind() == {}


def test_one_sandbox_a_directory(tmp_path: Path) -> None:
    arguments = ("run", "--users=50", "--no-host", f"--directory={tmp_path}")
    with started(*arguments) as command:
        command.lines_until(LAST_LINE)
        assert run(*arguments) == (
            1,
            "\nEntra Connector sandbox  50 users, seed 7\n",
            f"Another sandbox runs in {tmp_path}: stop it, or choose another place with --directory.\n",
        )
        command.send(signal.SIGTERM)
        code, _, errors = command.end()
        assert (code, errors) == (0, "")


def test_another_host_works_with_the_written_settings(tmp_path: Path) -> None:
    with started("run", "--users=50", "--no-host", f"--directory={tmp_path}") as command:
        printed = command.lines_until(LAST_LINE)
        assert "\nApp " not in printed
        settings = tmp_path / "local.settings.json"
        assert settings.stat().st_mode & 0o077 == 0
        assert json.loads(settings.read_text())["Values"]["SYNC_SCHEDULE"]
        with HostProcess({}, f"--settings={settings}", app=REPOSITORY) as host:
            host.http.post("/api/directory/sync").raise_for_status()
            deadline = time.monotonic() + 20
            while not (status := host.http.get("/api/directory/status").json())["published"]:
                assert time.monotonic() < deadline, status
                time.sleep(0.2)
            assert host.end(signal.SIGTERM)[0] == 0


def _url(printed: str, heading: str) -> str:
    found = re.search(rf"^{heading}  (https?://\S+)", printed, re.M)
    assert found is not None, printed
    return found[1]
