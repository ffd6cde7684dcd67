"""`python -m sandbox demo` shows one sync of a simulated tenant; `python -m sandbox run` keeps it running."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

from rich.console import Console

from sandbox.demo.demonstration import demonstrate
from sandbox.demo.keep_running import keep_running
from sandbox.demo.summary import WIDTH
from sandbox.services.child import REPOSITORY
from sandbox.services.errors import SandboxError

INTERRUPTED = 130


def main() -> int:
    """Exit code 0 when all went well, 1 after a sentence on stderr, 130 when the demo was interrupted."""
    arguments = _arguments()
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    directory: Path = arguments.directory
    try:
        if arguments.command == "demo":
            demo = demonstrate(console, directory, users=arguments.users, seed=arguments.seed)
            return 0 if asyncio.run(_until_signal(demo)) else INTERRUPTED
        asyncio.run(
            _until_signal(
                keep_running(
                    console,
                    directory,
                    users=arguments.users,
                    seed=arguments.seed,
                    port=arguments.port,
                    schedule=arguments.schedule,
                    with_host=not arguments.no_host,
                )
            )
        )
    except SandboxError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _until_signal(work: Coroutine[None, None, None]) -> bool:
    """Do the work; end it in good order at Ctrl-C or SIGTERM. Returns whether it came to its own end."""
    task = asyncio.ensure_future(work)
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if not interrupted:  # a second one would disturb the clearing up
            interrupted = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    try:
        await task
    except asyncio.CancelledError:
        if not interrupted:
            raise
    return not interrupted


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="one sync, shown from the timer to the published records")
    run = commands.add_parser("run", help="keep tenant, storage and app running until Ctrl-C")
    for command in (demo, run):
        command.add_argument(
            "--users", type=_at_least(1), default=2000, help="size of the company (default: 2000)"
        )
        command.add_argument(
            "--seed", type=int, default=7, help="the same seed is the same company (default: 7)"
        )
        command.add_argument(
            "--directory",
            type=Path,
            default=REPOSITORY / ".sandbox",
            help="for certificates, logs, settings and the snapshot (default: .sandbox)",
        )
    run.add_argument("--port", type=_at_least(0), default=7071, help="the app's port, 0 for a free one")
    run.add_argument(
        "--schedule",
        default="0 */5 * * * *",
        metavar="NCRONTAB",
        help="SYNC_SCHEDULE of the app (default: every five minutes)",
    )
    run.add_argument("--no-host", action="store_true", help="no app: for `func start` with Core Tools")
    return parser.parse_args()


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
