"""What an app costs at a cold start: until Microsoft's worker library knows its functions."""

import argparse
import asyncio
import time
from pathlib import Path

import msgspec

from bench.results import IndexingCost
from sandbox.host.worker import Worker


async def measure(app: Path) -> IndexingCost:
    worker = Worker(app)
    cpu = time.process_time()
    await worker.start()
    cpu = time.process_time() - cpu
    await worker.stop()
    return IndexingCost(worker.indexing_seconds, cpu, len(worker.functions))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.processes.indexing", description=__doc__)
    parser.add_argument("--app", type=Path, required=True)
    arguments = parser.parse_args()
    print(msgspec.json.encode(asyncio.run(measure(arguments.app))).decode())


if __name__ == "__main__":
    main()
