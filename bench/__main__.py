"""`python -m bench`: measure a full sync, and show what it costs beside what it might."""

import argparse
import sys
from pathlib import Path

import msgspec
from rich.console import Console

from bench.document import update
from bench.run import ROOT, Failed, Plan, run, serving
from bench.scale import Scale
from bench.summary import Summary
from bench.table import markdown, show, show_profile
from sandbox.azurite import AzuriteError

DOCUMENT = ROOT / "docs" / "performance.md"
PIPE_WIDTH = 160


def main() -> int:
    """Exit code 1 when something could not be measured. A bar that does not hold is shown, and no error."""
    arguments = _arguments()
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    progress = Console(stderr=True)
    try:
        plan = Plan(
            Scale.of(arguments), arguments.repetitions, arguments.typed_users, indexing_pairs=arguments.pairs
        )
        if arguments.profile:
            _profile(plan, arguments.json, console)
            return 0
        results = run(plan, lambda text: progress.print(f"[dim]{text} …[/dim]"))
    except (Failed, AzuriteError, ValueError) as error:
        progress.print(str(error), style="red", markup=False)
        return 1
    summary = Summary(results)
    show(summary, console)
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    if arguments.update_docs:
        update(DOCUMENT, markdown(summary))
    return 0


def _profile(plan: Plan, output: Path | None, console: Console) -> None:
    with serving(plan) as served:
        cost = served.sync("--profile")
    assert cost.profile is not None
    show_profile(cost.profile, console)
    if output:
        output.write_bytes(msgspec.json.format(msgspec.json.encode(cost), indent=1))


def _arguments() -> argparse.Namespace:
    plan = Plan(Scale())
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    Scale.add_arguments(parser)
    parser.add_argument(
        "--repetitions", type=int, default=plan.repetitions, metavar="N", help="of floor and syncs"
    )
    parser.add_argument(
        "--typed-users", type=int, default=plan.typed_users, metavar="N", help="that the typed loop reads"
    )
    parser.add_argument("--pairs", type=int, default=plan.indexing_pairs, metavar="N", help="of cold starts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    parser.add_argument("--update-docs", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--profile", action="store_true", help="only show where the CPU of one sync goes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
