"""What a collector is: the way one dataset is read, page after page, within slices.

A collector fills `context.rows` and moves `checkpoint.cursor` forward; `slices.read_slice` does the rest:
time, memory, checkpoints, and what each error means for the run.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from shared.graph.client import Answer, GraphClient
from shared.graph.paging import Page, VisitedLinks
from shared.graph.queries import follow
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.parts import StoredPart
from shared.snapshots.shuffle import Cut, RowWriter
from shared.snapshots.state import Checkpoint, Run

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation


@dataclass(slots=True)
class SliceContext:
    """What one slice of one collector works with."""

    run: Run
    checkpoint: Checkpoint
    graph: GraphClient
    rows: RowWriter
    visited: VisitedLinks
    state: BlobContainer
    """Container `sync-state`."""
    output: BlobContainer
    """The published container, for what the last snapshot knew."""
    previous_users: list[StoredPart | None]
    """The users' parts of the last snapshot, by bucket, for a collector that looks back; empty if there is
    none or it has other buckets."""
    users: Checkpoint | None
    """How far the users were read, for what needs them."""


class Progress(Enum):
    """What a step came to."""

    GOES_ON = "goes on"
    PAUSES = "pauses"
    """The slice ends here; the next one goes on in another way."""
    ENDED = "ended"


class Collector(ABC):
    """The way one dataset is read."""

    dataset: ClassVar[str]
    permission: ClassVar[str]
    """The application permission that an error names."""
    required: ClassVar[bool] = False
    """If a run without this dataset is no snapshot."""
    looks_back: ClassVar[bool] = False
    """If it needs `previous_users`."""

    @staticmethod
    @abstractmethod
    def streams(run: Run) -> dict[str, Cut]:
        """The streams of rows that it fills, and how each is cut."""

    def waits_for(self, checkpoint: Checkpoint) -> tuple[str, ...]:  # noqa: ARG002 - for subclasses
        """Datasets that must have ended before the next slice of this one."""
        return ()

    @abstractmethod
    async def step(self, context: SliceContext) -> Progress:
        """Read the next page or bucket and move the cursor."""


class PagedCollector(Collector):
    """A dataset that is a chain of pages."""

    delta: ClassVar[bool] = False

    @abstractmethod
    def first_request(self, context: SliceContext) -> "RequestInformation":
        """The request that begins the chain."""

    @abstractmethod
    def take(self, body: bytes, context: SliceContext) -> Page[Any]:
        """Read one page and add its rows."""

    def count(self, page: Page[Any]) -> int:
        """The objects of a page, for progress."""
        return len(page.value)

    async def first_answer(self, context: SliceContext) -> Answer:
        return await self.send(self.first_request(context), context)

    async def send(self, request: "RequestInformation", context: SliceContext) -> Answer:
        return await context.graph.send(
            request, context.checkpoint.usage, subject=self.dataset, permission=self.permission
        )

    async def step(self, context: SliceContext) -> Progress:
        checkpoint = context.checkpoint
        if checkpoint.cursor is None:
            answer = await self.first_answer(context)
        else:
            answer = await self.send(follow(checkpoint.cursor), context)
        page = self.take(answer.body, context)
        checkpoint.pages += 1
        checkpoint.rows += self.count(page)
        if page.next_link is None:
            if page.delta_link is not None:
                # The next run begins there, so it must lead to Graph like any other link.
                checkpoint.delta_link = context.graph.own_link(page.delta_link, self.dataset)
            return Progress.ENDED
        link = context.graph.own_link(page.next_link, self.dataset)
        context.visited.visit(link, self.dataset)
        checkpoint.cursor = link
        return Progress.GOES_ON
