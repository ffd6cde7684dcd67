"""Keeps the numbers in `docs/performance.md`: they stand between two markers and come from a run."""

from pathlib import Path

BEGIN = "<!-- numbers of `python -m bench --update-docs`: begin -->"
END = "<!-- numbers of `python -m bench --update-docs`: end -->"


def update(document: Path, numbers: str) -> None:
    """Replace what stands between the markers. Raises ValueError where they are missing."""
    text = document.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} has no markers for the numbers: {BEGIN} … {END}")
    document.write_text(f"{before}{BEGIN}\n\n{numbers}\n\n{END}{after}", encoding="utf-8")
