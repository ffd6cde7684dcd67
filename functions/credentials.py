"""Credential validation: a signed call in, one verdict a credential out; and a timer that forgets in time."""

import logging
from collections.abc import Awaitable, Callable
from functools import wraps

import azure.functions as func

from functions.problems import problem
from shared.composition import app
from shared.errors import (
    CallAltered,
    CallerRefused,
    CallInWork,
    EntraConnectorError,
    InvalidRequest,
    TooManyCalls,
)

credentials = func.Blueprint()  # type: ignore[no-untyped-call]

log = logging.getLogger(__name__)


def _explained(
    function: Callable[[func.HttpRequest], Awaitable[func.HttpResponse]],
) -> Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]:
    """Turn errors into problem documents. What the operator has to mend goes to the log alone."""

    @wraps(function)
    async def wrapper(req: func.HttpRequest) -> func.HttpResponse:
        try:
            return await function(req)
        except InvalidRequest as error:
            log.warning("call rejected: %s", error)
            return problem(400, "The body is not understood", str(error), problems=error.problems)
        except CallerRefused as error:
            from shared import events

            events.CallerRefused(sentence=str(error)).emit()
            return problem(
                401, "The caller is not known", "The call is not signed as the app expects, or not in time."
            )
        except CallInWork as error:
            return problem(409, "The call is in work", str(error), retry_after=10)
        except CallAltered as error:
            log.warning("call rejected: %s", error)
            return problem(422, "The call was altered", str(error))
        except TooManyCalls as error:
            return problem(429, "Too many calls at once", str(error), retry_after=10)
        except EntraConnectorError as error:
            from shared import events

            events.ValidationMisconfigured(
                reason=error.reason, code=getattr(error, "code", None), sentence=str(error)
            ).emit()
            return problem(
                503,
                "The app cannot validate credentials now",
                "Its log says what needs attention. Send the call again later.",
                retry_after=60,
            )

    return wrapper


@credentials.function_name("credentials_validate")
@credentials.route("credentials/validate", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
@_explained
async def credentials_validate(req: func.HttpRequest) -> func.HttpResponse:
    """Say of each leaked credential whether it still works. 200 for every verdict."""
    from shared.credentials.candidates import LONGEST_BODY

    body = req.get_body()
    if len(body) > LONGEST_BODY:
        return problem(413, "The body is too large", "Send at most 64 KiB, with at most 20 credentials.")
    media_type = req.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" or req.headers.get("content-encoding", "identity") != "identity":
        return problem(415, "The body is not JSON", "Send it as application/json, not compressed.")
    calls = await app().credential_calls()
    answer = await calls.answer(req.headers, body)
    return func.HttpResponse(answer, mimetype="application/json")


@credentials.function_name("credentials_sweep")
@credentials.timer_trigger(arg_name="timer", schedule="0 40 3 * * *", run_on_startup=False, use_monitor=True)
async def credentials_sweep(timer: func.TimerRequest) -> None:
    """Once a night, tell which secrets end soon, and forget calls and users that are kept no longer."""
    try:
        await app().tell_expiring_secrets()
        await app().sweep_credentials()
    except EntraConnectorError as error:
        log.error("the nightly work ended early: %s", error)
        raise
