"""Ties the worker to its triggers: HTTP, timers and Storage queues."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sandbox.host.errors import UnsupportedApp
from sandbox.host.settings import read_host_json, resolve_settings
from sandbox.host.worker import Function, Worker

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from sandbox.host.invocations import Invocations
    from sandbox.host.pace import Pace
    from sandbox.host.queue_connection import QueueConnections
    from sandbox.host.queue_trigger import QueuePump
    from sandbox.host.timer_trigger import Timer
    from sandbox.host.web import Trigger, WebServer

# The lease that the queue extension takes on a message; the code there has no setting for it.
REAL_MESSAGE_LEASE_SECONDS = 600


class Host:
    """Runs the app in `app_directory` until `stop`; also an async context manager.

    `credential` replaces the managed identity of identity-based queue connections. `message_lease_seconds`
    is how long a message stays hidden after this process was killed: shorten it to test that.
    `grace_seconds` is what running invocations get at a stop. One host a process, since the worker allows
    only one app.

    Where it is stricter than the real host: a function in error (missing setting, bad schedule, two
    functions on one route) fails the start, instead of leaving that function out.
    """

    def __init__(
        self,
        app_directory: Path | str,
        *,
        port: int = 0,
        environment: Mapping[str, str] = os.environ,
        credential: AsyncTokenCredential | None = None,
        message_lease_seconds: int = REAL_MESSAGE_LEASE_SECONDS,
        grace_seconds: float = 10,
    ) -> None:
        self.worker = Worker(app_directory)
        self.settings = read_host_json(self.worker.app_directory / "host.json")
        self.url = ""
        """Origin, such as http://127.0.0.1:7071, once started."""
        self._port = port
        self._environment = environment
        self._credential = credential
        self._message_lease_seconds = message_lease_seconds
        self._grace_seconds = grace_seconds
        self._timers: dict[str, Timer] = {}
        self._pumps: dict[str, QueuePump] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._invocations: Invocations | None = None
        self._connections: QueueConnections | None = None
        self._web: WebServer | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Index, bind the triggers, listen. Raises HostError; what had been opened is closed then."""
        await self.worker.start()
        try:
            await self._start_triggers()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> bool:
        """Take no new work, give what runs its grace, close. False when a synchronous function still runs."""
        pumping = []
        for task in self._loops:
            if task.get_name() == "timer":
                task.cancel()
            else:
                pumping.append(task)
        for pump in self._pumps.values():
            pump.stop()
        if pumping:
            await asyncio.wait(pumping, timeout=self._grace_seconds)
        draining = [pump.drain(self._grace_seconds) for pump in self._pumps.values()]
        if self._invocations is not None:
            draining.append(self._invocations.drain(self._grace_seconds))
        if self._web is not None:
            draining.append(self._web.stop())
        await asyncio.gather(*draining)
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if self._connections is not None:
            await self._connections.close()
        return await self.worker.stop()

    async def _start_triggers(self) -> None:
        # Imported after indexing: aiohttp and the SDKs would otherwise be missing from the time it is
        # measured by.
        from sandbox.host.invocations import Invocations
        from sandbox.host.pace import Pace
        from sandbox.host.queue_connection import QueueConnections
        from sandbox.host.routes import Route, RouteTable
        from sandbox.host.web import WebServer

        pace = Pace(self.settings.queues.max_polling_interval.total_seconds())
        self._invocations = Invocations(self.worker, self.settings.function_timeout, pace)
        self._connections = QueueConnections(self._environment, self._credential)
        routes: list[Route] = []
        triggers: dict[str, Trigger] = {}
        for function in self.worker.functions:
            check_bindings(function)
            binding = resolve_settings(function.name, function.trigger, self._environment)
            if self._disabled(function):
                continue
            match binding["type"]:
                case "httpTrigger":
                    routes.append(self._route(function, binding))
                case "timerTrigger":
                    triggers[function.name.lower()] = self._bind_timer(function, binding)
                case "queueTrigger":
                    triggers[function.name.lower()] = self._bind_queue(function, binding, pace)
        self._web = WebServer(RouteTable(routes), self.worker.functions, triggers, self._invocations)
        port = await self._web.start(self._port, self._grace_seconds)
        self.url = f"http://127.0.0.1:{port}"
        self._loops = [asyncio.create_task(timer.run(), name="timer") for timer in self._timers.values()]
        self._loops += [asyncio.create_task(pump.run(), name="queue") for pump in self._pumps.values()]

    def _disabled(self, function: Function) -> bool:
        """App setting `AzureWebJobs.<name>.Disabled`, as in Azure."""
        value = self._environment.get(f"AzureWebJobs.{function.name}.Disabled", "")
        return value.lower() in ("1", "true")

    def _route(self, function: Function, binding: Mapping[str, Any]) -> Any:
        from sandbox.host.routes import parse_route

        return parse_route(
            function.name,
            binding.get("route") or function.name,
            binding.get("methods") or (),
            self.settings.route_prefix,
        )

    def _bind_timer(self, function: Function, binding: Mapping[str, Any]) -> Trigger:
        from sandbox.host.timer_trigger import Schedule, Timer

        assert self._invocations is not None
        invocations = self._invocations
        parameter = binding["name"]

        async def invoke(payload: Any) -> None:
            await invocations.run_apart(function.name, "Timer fired", {parameter: payload})

        timer = Timer(
            function.name,
            Schedule(function.name, binding["schedule"]),
            invoke,
            on_startup=bool(binding.get("runOnStartup")),
        )
        self._timers[function.name] = timer

        async def trigger(_text: str) -> None:
            await timer.fire()

        return trigger

    def _bind_queue(self, function: Function, binding: Mapping[str, Any], pace: Pace) -> Trigger:
        from sandbox.host.queue_connection import DEFAULT_CONNECTION
        from sandbox.host.queue_trigger import QueuePump
        from sandbox.host.worker import Datum

        assert self._invocations is not None
        assert self._connections is not None
        invocations = self._invocations
        parameter = binding["name"]
        queue = binding["queueName"].lower()

        async def invoke(body: Datum, metadata: dict[str, Datum]) -> None:
            await invocations.run(
                function.name, f"New queue message in '{queue}'", {parameter: body}, metadata
            )

        service = self._connections.client(function.name, binding.get("connection") or DEFAULT_CONNECTION)
        self._pumps[function.name] = QueuePump(
            service, queue, self.settings.queues, invoke, pace, self._message_lease_seconds
        )

        async def trigger(text: str) -> None:
            await invocations.run_apart(function.name, "By hand", {parameter: Datum(text, "string")})

        return trigger


KNOWN_BINDINGS = frozenset({"httpTrigger", "http", "timerTrigger", "queueTrigger"})


def check_bindings(function: Function) -> None:
    """Raise UnsupportedApp for a binding that this host does not do, naming it."""
    for binding in function.bindings:
        if binding["type"] not in KNOWN_BINDINGS:
            raise UnsupportedApp(
                f"{function.name} has a {binding['type']} binding ({binding['name']!r}), which this local "
                f"host does not do. It does: {', '.join(sorted(KNOWN_BINDINGS))}."
            )
