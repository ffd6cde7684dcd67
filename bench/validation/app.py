"""A process with the app, its own composition and SDKs, and with its callers.

Settings come from the environment. One call first, so that clients, tokens and what is kept for an hour are
there; then each kind of call by so many callers at once.
"""

import argparse
import asyncio
import hmac
import inspect
import json
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, cast, override

import aiohttp
import msgspec
from msgspec.structs import replace

from bench.validation.costs import ATTEMPT, MEMORY, NO_ATTEMPT, CallCost, Load, MixCost
from bench.validation.upstream import WAITS
from shared.composition import App
from shared.config import Settings
from shared.credentials.audit import AUDIT_CONTAINER, AuditLog
from shared.credentials.budgets import Limits
from shared.credentials.calls import CredentialCalls
from shared.credentials.ledger import BUDGET_TABLE, USERS_TABLE, Ledger
from shared.snapshots.blobs import BlobContainer
from shared.storage_clients import StorageClients
from shared.tables import Table
from shared.webhooks.replay import TABLE as REQUESTS_TABLE

type Interval = tuple[float, float]

WEBHOOK_SECRET = "BENCH_WEBHOOK_SECRET"


@dataclass
class Spent:
    """What one call has waited for."""

    storage: list[Interval] = field(default_factory=list)
    ledger: list[Interval] = field(default_factory=list)


_spent: ContextVar[Spent] = ContextVar("spent")


class Watched:
    """A table or a container that notes when each of its requests begins and ends, for the call that makes
    it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def timed(*arguments: Any, **options: Any) -> Any:
            with _noted(lambda spent: spent.storage):
                return await method(*arguments, **options)

        return timed


def covered(intervals: Iterable[Interval]) -> float:
    """Seconds in at least one of the intervals."""
    seconds, end = 0.0, float("-inf")
    for began, ended in sorted(intervals):
        seconds += max(0.0, ended - max(began, end))
        end = max(end, ended)
    return seconds


class WatchedLedger(Ledger):
    """Notes how long it is asked."""

    @override
    async def charge(self, *arguments: Any, **options: Any) -> Any:
        with _noted(lambda spent: spent.ledger):
            return await super().charge(*arguments, **options)

    @override
    async def settle(self, *arguments: Any, **options: Any) -> Any:
        with _noted(lambda spent: spent.ledger):
            return await super().settle(*arguments, **options)


@contextmanager
def _noted(which: Callable[[Spent], list[Interval]]) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        which(_spent.get()).append((began, time.perf_counter()))


async def watched_calls(app: App, stack: AsyncExitStack) -> CredentialCalls:
    """The app's own, with what is needed to know how long it waits for Storage and for its turn."""
    calls = await app.credential_calls()
    storage = StorageClients(app.settings.storage, lambda: None, stack)
    users, budget, requests = (
        cast(Table, Watched(Table(storage.table(name))))
        for name in (USERS_TABLE, BUDGET_TABLE, REQUESTS_TABLE)
    )
    audit = cast(BlobContainer, Watched(BlobContainer(storage.container(AUDIT_CONTAINER))))
    calls.requests = requests
    calls.validator.ledger = WatchedLedger(
        users, budget, app.settings.tenant_id, Limits.from_settings(app.settings)
    )
    calls.validator.audit = AuditLog(audit)
    return calls


