"""Paths as a person would type them."""

from pathlib import Path


def shown(path: Path) -> str:
    """Relative to the working directory, if it lies there."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
