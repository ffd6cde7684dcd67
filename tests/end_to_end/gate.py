"""A port in front of a service. A test can shut it: whoever connects is refused, as where nobody listens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Gate:
    """Hands bytes on, TLS included. `url` is that of the service, by way of the gate."""

    def __init__(self, url: str) -> None:
        self._service = urlsplit(url)
        self._port = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return self._service._replace(netloc=f"{self._service.hostname}:{self._port}").geturl()

    @asynccontextmanager
    async def shut(self) -> AsyncIterator[None]:
        """Within this context nobody gets through, and who was is cut off."""
        await self._close()
        try:
            yield
        finally:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._pass, self._service.hostname, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._server.abort_clients()
        await self._server.wait_closed()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(self._service.hostname, self._service.port)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._copy(reader, far_writer))
                both.create_task(self._copy(far_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass  # cut off
        finally:
            writer.close()

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()
