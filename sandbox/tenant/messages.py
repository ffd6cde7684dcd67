"""A request and its answer, without the transport, so that `$batch` and faults can handle them as values."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

type JsonObject = dict[str, Any]

JSON = "application/json; charset=utf-8"
GRAPH_JSON = (
    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
)


class Delivery(StrEnum):
    """How the bytes of an answer reach the client."""

    WHOLE = "whole"
    CLOSED = "closed"  # the connection ends before the status line
    RESET = "reset"  # the headers promise more than the body that was sent
    DRIP = "drip"  # small chunks with pauses


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request.

    `path` is decoded, `query` has decoded names and values, `origin` is scheme and host as asked.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    origin: str
    url: str
    batched: bool = False

    @property
    def target(self) -> str:
        """Path and query as a reader would write them: what fault patterns match and what is recorded."""
        text = "&".join(f"{name}={value}" for name, value in self.query.items())
        return f"{self.path}?{text}" if text else self.path

    def bearer(self) -> str | None:
        """The token of the Authorization header, or None."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token.strip() else None

    def at(self, path: str) -> "Call":
        """The same call for another path, after a router took a prefix off."""
        return replace(self, path=path)


@dataclass(slots=True)
class Reply:
    """One HTTP answer. `resource_units` is what Graph would charge for it."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = JSON
    resource_units: int = 0
    delivery: Delivery = Delivery.WHOLE
    pause: float = 0.0
    """Seconds between two chunks of a drip."""
    items: list["Record"] = field(default_factory=list)
    """What the items of a `$batch` got, for the record."""


@dataclass(frozen=True, slots=True)
class Record:
    """One request as the tenant saw it.

    `path` has the decoded query; `status` 0 means that no answer was sent.
    """

    method: str
    path: str
    status: int
    has_authorization: bool
    resource_units: int
    items: tuple["Record", ...] = ()
    client_request_id: str | None = None


def json_reply(
    content: object, status: int = 200, headers: Mapping[str, str] | None = None, content_type: str = JSON
) -> Reply:
    """An answer with a JSON body."""
    return Reply(status, msgspec.json.encode(content), dict(headers or {}), content_type)


def query_of(url: str) -> dict[str, str]:
    """Decoded query parameters of a URL; clients may send `$select` as `%24select`."""
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


async def pause(seconds: float) -> None:
    """Wait, where a simulated service is slow."""
    await asyncio.sleep(seconds)
