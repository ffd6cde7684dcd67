"""From several scales to verdicts on growth. Pure."""

from bench.results import Growth, Sized
from bench.summary import MOST_REQUESTS, Bar, Spread, incremental_bars

MOST_CPU_GROWTH = 1.3
MOST_MEMORY_GROWTH = 1.5
MOST_WORKER_MEMORY = 300_000_000


class GrowthSummary:
    """What several scales come to, each measured once."""

    def __init__(self, growth: Growth) -> None:
        self.growth = growth
        self.workers = max(len(one.workers) for one in growth.sizes)

    def bars(self) -> list[Bar]:
        sizes = self.growth.sizes
        largest = sizes[-1]
        peak = max(
            [one.sync.peak for one in sizes]
            + [follows.peak for one in sizes for follows in one.rounds]
            + [worker.peak for one in sizes for worker in one.workers]
        )
        requests = max(one.sync.requests / one.scale.least_requests for one in sizes)
        same = all(worker.digest == one.sync.digest for one in sizes for worker in one.workers)
        bars = [
            Bar(
                f"peak memory of each process below {MOST_WORKER_MEMORY // 10**6} MB",
                f"{peak / 1e6:.0f} MB",
                peak < MOST_WORKER_MEMORY,
            ),
            Bar(
                f"requests at most {MOST_REQUESTS:g} x the least possible",
                f"{requests:.3f} x",
                requests <= MOST_REQUESTS,
            ),
            Bar(
                f"{self.workers} workers publish the same parts as one, byte for byte",
                "same" if same else "different",
                same,
            ),
            *incremental_bars(Spread.of([one.cpu / largest.sync.cpu]) for one in largest.rounds),
        ]
        if len(sizes) > 1:
            bars[:0] = [self._cpu_growth(largest), self._memory_growth(largest)]
        return bars

    def _cpu_growth(self, largest: Sized) -> Bar:
        """Against the cheapest of the smaller ones."""
        least = min(one.sync.cpu / one.scale.users for one in self.growth.sizes[:-1])
        ratio = largest.sync.cpu / largest.scale.users / least
        return Bar(
            f"CPU per user grows at most {MOST_CPU_GROWTH:g} x", f"{ratio:.2f} x", ratio <= MOST_CPU_GROWTH
        )

    def _memory_growth(self, largest: Sized) -> Bar:
        ratio = largest.sync.peak / min(one.sync.peak for one in self.growth.sizes[:-1])
        return Bar(
            f"peak memory grows at most {MOST_MEMORY_GROWTH:g} x",
            f"{ratio:.2f} x",
            ratio <= MOST_MEMORY_GROWTH,
        )
