"""One sync in one process: a full one into an empty account, else an incremental one, or a full one again.

Messages wait in a list instead of a queue, and are worked off one after the other.
"""

import argparse
import asyncio
import sys
import time
from collections import deque

import msgspec

from bench.processes.engine import engine
from bench.processes.measure import CollectorWatch, Stopwatch, peak_bytes
from bench.processes.sampler import Sampler
from bench.results import SyncCost
from shared.directory.steps import Step

MODELS = "msgraph.generated.models."


class MessageList:
    """Stands in for the queue."""

    def __init__(self) -> None:
        self.waiting: deque[Step] = deque()

    async def send(self, step: Step, delay: float = 0.0) -> None:
        assert not delay, "nothing throttles here"
        self.waiting.append(step)


async def measure(
    origin: str, formats: str | None, number: int, *, full: bool = False, profiled: bool = False
) -> SyncCost:
    """Run sync `number` into this account, from 0. `formats` None is the app's default; `full` asks for a
    full one, which only the first is otherwise."""
    stopwatch = Stopwatch()
    messages = MessageList()
    async with engine(origin, formats, messages, stopwatch, number=number) as app:
        sync = app.sync
        start_peak = peak_bytes()
        modules = set(sys.modules)
        collector = CollectorWatch()
        sampler = Sampler(stopwatch) if profiled else None
        began = time.perf_counter()
        with stopwatch.during("start of the run"):
            await (sync.start(full=True) if full else sync.tick())
        while messages.waiting:
            step = messages.waiting.popleft()
            with stopwatch.during(f"{step.action} {step.dataset or step.stage or ''}".strip()):
                await sync.handle(step)
        wall = time.perf_counter() - began
        profile = sampler.stop() if sampler else None
        phases = dict(stopwatch.cpu)
        peak = peak_bytes()
        late = len(set(sys.modules) - modules)
        storage = msgspec.structs.replace(app.use)
        manifest = await app.manifest()
        return SyncCost(
            formats=",".join(sync.settings.formats),
            kind=manifest.kind,
            start_cpu=phases.pop("start"),
            phases=phases,
            garbage_collection=collector.cpu,
            wall=wall,
            start_peak=start_peak,
            peak=peak,
            model_modules=sum(name.startswith(MODELS) for name in sys.modules),
            late_modules=late,
            rows={name: entry.rows for name, entry in manifest.datasets.items()},
            changes={
                name: one.added + one.updated + one.removed
                for name, one in (manifest.changes.datasets.items() if manifest.changes else ())
            },
            touched=await app.touched(),
            storage=storage,
            stored=await app.stored(),
            digest=await app.digest(),
            profile=profile,
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.processes.sync", description=__doc__)
    parser.add_argument("--origin", required=True)
    parser.add_argument("--formats", help="DIRECTORY_FORMATS; may be empty")
    parser.add_argument("--number", type=int, default=0, help="of the run in this account, from 0")
    parser.add_argument("--full", action="store_true", help="read everything again")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    cost = asyncio.run(
        measure(
            arguments.origin,
            arguments.formats,
            arguments.number,
            full=arguments.full,
            profiled=arguments.profile,
        )
    )
    print(msgspec.json.encode(cost).decode())


if __name__ == "__main__":
    main()
