"""Test connector: what works, permission by permission, and what to do about the rest."""

import logging
from dataclasses import asdict

import azure.functions as func

from functions.problems import answer
from shared.composition import connection_rows

connection = func.Blueprint()  # type: ignore[no-untyped-call]

log = logging.getLogger(__name__)


@connection.function_name("connection_test")
@connection.route("connection", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
async def connection_test(req: func.HttpRequest) -> func.HttpResponse:
    """One row a capability. 200 whatever they say: a test that ran is a success."""
    rows = await connection_rows()
    troubles = [f"{row.capability} is {row.status}" for row in rows if row.status != "ok"]
    log.info("connection tested: %s", ", ".join(troubles) or "all is ok")
    return answer({"capabilities": [asdict(row) for row in rows]})
