"""Faults on demand: which requests they hit, and what goes wrong.

A `Fault` says when (method, a regular expression over path and decoded query, how many matches to let
through, how many to hit) and an action says what. Actions either answer instead of the service, or spoil
the answer that it gave.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from sandbox.tenant.messages import Call, Delivery, JsonObject, Reply, json_reply, pause
from sandbox.tenant.sign_in_errors import refused_sign_in

type Answer = Callable[[], Awaitable[Reply]]
type Action = Callable[[Call, Answer], Awaitable[Reply]]


@dataclass(slots=True)
class Fault:
    """A rule. The first one that matches a request and is not used up acts on it."""

    action: Action
    path: str = ""
    """Regular expression, searched in the decoded path with its query, such as
    `/v1.0/users/delta.*skiptoken`."""
    method: str | None = None
    skip: int = 0
    """Matching requests to let through first: `skip=2` hits the third."""
    times: int | None = 1
    """Matching requests to hit after those; None for all."""
    every: int = 1
    """Hit one in so many, counted after `skip`."""
    batched: bool = False
    """Whether the rule is for items inside a `$batch` rather than for requests."""
    body: str = ""
    """Regular expression, searched in the request's body after its form encoding is undone, such as
    `username=ada@contoso.com`."""
    hits: int = field(default=0, init=False)
    _seen: int = field(default=0, init=False)

    def takes(self, call: Call) -> bool:
        """Count the request if it matches, and say whether this one is hit."""
        if call.batched != self.batched or (self.method is not None and call.method != self.method):
            return False
        if re.search(self.path, call.target) is None:
            return False
        if self.body and re.search(self.body, unquote_plus(call.body.decode(errors="replace"))) is None:
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self._seen += 1
        if self._seen <= self.skip or (self._seen - self.skip - 1) % self.every:
            return False
        self.hits += 1
        return True


class Faults:
    """The rules of a tenant, in order."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []

    def add(
        self,
        action: Action,
        path: str = "",
        *,
        method: str | None = None,
        skip: int = 0,
        times: int | None = 1,
        every: int = 1,
        batched: bool = False,
        body: str = "",
    ) -> Fault:
        """Add a rule and return it, so that a test can read its `hits`."""
        fault = Fault(action, path, method, skip, times, every, batched, body)
        self.rules.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all rules."""
        self.rules.clear()

    async def apply(self, call: Call, answer: Answer) -> Reply:
        """The answer, through the first rule that takes this request."""
        for fault in self.rules:
            if fault.takes(call):
                return await fault.action(call, answer)
        return await answer()


# --- answers in place of the service's ------------------------------------------------------------


def respond(
    status: int,
    *,
    code: str | None = None,
    message: str = "Injected fault.",
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> Action:
    """Answer with this status; with `code` in Graph's error body, with `body` as it stands, else without a
    body."""

    async def act(call: Call, _answer: Answer) -> Reply:
        if code is not None:
            request_id = call.headers.get("client-request-id", "00000000-0000-0000-0000-000000000000")
            inner = {
                "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
                "request-id": request_id,
                "client-request-id": request_id,
            }
            error = {"error": {"code": code, "message": message, "innerError": inner}}
            return json_reply(error, status, headers)
        return Reply(status, (body or "").encode(), dict(headers or {}), content_type)

    return act


def entra_error(
    codes: Sequence[int],
    *,
    error: str | None = None,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Action:
    """Entra's refusal with these AADSTS codes, before any check; 90055 with `Retry-After` is its
    throttling."""

    async def act(call: Call, _answer: Answer) -> Reply:
        refusal = refused_sign_in(codes)
        refusal.error = error or refusal.error
        refusal.status = status or refusal.status
        refusal.headers = dict(headers or {})
        return refusal.reply(call, datetime.now(UTC))

    return act


def throttle(retry_after: float | str | None = None, status: int = 429) -> Action:
    """429 (or 503) with `Retry-After` as given (`3`, `"2.128"`), or none. See also `throttle_until`."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    code = "TooManyRequests" if status == 429 else "serviceNotAvailable"
    return respond(status, code=code, message="Too many requests.", headers=headers)


def throttle_until(seconds: float) -> Action:
    """429 with `Retry-After` as an HTTP date so many seconds ahead."""

    async def act(call: Call, answer: Answer) -> Reply:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
        return await throttle(date)(call, answer)

    return act


def html(status: int = 200) -> Action:
    """A gateway's page where JSON was due."""
    page = "<!DOCTYPE html><html><body><h2>Our services are not available right now</h2></body></html>"
    return respond(status, body=page, content_type="text/html")


def gone(location: str | None = None) -> Action:
    """410 as for an aged delta token; the location defaults to the same path with an empty token."""

    async def act(call: Call, answer: Answer) -> Reply:
        target = location or f"{call.origin}{call.path}?$deltatoken="
        spoiled = respond(
            410, code="resyncRequired", message="Resync required.", headers={"Location": target}
        )
        return await spoiled(call, answer)

    return act


def expired_page_token() -> Action:
    """400 `Directory_ExpiredPageToken`, as in the middle of a long paging."""
    return respond(
        400,
        code="Directory_ExpiredPageToken",
        message="The specified page token value has expired and can no longer be included in your request.",
    )


