"""The HTTP side of the host: the app's routes, and the admin API that tools use."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from sandbox.host.errors import InvocationFailed
from sandbox.host.http_trigger import (
    MAX_REQUEST_BYTES,
    decode_response,
    encode_request,
    function_name_of,
    path_of,
)
from sandbox.host.invocations import Invocations
from sandbox.host.routes import RouteTable
from sandbox.host.worker import Function

_log = logging.getLogger("Host.Http")

type Trigger = Callable[[str], Awaitable[object]]


class WebServer:
    """Serves on loopback. Function keys are not asked for, as in Core Tools."""

    def __init__(
        self,
        routes: RouteTable,
        functions: Sequence[Function],
        triggers: dict[str, Trigger],
        invocations: Invocations,
    ) -> None:
        self._routes = routes
        self._functions = functions
        self._triggers = triggers
        self._invocations = invocations
        self._started = time.monotonic()
        self._instance = str(uuid.uuid4())
        self._by_hand: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None

    async def start(self, port: int, grace_seconds: float) -> int:
        """Listen; returns the port."""
        application = web.Application(client_max_size=MAX_REQUEST_BYTES)
        application.router.add_get("/admin/functions", self._list_functions)
        application.router.add_get("/admin/host/status", self._status)
        application.router.add_post("/admin/functions/{name}", self._trigger_by_hand)
        application.router.add_route("*", "/{path:.*}", self._call_function)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=grace_seconds)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening; requests in work get the grace period."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _call_function(self, request: web.Request) -> web.StreamResponse:
        found = self._routes.find(request.method, path_of(request))
        if found is None:
            return web.Response(status=404)
        route, parameters = found
        trigger = next(function for function in self._functions if function.name == route.function).trigger
        reason = f"{request.method} /{route.template}"
        try:
            body = await encode_request(request, parameters)
            return decode_response(
                await self._invocations.run(route.function, reason, {trigger["name"]: body})
            )
        except InvocationFailed as error:
            _log.debug("%s", error)
            return web.Response(status=500)

    async def _list_functions(self, request: web.Request) -> web.Response:
        origin = f"{request.scheme}://{request.host}"
        return web.json_response(
            [
                {
                    "name": function.name,
                    "href": f"{origin}/admin/functions/{function.name}",
                    "language": "python",
                    "isDisabled": False,
                    "config": {"name": function.name, "bindings": function.bindings},
                }
                for function in self._functions
            ]
        )

    async def _status(self, _request: web.Request) -> web.Response:
        uptime = round((time.monotonic() - self._started) * 1000)
        return web.json_response({"id": self._instance, "state": "Running", "processUptime": uptime})

    async def _trigger_by_hand(self, request: web.Request) -> web.Response:
        """`{"input": "…"}` starts a function that is not HTTP: 202 at once, whatever becomes of it."""
        trigger = self._triggers.get(function_name_of(request).lower())
        if trigger is None:
            return web.Response(status=404)
        try:
            text = json.loads(await request.text() or "{}").get("input") or ""
        except (ValueError, AttributeError):
            return web.Response(status=400)
        task = asyncio.create_task(self._run_by_hand(trigger, text))
        self._by_hand.add(task)
        task.add_done_callback(self._by_hand.discard)
        return web.Response(status=202)

    async def _run_by_hand(self, trigger: Trigger, text: str) -> None:
        try:
            await trigger(text)
        except InvocationFailed as error:
            _log.debug("%s", error)
