"""What a host says when an app cannot run, and what it costs to index one that can."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox.host_process import APP, BINDINGS, REPOSITORY, fail_to_start

STORE = {"STORE": "AccountName=a;AccountKey=YQ==;QueueEndpoint=http://127.0.0.1:1/a"}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    return tmp_path


def write(app: Path, function: str) -> None:
    (app / "function_app.py").write_text(
        f"import azure.functions as func\napp = func.FunctionApp()\n{function}\n"
    )


def test_missing_setting_is_named() -> None:
    said = fail_to_start(STORE | {"HOST_APP_QUEUE": ""})
    assert said == (
        "The 'hear' function is in error: '%HOST_APP_QUEUE%' does not resolve to a value. "
        "Set the app setting HOST_APP_QUEUE.\n"
    )


def test_missing_connection_is_named() -> None:
    assert "Set the app setting STORE (connection string) or STORE__queueServiceUri" in fail_to_start({})


def test_bad_schedule_is_named() -> None:
    said = fail_to_start(STORE | {"HOST_APP_SCHEDULE": "not a schedule"})
    assert said.startswith(
        "The 'tick' function is in error: the schedule expression 'not a schedule' was not"
    )


def test_exception_while_indexing_is_shown(app: Path) -> None:
    write(app, "import no_such_module")
    said = fail_to_start({}, app)
    assert "\nThe app could not be indexed: ModuleNotFoundError: No module named 'no_such_module'" in said
    assert "function_app.py" in said


def test_wrong_binding_is_shown(app: Path) -> None:
    write(app, "@app.timer_trigger('timer', '0 * * * * *')\ndef tick(clock: func.TimerRequest) -> None: ...")
    assert "FunctionLoadError" in fail_to_start({}, app)


def test_app_without_functions_is_refused(app: Path) -> None:
    write(app, "")
    assert "0 functions found" in fail_to_start({}, app)


def test_missing_app_is_refused(app: Path) -> None:
    assert f"There is no function_app.py in {app}" in fail_to_start({}, app)


def test_unknown_output_binding_is_refused(app: Path) -> None:
    write(
        app,
        "@app.timer_trigger('timer', '0 * * * * *')\n@app.queue_output('out', 'q', 'STORE')\n"
        "def tick(timer: func.TimerRequest, out: func.Out[str]) -> None: ...",
    )
    assert "tick has a queue binding ('out'), which this local host does not do" in fail_to_start({}, app)


WITHIN = """
import asyncio, sys
from sandbox.host.host import Host
from sandbox.host.worker import Worker
heavy = {"aiohttp", "azure.functions", "azure.storage.queue", "croniter"} & set(sys.modules)
assert not heavy, heavy
async def main():
    async with Host(sys.argv[1]) as host:
        assert 0 < host.worker.indexing_seconds < 30
        assert host.worker.function("ECHO").trigger["route"] == "echo/{section}/{id:int?}"
        try:
            await Worker(sys.argv[1]).start()
        except Exception as error:
            print(error)
asyncio.run(main())
"""


def test_within_a_process_there_is_one_app_and_its_indexing_time() -> None:
    outcome = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHIN, str(APP)],
        cwd=REPOSITORY,
        env=os.environ | BINDINGS | STORE,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert outcome.stdout.startswith(f"This process already runs {APP}."), outcome.stderr
    assert outcome.stderr == ""
