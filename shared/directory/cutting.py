"""Into how many buckets and segments the objects of a directory are cut, by how many are expected."""

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from shared.errors import EntraConnectorError
from shared.graph import queries
from shared.graph.policy import Usage
from shared.snapshots.shuffle import POSITIONS, Cut
from shared.snapshots.state import Published

if TYPE_CHECKING:
    from shared.graph.client import GraphClient

log = logging.getLogger(__name__)

BUCKET_ROWS = 16_384
"""Most objects that a bucket holds on average: what a build keeps in memory."""
MAX_BUCKETS = 1_024
SEGMENT_ROWS = 32
"""Most objects that a segment holds on average: what stays in the processor's cache, and what is packed anew
where one of them changed."""
UNKNOWN_SIZE_BUCKETS = 8
"""Where nobody tells the size of the directory."""


def cut_of(rows: int, bucket_rows: int) -> Cut:
    """How to cut this many objects into buckets of at most `bucket_rows` on average."""
    buckets = _power_of_two(rows / bucket_rows, MAX_BUCKETS)
    return Cut(buckets, max(1, _power_of_two(rows / SEGMENT_ROWS, POSITIONS) // buckets))


async def expected_sizes(
    graph: Callable[[], Awaitable["GraphClient"]], previous: Published | None, bucket_rows: int
) -> tuple[int, int]:
    """How many users and groups to expect: Graph's count, else the last snapshot's, else a guess.

    A wrong number costs nothing but bucket size, so no refusal matters here; the datasets' own requests will
    say what is wrong.
    """
    sizes = []
    for dataset in ("users", "groups"):
        counted: int | None = None
        try:
            client = await graph()
            answer = await client.send(
                queries.count(client, dataset),
                Usage(),
                subject=f"the number of {dataset}",
                permission="Directory.Read.All",
                attempts=1,
            )
            counted = int(answer.body.decode("utf-8-sig"))
        except (EntraConnectorError, ValueError) as error:
            log.info("size unknown", extra={"dataset": dataset, "why": str(error)})
        if counted is None and previous is not None:
            counted = sum(part.ref.rows for part in previous.parts.get(dataset, []) if part)
        sizes.append(UNKNOWN_SIZE_BUCKETS * bucket_rows if counted is None else counted)
    return sizes[0], sizes[1]


def _power_of_two(least: float, most: int) -> int:
    """The smallest power of two that is at least this, from 1 to `most`."""
    number = 1
    while number < least and number < most:
        number *= 2
    return number
