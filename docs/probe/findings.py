"""What was seen, and whether it is what the app counts on."""

import re
import textwrap
from collections.abc import Callable
from enum import StrEnum
from itertools import zip_longest
from typing import NamedTuple

import msgspec

from shared.errors import GraphError, GraphRefused, GraphRequestRejected, InvalidPage

_GUID = re.compile(r"\b([0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
_WIDTHS = (36, 30, 40, 11)


class Verdict(StrEnum):
    AS_EXPECTED = "as expected"
    DIFFERS = "differs"
    REFUSED = "refused"
    NOT_TRIED = "not tried"


class Seen(NamedTuple):
    text: str
    verdict: Verdict


class Finding(msgspec.Struct):
    """One line of the table."""

    check: str
    expected: str
    seen: str
    verdict: Verdict


class Findings(list[Finding]):
    """All lines, in the order of the questions."""

    def note(self, check: str, expected: str, seen: Seen) -> None:
        """One more; ids are shortened."""
        self.append(Finding(check, expected, _GUID.sub(r"\1…", seen.text), seen.verdict))

    def table(self) -> str:
        rows = [("check", "expected", "seen", "verdict"), tuple("-" * width for width in _WIDTHS)]
        rows += [(each.check, each.expected, each.seen, each.verdict) for each in self]
        lines = []
        for row in rows:
            cells = [textwrap.wrap(text, width) for text, width in zip(row, _WIDTHS, strict=True)]
            for parts in zip_longest(*cells, fillvalue=""):
                padded = (part.ljust(width) for part, width in zip(parts, _WIDTHS, strict=True))
                lines.append("  ".join(padded).rstrip())
        return "\n".join(lines)


def whether(expected: bool) -> Verdict:
    return Verdict.AS_EXPECTED if expected else Verdict.DIFFERS


def judged[T](answer: T | GraphError, judge: Callable[[T], Seen]) -> Seen:
    return no_answer(answer) if isinstance(answer, GraphError) else judge(answer)


def no_answer(error: GraphError) -> Seen:
    """Status, code and kind: Graph's own words may name somebody."""
    if isinstance(error, GraphRefused | GraphRequestRejected):
        said = re.search(r"\((\d{3}[^)]*)\)", str(error))
        return Seen(f"{said[1] if said else 'refused'} ({error.reason})", Verdict.REFUSED)
    if isinstance(error, InvalidPage):
        return Seen(str(error), Verdict.DIFFERS)
    return Seen(f"no answer: {error.reason}", Verdict.NOT_TRIED)


def answered(_: object) -> Seen:
    return Seen("answered", Verdict.AS_EXPECTED)
