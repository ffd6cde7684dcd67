"""host.json and the files beside it: what the app relies on in them."""

import ast
import json
import re
import tomllib
from typing import Any

import pytest

from shared.directory.sync import LAST_ATTEMPT
from shared.graph.policy import RetryPolicy
from shared.settings_table import SETTING
from tests.worker.run import REPOSITORY


@pytest.fixture(scope="module")
def host() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((REPOSITORY / "host.json").read_text())
    return document


def seconds(text: str) -> int:
    hours, minutes, rest = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(rest)


def test_last_delivery_is_the_one_that_the_app_takes_for_the_last(host: dict[str, Any]) -> None:
    assert host["extensions"]["queues"]["maxDequeueCount"] == LAST_ATTEMPT


def test_messages_are_base64_as_the_app_writes_them(host: dict[str, Any]) -> None:
    assert host["extensions"]["queues"]["messageEncoding"] == "base64"


def test_longest_slice_ends_before_the_function_is_stopped(host: dict[str, Any]) -> None:
    """With the waits of its last page, and some minutes to store what was read."""
    longest = 1500
    assert str(longest) in SETTING["SYNC_SLICE_SECONDS"].expected
    policy = RetryPolicy()
    waits = (policy.attempts - 1) * policy.longest_wait
    assert longest + waits + 120 < seconds(host["functionTimeout"])


def test_failed_message_comes_again_soon(host: dict[str, Any]) -> None:
    assert 0 < seconds(host["extensions"]["queues"]["visibilityTimeout"]) <= 120


def test_extension_bundle_is_the_current_range(host: dict[str, Any]) -> None:
    assert host["version"] == "2.0"
    assert host["extensionBundle"] == {
        "id": "Microsoft.Azure.Functions.ExtensionBundle",
        "version": "[4.*, 5.0.0)",
    }


def test_routes_begin_with_api(host: dict[str, Any]) -> None:
    assert host["extensions"]["http"]["routePrefix"] == "api"


def test_sdks_do_not_log_a_line_a_request(host: dict[str, Any]) -> None:
    levels = host["logging"]["logLevel"]
    for logger in ("azure", "httpx", "msal"):
        assert levels[logger] in ("Warning", "Error")
    for category in ("default", "Function", "Host.Results"):
        assert levels[category] == "Information"


def test_sampling_drops_no_event(host: dict[str, Any]) -> None:
    """Events are traces; alerts rest on exceptions and requests as well."""
    sampling = host["logging"]["applicationInsights"]["samplingSettings"]
    assert {"Exception", "Request", "Trace"} <= set(sampling["excludedTypes"].split(";"))


@pytest.mark.parametrize("name", [".funcignore", ".gitignore"])
def test_local_settings_leave_neither_by_git_nor_by_deployment(name: str) -> None:
    assert "local.settings.json" in (REPOSITORY / name).read_text().splitlines()


def test_deployment_leaves_out_what_is_not_run() -> None:
    ignored = (REPOSITORY / ".funcignore").read_text().splitlines()
    assert {"tests/", "sandbox/", "docs/", "infra/", "bench/", "requirements-dev.txt"} <= set(ignored)
    kept = {"function_app.py", "functions/", "shared/", "host.json", "requirements.txt"}
    assert not kept & set(ignored)


def test_python_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert (REPOSITORY / ".python-version").read_text().strip().startswith("3.13")
    assert project["project"]["requires-python"] == "==3.13.*"
    assert project["tool"]["ruff"]["target-version"] == "py313"
    assert project["tool"]["mypy"]["python_version"] == "3.13"
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "PYTHON ?= python3.13" in makefile
    assert set(re.findall(r"--python-version (\S+)", makefile)) == {"3.13"}


def test_shared_knows_neither_triggers_nor_tests() -> None:
    """Arrows run one way: functions, shared, SDKs."""
    for path in (REPOSITORY / "shared").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] not in ("functions", "sandbox", "tests", "bench"), path
                assert not name.startswith("azure.functions"), path
