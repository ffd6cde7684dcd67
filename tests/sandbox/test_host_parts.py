"""Parts of the host that need no process: routes, settings, schedules, paces, log lines, limits."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.host.console import CategoryFilter, LineFormatter
from sandbox.host.errors import InvalidSetting, InvocationFailed, UnsupportedApp
from sandbox.host.invocations import Invocations
from sandbox.host.pace import Pace
from sandbox.host.routes import RouteTable, parse_route
from sandbox.host.settings import HostSettings, read_host_json, read_local_settings, time_span
from sandbox.host.timer_trigger import Schedule, Timer
from sandbox.host.worker import Datum, Worker


def table(*templates: str, prefix: str = "api") -> RouteTable:
    return RouteTable([parse_route(template, template, ["get"], prefix) for template in templates])


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("users/{id}", "/api/users/a%20b", {"id": "a b"}),
        ("users/{id?}", "/api/users", {}),
        (
            "users/{id:guid}",
            "/api/USERS/0A000000-0000-0000-0000-000000000001",
            {"id": "0A000000-0000-0000-0000-000000000001"},
        ),
        ("files/{*rest}", "/api/files/a/b", {"rest": "a/b"}),
        ("files/{*rest}", "/api/files", {}),
        ("{name}.json", "/api/report.json", {"name": "report"}),
        ("users/{id}", "/api/users", None),
        ("users/{id:int}", "/api/users/ada", None),
    ],
)
def test_route(template: str, path: str, parameters: dict[str, str] | None) -> None:
    found = table(template).find("GET", path)
    assert (found and found[1]) == parameters


def test_empty_route_prefix() -> None:
    assert table("users", prefix="").find("GET", "/users") is not None


def test_bad_routes_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="unbalanced brace"):
        table("x/{bad")
    with pytest.raises(UnsupportedApp, match="'regex"):
        table("x/{id:regex(a)}")
    with pytest.raises(InvalidSetting, match="the same route /api/users"):
        RouteTable([parse_route(name, "users", [], "api") for name in ("one", "two")])


def test_host_json(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    path.write_text('{"version": "2.0"}')
    settings = read_host_json(path)
    assert (settings.route_prefix, settings.function_timeout) == ("api", timedelta(minutes=30))
    assert (settings.queues.batch_size, settings.queues.max_dequeue_count, settings.queues.base64) == (
        16,
        5,
        True,
    )
    document = {
        "version": "2.0",
        "functionTimeout": "-1",
        "logging": {"logLevel": {"default": "Warning", "Function": "Error", "Function.sync.User": "Debug"}},
        "extensions": {
            "http": {"routePrefix": ""},
            "queues": {"batchSize": 1, "messageEncoding": "none", "visibilityTimeout": "00:00:10"},
        },
    }
    path.write_text(json.dumps(document))
    settings = read_host_json(path)
    assert (settings.route_prefix, settings.function_timeout, settings.queues.base64) == ("", None, False)
    assert (settings.queues.new_batch_threshold, settings.queues.visibility_timeout) == (
        0,
        timedelta(seconds=10),
    )
    levels = [settings.log_level(name) for name in ("Host.Http", "Function.sync", "Function.sync.User")]
    assert levels == [logging.WARNING, logging.ERROR, logging.DEBUG]


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("{", "is not JSON"),
        ("{}", '"version": "2.0"'),
        ('{"version": "2.0", "functionTimeout": "5 minutes"}', "not a time span"),
        ('{"version": "2.0", "extensions": {"queues": {"batchSize": 33}}}', "must be from 1 to 32"),
        ('{"version": "2.0", "extensions": {"queues": {"messageEncoding": "hex"}}}', "base64 or none"),
        ('{"version": "2.0", "logging": {"logLevel": {"default": "Loud"}}}', "not a log level"),
    ],
)
def test_bad_host_json_is_refused(tmp_path: Path, document: str, complaint: str) -> None:
    path = tmp_path / "host.json"
    path.write_text(document)
    with pytest.raises(InvalidSetting, match=complaint):
        read_host_json(path)


def test_time_span_with_days() -> None:
    assert time_span("1.02:03:04") == timedelta(days=1, hours=2, minutes=3, seconds=4)


def test_environment_wins_over_local_settings(tmp_path: Path) -> None:
    path = tmp_path / "local.settings.json"
    path.write_text(json.dumps({"IsEncrypted": False, "Values": {"A": "file", "B": "file"}}))
    environment = {"A": "environment"}
    read_local_settings(path, environment)
    assert environment == {"A": "environment", "B": "file"}


@pytest.mark.parametrize(
    ("expression", "following"),
    [
        ("0 */5 * * * *", "2026-01-01T00:05:00+00:00"),
        ("30 0 5 * * MON-FRI", "2026-01-01T05:00:30+00:00"),
        ("*/5 * * * *", "2026-01-01T00:05:00+00:00"),
        # Day and weekday both: the first 13th that is a Friday.
        ("0 0 0 13 * 5", "2026-02-13T00:00:00+00:00"),
    ],
)
def test_schedule(expression: str, following: str) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert Schedule("tick", expression).next_after(moment) == datetime.fromisoformat(following)


@pytest.mark.parametrize(
    "expression", ["", "@daily", "0 0 0 L * *", "61 * * * * *", "* * * * * * *", "00:05:00"]
)
def test_what_ncrontab_does_not_know_is_refused(expression: str) -> None:
    with pytest.raises(InvalidSetting, match="'tick' function is in error"):
        Schedule("tick", expression)


async def test_timer_fires_on_startup_and_on_time() -> None:
    payloads: list[dict[str, Any]] = []
    twice = asyncio.Event()

    async def invoke(payload: Datum) -> None:
        payloads.append(json.loads(payload.value))
        if len(payloads) == 2:
            twice.set()
        raise InvocationFailed("tick", "a failure does not end the timer")

    timer = Timer("tick", Schedule("tick", "* * * * * *"), invoke, on_startup=True)
    task = asyncio.create_task(timer.run())
    async with asyncio.timeout(10):
        await twice.wait()
    task.cancel()
    first, second = payloads
    assert set(first) == {"Schedule", "ScheduleStatus", "IsPastDue"}
    assert first["ScheduleStatus"]["Last"] == "0001-01-01T00:00:00+00:00"
    assert second["ScheduleStatus"]["Last"] > "2026"


async def test_pace_waits_little_after_work_and_wakes_for_work() -> None:
    pace = Pace()
    started = time.monotonic()
    await pace.wait()
    assert 0.04 < time.monotonic() - started < 0.5
    pace._seen_at -= 60
    asyncio.get_running_loop().call_later(0.05, pace.work_seen)
    started = time.monotonic()
    await pace.wait()
    assert time.monotonic() - started < 0.8


class EndlessWorker(Worker):
    async def invoke(self, name: str, inputs: object, trigger_metadata: object = None) -> Datum:
        await asyncio.sleep(60)
        raise AssertionError


async def test_function_timeout_fails_the_invocation() -> None:
    invocations = Invocations(EndlessWorker("."), timedelta(milliseconds=20), Pace())
    with pytest.raises(InvocationFailed, match=r"sync: ran longer than functionTimeout \(0.02 s\)"):
        await invocations.run("sync", "test", {})


async def test_drain_cancels_what_runs_apart() -> None:
    invocations = Invocations(EndlessWorker("."), None, Pace())
    caller = asyncio.create_task(invocations.run_apart("sync", "test", {}))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0)
    assert len(invocations._running) == 1
    await invocations.drain(0.01)
    assert not invocations._running


def record(level: int = logging.INFO, name: str = "shared.sync", **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": name, "msg": "page\nread", "levelno": level, **extra})
    made.levelname = logging.getLevelName(level)
    return made


def test_line_is_one_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        line = LineFormatter(stack_traces=False).format(record(exc_info=sys.exc_info(), rows=9, empty=""))
    assert "INFO    shared.sync: page read  rows=9 empty=''  error=ValueError: two lines (" in line
    assert "\n" not in line


def test_categories_decide_what_is_shown() -> None:
    settings = HostSettings(log_levels={"default": 30, "Function.sync.User": 20})
    inside = CategoryFilter(settings, lambda: "sync")
    outside = CategoryFilter(settings, lambda: None)
    assert inside.filter(record())
    assert not inside.filter(record(name="Function.sync"))
    assert not outside.filter(record())
    everything = CategoryFilter(HostSettings(log_levels={"default": 0}), lambda: None)
    assert everything.filter(record(logging.WARNING, "azure.core"))
    assert not everything.filter(record(name="azure.core"))
