"""An app with every kind of trigger that the local host does. What it was given, `GET /api/seen` tells."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import azure.functions as func
from azure.functions.timer import TimerRequest

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
seen: list[dict[str, object]] = []
log = logging.getLogger("host_app")


def _json(document: object, status: int = 200) -> func.HttpResponse:
    return func.HttpResponse(
        json.dumps(document), status_code=status, mimetype="application/json", headers={"X-From": "app"}
    )


@app.route("echo/{section}/{id:int?}", methods=["POST", "PUT"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    log.info("echo called", extra={"section": req.route_params["section"], "note": "two words"})
    return _json(
        {
            "method": req.method,
            "url": req.url,
            "params": dict(req.route_params),
            "query": dict(req.params),
            "header": req.headers["X-Test"],
            "header_names": sorted(req.headers),
            "body": req.get_body().decode(),
        },
        201,
    )


@app.route("echo/fixed", methods=["POST"])
async def fixed(req: func.HttpRequest) -> str:
    return f"fixed {len(req.get_body())}"


@app.route("seen", methods=["GET"])
def tell(req: func.HttpRequest) -> func.HttpResponse:
    return _json(seen)


@app.route("raise")
def fail(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("no such luck")


@app.route("slow")
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    await asyncio.sleep(float(req.params["seconds"]))
    return _json("late")


@app.route("stuck")
def stuck(req: func.HttpRequest) -> func.HttpResponse:
    time.sleep(float(req.params["seconds"]))
    return _json("late")


@app.timer_trigger("timer", "%HOST_APP_SCHEDULE%", run_on_startup=False, use_monitor=False)
async def tick(timer: func.TimerRequest) -> None:
    assert isinstance(timer, TimerRequest)  # what arrives knows more than the declared type
    seen.append({"timer": timer.schedule_status["Next"], "past_due": timer.past_due})


@app.queue_trigger("message", "%HOST_APP_QUEUE%", "STORE")
async def hear(message: func.QueueMessage) -> None:
    assert message.insertion_time is not None
    assert message.time_next_visible is not None
    text = message.get_body().decode()
    seen.append({"id": message.id, "text": text, "dequeue_count": message.dequeue_count})
    if text == "slow":
        await asyncio.sleep(2.5)
    if text == "poison" or (text == "twice" and message.dequeue_count == 1):
        raise RuntimeError(f"cannot hear {text}")


@app.queue_trigger("message", "quiet", "STORE")
def hear_quietly(message: func.QueueMessage) -> None:
    log.info("not worth a line")
    seen.append({"quiet": message.get_body().decode()})
