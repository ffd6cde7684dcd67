"""What is freed goes back to the system where the C library is glibc, and nothing breaks elsewhere."""

import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import memory

PIECE = 64 * 1024
PIECES = 1_024
LEARNT = 32 * 1024 * 1024

needs_glibc = pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="only glibc is told"
)


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """Whatever a test says of the platform is forgotten after it, and the heap is left in peace."""
    memory._glibc.cache_clear()
    yield
    memory._glibc.cache_clear()
    memory.map_from(LEARNT)


def resident() -> int:
    """Bytes of memory that the process has from the system."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


@needs_glibc
def test_holes_between_what_is_held_are_given_back() -> None:
    memory.map_from(LEARNT)
    pieces = [bytearray(b"x" * PIECE) for _ in range(PIECES)]
    held = pieces[::2]
    full = resident()
    del pieces
    memory.give_back()
    assert full - resident() > PIECE * PIECES // 4
    assert all(len(piece) == PIECE for piece in held)


@needs_glibc
def test_a_large_piece_is_given_back_when_it_is_freed() -> None:
    memory.map_from(1024 * 1024)
    held = []
    large = bytearray(b"x" * (LEARNT // 2))
    held.append(bytearray(b"x" * PIECE))  # lies behind it, were both on the heap
    full = resident()
    del large
    assert full - resident() > LEARNT // 4
    assert len(held[0]) == PIECE


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    memory.map_from(1024 * 1024)
    memory.give_back()
    assert memory._glibc() is None
