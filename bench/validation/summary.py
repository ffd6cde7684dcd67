"""From calls to medians, verdicts and tables. Pure."""

from collections.abc import Callable, Iterable
from math import ceil

from bench.summary import Bar
from bench.table import Section, on, verdicts
from bench.validation.costs import GRAPH_SECONDS, SIGN_IN_SECONDS, CallCost, MixCost, ValidationCosts

MOST_MEDIAN = 0.010
MOST_P99 = 0.050


def percentile(values: Iterable[float], percent: float) -> float:
    """The least value that so many percent of them do not exceed."""
    listed = sorted(values)
    return listed[max(0, ceil(len(listed) * percent / 100) - 1)]


def bars(costs: ValidationCosts) -> list[Bar]:
    """Of the most callers at once, under each load that has so many."""
    callers = max(mix.load.callers for mix in costs.mixes)
    found = []
    for mix in costs.mixes:
        if mix.load.callers == callers:
            for percent, most in ((50, MOST_MEDIAN), (99, MOST_P99)):
                seconds = percentile((call.own for call in mix.calls), percent)
                pause = f", a call each {mix.load.every:g} s" if mix.load.every else ", without a pause"
                name = f"{mix.mix}, {callers} callers{pause}: p{percent} of our own below {most * 1e3:.0f} ms"
                found.append(Bar(name, f"{seconds * 1e3:.1f} ms", seconds < most))
    return found


def sections(costs: ValidationCosts) -> list[Section]:
    return [verdicts(bars(costs)), _latency(costs), _work(costs)]


def describe(costs: ValidationCosts) -> str:
    """What was measured, in one paragraph."""
    calls = len(costs.mixes[0].calls)
    return (
        f"{calls:,} calls of each kind, with one credential each. Graph waits {GRAPH_SECONDS * 1e3:.0f} ms "
        f"before it works, the sign-in service {SIGN_IN_SECONDS * 1e3:.0f} ms. {on(costs.machine)}"
    )


def _latency(costs: ValidationCosts) -> Section:
    columns: dict[str, Callable[[CallCost], float]] = {
        "total": lambda call: call.total,
        "upstream": lambda call: call.upstream,
        "added": lambda call: call.added,
        "of it Storage": lambda call: call.storage,
        "of it our own": lambda call: call.own,
        "of that the turn": lambda call: call.turn,
    }
    return Section(
        "Milliseconds of a call: p50 / p99",
        ("what", "callers", *columns),
        [
            (
                mix.mix,
                str(mix.load),
                *(
                    " / ".join(f"{percentile(map(of, mix.calls), percent) * 1e3:.1f}" for percent in (50, 99))
                    for of in columns.values()
                ),
            )
            for mix in costs.mixes
        ],
    )


def _work(costs: ValidationCosts) -> Section:
    def row(mix: MixCost) -> tuple[str, ...]:
        count = len(mix.calls)
        return (
            mix.mix,
            str(mix.load),
            f"{mix.cpu / count * 1e3:.1f}",
            f"{mix.storage_requests:.1f}",
            f"{count / mix.wall:.0f}",
        )

    columns = ("what", "callers", "CPU ms", "requests to Storage", "calls a second")
    return Section("Work of a call", columns, [row(mix) for mix in costs.mixes])
