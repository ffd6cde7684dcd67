"""Runs an app in Microsoft's worker library, in a process of its own: the library takes one app a process.

`python -m tests.worker.driver <app directory>` reads a JSON list of calls from standard input, does them at
once, and prints a JSON object: the indexed functions, the outcomes, and which modules are loaded after
indexing and after the calls. A call is `{"function", "http": {"method", "url", "body", "headers"}}`,
`{"function", "message", "dequeue_count"}` or `{"function"}` for a timer; with `"after": true` it waits for
those before it.
"""

import asyncio
import json
import logging
import os
import sys
import time
from typing import Any

from sandbox.host.errors import InvocationFailed
from sandbox.host.worker import Datum, Worker

TIMER = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False}


def _texts(values: dict[str, str]) -> dict[str, Datum]:
    return {name: Datum(value, "string") for name, value in values.items()}


def _inputs(call: dict[str, Any], trigger: dict[str, Any]) -> tuple[dict[str, Datum], dict[str, Datum]]:
    if "http" in call:
        request = call["http"]
        datum = Datum(
            {
                "method": Datum(request["method"], "string"),
                "url": Datum(request["url"], "string"),
                "headers": _texts({"content-type": "application/json"} | request.get("headers", {})),
                "params": {},
                "query": {},
                "body": Datum(request["body"].encode("latin-1"), "bytes"),
            },
            "http",
        )
        return {trigger["name"]: datum}, {}
    if "message" in call:
        body = Datum(call["message"], "string")
        metadata = {
            "Id": Datum("1", "string"),
            "PopReceipt": Datum("1", "string"),
            "DequeueCount": Datum(json.dumps(call.get("dequeue_count", 1)), "json"),
        }
        return {trigger["name"]: body}, metadata
    return {trigger["name"]: Datum(json.dumps(TIMER), "json")}, {}


async def _outcome(worker: Worker, call: dict[str, Any]) -> dict[str, Any]:
    inputs, metadata = _inputs(call, worker.function(call["function"]).trigger)
    started = time.perf_counter()
    try:
        value = await worker.invoke(call["function"], inputs, metadata)
    except InvocationFailed as failed:
        return {"failed": str(failed), "seconds": time.perf_counter() - started}
    outcome: dict[str, Any] = {"seconds": time.perf_counter() - started}
    if value is not None and value.type == "http":
        http: dict[str, Any] = value.value
        outcome |= {
            "status": int(http["status_code"].value),
            "headers": {name.lower(): header.value for name, header in http["headers"].items()},
            "body": bytes(http["body"].value).decode(),
        }
    return outcome


async def _main(app: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    worker = Worker(app)
    await worker.start()
    indexed = sorted(sys.modules)
    outcomes: list[dict[str, Any]] = []
    together: list[dict[str, Any]] = []
    for call in [*calls, {"after": True}]:
        if call.get("after"):
            outcomes += await asyncio.gather(*(_outcome(worker, one) for one in together))
            together = []
        together.append(call)
    return {
        "functions": {function.name: function.bindings for function in worker.functions},
        "seconds": worker.indexing_seconds,
        "indexed": indexed,
        "outcomes": outcomes,
    }


class _WithFields(logging.Formatter):
    """What a record says, and why: both may hold what must not be told."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{super().format(record)} {record.__dict__.get('why', '')}"


class _WithAllFields(logging.Formatter):
    """What a record says, and all that it holds."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{super().format(record)} {record.__dict__!r}"


class _Loud(logging.Logger):
    """Logs everything, whatever level it is set to."""

    def setLevel(self, level: int | str) -> None:
        """Nothing: the root's level counts."""


if __name__ == "__main__":
    logs_all = "DRIVER_LOGS_ALL" in os.environ
    if logs_all:
        logging.setLoggerClass(_Loud)
    handler = logging.StreamHandler()
    formatter = _WithAllFields if logs_all else _WithFields
    handler.setFormatter(formatter("%(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.DEBUG if logs_all else logging.INFO, handlers=[handler])
    print(json.dumps(asyncio.run(_main(sys.argv[1], json.load(sys.stdin)))))  # noqa: T201