class Callers:
    """Senders of signed calls."""

    def __init__(self, calls: CredentialCalls, secret: str) -> None:
        self._calls = calls
        self._key = b64decode(secret.removeprefix("whsec_"))
        self._numbers = count()

    async def mix(self, mix: str, load: Load, credentials: Sequence[tuple[str, str]]) -> MixCost:
        """All these credentials, one a call."""
        ends: list[tuple[str, float, Spent]] = []
        waiting = iter(credentials)
        expected = mix == ATTEMPT

        async def call_in_turn(caller: int) -> None:
            # Those who pause begin one after the other, evenly.
            due = time.perf_counter() + load.every * caller / load.callers
            for username, password in waiting:
                await asyncio.sleep(due - time.perf_counter())
                due += load.every
                spent = Spent()
                _spent.set(spent)
                began = time.perf_counter()
                result = await self._answer(username, password)
                ends.append((username, time.perf_counter() - began, spent))
                if result["attempt_made"] != expected:
                    raise AssertionError(f"{mix} of {username} ended in {result}")

        cpu, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*map(call_in_turn, range(load.callers)))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - began
        return MixCost(
            mix=mix,
            load=load,
            calls=[_cost(username, total, spent) for username, total, spent in ends],
            cpu=cpu,
            wall=wall,
            storage_requests=sum(len(spent.storage) for _, _, spent in ends) / len(ends),
        )

    async def _answer(self, username: str, password: str) -> dict[str, Any]:
        body = json.dumps(
            {"credentials": [{"id": "leak", "username": username, "password": password}]}
        ).encode()
        call_id, now = f"msg_{next(self._numbers)}", int(time.time())
        digest = hmac.digest(self._key, f"{call_id}.{now}.".encode() + body, "sha256")
        headers = {
            "webhook-id": call_id,
            "webhook-timestamp": str(now),
            "webhook-signature": f"v1,{b64encode(digest).decode()}",
        }
        answer = json.loads(await self._calls.answer(headers, body))
        result: dict[str, Any] = answer["results"][0]
        return result


def _cost(username: str, total: float, spent: Spent) -> CallCost:
    storage = covered(spent.storage)
    return CallCost(
        username=username,
        total=total,
        storage=storage,
        turn=covered([*spent.storage, *spent.ledger]) - storage,
    )


async def measure(origin: str, users: Sequence[str], loads: Sequence[Load], calls: int) -> list[MixCost]:
    async with AsyncExitStack() as stack:
        app = App(Settings.from_environment(os.environ))
        stack.push_async_callback(app.close)
        sender = Callers(await watched_calls(app, stack), os.environ[WEBHOOK_SECRET])
        session = await stack.enter_async_context(aiohttp.ClientSession())
        fresh = iter(users)
        await sender.mix(
            ATTEMPT, Load(1), [(next(fresh), "wrong")]
        )  # clients, tokens, domains, the lockout policy
        mixes = []
        for load in loads:
            tried = [(next(fresh), "wrong") for _ in range(calls)]
            # Entra refuses white space at the end, so the directory and the text tell the answer.
            untried = [(username, "wrong ") for username, _ in tried]
            for mix, credentials in ((NO_ATTEMPT, untried), (ATTEMPT, tried), (MEMORY, tried)):
                before = await _waits(session, origin)
                cost = await sender.mix(mix, load, credentials)
                after = await _waits(session, origin)
                mixes.append(_without(cost, before, after))
    return mixes


async def _waits(session: aiohttp.ClientSession, origin: str) -> dict[str, float]:
    async with session.get(f"{origin}{WAITS}") as answer:
        waits: dict[str, float] = await answer.json()
        return waits


def _without(cost: MixCost, before: dict[str, float], after: dict[str, float]) -> MixCost:
    """With what the services say that they took."""
    calls = [
        replace(call, upstream=after[call.username.lower()] - before.get(call.username.lower(), 0.0))
        for call in cost.calls
    ]
    return replace(cost, calls=calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--origin", required=True, help="of the services")
    parser.add_argument("--users", type=Path, required=True, help="a file with a principal name a line")
    parser.add_argument("--loads", required=True, help="a JSON list of loads")
    parser.add_argument("--calls", type=int, required=True, help="of each kind, under each load")
    arguments = parser.parse_args()
    users = arguments.users.read_text(encoding="utf-8").split()
    loads = msgspec.json.decode(arguments.loads, type=list[Load])
    costs = asyncio.run(measure(arguments.origin, users, loads, arguments.calls))
    print(msgspec.json.encode(costs).decode())


if __name__ == "__main__":
    main()
