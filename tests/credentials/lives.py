"""Instances of the app that end before their work does: killed, or told by the host to stop."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Literal

type End = Literal["killed", "cancelled"]


class ProcessKilled(BaseException):
    """The process is gone: whatever the product does about it reaches nobody."""


class Life:
    """The life of one instance. Each request to Storage and to the sign-in service is two steps: its
    beginning and its end. Call it with a client to have one that lives as long."""

    def __init__(self) -> None:
        self.is_over = False
        self._steps_left = -1
        self._ends: Callable[[], object] = self.kill

    def ends_at(self, step: int, end: End, task: "asyncio.Task[Any]") -> None:
        """Let it end so many steps from now; `cancelled` ends only what this task works on."""
        self._steps_left = step
        self._ends = self.kill if end == "killed" else lambda: bool(task.cancel())

    def kill(self) -> None:
        self.is_over = True

    def step(self) -> None:
        self._steps_left -= 1
        if self._steps_left == 0:
            self._ends()
        if self.is_over:
            raise ProcessKilled

    def __call__(self, client: Any) -> "_Mortal":
        return _Mortal(client, self)


class _Mortal:
    """A client of an SDK whose requests are steps of a life. What it hands out is as mortal."""

    def __init__(self, client: Any, life: Life) -> None:
        self._client = client
        self._life = life

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        return self._living(value) if callable(value) else value

    def _living(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if method.__name__.startswith("get_blob_client"):
                return _Mortal(method(*arguments, **options), self._life)
            self._life.step()
            answer = method(*arguments, **options)
            return self._awaited(answer) if inspect.iscoroutine(answer) else answer

        return call

    async def _awaited(self, answer: Awaitable[Any]) -> Any:
        result = await answer
        self._life.step()
        return result
