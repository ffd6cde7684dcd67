"""How the C library keeps the memory that was freed, where it is glibc; elsewhere nothing happens.

Left to itself, glibc learns: once a piece of 12 MB was freed, all smaller ones come from the heap, and a heap
that large pieces are put between small ones keeps more holes than it holds. A worker that lives for days
is better told.
"""

import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def map_from(size: int) -> None:
    """Take each piece of at least `size` bytes from the system and give it back at once when it is freed.

    That saves memory, but to clear the pages of a piece costs more than to copy something into it.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_M_MMAP_THRESHOLD, size)
        library.mallopt(_M_TRIM_THRESHOLD, 2 * size)


def give_back() -> None:
    """Give the system all pages back that are free by now, wherever they lie."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> "ctypes.CDLL | None":
    if sys.platform != "linux":
        return None
    import ctypes

    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
