"""Setting the objects of a page aside in the bucket of their id."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from shared.errors import InvalidPage
from shared.graph.objects import ObjectId
from shared.graph.paging import UNREADABLE, Page
from shared.snapshots.shuffle import RowWriter, position_of

_object_id = msgspec.json.Decoder(ObjectId)
_encode = msgspec.json.Encoder().encode


class Identified(Protocol):
    id: str


def add_raw(page: Page[msgspec.Raw], rows: RowWriter, stream: str, subject: str) -> None:
    """Each object as Graph sent it: the build reads it. For what no snapshot can do without."""
    shift, segments = rows.stream(stream)
    size = 0
    for raw in page.value:
        try:
            object_id = _object_id.decode(raw).id
        except UNREADABLE as error:
            raise InvalidPage(f"{subject}: Graph sent an object that has no usable id: {error}.") from None
        segments[position_of(object_id) >> shift].append(raw)
        size += len(memoryview(raw))
    rows.grow(len(page.value), size)


def add_read[T: Identified](
    page: Page[T], rows: RowWriter, stream: str, subject: str, read: Callable[[T], msgspec.Struct | None]
) -> None:
    """What each object says, in our own words. For an optional dataset: a bad value is its own trouble, and
    must not reach the build, which could no longer do without it."""
    for item in page.value:
        try:
            row = read(item)
        except ValueError:
            raise InvalidPage(f"{subject}: Graph sent a time that cannot be read.") from None
        if row is not None:
            rows.add(stream, item.id, _encode(row))
