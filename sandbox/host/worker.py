"""The app inside Microsoft's worker library (`azure-functions-runtime`), in this process.

Same order as the real host drives it: init with indexing, metadata, load of each function, invocations.
Invocations take `invocation_request_native`, the seam that Microsoft's Rust worker uses. Imports are few on
purpose: what is loaded here before the app would be subtracted from the indexing time.

The library keeps its functions in module globals, and the app stays in `sys.modules`: **one app per
process**.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import azure_functions_runtime as runtime
from azure_functions_runtime.bindings.datumdef import Datum
from azure_functions_runtime.native_invocation import invocation_request_native

from sandbox.host import protocol
from sandbox.host.errors import HostError, IndexingFailed, InvocationFailed, UnsupportedApp

__all__ = ["Datum", "Function", "Worker"]

ENTRY_POINT = "function_app.py"


@dataclass(frozen=True)
class Function:
    """One indexed function.

    `bindings` are the JSON objects that the real host gets, settings not yet resolved.
    """

    name: str
    id: str
    bindings: tuple[dict[str, Any], ...]

    @property
    def trigger(self) -> dict[str, Any]:
        """The one binding whose type ends in `Trigger`."""
        return next(binding for binding in self.bindings if str(binding["type"]).endswith("Trigger"))


class Worker:
    """Indexes the app in `app_directory` and invokes its functions."""

    _app_of_process: ClassVar[Path | None] = None

    def __init__(self, app_directory: Path | str) -> None:
        self.app_directory = Path(app_directory).resolve()
        self.functions: list[Function] = []
        self.indexing_seconds = 0.0
        """What the app costs at a cold start: from init request to response, azure.functions included."""
        self._running: dict[str, str] = {}

    async def start(self) -> None:
        """Index and load. Raises IndexingFailed with the exception's text, or HostError for a second app."""
        if Worker._app_of_process is not None:
            raise HostError(
                f"This process already runs {Worker._app_of_process}. The worker library keeps its functions "
                "in module globals: start one process for each app."
            )
        if not (self.app_directory / ENTRY_POINT).is_file():
            raise IndexingFailed(f"There is no {ENTRY_POINT} in {self.app_directory}.")
        Worker._app_of_process = self.app_directory
        put_app_last_on_path(self.app_directory)
        runtime.start_threadpool_executor()
        started = time.perf_counter()
        response = await runtime.worker_init_request(
            _request(
                "worker_init_request",
                function_app_directory=str(self.app_directory),
                capabilities={},
            )
        )
        self.indexing_seconds = time.perf_counter() - started
        if response.result.status != protocol.StatusResult.Success:
            exception = response.result.exception
            raise IndexingFailed(exception.message, exception.stack_trace)
        await self._load()

    async def _load(self) -> None:
        response = await runtime.functions_metadata_request(_request("functions_metadata_request"))
        for metadata in response.function_metadata_results or ():
            if metadata.retry_options is not None:
                raise UnsupportedApp(
                    f"{metadata.name} has a retry policy, which this local host does not do."
                )
            await runtime.function_load_request(
                _request("function_load_request", function_id=metadata.function_id)
            )
            bindings = tuple(json.loads(binding) for binding in metadata.raw_bindings)
            self.functions.append(Function(metadata.name, metadata.function_id, bindings))
        if not self.functions:
            # The library calls this success, and the real host only logs "0 functions found (Custom)".
            raise IndexingFailed("0 functions found: is every blueprint registered in function_app.py?")

    async def invoke(
        self, name: str, inputs: Mapping[str, Datum], trigger_metadata: Mapping[str, Datum] | None = None
    ) -> Datum | None:
        """Call a function; return its `$return` value, encoded.

        Async functions run on this loop, others on the library's thread pool. Raises InvocationFailed.
        """
        function = self.function(name)
        invocation_id = str(uuid.uuid4())
        self._running[invocation_id] = name
        try:
            succeeded, value, _outputs, error, stack_trace = await invocation_request_native(
                invocation_id, function.id, list(inputs.items()), dict(trigger_metadata or {})
            )
        finally:
            del self._running[invocation_id]
        if not succeeded:
            raise InvocationFailed(name, error, stack_trace)
        return value

    def function(self, name: str) -> Function:
        """The function of that name, in any case, as the real host looks it up. Raises KeyError."""
        for function in self.functions:
            if function.name.lower() == name.lower():
                return function
        raise KeyError(name)

    def running_here(self) -> str | None:
        """Name of the function that the calling code runs in: this task's, or this thread's."""
        return self._running.get(runtime.invocation_id_cv.get() or "")

    async def stop(self) -> bool:
        """Stop the thread pool. False when a synchronous function still runs: a thread cannot be stopped."""
        pool = runtime.get_threadpool_executor()
        if pool is None:
            return True
        pool.shutdown(wait=False, cancel_futures=True)
        for _ in range(20):
            if not any(thread.is_alive() for thread in pool._threads):
                return True
            await asyncio.sleep(0.02)
        return False


def put_app_last_on_path(app_directory: Path) -> None:
    """Give the app the place on `sys.path` that Azure gives it: after its dependencies.

    A dependency with a top-level package `shared` or `functions` would win there, so it has to win here.
    Directories that hold another function_app.py (the one we were started in) are taken off: it would be
    indexed instead.
    """
    sys.path[:] = [entry for entry in sys.path if not os.path.isfile(os.path.join(entry or ".", ENTRY_POINT))]
    sys.path.append(str(app_directory))


def _request(kind: str, **fields: object) -> SimpleNamespace:
    """A request as the library reads it: the message, and the injected `protos`."""
    return SimpleNamespace(
        request=SimpleNamespace(**{kind: SimpleNamespace(**fields)}),
        properties={"protos": protocol, "host": "127.0.0.1"},
    )
