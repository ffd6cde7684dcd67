"""`POST /v1.0/$batch`: up to 20 requests in one, each answered, charged and throttled on its own, in any
order."""

import base64
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote

import msgspec
from multidict import CIMultiDict

from sandbox.tenant.access import GraphError, bad_request, new_request_id
from sandbox.tenant.messages import Call, JsonObject, Record, Reply, json_reply, query_of

MAX_REQUESTS = 20
PATH = "/$batch"

type AnswerItem = Callable[[Call], Awaitable[Reply]]


async def answer_batch(
    call: Call, check_token: Callable[[Call], object], answer_item: AnswerItem, order: random.Random
) -> Reply:
    """The outer answer: 200 with an answer for each item, 400 for a malformed batch, 401 without a token."""
    request_id = new_request_id()
    try:
        check_token(call)
        items = _items(call)
    except GraphError as error:
        return error.reply(call, request_id)
    responses: list[JsonObject] = []
    records: list[Record] = []
    status: dict[str, int] = {}
    for item in items:
        failed = [name for name in item.get("dependsOn", ()) if status.get(name, 424) >= 400]
        inner = _inner_call(call, item)
        if failed:
            reply = GraphError(
                424, "FailedDependency", f"The request depends on {failed[0]!r}, which failed."
            ).reply(inner, request_id)
        else:
            reply = await answer_item(inner)
        status[item["id"]] = reply.status
        responses.append(_response(item["id"], reply))
        records.append(
            Record(
                inner.method,
                inner.target,
                reply.status,
                inner.bearer() is not None,
                reply.resource_units,
            )
        )
    order.shuffle(responses)
    outer = json_reply({"responses": responses}, headers={"request-id": request_id})
    outer.resource_units = sum(record.resource_units for record in records)
    outer.items = records
    return outer


def _items(call: Call) -> list[JsonObject]:
    if call.method != "POST":
        raise GraphError(405, "BadRequest", "Only POST is allowed for $batch.")
    try:
        content: Any = msgspec.json.decode(call.body)
        items = content["requests"]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise bad_request("Invalid batch payload format.") from error
    if not isinstance(items, list) or not items:
        raise bad_request("Invalid batch payload format.")
    if len(items) > MAX_REQUESTS:
        raise bad_request(f"Number of batch request steps exceeds the maximum value of {MAX_REQUESTS}.")
    seen: set[str] = set()
    for item in items:
        if not isinstance(item, dict) or not all(
            isinstance(item.get(name), str) and item[name] for name in ("id", "method", "url")
        ):
            raise bad_request("Every batch request needs an 'id', a 'method' and a 'url'.")
        if item["id"] in seen:
            raise bad_request(f"Request Id values must be unique; '{item['id']}' is repeated.")
        if "://" in item["url"]:
            raise bad_request(f"The url of batch request '{item['id']}' must be relative.")
        if any(name not in seen for name in item.get("dependsOn", ())):
            raise bad_request(f"Batch request '{item['id']}' depends on a request that does not precede it.")
        seen.add(item["id"])
    return items


def _inner_call(call: Call, item: Mapping[str, Any]) -> Call:
    """The item as a request of its own; it inherits the token of the batch."""
    url = "/" + item["url"].lstrip("/")
    headers = CIMultiDict({"Authorization": call.headers.get("Authorization", "")})
    headers.update(item.get("headers", {}))
    return Call(
        method=item["method"].upper(),
        path=unquote(url.split("?")[0]),
        query=query_of(url),
        headers=headers,
        body=msgspec.json.encode(item["body"]) if "body" in item else b"",
        origin=call.origin,
        url=f"{call.origin}/v1.0{url}",
        batched=True,
    )


def _response(item_id: str, reply: Reply) -> JsonObject:
    headers = {**reply.headers, "Content-Type": reply.content_type}
    response: JsonObject = {"id": item_id, "status": reply.status or 504, "headers": headers}
    if "json" in reply.content_type:
        response["body"] = msgspec.Raw(reply.body or b"null")
    elif reply.body:
        response["body"] = base64.b64encode(reply.body).decode()
    return response
