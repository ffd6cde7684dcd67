"""How long Graph itself would take for a run: computed from its limits, since no tenant is measured. Pure."""

from dataclasses import dataclass

from bench.pages.archive import Facts
from bench.pages.make import groups_delta, users_delta
from bench.scale import Scale

PAGE_SECONDS = 0.25
"""One page. A chain is read one page after the other."""
UNITS_A_SECOND = 8_000 / 10
"""Resource units that an app may use in a large tenant."""
LIST_UNITS = 2
"""Of a page of a list; 1 or 2, by what it selects."""
DELTA_UNITS = 1
REPORT_SECONDS = 10 / 5
"""The reports have a limit of their own: 5 requests in 10 seconds."""


@dataclass(frozen=True, slots=True)
class GraphTime:
    """Seconds of each chain, and what the run uses in resource units."""

    users: float
    groups: float
    report: float
    units: int

    @property
    def by_units(self) -> float:
        """Seconds that the units take at least."""
        return self.units / UNITS_A_SECOND

    @property
    def total(self) -> float:
        return max(self.users, self.groups, self.report, self.by_units)


def full_time(scale: Scale, pages: dict[str, Facts]) -> GraphTime:
    """The list between its mint and its replay, beside groups and report."""
    delta_pages, group_pages = 2, pages["groups"].pages
    return GraphTime(
        users=(scale.user_pages + delta_pages) * PAGE_SECONDS,
        groups=group_pages * PAGE_SECONDS,
        report=scale.report_pages * max(PAGE_SECONDS, REPORT_SECONDS),
        units=scale.user_pages * LIST_UNITS + (delta_pages + group_pages) * DELTA_UNITS,
    )


def incremental_time(pages: dict[str, Facts], number: int) -> GraphTime:
    """Round `number`, from 1; the report is not read."""
    users, groups = pages[users_delta(number)].pages, pages[groups_delta(number)].pages
    return GraphTime(users * PAGE_SECONDS, groups * PAGE_SECONDS, 0.0, (users + groups) * DELTA_UNITS)
