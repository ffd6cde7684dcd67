"""Answers of the HTTP functions: JSON, or a problem document (RFC 9457)."""

import json
import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import azure.functions as func

from shared.errors import ConfigurationError, EntraConnectorError, RunUnderWay, StorageUnavailable

log = logging.getLogger(__name__)


def answer(document: Any, status: int = 200) -> func.HttpResponse:
    return func.HttpResponse(
        json.dumps(document, ensure_ascii=False), status_code=status, mimetype="application/json"
    )


def problem(
    status: int, title: str, detail: str, *, retry_after: int | None = None, **members: Any
) -> func.HttpResponse:
    """A problem document. `detail` is a sentence for the caller; it holds no secret.

    `retry_after` is in seconds, and goes into the header of that name.
    """
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}
    return func.HttpResponse(
        json.dumps(document, ensure_ascii=False),
        status_code=status,
        headers=None if retry_after is None else {"Retry-After": str(retry_after)},
        mimetype="application/problem+json",
    )


def explained(
    function: Callable[[func.HttpRequest], Awaitable[func.HttpResponse]],
) -> Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]:
    """Turn the errors that the product raises into problem documents. Others stay errors of the function."""

    @wraps(function)
    async def wrapper(req: func.HttpRequest) -> func.HttpResponse:
        try:
            return await function(req)
        except RunUnderWay as error:
            return problem(409, "A run is under way", str(error), run_id=error.run_id)
        except ConfigurationError as error:
            log.error("%s", error)
            return problem(503, "The app's settings need attention", str(error), problems=error.problems)
        except StorageUnavailable as error:
            log.error("%s", error)
            return problem(503, "Storage is not available", str(error))
        except EntraConnectorError as error:
            log.error("%s", error)
            return problem(503, "The app cannot do this now", str(error))

    return wrapper
