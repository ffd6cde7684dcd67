"""What a run remembers between its messages: the run, a checkpoint for each dataset, what each bucket built.

All of it lies in container `sync-state`, which consumers never read:

    run.json                           the run under way, or the last one; compare-and-set
    runs/<run_id>/<dataset>.json       how far a dataset was read
    runs/<run_id>/collected/…          rows set aside for the build
    runs/<run_id>/built/<stage>-<n>    what a bucket came to
    published/<run_id>.json            what the next run needs of this one: bucket → part, delta links

The delta links lie in `published/`, written before the pointer: the one write that makes a snapshot current
commits them as well, and a crash between the two leaves the old pair in place.
"""

from typing import Literal

import msgspec

from shared.graph.policy import Usage
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.manifest import ChangeCounts
from shared.snapshots.parts import PartRef
from shared.snapshots.shuffle import Cut, RowFile

STATE_VERSION = 1
"""Raised when a checkpoint of an older version must not be continued; such a run starts anew."""

RUN = "run.json"

type RunStatus = Literal["collecting", "building", "published", "failed", "held"]
type Stage = Literal["members", "groups"]
type ReadStatus = Literal["reading", "complete", "failed", "unavailable"]


class Run(msgspec.Struct, kw_only=True):
    """One run, from its start to its end."""

    state_version: int = STATE_VERSION
    run_id: str
    sequence: int
    kind: Literal["full", "incremental"]
    status: RunStatus
    stage: Stage = "members"
    """While building: members' buckets first, since groups count what they published."""
    started_at: str
    ended_at: str | None = None
    cut: Cut
    """How users, and the edges that lead to them, are cut."""
    group_cut: Cut
    datasets: list[str]
    """The datasets that this run reads, in the order in which they are shown."""
    formats: list[str]
    """The renderings that it writes; a change of settings acts on the next run."""
    follows: str | None = None
    """The run that was current when this one started; it becomes current only after that one."""
    previous_run_id: str | None = None
    """The same, if its records are there to compare with."""
    error: str | None = None
    """One sentence: why it failed or is held, and what to do."""

    @property
    def under_way(self) -> bool:
        return self.status in ("collecting", "building")


class Checkpoint(msgspec.Struct, kw_only=True):
    """How far one dataset was read."""

    dataset: str
    status: ReadStatus = "reading"
    slice: int = 0
    """The slice that may write next; a message for another one is stale."""
    as_of: str
    mode: str = ""
    """How it is read, where there are several ways (the report or the methods of each user)."""
    cursor: str | None = None
    """Where the next slice goes on: a next link, or a bucket. None at the beginning."""
    delta_link: str | None = None
    files: list[RowFile] = []
    rows: int = 0
    seen: int = 0
    """Rows at the last look into a slice that is being read: for progress, not for resuming."""
    total: int | None = None
    """How many rows Graph expects, for progress; an estimate."""
    pages: int = 0
    usage: Usage = msgspec.field(default_factory=Usage)
    visited: bytes = b""
    restarts: int = 0
    stalls: int = 0
    """Slices in a row that got no page."""
    reason: str | None = None
    error: str | None = None

    @property
    def ended(self) -> bool:
        return self.status != "reading"


class Built(msgspec.Struct, kw_only=True):
    """What one bucket came to."""

    parts: dict[str, PartRef | None]
    """Dataset → its part of this bucket, or None if it has no rows there."""
    changes: dict[str, ChangeCounts]
    changes_part: PartRef | None = None
    counts: RowFile | None = None
    """Members' stage: edges of this bucket by group, for the groups' stage."""
    hidden: PartRef | None = None
    """Members' stage: edges to users and groups that are not there, kept until they are."""
    authentication_rows: int = 0
    sign_in_rows: int = 0


