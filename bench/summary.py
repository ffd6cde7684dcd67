"""From repetitions to medians, ratios and verdicts. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from bench.pages.changes import ROUNDS
from bench.results import Repetition, Results, SyncCost

PER_USERS = 100_000

MOST_FLOORS = 2.0
LEAST_TYPED = 200.0
MOST_MEMORY = 200_000_000
MOST_REQUESTS = 1.05
MOST_MODULES = 60
MOST_INDEXING = 1.3
MOST_INCREMENTAL = 0.03


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with what was least and most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        listed = list(values)
        return cls(median(listed), min(listed), max(listed))

    @property
    def percent(self) -> "Spread":
        return Spread(self.median * 100, self.least * 100, self.most * 100)

    def text(self, digits: int = 2, suffix: str = "") -> str:
        if self.least == self.most:
            return f"{self.median:.{digits}f}{suffix}"
        spread = f"{self.least:.{digits}f} to {self.most:.{digits}f}"
        return f"{self.median:.{digits}f}{suffix} ({spread})"


@dataclass(frozen=True, slots=True)
class Bar:
    """What must hold, what was measured, and whether it holds."""

    name: str
    measured: str
    holds: bool


class Summary:
    """What a run comes to. CPU is in seconds per 100,000 users."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self._factor = PER_USERS / results.scale.users
        self.floor = self._cpu(lambda one: one.floor.pages)
        self.floor_with_renderings = self._cpu(lambda one: one.floor.pages + one.floor.renderings)
        self.published = self._cpu(lambda one: one.floor.published)
        self.published_with_renderings = self._cpu(lambda one: one.floor.published + one.floor.renderings)
        self.gunzip = self._cpu(lambda one: one.floor.gunzip)
        self.sync = self._cpu(lambda one: one.sync.cpu)
        self.bare = self._cpu(lambda one: one.bare.cpu)
        # Ratios are taken within a repetition: the machine's speed drifts between them.
        repetitions = results.repetitions
        self.bare_by_floor = Spread.of(one.bare.cpu / one.floor.pages for one in repetitions)
        self.sync_by_floor = Spread.of(
            one.sync.cpu / (one.floor.pages + one.floor.renderings) for one in repetitions
        )
        self.bare_by_published = Spread.of(one.bare.cpu / one.floor.published for one in repetitions)
        self.sync_by_published = Spread.of(
            one.sync.cpu / (one.floor.published + one.floor.renderings) for one in repetitions
        )
        self.typed = sum(self.typed_by_kind().values())
        self.typed_by_sync = Spread.of(self.typed / (one.sync.cpu * self._factor) for one in repetitions)
        self.typed_by_collecting = Spread.of(
            self.typed / (_collecting(one.sync) * self._factor) for one in repetitions
        )
        self.rounds = [
            Spread.of(one.rounds[number].cpu / one.sync.cpu for one in repetitions)
            for number in range(len(ROUNDS))
        ]
        """CPU of the incremental syncs, as shares of the full one before them."""
        self.users_a_second = Spread.of(results.scale.users / one.sync.cpu for one in repetitions)
        self.peak = Spread.of(one.sync.peak / 1e6 for one in repetitions)
        self.bare_peak = Spread.of(one.bare.peak / 1e6 for one in repetitions)
        self.start_peak = Spread.of(one.sync.start_peak / 1e6 for one in repetitions)
        self.start_cpu = Spread.of(one.sync.start_cpu for one in repetitions)
        self.wall = Spread.of(one.sync.wall for one in repetitions)
        self.requests = max(one.sync.requests for one in repetitions)
        self.model_modules = max(one.sync.model_modules for one in repetitions)
        self.indexing = Spread.of(pair.app.wall / pair.empty.wall for pair in results.indexing)
        self.indexing_cpu = Spread.of(pair.app.cpu / pair.empty.cpu for pair in results.indexing)

    def typed_by_kind(self) -> dict[str, float]:
        """The typed loop over the whole directory, from what its sample took: users, groups, report."""
        typed, pages = self.results.typed, self.results.pages
        kinds = {
            # Groups by page and not by object: a page is full by its links.
            "users": typed.cpu["users"] / typed.objects["users"] * pages["users"].objects,
            "groups": typed.cpu["groups"] / typed.pages["groups"] * pages["groups"].pages,
            "authentication": typed.cpu["authentication"]
            / typed.objects["authentication"]
            * pages["authentication"].objects,
        }
        return {kind: cpu * self._factor for kind, cpu in kinds.items()}

    def phases(self, of: Callable[[Repetition], SyncCost]) -> dict[str, float]:
        """Median CPU of each phase, in the order in which they ran."""
        found: dict[str, list[float]] = {}
        for repetition in self.results.repetitions:
            for phase, cpu in of(repetition).phases.items():
                found.setdefault(phase, []).append(cpu * self._factor)
        return {phase: median(values) for phase, values in found.items()}

    def bars(self) -> list[Bar]:
        least = self.results.scale.least_requests
        requests = self.requests / least
        modules = self.model_modules
        return [
            Bar(
                f"sync without formats at most {MOST_FLOORS:g} x the floor",
                self.bare_by_floor.text(suffix=" x"),
                self.bare_by_floor.median <= MOST_FLOORS,
            ),
            Bar(
                f"default sync at most {MOST_FLOORS:g} x the floor with renderings",
                self.sync_by_floor.text(suffix=" x"),
                self.sync_by_floor.median <= MOST_FLOORS,
            ),
            Bar(
                f"the SDK's typed loop at least {LEAST_TYPED:g} x the default sync",
                self.typed_by_sync.text(0, " x"),
                self.typed_by_sync.median >= LEAST_TYPED,
            ),
            Bar(
                f"peak memory below {MOST_MEMORY // 10**6} MB",
                f"{self.peak.most:.0f} MB",
                self.peak.most * 1e6 < MOST_MEMORY,
            ),
            Bar(
                f"requests at most {MOST_REQUESTS:g} x the least possible",
                f"{requests:.3f} x ({self.requests} of {least})",
                requests <= MOST_REQUESTS,
            ),
            Bar(
                f"fewer than {MOST_MODULES} of the SDK's model modules", str(modules), modules < MOST_MODULES
            ),
            *incremental_bars(self.rounds),
            Bar(
                f"indexing at most {MOST_INDEXING:g} x an app with one empty function",
                self.indexing.text(suffix=" x"),
                self.indexing.median <= MOST_INDEXING,
            ),
        ]

    def _cpu(self, of: Callable[[Repetition], float]) -> Spread:
        return Spread.of(of(one) * self._factor for one in self.results.repetitions)


def incremental_bars(shares: Iterable[Spread]) -> list[Bar]:
    """One for each round in which something changed."""
    return [
        Bar(
            f"incremental, {one.name} changed: at most {MOST_INCREMENTAL:.0%} of the full sync's CPU",
            share.percent.text(1, " %"),
            share.median <= MOST_INCREMENTAL,
        )
        for one, share in zip(ROUNDS, shares, strict=True)
        if one.users or one.memberships
    ]


def _collecting(sync: SyncCost) -> float:
    """What a sync spends on fetching pages, splitting them and setting the rows aside."""
    return sum(cpu for phase, cpu in sync.phases.items() if phase.startswith("collect "))
