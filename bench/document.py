"""Keeps the numbers in `docs/performance.md`: they stand between markers and come from a run."""

from pathlib import Path

ONE_SCALE = "python -m bench --update-docs"
VALIDATION = "python -m bench --validation --update-docs"
SEVERAL_SCALES = "python -m bench --scale 1m --update-docs"


def markers(command: str) -> tuple[str, str]:
    """What stands before and after the numbers of this command."""
    return f"<!-- numbers of `{command}`: begin -->", f"<!-- numbers of `{command}`: end -->"


def update(document: Path, command: str, numbers: str) -> None:
    """Replace what stands between the markers. Raises ValueError where they are missing."""
    first, last = markers(command)
    text = document.read_text(encoding="utf-8")
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{document} has no markers for the numbers: {first} … {last}")
    document.write_text(f"{before}{first}\n\n{numbers}\n\n{last}{after}", encoding="utf-8")
