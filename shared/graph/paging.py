"""Pages: what an answer must be before its objects are believed.

A chain ends by a delta link (delta) or by the absence of a next link (list), and by nothing else. The SDK's
`PageIterator` is not used: it takes an empty page with a next link for the end, which truncates a snapshot.
"""

import hashlib
from typing import Any

import msgspec

from shared.errors import InvalidPage


class Page[T](msgspec.Struct, gc=False):
    """One page of a collection."""

    value: list[T]
    next_link: str | None = msgspec.field(default=None, name="@odata.nextLink")
    delta_link: str | None = msgspec.field(default=None, name="@odata.deltaLink")


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be; the last for nesting without end."""

RAW_PAGE = msgspec.json.Decoder(Page[msgspec.Raw])
"""Splits a page into its objects without reading them: a fifth of the cost."""


def read_page[T](
    body: bytes, decoder: msgspec.json.Decoder[Page[T]], subject: str, *, delta: bool
) -> Page[T]:
    """The page in `body`. Raises `InvalidPage` if it is none, or if its links contradict each other."""
    try:
        page = decoder.decode(body)
    except UNREADABLE as error:
        raise InvalidPage(
            f"{subject}: Graph sent a page that cannot be read: {_reason(error, body)}"
        ) from None
    if page.next_link and page.delta_link:
        raise InvalidPage(f"{subject}: Graph sent a page with both a next link and a delta link.")
    if delta and not page.next_link and not page.delta_link:
        raise InvalidPage(f"{subject}: Graph sent a page with neither a next link nor a delta link.")
    if not delta and page.delta_link:
        raise InvalidPage(f"{subject}: Graph sent a delta link for a list.")
    return page


def decode_objects[T](rows: bytes, decoder: msgspec.json.Decoder[list[T]], subject: str) -> list[T]:
    """Objects that were set aside raw (a JSON array). Raises `InvalidPage` naming what is wrong with one."""
    try:
        return decoder.decode(rows)
    except UNREADABLE as error:
        raise InvalidPage(f"{subject}: an object cannot be read: {_reason(error, rows)}") from None


def _reason(error: Exception, body: bytes) -> str:
    """What is wrong, without quoting the body, which may hold personal data."""
    if not isinstance(error, msgspec.ValidationError) and body.lstrip()[:1] == b"<":
        return (
            "it is HTML, so something between the app and Graph answered. "
            "Let the app reach Graph without a proxy that changes answers."
        )
    # msgspec quotes types and paths, never values; an invalid enum value would be quoted, we have none.
    return f"{error}."


class VisitedLinks:
    """The next links that a chain has followed, 8 bytes each, so that a loop fails and does not run on."""

    SIZE = 8

    def __init__(self, digests: bytes = b"") -> None:
        self._seen = {digests[i : i + self.SIZE] for i in range(0, len(digests), self.SIZE)}

    def visit(self, link: str, subject: str) -> None:
        digest = hashlib.blake2b(link.encode(), digest_size=self.SIZE).digest()
        if digest in self._seen:
            raise InvalidPage(
                f"{subject}: Graph sent a next link a second time; following it would never end."
            )
        self._seen.add(digest)

    def digests(self) -> bytes:
        """All of them, for the checkpoint."""
        return b"".join(sorted(self._seen))


def page_decoder(kind: Any) -> msgspec.json.Decoder[Page[Any]]:
    """A decoder of pages whose objects are of this kind."""
    return msgspec.json.Decoder(Page[kind])
