"""Directory inventory: a timer starts or heals a run, messages work it off, two routes steer and show it."""

import json

import azure.functions as func

from functions.problems import answer, explained, problem
from shared.composition import app
from shared.errors import EntraConnectorError

directory_sync = func.Blueprint()  # type: ignore[no-untyped-call]


@directory_sync.function_name("directory_timer")
@directory_sync.timer_trigger(
    arg_name="timer", schedule="%SYNC_SCHEDULE%", run_on_startup=False, use_monitor=True
)
async def directory_timer(timer: func.TimerRequest) -> None:
    """Start a run, or enqueue again what the run under way still has to do."""
    try:
        await app().directory.tick()
    except EntraConnectorError as error:
        from shared import events

        events.RunNotStarted(reason=error.reason, sentence=str(error)).emit()
        raise


@directory_sync.function_name("directory_step")
@directory_sync.queue_trigger(arg_name="message", queue_name="directory-sync", connection="DIRECTORY_STORAGE")
async def directory_step(message: func.QueueMessage) -> None:
    """Work off one step of a run: a slice of a dataset, a bucket of the build, or the publication."""
    from shared.directory.steps import decode_step

    await app().directory.handle(decode_step(message.get_body()), message.dequeue_count or 1)


@directory_sync.function_name("directory_start")
@directory_sync.route("directory/sync", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
@explained
async def directory_start(req: func.HttpRequest) -> func.HttpResponse:
    """Start a run now, a full one if `kind` says so. 202 with its id; 409 while another is under way."""
    try:
        body = json.loads(req.get_body() or b"{}")
    except (ValueError, RecursionError):
        return problem(400, "The body is not JSON", 'Send no body, or {"kind": "full"}.')
    if not isinstance(body, dict) or body.keys() - {"kind"} or body.get("kind", "full") != "full":
        return problem(400, "The body is not understood", 'Send no body, or {"kind": "full"}.')
    return answer({"run_id": await app().directory.start(full="kind" in body)}, 202)


@directory_sync.function_name("directory_status")
@directory_sync.route("directory/status", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
@explained
async def directory_status(req: func.HttpRequest) -> func.HttpResponse:
    """The run under way or failed, the last published one, and what is held."""
    from shared.directory.status import sync_status

    directory = app().directory
    return answer(await sync_status(directory.state, directory.output))
