"""All pages in one file, gzip as they go over the wire, with an index beside it."""

import mmap
from pathlib import Path
from typing import BinaryIO

import msgspec
from isal import isal_zlib

type Kind = str
"""What a page is of: one of the kinds of a full sync, or the replay of a delta link (`users-delta-2`)."""

GZIP_WINDOW = 16 + 15
GZIP_LEVEL = 2

_PAGES = "pages.bin"
_INDEX = "index.json"


class Facts(msgspec.Struct):
    """What the pages of one kind come to. Sizes are in bytes."""

    pages: int = 0
    objects: int = 0
    plain: int = 0
    compressed: int = 0


class Index(msgspec.Struct):
    """Where each page lies: offset and length, by kind."""

    ranges: dict[str, list[tuple[int, int]]]
    facts: dict[str, Facts]


class ArchiveWriter:
    """Takes pages of all kinds as they come, and keeps none. Call `close` to write the index."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: BinaryIO = (directory / _PAGES).open("wb")
        self._index = Index({}, {})

    def add(self, kind: Kind, body: str, objects: int) -> None:
        plain = body.encode()
        stored = isal_zlib.compress(plain, GZIP_LEVEL, wbits=GZIP_WINDOW)
        self._index.ranges.setdefault(kind, []).append((self._file.tell(), len(stored)))
        facts = self._index.facts.setdefault(kind, Facts())
        facts.pages += 1
        facts.objects += objects
        facts.plain += len(plain)
        facts.compressed += len(stored)
        self._file.write(stored)

    def close(self) -> None:
        self._file.close()
        (self._directory / _INDEX).write_bytes(msgspec.json.encode(self._index))


class Archive:
    """Reads what an `ArchiveWriter` wrote."""

    def __init__(self, directory: Path) -> None:
        self._index = msgspec.json.decode((directory / _INDEX).read_bytes(), type=Index)
        with (directory / _PAGES).open("rb") as file:
            self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @property
    def facts(self) -> dict[str, Facts]:
        return self._index.facts

    def count(self, kind: Kind) -> int:
        return len(self._index.ranges.get(kind, ()))

    def stored(self, kind: Kind, number: int) -> bytes:
        """One page, gzip."""
        offset, length = self._index.ranges[kind][number]
        return self._content[offset : offset + length]


def gunzip(stored: bytes) -> bytes:
    return bytes(isal_zlib.decompress(stored, wbits=GZIP_WINDOW))
