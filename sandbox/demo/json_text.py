"""JSON for reading: what fits on a line stays on it."""

import json
from typing import Any

INDENT = 2


def json_text(value: Any, width: int = 100, *, indent: int = 0, used: int = 0) -> str:
    """`value` as JSON; objects and lists are broken only where they would pass `width`.

    `indent` is that of the current line, `used` what stands on it before and after the value.
    """
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or indent + used + len(flat) <= width:
        return flat
    inner = indent + INDENT
    if isinstance(value, dict):
        items = []
        for name, member in value.items():
            label = f"{json.dumps(name, ensure_ascii=False)}: "
            text = json_text(member, width, indent=inner, used=len(label) + 1)
            items.append(label + text)
        opening, closing = "{", "}"
    else:
        items = [json_text(member, width, indent=inner, used=1) for member in value]
        opening, closing = "[", "]"
    lines = f",\n{' ' * inner}".join(items)
    return f"{opening}\n{' ' * inner}{lines}\n{' ' * indent}{closing}"
