"""Many small GETs in one request: `POST /$batch`, twenty at a time.

Each item is answered, throttled and refused on its own: an outer 200 says nothing. The SDK's own batch is not
used, since it drops the bodies of the answers (kiota-python #737).
https://learn.microsoft.com/graph/json-batching
"""

from collections.abc import Iterator
from itertools import batched

import msgspec

from shared.errors import GraphRequestRejected, GraphThrottled, GraphUnreachable, InvalidPage
from shared.graph import queries
from shared.graph.client import GraphClient
from shared.graph.paging import UNREADABLE
from shared.graph.policy import RETRIED_STATUSES, Usage, retry_after_seconds
from shared.graph.refusals import refusal


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
    """The body of each relative URL by its key, or the rejection of just that one (such as 404).

    Items that were throttled or failed are asked again, alone, after the longest wait that any of them
    named. Raises `GraphThrottled` or `GraphUnreachable` when that takes too long or too many tries, and
    `GraphRefused` when one is refused, since then all are.
    """
    answers: dict[str, bytes | GraphRequestRejected] = {}
    for keys in batched(urls, queries.BATCH_LIMIT, strict=False):
        pending = list(keys)
        attempt = 0
        while pending:
            attempt += 1
            again, wait, told, throttled = [], 0.0, False, False
            for item in await _post(graph, {key: urls[key] for key in pending}, usage, subject, permission):
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
                    asked = retry_after_seconds(headers.get("retry-after"), graph.policy.now())
                    told = told or asked is not None
                    wait = max(wait, graph.policy.backoff(attempt) if asked is None else asked)
                else:
                    error = refusal(item.status, bytes(item.body), subject, permission)
                    if not isinstance(error, GraphRequestRejected):
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
    graph: GraphClient, urls: dict[str, str], usage: Usage, subject: str, permission: str
) -> Iterator[_Item]:
    body = {
        "requests": [
            {"id": str(number), "method": "GET", "url": url} for number, url in enumerate(urls.values())
        ]
    }
    request = queries.batch(graph, msgspec.json.encode(body))
    answer = await graph.send(request, usage, subject=subject, permission=permission)
    try:
        items = msgspec.json.decode(answer.body, type=_Answers).responses
        if sorted(int(item.id) for item in items) != list(range(len(urls))):
            raise ValueError("the ids are not those that were sent")
    except (*UNREADABLE, ValueError) as error:
        raise InvalidPage(
            f"{subject}: Graph sent an answer to a batch that cannot be read: {error}."
        ) from None
    return iter(items)
