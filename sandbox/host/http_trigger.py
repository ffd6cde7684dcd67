"""HTTP requests and responses in the worker's terms.

The encoding is that of `ToRpcHttp` in Azure/azure-functions-host (GrpcMessageConversionExtensions.cs), with
the capabilities that the Python worker announces: header names in lower case, repeated values joined by
commas, query values that are empty left out, the body as bytes, and **only when there is a
Content-Length**: a chunked request arrives with an empty body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from multidict import CIMultiDict, MultiMapping

from sandbox.host.worker import Datum

# 100 MB, the request limit of the real host.
MAX_REQUEST_BYTES = 104_857_600
_FRAMING = {"content-length", "transfer-encoding", "connection"}


async def encode_request(request: web.Request, parameters: Mapping[str, str]) -> Datum:
    """The request as the trigger's input."""
    body = await request.read() if request.content_length else b""
    return Datum(
        {
            "method": _text(request.method),
            "url": _text(f"{request.scheme}://{request.host}{request.raw_path}"),
            "headers": _texts({name.lower(): value for name, value in _joined(request.headers, ",").items()}),
            "params": _texts(parameters),
            "query": _texts({name: value for name, value in _joined(request.query, ",").items() if value}),
            "body": Datum(body, "bytes"),
        },
        "http",
    )


def decode_response(value: Datum | None) -> web.Response:
    """What the function returned, as a response. A text is 200 text/plain; nothing is 204."""
    if value is None or value.type is None:
        return web.Response(status=204)
    if value.type != "http":
        text = value.value if isinstance(value.value, str) else bytes(value.value).decode("utf-8", "replace")
        return web.Response(text=text)
    http: Mapping[str, Any] = value.value
    headers = CIMultiDict(
        (name, header.value) for name, header in http["headers"].items() if name.lower() not in _FRAMING
    )
    for cookie in http.get("cookies") or ():
        for morsel in cookie.values():
            headers.add("Set-Cookie", morsel.OutputString())
    return web.Response(status=int(http["status_code"].value), headers=headers, body=http["body"].value)


def _joined(values: MultiMapping[str], separator: str) -> dict[str, str]:
    return {name: separator.join(values.getall(name)) for name in values}


def _text(value: str) -> Datum:
    return Datum(value, "string")


def _texts(values: Mapping[str, str]) -> dict[str, Datum]:
    return {name: _text(value) for name, value in values.items()}


def path_of(request: web.Request) -> str:
    """Path without query, still percent-encoded: `%2F` in a parameter is not a separator."""
    return request.rel_url.raw_path


def function_name_of(request: web.Request) -> str:
    """The name in `/admin/functions/{name}`."""
    return unquote(request.match_info["name"])
