"""The app's routes, as an operator calls them, and the host's way to fire a timer."""

import asyncio
from types import TracebackType
from typing import Any, Literal, Self

import httpx
import msgspec

from sandbox.services.child import Child
from sandbox.services.errors import SandboxError

TIMER = "directory_timer"


class DatasetProgress(msgspec.Struct):
    """How far a dataset was read. `status`: reading, complete, failed, unavailable."""

    status: str
    rows: int = 0
    pages: int = 0
    requests: int = 0
    total: int | None = None
    reason: str | None = None


class BuildProgress(msgspec.Struct):
    done: int
    of: int


class CurrentRun(msgspec.Struct):
    """The run under way, or the last one if it failed or is held."""

    run_id: str
    status: Literal["collecting", "building", "failed", "held"]
    datasets: dict[str, DatasetProgress]
    build: BuildProgress
    error: str | None = None


class PublishedRun(msgspec.Struct):
    run_id: str
    published_at: str
    manifest: str


class SyncStatus(msgspec.Struct):
    """`GET /api/directory/status`."""

    current: CurrentRun | None
    published: PublishedRun | None


class Capability(msgspec.Struct):
    """A row of `GET /api/connection`."""

    capability: str
    status: str
    detail: str
    permission: str | None = None
    fix: str | None = None


class Connection(msgspec.Struct):
    capabilities: list[Capability]


class AppApi:
    """Calls the app under the local host; an async context manager."""

    def __init__(self, host: Child) -> None:
        self._host = host
        # Loopback only: no proxy, no certificate.
        self._http = httpx.AsyncClient(base_url=host.url, timeout=60, trust_env=False)

    async def fire_timer(self) -> None:
        """Let the timer fire now, as `POST /admin/functions/<name>` does in Azure."""
        await self._answer("POST", f"/admin/functions/{TIMER}", json={"input": ""})

    async def status(self) -> SyncStatus:
        answer = await self._answer("GET", "/api/directory/status")
        return msgspec.json.decode(answer.content, type=SyncStatus)

    async def connection(self) -> list[Capability]:
        answer = await self._answer("GET", "/api/connection")
        return msgspec.json.decode(answer.content, type=Connection).capabilities

    async def validate(self, body: str, headers: dict[str, str]) -> bytes:
        """`POST /api/credentials/validate`, with the headers that sign the body."""
        sent = headers | {"Content-Type": "application/json"}
        return (await self._answer("POST", "/api/credentials/validate", content=body, headers=sent)).content

    async def functions(self) -> list[str]:
        """The functions, one line each: method and route, schedule or queue."""
        answer = await self._answer("GET", "/admin/functions")
        lines = []
        for function in answer.json():
            binding = next(one for one in function["config"]["bindings"] if one["type"].endswith("Trigger"))
            match binding["type"]:
                case "httpTrigger":
                    method = "|".join(str(one).upper() for one in binding.get("methods") or ["ANY"])
                    lines.append(f"{method:<5} /api/{binding.get('route') or function['name']}")
                case "timerTrigger":
                    lines.append(f"timer {function['name']}, by {binding['schedule'].strip('%')}")
                case _:
                    lines.append(f"queue {binding.get('queueName', function['name'])}")
        return sorted(lines)

    async def _answer(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Raises SandboxError with the app's own sentence, where it gives one."""
        try:
            answer = await self._http.request(method, path, **request)
        except httpx.TransportError as error:
            await asyncio.sleep(0.2)  # a process that dies is known to be dead a moment later
            if self._host.exit_code is not None:
                raise SandboxError(
                    f"The app ended: {self._host.last_words()} (log: {self._host.log})"
                ) from None
            raise SandboxError(
                f"The app does not answer {method} {path}: {type(error).__name__} (log: {self._host.log})."
            ) from None
        if answer.is_success:
            return answer
        raise SandboxError(f"{_sentence(answer)} (log: {self._host.log})")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()


def _sentence(answer: httpx.Response) -> str:
    """What a problem document says, or what little is known."""
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        problem = answer.json()
        return f"{problem['title']}: {problem['detail']}"
    return f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}."
