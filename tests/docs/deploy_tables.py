"""The tables of docs/deploy.md: parameters from the template, costs from their formulas.

`python -m tests.docs.deploy_tables` writes them into the page; a test holds the page equal to them.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.settings_table import SETTINGS
from tests.infra.bicep import Expression, Parameter, template

PAGE = Path(__file__).parents[2] / "docs/deploy.md"
MAIN = template("main.bicep")

USERS = (1_000, 50_000, 500_000)
FULL, REPORT, CHANGES = 4.3, 120, 606
"""Runs a month: full ones; those that read the registration report; those that read changes alone."""
RUNS = 730
HOURS_KEPT = 2 * 24 * MAIN.parameters["dataProtectionDays"].default + MAIN.parameters["syncKeepRuns"].default

KNOWN = {
    "resourceGroup().location": "the resource group's",
    "tenant().tenantId": "the subscription's tenant",
    MAIN.parameters["entraCloud"].default: "the subscription's cloud",
}
"""What the defaults mean that are expressions."""


@dataclass(frozen=True)
class Cost:
    """One thing that is billed. `n` is the number of users, in hundreds of thousands."""

    what: str
    formula: str
    quantity: Callable[[float], float]
    dollars: Callable[[float], float]
    """Of the quantity."""
    shown: str = "{:,.0f}"


def seconds(n: float) -> float:
    return FULL * (280 * n + 10) + REPORT * (207 * n + 5) + CHANGES * (4.5 * n + 5)


def executions(n: float) -> float:
    return RUNS * (45 * n + 8)


def writes(n: float) -> float:
    return RUNS * (130 * n + 12)


def reads(n: float) -> float:
    return RUNS * (300 * n + 40)


COSTS = (
    Cost(
        "GB-s",
        "2 GB · (4.3·(280·N + 10) + 120·(207·N + 5) + 606·(4.5·N + 5) s)",
        lambda n: 2 * seconds(n),
        lambda q: max(0, q - 100_000) * 0.000026,
    ),
    Cost("executions", "730·(45·N + 8)", executions, lambda q: max(0, q - 250_000) * 0.40 / 1_000_000),
    Cost(
        "GB of blobs",
        f"0.12·N GB a run · {HOURS_KEPT} runs kept",
        lambda n: 0.12 * n * HOURS_KEPT,
        lambda q: q * 0.02,
        "{:,.1f}",
    ),
    Cost("writes", "730·(130·N + 12)", writes, lambda q: q * 0.05 / 10_000),
    Cost(
        "reads, polling the queue every 5 s",
        "730·(300·N + 40) + 525,600",
        lambda n: reads(n) + 525_600,
        lambda q: q * 0.004 / 10_000,
    ),
    Cost(
        "GB of logs",
        "10 kB an execution + 1.2 kB a read or write",
        lambda n: (executions(n) * 10 + (reads(n) + writes(n)) * 1.2) / 1_000_000,
        lambda q: max(0, q - 5) * 2.76,
        "{:,.1f}",
    ),
    Cost("secrets read", "1,000", lambda _: 1_000, lambda q: q * 0.03 / 10_000),
)


def camel(setting: str) -> str:
    first, *others = setting.lower().split("_")
    return first + "".join(map(str.capitalize, others))


def shown(parameter: Parameter) -> str:
    default: Any = parameter.default
    if isinstance(default, Expression):
        return KNOWN[default]
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if default in ("", [], {}):
        return ""
    return f"`{default}`"


def parameters() -> Iterator[str]:
    settings = {camel(setting.name) for setting in SETTINGS}
    for parameter in MAIN.parameters.values():
        if parameter.name not in settings:
            yield f"| `{parameter.name}` | {shown(parameter)} | {parameter.description} |"


def settings() -> Iterator[str]:
    for setting in SETTINGS:
        parameter = MAIN.parameters.get(camel(setting.name))
        if parameter is not None:
            yield f"| `{parameter.name}` | `{setting.name}` | {shown(parameter)} |"


def costs() -> Iterator[str]:
    sums = [0.0] * len(USERS)
    for cost in COSTS:
        cells = []
        for number, users in enumerate(USERS):
            quantity = cost.quantity(users / 100_000)
            dollars = cost.dollars(quantity)
            sums[number] += dollars
            cells.append(f"{cost.shown.format(quantity)}: ${dollars:,.2f}")
        yield f"| {cost.what} | {cost.formula} | {' | '.join(cells)} |"
    yield f"| **sum** | | {' | '.join(f'**${math.ceil(one):,}**' for one in sums)} |"


def with_tables(page: str) -> str:
    """The page with its three tables as they should be."""
    for name, rows in (("parameters", parameters()), ("settings", settings()), ("costs", costs())):
        before, begin, rest = page.partition(f"<!-- {name}: begin -->\n")
        _, end, after = rest.partition(f"<!-- {name}: end -->\n")
        assert begin, name
        assert end, name
        page = before + begin + "".join(f"{row}\n" for row in rows) + end + after
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
