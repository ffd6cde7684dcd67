"""What a run remembers between its messages: the run, a checkpoint for each dataset, what each bucket built.

All of it lies in container `sync-state`, which consumers never read:

    run.json                           the run under way, or the last one; compare-and-set
    runs/<run_id>/<dataset>.json       how far a dataset was read
    runs/<run_id>/collected/…          rows set aside for the build
    runs/<run_id>/built/<stage>-<n>    what the buckets of a message came to
    published/<run_id>.json            what the next run needs of this one: bucket → part, delta links
    kept/<sha256>                      what several published runs may share: hidden edges, counts, names

The delta links lie in `published/`, written before the pointer: the one write that makes a snapshot current
commits them as well, and a crash between the two leaves the old pair in place.
"""

import hashlib
from collections.abc import Mapping
from itertools import batched
from typing import Literal

import msgspec

from shared.errors import StaleMessage, StateUnreadable
from shared.graph.policy import Usage
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.manifest import ChangeCounts
from shared.snapshots.parts import PartRef, StoredPart
from shared.snapshots.shuffle import Cut, RowFile

STATE_VERSION = 5
"""Raised when a checkpoint of an older version must not be continued; such a run starts anew."""

RECORD_VERSION = 1
"""Raised when a record of the same object would look different: a full run then begins."""

RUN = "run.json"
KEPT = "kept"

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
    buckets_a_message: int = 1
    """How many one message builds."""
    datasets: list[str]
    """The datasets that this run reads, in the order in which they are shown."""
    touched: dict[Stage, list[int]] | None = None
    """The buckets of each stage that changed, in an incremental run that has read its changes; others keep
    their parts. None: all of them."""
    relabelled: list[int] = []
    """Members' buckets with members of groups that came, went or changed their name."""
    wanted: list[str]
    """The datasets that the settings ask for, those included that are not due."""
    formats: list[str]
    """The renderings that it writes; a change of settings acts on the next run."""
    follows: str | None = None
    """The run that was current when this one started; it becomes current only after that one."""
    previous_run_id: str | None = None
    """The same, if its records are there to compare with."""
    error: str | None = None
    """One sentence: why it failed or is held, and what to do."""
    confirms: str | None = None
    """The held run that this full run looks at again: if it would remove as much, that is what happened."""
    held_reason: str | None = None
    """Why that one is held."""
    would_remove: dict[str, int] = {}
    """Objects by dataset, of a run that is held, or of the one that this run confirms."""

    def buckets(self, stage: Stage) -> list[int]:
        """The buckets that a stage builds."""
        if self.touched is not None:
            return self.touched[stage]
        return list(range((self.cut if stage == "members" else self.group_cut).buckets))

    def batches(self, stage: Stage) -> list[tuple[int, ...]]:
        """The same, message by message."""
        return list(batched(self.buckets(stage), self.buckets_a_message, strict=False))

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
    begin: str | None = None
    """The delta link that an incremental run begins with."""
    minted: str | None = None
    """A delta link from before the listing began: what changed meanwhile is read from there at its end."""
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

    parts: dict[str, StoredPart | None]
    """Dataset → its part of this bucket, or None if it has no rows there."""
    changes: dict[str, ChangeCounts]
    changes_part: PartRef | None = None
    counts: RowFile | None = None
    """Members' stage: edges of this bucket by group, where they changed, for the groups' stage."""
    hidden: StoredPart | None = None
    """Members' stage: edges to users and groups that are not there, kept until they are."""
    edge_table: str | None = None
    """Groups' stage: path of what tells in which members' buckets the edges of each group are."""
    authentication_rows: int = 0
    sign_in_rows: int = 0
    drift: dict[str, int] = {}
    """Full runs: by dataset, what differs from the last snapshot although no delta told of it."""


class OptionalDataset(msgspec.Struct):
    """How an optional dataset stands."""

    status: Literal["complete", "unavailable"]
    as_of: str
    reason: str | None = None
    mode: str = ""
    """How it was read, where there are several ways."""


class Published(msgspec.Struct, kw_only=True):
    """What the next run needs of a published one."""

    state_version: int = STATE_VERSION
    record_version: int = RECORD_VERSION
    run_id: str
    full_run_at: str
    """The start of the last full run."""
    cut: Cut
    group_cut: Cut
    formats: list[str]
    datasets: list[str]
    """What the settings asked for; another wish, as another format, needs a full run."""
    parts: dict[str, list[StoredPart | None]]
    """Dataset → its part by bucket."""
    hidden: list[StoredPart | None]
    """By members' bucket."""
    edge_tables: list[str | None]
    """By groups' bucket: where the edges of each group are."""
    labels: StoredPart | None
    """The names of all live groups."""
    delta_links: dict[str, str]
    """`users` and `groups`: where the next incremental run begins."""
    counted: dict[str, list[int]]
    """`authentication` and `sign-in`: users that have it, by members' bucket."""
    optional: dict[str, OptionalDataset]
    """What is known of `authentication` and `sign-in`, until they are read again."""

    @property
    def kept(self) -> set[str]:
        """Paths under `kept/` that this snapshot needs."""
        parts = {part.ref.path for part in (*self.hidden, self.labels) if part}
        return parts | {path for path in self.edge_tables if path}


class _AnyRun(msgspec.Struct):
    """What a run of any version says of itself."""

    run_id: str = "unreadable"
    started_at: str = "1970-01-01T00:00:00Z"
    sequence: int = 0


