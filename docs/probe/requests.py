"""Requests to Graph, counted and bounded, whoever makes them."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, cast

import msgspec

from shared.errors import GraphError, InvalidPage
from shared.graph import queries
from shared.graph.client import Answer, GraphClient
from shared.graph.paging import UNREADABLE, Page, page_decoder, read_page
from shared.graph.policy import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kiota_abstractions.request_information import RequestInformation

MOST_REQUESTS = 60
ATTEMPTS = 2
MOST_A_CALL = ATTEMPTS + 1
"""Both tries, and one more with a new token."""

type Json = dict[str, Any]
type Pages = list[Page[Json]]

_page = page_decoder(dict[str, Any])


class OutOfRequests(GraphError):
    reason = f"the probe's {MOST_REQUESTS} requests are used up"


class BatchItem(msgspec.Struct):
    """An answer in a batch without its body, which nobody needs to see."""

    status: int
    headers: dict[str, str] = {}


class BatchAnswers(msgspec.Struct):
    responses: list[BatchItem]


_batch = msgspec.json.Decoder(BatchAnswers)


async def tried[T](request: Awaitable[T]) -> T | GraphError:
    try:
        return await request
    except GraphError as error:
        return error


class _Bounded:
    """The app's client, which counts what it sends, and stops before it is too much.

    The app's own code counts for itself, so that it could not be bounded from outside.
    """

    def __init__(self, graph: GraphClient, usage: Usage) -> None:
        self._graph = graph
        self._usage = usage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._graph, name)

    async def send(
        self,
        request: "RequestInformation",
        _usage: Usage,
        *,
        subject: str,
        permission: str,
        attempts: int = ATTEMPTS,
    ) -> Answer:
        if self._usage.requests + MOST_A_CALL > MOST_REQUESTS:
            raise OutOfRequests
        return await self._graph.send(
            request, self._usage, subject=subject, permission=permission, attempts=attempts
        )

    def observe(self, headers: "Mapping[str, str]", _usage: Usage) -> None:
        self._graph.observe(headers, self._usage)


class Requests:
    """Asks one tenant's Graph."""

    def __init__(self, graph: GraphClient) -> None:
        self.usage = Usage()
        self.graph = cast("GraphClient", _Bounded(graph, self.usage))
        self.units: dict[str, list[str]] = {}
        """What each kind of call cost."""

    async def client(self) -> GraphClient:
        """For the app's own lookups."""
        return self.graph

    async def answer(self, call: str, permission: str, request: "RequestInformation") -> Answer:
        answer = await self.graph.send(request, self.usage, subject=call, permission=permission)
        self._charge(call, answer.headers.get("x-ms-resource-unit"))
        return answer

    async def page(self, call: str, permission: str, request: "RequestInformation") -> Page[Json]:
        answer = await self.answer(call, permission, request)
        return read_page(answer.body, _page, call, delta="delta" in call)

    async def pages(self, call: str, permission: str, request: "RequestInformation", most: int) -> Pages:
        """The first pages of a chain; the rest is not asked for."""
        pages = [await self.page(call, permission, request)]
        while (link := pages[-1].next_link) and len(pages) < most:
            pages.append(await self.page(call, permission, self.follow(link)))
        return pages

    def get(self, path: str) -> "RequestInformation":
        """`path` with its query, below `/v1.0/`."""
        return queries.follow(f"{self.graph.origin}/v1.0/{path}")

    def follow(self, link: str) -> "RequestInformation":
        """Raises `InvalidPage` for a link to another host."""
        return queries.follow(self.graph.own_link(link, "the link"))

    async def batch(self, call: str, permission: str, urls: list[str]) -> list[BatchItem]:
        body = [{"id": str(number), "method": "GET", "url": url} for number, url in enumerate(urls)]
        request = queries.batch(self.graph, msgspec.json.encode({"requests": body}))
        answer = await self.graph.send(request, self.usage, subject=call, permission=permission)
        try:
            items = _batch.decode(answer.body).responses
        except UNREADABLE:
            raise InvalidPage(f"{call}: Graph sent an answer to a batch that cannot be read.") from None
        for item in items:
            headers = {name.lower(): value for name, value in item.headers.items()}
            if item.status == 200:
                self._charge(call, headers.get("x-ms-resource-unit"))
        return items

    def _charge(self, call: str, units: str | None) -> None:
        self.units.setdefault(call, []).append(units or "not told")
