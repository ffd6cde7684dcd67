"""`python -m sandbox.services.leashed MODULE …`: run a module that ends when its standard input does.

The other end of the pipe belongs to the process that started it, so nothing is left behind when that one
is killed. This works on every system, unlike PR_SET_PDEATHSIG.
"""

import os
import runpy
import signal
import sys
import threading
import time

LAST_RESORT_SECONDS = 15.0


def main() -> None:
    threading.Thread(target=_end_with_input, name="leash", daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_input() -> None:
    # Not sys.stdin: its lock, held by a daemon thread, would abort the interpreter's exit.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_RESORT_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