def _unreadable_run(content: bytes) -> Run:
    try:
        known = msgspec.json.decode(content, type=_AnyRun)
    except msgspec.DecodeError:
        known = _AnyRun()
    return Run(
        state_version=0,
        run_id=known.run_id,
        sequence=known.sequence,
        kind="full",
        status="failed",
        started_at=known.started_at,
        cut=Cut(1, 1),
        group_cut=Cut(1, 1),
        datasets=[],
        wanted=[],
        formats=[],
        error="Another version of the app left this run, and it cannot be read. The next run begins anew.",
    )


def _decoded[T](content: bytes, kind: type[T], path: str) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError:
        raise StateUnreadable(
            f"{path} in the app's state cannot be read; another version of the app may have written it. "
            "The next run begins anew."
        ) from None


class StateStore:
    """Reads and writes the state of runs. Writes that may race are compare-and-set."""

    def __init__(self, container: BlobContainer) -> None:
        self.container = container

    async def run(self) -> tuple[Run, str] | None:
        """The run under way, or the last one. One that cannot be read, as after a deployment that changed
        its shape, counts as failed."""
        content = await self.container.read_with_etag(RUN)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content[0], type=Run), content[1]
        except msgspec.DecodeError:
            return _unreadable_run(content[0]), content[1]

    async def save_run(self, run: Run, etag: str | None) -> str | None:
        """The new ETag, or None if somebody changed the run meanwhile. Without `etag` there must be none."""
        return await self.container.write(RUN, msgspec.json.encode(run), etag=etag, new=etag is None)

    async def checkpoint(self, run_id: str, dataset: str) -> tuple[Checkpoint, str] | None:
        path = self._checkpoint_path(run_id, dataset)
        content = await self.container.read_with_etag(path)
        return (_decoded(content[0], Checkpoint, path), content[1]) if content else None

    async def save_checkpoint(self, run_id: str, checkpoint: Checkpoint, etag: str | None) -> str | None:
        """The new ETag, or None if another worker wrote this checkpoint meanwhile."""
        path = self._checkpoint_path(run_id, checkpoint.dataset)
        return await self.container.write(path, msgspec.json.encode(checkpoint), etag=etag, new=etag is None)

    async def built(self, run_id: str, stage: Stage, batch: int) -> dict[int, Built] | None:
        """What the buckets of one message came to, or None if it is not through."""
        path = self._built_path(run_id, stage, batch)
        content = await self.container.read(path)
        return _decoded(content, dict[int, Built], path) if content else None

    async def built_whole(
        self, run: Run, stage: Stage, known: Mapping[tuple[Stage, int], dict[int, Built]]
    ) -> dict[int, Built]:
        """What all buckets of a stage came to; messages that are `known` are not read again.

        Raises `StaleMessage` if one is not there: the run has been swept.
        """
        whole: dict[int, Built] = {}
        for batch in range(len(run.batches(stage))):
            built = known.get((stage, batch)) or await self.built(run.run_id, stage, batch)
            if built is None:
                raise StaleMessage(f"run {run.run_id} was swept")
            whole |= built
        return whole

    async def save_built(self, run_id: str, stage: Stage, batch: int, built: dict[int, Built]) -> None:
        await self.container.write(self._built_path(run_id, stage, batch), msgspec.json.encode(built))

    async def built_batches(self, run_id: str, stage: Stage) -> set[int]:
        """The messages of this stage that are through, by their numbers."""
        prefix = f"runs/{run_id}/built/{stage}-"
        return {int(name.removeprefix(prefix)[:-5]) async for name in self.container.names(prefix)}

    async def published(self, run_id: str) -> Published | None:
        """What is kept of a published run. None if nothing is, or only what another version of us kept."""
        content = await self.container.read(f"published/{run_id}.json")
        if content is None:
            return None
        try:
            published = msgspec.json.decode(content, type=Published)
        except msgspec.DecodeError:
            return None
        return published if published.state_version == STATE_VERSION else None

    async def keep(self, content: bytes) -> str:
        """Store what the next run needs, under its digest, and return the path."""
        path = f"{KEPT}/{hashlib.sha256(content).hexdigest()}"
        await self.container.write(path, content, new=True, content_type="application/octet-stream")
        return path

    async def save_published(self, published: Published) -> None:
        await self.container.write(f"published/{published.run_id}.json", msgspec.json.encode(published))

    async def forget(self, run_id: str) -> None:
        """Compare with this snapshot no longer: the next run begins a new history."""
        await self.container.delete([f"published/{run_id}.json"])

    async def sweep(self, *, keep_run: str | None, keep_published: str | None) -> int:
        """Delete the working state of all runs but these. Returns how many blobs went.

        Without `keep_run` no run may be under way: if one has begun meanwhile, nothing is deleted, and its
        own end does it.
        """
        doomed = [
            name
            async for name in self.container.names("runs/")
            if keep_run is None or not name.startswith(f"runs/{keep_run}/")
        ]
        doomed += [
            name
            async for name in self.container.names("published/")
            if name != f"published/{keep_published}.json"
        ]
        if keep_run is None:
            # While a run is under way, it writes what it will keep.
            published = await self.published(keep_published) if keep_published else None
            needed = published.kept if published else set()
            doomed += [name async for name in self.container.names(f"{KEPT}/") if name not in needed]
            current = await self.run()
            if current is not None and current[0].under_way:
                return 0
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
    def _checkpoint_path(run_id: str, dataset: str) -> str:
        return f"runs/{run_id}/{dataset}.json"

    @staticmethod
    def _built_path(run_id: str, stage: Stage, batch: int) -> str:
        return f"runs/{run_id}/built/{stage}-{batch:04}.json"
