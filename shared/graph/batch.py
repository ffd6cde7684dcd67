"""Many small requests in one: `POST /$batch`, twenty at a time.

Each item is answered, throttled and refused on its own: an outer 200 says nothing. The SDK's own batch is not
used, since it drops the bodies of the answers (kiota-python #737).
https://learn.microsoft.com/graph/json-batching
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

import msgspec

from shared.errors import GraphRequestRejected, GraphThrottled, GraphUnreachable, InvalidPage
from shared.graph import queries
from shared.graph.client import GraphClient
from shared.graph.paging import UNREADABLE
from shared.graph.policy import RETRIED_STATUSES, Usage, retry_after_seconds
from shared.graph.refusals import refusal


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a batch. `url` is relative; with `body`, which is JSON, it is a POST."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


class _Item(msgspec.Struct):
    id: str
    status: int
    headers: dict[str, str] = {}
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Answers(msgspec.Struct):
    responses: list[_Item]


async def get_many(
    graph: GraphClient, urls: dict[str, str], usage: Usage, *, subject: str, permission: str
) -> dict[str, bytes | GraphRequestRejected]:
    """The body of each relative URL by its key, or the rejection of just that one. See `ask_many`."""
    asked = {key: Ask(url) for key, url in urls.items()}
    return await ask_many(graph, asked, usage, subject=subject, permission=permission)


async def ask_many(
    graph: GraphClient, asked: dict[str, Ask], usage: Usage, *, subject: str, permission: str
) -> dict[str, bytes | GraphRequestRejected]:
    """The body of each answer by its key, or the rejection of just that one (such as 404).

    Items that were throttled or failed are asked again, alone, after the longest wait that any of them
    named. Raises `GraphThrottled` or `GraphUnreachable` when that takes too long or too many tries, and
    `GraphRefused` when one is refused, since then all are.
    """
    answers: dict[str, bytes | GraphRequestRejected] = {}
    for keys in batched(asked, queries.BATCH_LIMIT, strict=False):
        pending = list(keys)
        attempt = 0
        while pending:
            attempt += 1
            again, wait, told, throttled = [], 0.0, False, False
            for item in await _post(graph, [asked[key] for key in pending], usage, subject, permission):
                key = pending[int(item.id)]
                headers = {name.lower(): value for name, value in item.headers.items()}
                # The outer answer has neither: cost and limits are each item's.
                graph.observe(headers, usage)
                if 200 <= item.status < 300:
                    answers[key] = bytes(item.body)
                elif item.status in RETRIED_STATUSES:
                    again.append(key)
                    throttled = throttled or item.status == 429
                    usage.throttled += item.status == 429
                    wanted = retry_after_seconds(headers.get("retry-after"), graph.policy.now())
                    told = told or wanted is not None
                    wait = max(wait, graph.policy.backoff(attempt) if wanted is None else wanted)
                else:
                    error = refusal(item.status, bytes(item.body), subject, permission)
                    if not isinstance(error, GraphRequestRejected):
                        await graph.after_refusal(error)
                        raise error
                    answers[key] = error
            if again:
                if wait > graph.policy.longest_wait or attempt >= graph.policy.attempts:
                    if throttled or told:
                        raise GraphThrottled(
                            f"Graph throttles {subject} and asks to wait {wait:.0f} s; the run goes on then.",
                            wait,
                        )
                    raise GraphUnreachable(f"Graph did not answer for {subject} after {attempt} tries.")
                usage.retried += 1
                graph.pacer.hold(wait)
            pending = again
    return answers


async def _post(
    graph: GraphClient, asked: list[Ask], usage: Usage, subject: str, permission: str
) -> Iterator[_Item]:
    body = {"requests": [_written(number, ask) for number, ask in enumerate(asked)]}
    request = queries.batch(graph, msgspec.json.encode(body))
    answer = await graph.send(request, usage, subject=subject, permission=permission)
    try:
        items = msgspec.json.decode(answer.body, type=_Answers).responses
        if sorted(int(item.id) for item in items) != list(range(len(asked))):
            raise ValueError("the ids are not those that were sent")
    except (*UNREADABLE, ValueError) as error:
        raise InvalidPage(
            f"{subject}: Graph sent an answer to a batch that cannot be read: {error}."
        ) from None
    return iter(items)


def _written(number: int, ask: Ask) -> dict[str, Any]:
    item: dict[str, Any] = {"id": str(number), "method": "GET", "url": ask.url}
    headers = dict(ask.headers)
    if ask.body is not None:
        item |= {"method": "POST", "body": ask.body}
        headers["Content-Type"] = "application/json"
    return item | ({"headers": headers} if headers else {})
