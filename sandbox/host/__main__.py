"""`python -m sandbox.host --app DIRECTORY`: run an app until it is interrupted."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from sandbox.host.console import log_to
from sandbox.host.errors import HostError, IndexingFailed
from sandbox.host.host import REAL_MESSAGE_LEASE_SECONDS, Host
from sandbox.host.settings import read_local_settings


def main() -> int:
    """Exit code 0 after a clean stop, 1 when the app cannot run."""
    arguments = _arguments()
    try:
        if arguments.settings:
            read_local_settings(arguments.settings, os.environ)
        stopped_all = asyncio.run(_run(arguments))
    except HostError as error:
        print(_explain(error), file=sys.stderr)
        return 1
    if not stopped_all:
        # A synchronous function does not let go of its thread; Azure kills the worker process then, and so
        # do we.
        sys.stdout.flush()
        os._exit(0)
    return 0


async def _run(arguments: argparse.Namespace) -> bool:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # What Core Tools sets; an app may ask whether it runs locally.
    os.environ.setdefault("FUNCTIONS_WORKER_RUNTIME", "python")
    os.environ.setdefault("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
    host = Host(
        arguments.app,
        port=arguments.port,
        message_lease_seconds=arguments.message_lease,
        grace_seconds=arguments.grace,
    )
    debug = os.environ.get("PYTHON_ENABLE_DEBUG_LOGGING", "").lower() in ("1", "true")
    log_to(sys.stderr, host.settings, host.worker.running_here, debug=debug)
    await host.start()
    print(f"Host ready on {host.url}", flush=True)
    await stop.wait()
    return await host.stop()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.host", description=__doc__)
    parser.add_argument(
        "--app", type=Path, required=True, help="directory with host.json and function_app.py"
    )
    parser.add_argument("--port", type=int, default=0, help="HTTP port on loopback (default: a free one)")
    parser.add_argument(
        "--settings", type=Path, help="local.settings.json; environment variables win over it"
    )
    parser.add_argument(
        "--message-lease",
        type=int,
        default=REAL_MESSAGE_LEASE_SECONDS,
        metavar="SECONDS",
        help="how long a message stays hidden after this process was killed (default: 600, as in Azure)",
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=10,
        metavar="SECONDS",
        help="what running functions get at a stop (default: 10)",
    )
    return parser.parse_args()


def _explain(error: HostError) -> str:
    if isinstance(error, IndexingFailed):
        return f"The app could not be indexed: {error}\n{error.stack_trace}".rstrip()
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
