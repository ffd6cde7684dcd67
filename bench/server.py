"""A process that stands in for Graph and does nothing but send bytes: `python -m bench.server`.

Plain HTTP/1.1 on loopback, keep-alive, bodies made beforehand and gzip, as Graph answers a client that takes
gzip. What it costs is not what is measured, but it shares the machine, so there is no framework in it.

It prints one line with its origin when it serves, and ends when its standard input does.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from urllib.parse import unquote

import msgspec

from bench.pages.archive import Archive, Facts, Kind
from bench.pages.make import FIRST, MINT, USERS_DELTA, make_pages
from bench.scale import Scale

REQUESTS = "/bench/requests"
"""How many requests were answered so far, this one not counted."""


class Ready(msgspec.Struct):
    """What the server prints once it serves."""

    origin: str
    facts: dict[str, Facts]


class PageServer:
    """Answers `GET` from an archive."""

    def __init__(self, scale: Scale) -> None:
        self._counts = {"/v1.0/users/$count": scale.users, "/v1.0/groups/$count": scale.groups}
        self.archive: Archive
        self._requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.decode("latin-1")))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, head: str) -> bytes:
        target = unquote(head.split(" ", 2)[1])
        path, _, query = target.partition("?")
        if path == REQUESTS:
            return _response("200 OK", "text/plain", str(self._requests).encode())
        self._requests += 1
        if path in self._counts:
            return _response("200 OK", "text/plain", str(self._counts[path]).encode())
        kind, number = _page(path, query)
        if number >= self.archive.count(kind):
            return _response("404 Not Found", "text/plain", b"no such page")
        if "gzip" not in head.lower():
            return _response("406 Not Acceptable", "text/plain", b"the pages are gzip")
        body = self.archive.stored(kind, number)
        return _response("200 OK", "application/json", body, "Content-Encoding: gzip\r\n")


def _page(path: str, query: str) -> tuple[Kind, int]:
    """What is asked for: a link ends with the kind and number of its page; the rest begins a chain."""
    token = query.rpartition("token=")[2]
    if token == "latest" and path == USERS_DELTA:
        return MINT, 0
    if "token=" in query:
        _, kind, number = token.split(".")
        return kind, int(number)
    return FIRST.get(path, ""), 0


def _response(status: str, content_type: str, body: bytes, headers: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        f"{headers}x-ms-resource-unit: 1\r\n\r\n"
    )
    return head.encode() + body


async def _run(scale: Scale, directory: Path) -> None:
    pages = PageServer(scale)
    # The port comes first: pages name the server in their links.
    server = await asyncio.start_server(pages.serve, "127.0.0.1", 0)
    origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    make_pages(scale, origin, directory)
    pages.archive = Archive(directory)
    print(msgspec.json.encode(Ready(origin, pages.archive.facts)).decode(), flush=True)
    async with server:
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.server", description=__doc__)
    Scale.add_arguments(parser)
    parser.add_argument("--directory", type=Path, required=True, help="where the pages are written")
    arguments = parser.parse_args()
    asyncio.run(_run(Scale.of(arguments), arguments.directory))


if __name__ == "__main__":
    main()
