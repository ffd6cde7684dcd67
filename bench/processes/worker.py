"""One of several workers of the same full sync: takes messages from the real queue until the run has ended.

As the Functions host does by this app's `host.json`, it takes some messages, works on all of them at once,
and takes more when it is through. The one with `--first` also starts the run, as the timer does.
"""

import argparse
import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

import msgspec
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import BinaryBase64DecodePolicy, BinaryBase64EncodePolicy
from azure.storage.queue.aio import QueueClient

from bench.processes.engine import STORAGE, Engine, engine
from bench.processes.measure import Stopwatch, peak_bytes
from bench.results import WorkerCost
from shared.directory.steps import QUEUE, StepQueue, decode_step

_HOST = Path(__file__).resolve().parents[2] / "host.json"
_LEASE_SECONDS = 600
_IDLE_SECONDS = 0.05


async def measure(origin: str, *, first: bool) -> WorkerCost:
    client = QueueClient.from_connection_string(
        os.environ[STORAGE],
        QUEUE,
        message_encode_policy=BinaryBase64EncodePolicy(),
        message_decode_policy=BinaryBase64DecodePolicy(),
    )
    async with client, engine(origin, None, StepQueue(client), Stopwatch()) as app:
        with suppress(ResourceExistsError):
            await client.create_queue()
        cpu, began = time.process_time(), time.perf_counter()
        if first:
            await app.sync.tick()
        messages = await _work(app, client)
        cpu, wall, peak = time.process_time() - cpu, time.perf_counter() - began, peak_bytes()
        return WorkerCost(cpu, wall, peak, messages, await app.digest())


async def _work(app: Engine, client: QueueClient) -> int:
    """Until the run has ended. Returns how many messages it took."""
    batch = msgspec.json.decode(_HOST.read_bytes())["extensions"]["queues"]["batchSize"]
    taken = 0
    while True:
        answer = client.receive_messages(max_messages=batch, visibility_timeout=_LEASE_SECONDS)
        messages = [message async for message in answer]
        if messages:
            await asyncio.gather(*(app.sync.handle(decode_step(one.content)) for one in messages))
            for message in messages:
                await client.delete_message(message)
            taken += len(messages)
            continue
        stored = await app.sync.state.run()
        if stored is not None and not stored[0].under_way:
            return taken
        await asyncio.sleep(_IDLE_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.processes.worker", description=__doc__)
    parser.add_argument("--origin", required=True)
    parser.add_argument("--first", action="store_true")
    arguments = parser.parse_args()
    print(msgspec.json.encode(asyncio.run(measure(arguments.origin, first=arguments.first))).decode())


if __name__ == "__main__":
    main()