class Published(msgspec.Struct, kw_only=True):
    """What the next run needs of a published one."""

    state_version: int = STATE_VERSION
    run_id: str
    parts: dict[str, list[PartRef | None]]
    """Dataset → its part by bucket."""
    hidden: list[PartRef | None]
    delta_links: dict[str, str]
    """`users` and `groups`: where the next incremental run begins."""


class StateStore:
    """Reads and writes the state of runs. Writes that may race are compare-and-set."""

    def __init__(self, container: BlobContainer) -> None:
        self.container = container

    async def run(self) -> tuple[Run, str] | None:
        content = await self.container.read_with_etag(RUN)
        return (msgspec.json.decode(content[0], type=Run), content[1]) if content else None

    async def save_run(self, run: Run, etag: str | None) -> str | None:
        """The new ETag, or None if somebody changed the run meanwhile. Without `etag` there must be none."""
        return await self.container.write(RUN, msgspec.json.encode(run), etag=etag, new=etag is None)

    async def checkpoint(self, run_id: str, dataset: str) -> tuple[Checkpoint, str] | None:
        content = await self.container.read_with_etag(self._checkpoint_path(run_id, dataset))
        return (msgspec.json.decode(content[0], type=Checkpoint), content[1]) if content else None

    async def save_checkpoint(self, run_id: str, checkpoint: Checkpoint, etag: str | None) -> str | None:
        """The new ETag, or None if another worker wrote this checkpoint meanwhile."""
        path = self._checkpoint_path(run_id, checkpoint.dataset)
        return await self.container.write(path, msgspec.json.encode(checkpoint), etag=etag, new=etag is None)

    async def built(self, run_id: str, stage: Stage, bucket: int) -> Built | None:
        content = await self.container.read(self._built_path(run_id, stage, bucket))
        return msgspec.json.decode(content, type=Built) if content else None

    async def save_built(self, run_id: str, stage: Stage, bucket: int, built: Built) -> None:
        await self.container.write(self._built_path(run_id, stage, bucket), msgspec.json.encode(built))

    async def built_buckets(self, run_id: str, stage: Stage) -> set[int]:
        """The buckets of this stage that are done."""
        prefix = f"runs/{run_id}/built/{stage}-"
        return {int(name.removeprefix(prefix)[:-5]) async for name in self.container.names(prefix)}

    async def published(self, run_id: str) -> Published | None:
        content = await self.container.read(f"published/{run_id}.json")
        return msgspec.json.decode(content, type=Published) if content else None

    async def save_published(self, published: Published) -> None:
        await self.container.write(f"published/{published.run_id}.json", msgspec.json.encode(published))

    async def forget(self, run_id: str) -> None:
        """Compare with this snapshot no longer: the next run begins a new history."""
        await self.container.delete([f"published/{run_id}.json"])

    async def sweep(self, *, keep_run: str | None, keep_published: str | None) -> int:
        """Delete the working state of all runs but these. Returns how many blobs went."""
        doomed = [
            name
            async for name in self.container.names("runs/")
            if keep_run is None or not name.startswith(f"runs/{keep_run}/")
        ]
        doomed += [
            name
            async for name in self.container.names("published/")
            if keep_published is None or not name.startswith(f"published/{keep_published}")
        ]
        if doomed:
            await self.container.delete(doomed)
        return len(doomed)

    @staticmethod
    def collected_folder(run_id: str, dataset: str) -> str:
        return f"runs/{run_id}/collected/{dataset}"

    @staticmethod
    def counts_folder(run_id: str) -> str:
        return f"runs/{run_id}/collected/counts"

    @staticmethod
    def hidden_folder(run_id: str) -> str:
        return f"published/{run_id}.hidden"

    @staticmethod
    def _checkpoint_path(run_id: str, dataset: str) -> str:
        return f"runs/{run_id}/{dataset}.json"

    @staticmethod
    def _built_path(run_id: str, stage: Stage, bucket: int) -> str:
        return f"runs/{run_id}/built/{stage}-{bucket:04}.json"
