"""Whether a schedule is one that the Functions host understands: NCRONTAB with six fields.

Without this check a wrong schedule shows only as a function that does not start. Source:
https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
"""

import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

# Name, least and greatest value, and the names that stand for numbers.
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d{1,2}))?", re.ASCII)


def schedule_problem(schedule: str) -> str | None:
    """What is wrong with the schedule, as the rest of a sentence; None when it is right."""
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        return f"has {len(fields)} fields instead of 6"
    for text, (name, least, most, words) in zip(fields, _FIELDS, strict=True):
        if not all(_is_part(part, least, most, words) for part in text.split(",")):
            return f"has a {name} that is not from {least} to {most}, a range, a list or a step"
    return None


def _is_part(part: str, least: int, most: int, words: tuple[str, ...]) -> bool:
    match = _PART.fullmatch(part)
    if match is None or (match["step"] is not None and int(match["step"]) == 0):
        return False
    if match["first"] is None:
        return True
    first = _value(match["first"], least, words)
    last = first if match["last"] is None else _value(match["last"], least, words)
    return first is not None and last is not None and least <= first <= last <= most


def _value(text: str, least: int, words: tuple[str, ...]) -> int | None:
    if text.isdecimal() and len(text) <= 2:
        return int(text)
    short = text.lower()[:3]
    return words.index(short) + least if short in words else None
