"""What Microsoft's worker finds in function_app.py, and what it loads to find it."""

import importlib.metadata
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from shared.ncrontab import schedule_problem
from shared.settings_table import SETTING
from tests.worker.run import REPOSITORY, Report, run_app

FUNCTIONS: dict[str, list[dict[str, Any]]] = {
    "directory_timer": [
        {
            "direction": "IN",
            "type": "timerTrigger",
            "name": "timer",
            "schedule": "%SYNC_SCHEDULE%",
            "runOnStartup": False,
            "useMonitor": True,
        }
    ],
    "directory_step": [
        {
            "direction": "IN",
            "type": "queueTrigger",
            "name": "message",
            "queueName": "directory-sync",
            "connection": "DIRECTORY_STORAGE",
        }
    ],
    "directory_start": [
        {
            "direction": "IN",
            "type": "httpTrigger",
            "name": "req",
            "methods": ["POST"],
            "authLevel": "FUNCTION",
            "route": "directory/sync",
        },
        {"direction": "OUT", "type": "http", "name": "$return"},
    ],
    "directory_status": [
        {
            "direction": "IN",
            "type": "httpTrigger",
            "name": "req",
            "methods": ["GET"],
            "authLevel": "FUNCTION",
            "route": "directory/status",
        },
        {"direction": "OUT", "type": "http", "name": "$return"},
    ],
    "credentials_validate": [
        {
            "direction": "IN",
            "type": "httpTrigger",
            "name": "req",
            "methods": ["POST"],
            "authLevel": "FUNCTION",
            "route": "credentials/validate",
        },
        {"direction": "OUT", "type": "http", "name": "$return"},
    ],
    "credentials_sweep": [
        {
            "direction": "IN",
            "type": "timerTrigger",
            "name": "timer",
            "schedule": "0 40 3 * * *",
            "runOnStartup": False,
            "useMonitor": True,
        }
    ],
    "connection_test": [
        {
            "direction": "IN",
            "type": "httpTrigger",
            "name": "req",
            "methods": ["GET"],
            "authLevel": "FUNCTION",
            "route": "connection",
        },
        {"direction": "OUT", "type": "http", "name": "$return"},
    ],
}

OWN_MODULES = {
    "functions",
    "functions.connection",
    "functions.credentials",
    "functions.directory_sync",
    "functions.problems",
    "shared",
    "shared.clouds",
    "shared.composition",
    "shared.config",
    "shared.errors",
    "shared.ncrontab",
    "shared.settings_table",
    "shared.storage_clients",
}
"""Loaded at a cold start, beside the standard library. A new one costs every start: think twice."""

BARE_APP = """
import azure.functions as func

app = func.FunctionApp()


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
async def tick(timer: func.TimerRequest) -> None: ...
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def report() -> Report:
    return await run_app([])


@pytest.fixture(scope="module")
def bindings(report: Report) -> list[dict[str, Any]]:
    return [binding for found in report.functions.values() for binding in found]


def test_functions_and_their_bindings(report: Report) -> None:
    assert report.functions == FUNCTIONS


async def test_indexing_loads_a_few_modules_of_our_own_and_no_package(report: Report, tmp_path: Path) -> None:
    """No SDK, no HTTP client, no decoder: against an app that does nothing."""
    (tmp_path / "function_app.py").write_text(BARE_APP)
    bare = await run_app([], app=tmp_path)
    loaded = report.indexed - bare.indexed
    assert {name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names} == OWN_MODULES
    for package in (
        "azure.identity",
        "azure.storage",
        "azure.core",
        "msgraph",
        "httpx",
        "aiohttp",
        "msgspec",
    ):
        assert package not in report.indexed


def test_every_setting_of_a_binding_is_in_the_example(bindings: list[dict[str, Any]]) -> None:
    example = json.loads((REPOSITORY / "local.settings.json.example").read_text())["Values"]
    named = set(re.findall(r"%([^%]+)%", json.dumps(bindings)))
    named |= {binding["connection"] for binding in bindings if "connection" in binding}
    assert named
    assert named <= example.keys()
    assert named <= SETTING.keys()
    for name in named:
        assert example[name], name


def test_schedules_have_six_fields(bindings: list[dict[str, Any]]) -> None:
    schedules = [binding["schedule"] for binding in bindings if binding["type"] == "timerTrigger"]
    assert schedules
    for schedule in schedules:
        text = SETTING[schedule.strip("%")].default if schedule.startswith("%") else schedule
        assert len(text.split()) == 6
        assert schedule_problem(text) is None


def test_queue_names_are_valid(bindings: list[dict[str, Any]]) -> None:
    queues = [binding["queueName"] for binding in bindings if "queueName" in binding]
    assert queues
    for queue in queues:
        assert re.fullmatch(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*", queue)
        # The host adds `-poison` by itself.
        assert len(f"{queue}-poison") <= 63


def test_queue_of_the_trigger_is_the_one_that_is_written_to(bindings: list[dict[str, Any]]) -> None:
    from shared.directory.steps import QUEUE

    assert [b["queueName"] for b in bindings if b["type"] == "queueTrigger"] == [QUEUE]


def test_routes_are_unique_and_behind_a_function_key(bindings: list[dict[str, Any]]) -> None:
    triggers = [binding for binding in bindings if binding["type"] == "httpTrigger"]
    pairs = [(trigger["route"].lower(), method) for trigger in triggers for method in trigger["methods"]]
    assert pairs
    assert len(set(pairs)) == len(pairs)
    assert {trigger["authLevel"] for trigger in triggers} == {"FUNCTION"}
    for route, _ in pairs:
        assert re.fullmatch(r"[a-z0-9-]+(/[a-z0-9-]+)*", route)


def test_no_dependency_shadows_a_package_of_ours() -> None:
    """Azure puts the app's directory last on the path."""
    ours = {"shared", "functions", "function_app", "tests", "sandbox", "infra", "bench"}
    required = {
        re.split(r"[=; \[]", line)[0].lower()
        for line in (REPOSITORY / "requirements.txt").read_text().splitlines()
        if re.match(r"[A-Za-z0-9]", line)
    }
    checked = 0
    for distribution in importlib.metadata.distributions():
        if re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower() not in required:
            continue
        checked += 1
        shipped = {Path(str(file)).parts[0].removesuffix(".py") for file in distribution.files or ()}
        assert not shipped & ours, distribution.metadata["Name"]
    assert checked > 0.9 * len(required)
