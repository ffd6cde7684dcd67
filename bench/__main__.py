"""`python -m bench`: measure full and incremental syncs, and show what they cost beside what they might."""

import argparse
import sys
from pathlib import Path

import msgspec
from rich.console import Console

from bench.document import ONE_SCALE, SEVERAL_SCALES, VALIDATION, update
from bench.growth import GrowthSummary
from bench.pages.changes import INCREMENTAL_ROUNDS
from bench.results import Growth, Results, SyncCost
from bench.run import ROOT, Failed, Plan, grow, run, serving
from bench.scale import SCALES, Scale
from bench.summary import Summary
from bench.table import markdown, markdown_of, show, show_profile, show_sections
from bench.validation.costs import ValidationCosts
from bench.validation.measure import measure
from bench.validation.summary import describe, sections
from sandbox.azurite import AzuriteError

DOCUMENT = ROOT / "docs" / "performance.md"
PIPE_WIDTH = 160
WORKERS = 2
MOST_USERS_FOR_WORKERS = 100_000
"""Where nothing is said of workers: it takes as long again."""


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
            _profile(plan, arguments, console)
            return 0
        if not arguments.validation:
            _show_syncs(plan, arguments, console, progress)
        if arguments.validation or not (arguments.scale or arguments.workers):
            _show_validation(arguments, console, progress)
    except (Failed, AzuriteError, ValueError) as error:
        progress.print(str(error), style="red", markup=False)
        return 1
    return 0


def _show_syncs(plan: Plan, arguments: argparse.Namespace, console: Console, progress: Console) -> None:
    summary, command = _measure(plan, arguments, progress)
    show(summary, console)
    if arguments.update_docs:
        update(DOCUMENT, command, markdown(summary))


def _show_validation(arguments: argparse.Namespace, console: Console, progress: Console) -> None:
    costs = measure(lambda text: progress.print(f"[dim]{text} …[/dim]"))
    if arguments.validation:
        _write(arguments.json, costs)
    console.print()
    show_sections(describe(costs), sections(costs), console)
    if arguments.update_docs:
        update(DOCUMENT, VALIDATION, markdown_of(describe(costs), sections(costs)))


def _measure(
    plan: Plan, arguments: argparse.Namespace, progress: Console
) -> tuple[Summary | GrowthSummary, str]:
    """What was measured, and the command under which the document has it."""

    def say(text: str) -> None:
        progress.print(f"[dim]{text} …[/dim]")

    if arguments.scale or arguments.workers:
        scales = [plan.scale]
        if arguments.scale:
            names = list(SCALES)
            scales = [SCALES[name] for name in names[: names.index(arguments.scale) + 1]]
        few = [WORKERS if scale.users <= MOST_USERS_FOR_WORKERS else 0 for scale in scales]
        growth = grow(scales, [arguments.workers] * len(scales) if arguments.workers else few, say)
        _write(arguments.json, growth)
        return GrowthSummary(growth), SEVERAL_SCALES
    results = run(plan, say)
    _write(arguments.json, results)
    return Summary(results), ONE_SCALE


def _profile(plan: Plan, arguments: argparse.Namespace, console: Console) -> None:
    with serving(SCALES.get(arguments.scale, plan.scale)) as served:
        if arguments.profile == "full":
            costs = [served.sync("--profile")]
        else:
            _, costs = served.syncs("--profile", rounds=INCREMENTAL_ROUNDS)
    for cost in costs:
        assert cost.profile is not None
        show_profile(cost.profile, console)
    _write(arguments.json, costs)


def _write(output: Path | None, measured: Growth | Results | list[SyncCost] | ValidationCosts) -> None:
    if output:
        output.write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=1))


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
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write what was measured, of validation with --validation",
    )
    parser.add_argument("--update-docs", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument(
        "--validation",
        action="store_true",
        help="only what credential validation adds; without it this comes after the syncs of one scale",
    )
    parser.add_argument(
        "--scale", choices=SCALES, help="growth instead: one repetition of each scale up to this one"
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help=f"processes at the queue, at every scale; without --scale, at the one that is given ({WORKERS})",
    )
    parser.add_argument(
        "--profile",
        nargs="?",
        const="full",
        choices=("full", "incremental"),
        help="only show where the CPU of one sync goes, or of each incremental one",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
