"""One sandbox a directory: a second one would replace the certificates that the first one's app trusts."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.services.errors import SandboxError


@contextmanager
def occupied(directory: Path) -> Iterator[None]:
    """Hold the directory, which is made if need be. The lock ends with this process, however it ends.

    Raises SandboxError when somebody else holds it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SandboxError(
                f"Another sandbox runs in {directory}: stop it, or choose another place with --directory."
            ) from None
        yield