# --- transport ------------------------------------------------------------------------------------


def close() -> Action:
    """Close the connection without an answer."""

    async def act(_call: Call, _answer: Answer) -> Reply:
        return Reply(0, delivery=Delivery.CLOSED)

    return act


def reset() -> Action:
    """Send the headers and half of the body, then reset the connection."""
    return _delivered(Delivery.RESET)


def drip(seconds: float = 0.05) -> Action:
    """Send the true answer in about 20 chunks with a pause before each."""
    return _delivered(Delivery.DRIP, seconds)


def delay(seconds: float) -> Action:
    """The true answer, later."""

    async def act(_call: Call, answer: Answer) -> Reply:
        await pause(seconds)
        return await answer()

    return act


def hang(seconds: float = 3600) -> Action:
    """The service does its work, so that an attempt counts, and answers too late."""

    async def act(_call: Call, answer: Answer) -> Reply:
        reply = await answer()
        await pause(seconds)
        return reply

    return act


def truncate() -> Action:
    """A complete answer with status 200 whose JSON stops half way."""

    async def act(_call: Call, answer: Answer) -> Reply:
        reply = await answer()
        reply.body = reply.body[: len(reply.body) // 2]
        return reply

    return act


def add_headers(headers: Mapping[str, str]) -> Action:
    """The true answer with more headers, such as `x-ms-throttle-limit-percentage`."""

    async def act(_call: Call, answer: Answer) -> Reply:
        reply = await answer()
        reply.headers.update(headers)
        return reply

    return act


def _delivered(delivery: Delivery, seconds: float = 0.0) -> Action:
    async def act(_call: Call, answer: Answer) -> Reply:
        reply = await answer()
        reply.delivery = delivery
        reply.pause = seconds
        return reply

    return act


def change_fields(set: Mapping[str, Any] | None = None, remove: Sequence[str] = ()) -> Action:
    """The true answer with some fields of its JSON object set and others removed."""

    def change(content: JsonObject, _call: Call) -> None:
        content.update(set or {})
        for name in remove:
            content.pop(name, None)

    return edit(change)


# --- pages ----------------------------------------------------------------------------------------


def edit(change: Callable[[JsonObject, Call], None]) -> Action:
    """The true answer after `change(content, call)` had its way with the decoded JSON. Only in process."""

    async def act(call: Call, answer: Answer) -> Reply:
        reply = await answer()
        content = msgspec.json.decode(reply.body)
        change(content, call)
        reply.body = msgspec.json.encode(content)
        return reply

    return act


def without_links() -> Action:
    """A page with neither nextLink nor deltaLink."""

    def change(page: JsonObject, _call: Call) -> None:
        page.pop("@odata.nextLink", None)
        page.pop("@odata.deltaLink", None)

    return edit(change)


def both_links() -> Action:
    """A page with a nextLink and a deltaLink."""

    def change(page: JsonObject, call: Call) -> None:
        page.setdefault("@odata.nextLink", f"{call.origin}{call.path}?$skiptoken=both")
        page.setdefault("@odata.deltaLink", f"{call.origin}{call.path}?$deltatoken=both")

    return edit(change)


def self_link() -> Action:
    """A page whose nextLink is the page itself."""

    def change(page: JsonObject, call: Call) -> None:
        page.pop("@odata.deltaLink", None)
        page["@odata.nextLink"] = call.url

    return edit(change)


def replay() -> Action:
    """A page whose nextLink leads to the same page under another URL, which then goes on."""

    def change(page: JsonObject, call: Call) -> None:
        page.pop("@odata.deltaLink", None)
        page["@odata.nextLink"] = f"{call.url}{'&' if '?' in call.url else '?'}replay={id(page)}"

    return edit(change)


def foreign_link(url: str) -> Action:
    """A page whose nextLink leads to another host."""

    def change(page: JsonObject, _call: Call) -> None:
        page.pop("@odata.deltaLink", None)
        page["@odata.nextLink"] = url

    return edit(change)


def replace_object(content: Any, index: int = 0) -> Action:
    """A page in which one object is replaced by this JSON."""

    def change(page: JsonObject, _call: Call) -> None:
        page["value"][index] = content

    return edit(change)


_BY_NAME: dict[str, Callable[..., Action]] = {
    action.__name__: action
    for action in (
        respond,
        entra_error,
        throttle,
        throttle_until,
        html,
        gone,
        expired_page_token,
        close,
        reset,
        drip,
        delay,
        hang,
        truncate,
        add_headers,
        change_fields,
        without_links,
        both_links,
        self_link,
        replay,
        foreign_link,
        replace_object,
    )
}


def from_json(content: JsonObject) -> Fault:
    """A rule from a scenario: `{"action": "throttle", "arguments": {"retry_after": "2.128"}, "path": "…",
    "times": 2}`.

    ValueError for an unknown action or field.
    """
    fields = dict(content)
    name = fields.pop("action", None)
    if name not in _BY_NAME:
        raise ValueError(f"unknown action {name!r}; known are {', '.join(sorted(_BY_NAME))}")
    try:
        return Fault(_BY_NAME[name](**fields.pop("arguments", {})), **fields)
    except TypeError as error:
        raise ValueError(str(error)) from error
