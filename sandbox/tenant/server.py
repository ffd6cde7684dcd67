"""The tenant on a port of loopback: HTTP in, `Tenant.answer`, HTTP out, with the transport faults done to
the socket."""

import asyncio
import ssl
import zlib
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from aiohttp import web

from sandbox.tenant.messages import Call, Delivery, Reply, query_of
from sandbox.tenant.tenant import Tenant

_MAX_BODY = 16 * 1024 * 1024
_COMPRESS_FROM = 512
_DRIP_CHUNKS = 20


class TenantServer:
    """Serves one tenant on one port, as an async context manager. With an SSL context it speaks TLS.

    `port` 0 takes a free one; `url` is the origin, such as `https://localhost:41873`.
    """

    def __init__(
        self,
        tenant: Tenant,
        ssl_context: ssl.SSLContext | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.tenant = tenant
        self.url = ""
        self._ssl_context = ssl_context
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen."""
        application = web.Application(client_max_size=_MAX_BODY)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, ssl_context=self._ssl_context)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        scheme = "https" if self._ssl_context else "http"
        self.url = f"{scheme}://{host}:{port}"
        self.tenant.issuer.authority = self.url

    async def stop(self) -> None:
        """Close the port and what is open on it."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        raw = request.raw_path
        origin = f"{request.scheme}://{request.host}"
        call = Call(
            method=request.method,
            path=unquote(urlsplit("http://host" + raw).path),
            query=query_of("http://host" + raw),
            headers=request.headers,
            body=await request.read(),
            origin=origin,
            url=origin + raw,
        )
        reply = await self.tenant.answer(call)
        return await _deliver(request, reply)


async def _deliver(request: web.Request, reply: Reply) -> web.StreamResponse:
    if reply.delivery is Delivery.CLOSED:
        _abort(request)
        return web.Response(status=500)
    headers = {**reply.headers, "Content-Type": reply.content_type}
    body = reply.body
    if len(body) >= _COMPRESS_FROM and "gzip" in request.headers.get("Accept-Encoding", "").lower():
        body = _compressed(body)
        headers["Content-Encoding"] = "gzip"
        headers["Vary"] = "Accept-Encoding"
    if reply.delivery is Delivery.WHOLE:
        return web.Response(status=reply.status, body=body, headers=headers)
    return await _deliver_in_parts(request, reply, headers, body)


async def _deliver_in_parts(
    request: web.Request, reply: Reply, headers: Mapping[str, str], body: bytes
) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    if reply.delivery is Delivery.RESET:
        await response.write(body[: len(body) // 2])
        _abort(request)
        return response
    step = max(1, -(-len(body) // _DRIP_CHUNKS))
    for at in range(0, len(body), step):
        await asyncio.sleep(reply.pause)
        await response.write(body[at : at + step])
    await response.write_eof()
    return response


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _compressed(body: bytes) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    return compressor.compress(body) + compressor.flush()
