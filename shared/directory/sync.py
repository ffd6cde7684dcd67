"""A directory sync from its start to its publication: the order of its steps, and how it heals.

    tick or request ─ start ─▶ collect each dataset, slice by slice
                               ▼ all have ended
                               build members' buckets ─▶ build groups' buckets
                                                         ▼ all are built
                                                         publish, sweep

Every step is a message that may come twice, late, or after its run is over. It reads what is stored, does
what is still missing, stores it by compare-and-set, and enqueues what follows. Should a worker die between
the last two, the next tick enqueues it.
"""

import asyncio
import copy
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from shared import events, memory
from shared.config import Settings
from shared.directory.building import Builder
from shared.directory.building.inputs import BuildInput, replaced_datasets
from shared.directory.collectors import COLLECTORS
from shared.directory.collectors.interface import SliceContext
from shared.directory.cutting import BUCKET_ROWS, cut_of, expected_sizes
from shared.directory.planning import buckets_with, touched_groups, touched_members
from shared.directory.publish import compose, publish
from shared.directory.schedule import is_due, may_be_incremental
from shared.directory.shrink import would_shrink
from shared.directory.slices import read_slice
from shared.directory.steps import Step, StepQueue
from shared.directory.values import rfc3339
from shared.errors import (
    DeltaStateLost,
    EntraConnectorError,
    RunHeld,
    RunUnderWay,
    SnapshotLost,
    StaleMessage,
    StateUnreadable,
    StorageUnavailable,
)
from shared.graph.paging import VisitedLinks
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.manifest import Manifest, read_pointer
from shared.snapshots.parts import StoredPart
from shared.snapshots.retention import sweep_published
from shared.snapshots.shuffle import RowWriter
from shared.snapshots.state import (
    STATE_VERSION,
    Built,
    Checkpoint,
    Published,
    Run,
    Stage,
    StateStore,
)

if TYPE_CHECKING:
    from shared.graph.client import GraphClient

log = logging.getLogger(__name__)

BUCKETS_A_MESSAGE = 16
"""What one message of an incremental run builds: most of a bucket is copied, and a message has its price."""
LARGE = 1024 * 1024
"""Memory for a piece of so many bytes is given back when the piece is freed."""
LAST_ATTEMPT = 5
"""`maxDequeueCount` of host.json: after this delivery a message would be poison."""

INTERNAL_DATASETS = ("deleted-users", "users-reported", "groups-reported")
"""What a full run after the first reads besides: why users are gone, and what the deltas would have told."""

REPORTED = "-reported"


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class DirectorySync:
    """One tenant's directory sync. Everything that it works with is injected."""

    settings: Settings
    state: StateStore
    output: BlobContainer
    queue: StepQueue
    graph: Callable[[], Awaitable["GraphClient"]]
    """The client, made when first needed: its SDK is heavy."""
    now: Callable[[], datetime] = utc_now
    clock: Callable[[], float] = time.monotonic
    bucket_rows: int = BUCKET_ROWS
    _builder: Builder | None = None
    """Kept for the next bucket of the same run: it knows the names of all groups."""
    _builder_turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    # --- starting -------------------------------------------------------------------------------------

    async def tick(self) -> str:
        """The timer: start a run, or heal the one that is under way. Returns its id."""
        stored = await self.state.run()
        if stored is not None and stored[0].under_way:
            run = stored[0]
            if run.state_version != STATE_VERSION:
                log.warning("run of another version is started anew", extra={"run_id": run.run_id})
            else:
                try:
                    await self._enqueue_pending(run)
                except StateUnreadable as lost:
                    if not await self._fail(run.run_id, lost.reason, str(lost)):
                        return run.run_id  # it has just ended
                    stored = await self.state.run()
                else:
                    events.RunHealed(run_id=run.run_id, status=run.status).emit()
                    return run.run_id
        held = stored[0] if stored is not None and stored[0].status == "held" else None
        if stored is not None and held is not None and held.run_id == self.settings.accept_shrink:
            return await self._release(*stored)
        try:
            return await self._start(stored, full=held is not None)
        except RunUnderWay as faster:
            return faster.run_id

    async def _release(self, run: Run, etag: str) -> str:
        """Go on with a held run that was accepted."""
        run.status, run.error, run.ended_at = "building", None, None
        if await self.state.save_run(run, etag) is not None:
            events.RunAccepted(run_id=run.run_id).emit()
            await self._enqueue_pending(run)
        return run.run_id

    async def start(self, *, full: bool = False) -> str:
        """A request: start a run now, with `full` one that reads everything. Raises `RunUnderWay`."""
        stored = await self.state.run()
        if stored is not None and stored[0].under_way and stored[0].state_version == STATE_VERSION:
            raise RunUnderWay(stored[0].run_id)
        return await self._start(stored, full=full)

    async def _start(self, stored: tuple[Run, str] | None, *, full: bool = False) -> str:
        await self.output.ensure()
        await self.state.container.ensure()
        pointer = await read_pointer(self.output)
        current = pointer[0].run_id if pointer else None
        previous = await self.state.published(current) if current else None
        started = self.now()
        wanted: list[str] = [name for name in self.settings.datasets if name in COLLECTORS]
        kind: Literal["full", "incremental"] = "full"
        if previous is not None and not full and may_be_incremental(previous, self.settings, wanted, started):
            kind = "incremental"
        totals: dict[str, int] = {}
        if kind == "incremental" and previous is not None:
            cut, group_cut = previous.cut, previous.group_cut
            datasets = [name for name in wanted if is_due(name, previous, started)]
        else:
            users, groups = await expected_sizes(self.graph, previous, self.bucket_rows)
            totals = {"users": users, "groups": groups, "authentication": users, "sign-in": users}
            # A group may be a member, too.
            cut = cut_of(max(users, groups), self.bucket_rows)
            group_cut = cut_of(groups, self.bucket_rows)
            datasets = [*wanted, *(INTERNAL_DATASETS if previous is not None else ())]
        run = Run(
            run_id=f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
            sequence=pointer[0].sequence + 1 if pointer else 1,
            kind=kind,
            status="collecting",
            started_at=rfc3339(started),
            cut=cut,
            group_cut=group_cut,
            buckets_a_message=BUCKETS_A_MESSAGE if kind == "incremental" else 1,
            datasets=datasets,
            wanted=wanted,
            formats=list(self.settings.formats),
            follows=current,
            # Without its state a snapshot cannot be compared with: this run then begins a new history.
            previous_run_id=current if previous else None,
        )
        if stored is not None and kind == "full" and (held := _held_by(stored[0])) is not None:
            run.confirms, run.held_reason = held
            run.would_remove = stored[0].would_remove
        # The checkpoints come first: a run that is there has all of them.
        for dataset in run.datasets:
            link = None
            if previous is not None and (kind == "incremental" or dataset.endswith(REPORTED)):
                link = previous.delta_links.get(dataset.removesuffix(REPORTED))
            checkpoint = Checkpoint(
                dataset=dataset,
                as_of=rfc3339(self.now()),
                total=totals.get(dataset) or None,
                begin=link,
                cursor=link,
            )
            await self.state.save_checkpoint(run.run_id, checkpoint, None)
        if await self.state.save_run(run, stored[1] if stored else None) is None:
            again = await self.state.run()
            raise RunUnderWay(again[0].run_id if again else "unknown")
        events.RunStarted(
            run_id=run.run_id, kind=run.kind, sequence=run.sequence, buckets=run.cut.buckets
        ).emit()
        # What an earlier run left behind is no longer of use to anybody.
        await self.state.sweep(keep_run=run.run_id, keep_published=run.follows)
        await self._enqueue_pending(run)
        return run.run_id

    # --- working off ----------------------------------------------------------------------------------

    async def handle(self, step: Step, delivery: int = 1) -> None:
        """One message. `delivery` counts how often the host has delivered it.

        Returns quietly when the message is stale. An unexpected error is raised, so that the host delivers
        the message again; at its last delivery it fails the run instead, whose next start begins anew.
        """
        stored = await self.state.run()
        if (
            stored is None
            or stored[0].run_id != step.run_id
            or not stored[0].under_way
            or stored[0].state_version != STATE_VERSION
        ):
            log.info("stale message", extra={"run_id": step.run_id, "action": step.action})
            return
        run = stored[0]
        if run.kind == "full" or step.action == "collect":
            memory.map_from(LARGE)
        try:
            if step.action == "collect" and step.dataset and step.slice is not None:
                await self._collect(run, step.dataset, step.slice)
            elif step.action == "build" and step.stage and step.batch is not None:
                await self._build(run, step.stage, step.batch)
            else:
                await self._advance(run)
        except StaleMessage as stale:
            log.info("stale message", extra={"run_id": run.run_id, "action": step.action, "why": str(stale)})
        except RunHeld as held:
            if await self._end(run.run_id, "held", str(held), held.would_remove):
                events.RunHeld(run_id=run.run_id, would_remove=held.would_remove, sentence=str(held)).emit()
        except SnapshotLost as lost:
            if run.previous_run_id:
                await self.state.forget(run.previous_run_id)
            await self._fail(run.run_id, lost.reason, str(lost))
        except StorageUnavailable:
            # Without storage there is nowhere to say so; the message stays, or the next tick brings it back.
            raise
        except EntraConnectorError as error:
            await self._fail(run.run_id, error.reason, str(error))
        except Exception as error:
            if delivery < LAST_ATTEMPT:
                raise
            log.exception("step failed for good", extra={"run_id": run.run_id, "action": step.action})
            await self._fail(
                run.run_id,
                "fault",
                f"The step `{_describe(step)}` failed {delivery} times ({type(error).__name__}). "
                "The log has the details; the next run begins anew.",
            )

    async def _collect(self, run: Run, dataset: str, number: int) -> None:
        if run.status != "collecting" or dataset not in run.datasets:
            raise StaleMessage(f"run {run.run_id} collects {dataset} no longer")
        stored = await self.state.checkpoint(run.run_id, dataset)
        etag = stored[1] if stored else None
        checkpoint = stored[0] if stored else Checkpoint(dataset=dataset, as_of=rfc3339(self.now()))
        if checkpoint.ended:
            await self._advance(run)
            return
        if checkpoint.slice != number:
            raise StaleMessage(f"slice {number} of {dataset} was read already")
        collector = COLLECTORS[dataset]()
        awaited = {
            name: await self.state.checkpoint(run.run_id, name) for name in collector.waits_for(checkpoint)
        }
        if any(one is None or not one[0].ended for one in awaited.values()):
            raise StaleMessage(f"{dataset} waits for {', '.join(awaited)}")  # their end enqueues it
        users = awaited.get("users")
        deadline = self.clock() + self.settings.slice_seconds
        previous = await self._previous(run) if collector.looks_back else None
        before = previous.parts["users"] if previous else []
        context = SliceContext(
            run=run,
            checkpoint=checkpoint,
            graph=await self.graph(),
            rows=RowWriter(collector.streams(run)),
            visited=VisitedLinks(checkpoint.visited),
            state=self.state.container,
            output=self.output,
            previous_users=before if len(before) == run.cut.buckets else [],
            users=users[0] if users else None,
        )
        resumable = copy.deepcopy(checkpoint)

        async def show(rows: int) -> None:
            """Say how far the slice is. What it would be resumed from stays as it is."""
            nonlocal etag
            resumable.seen = rows
            etag = await self.state.save_checkpoint(run.run_id, resumable, etag)
            if etag is None:
                raise StaleMessage(f"another worker reads slice {number} of {dataset}")

        outcome = await read_slice(collector, context, deadline=deadline, clock=self.clock, show=show)
        del context
        if run.kind == "full":
            # Small rows were freed all over the heap, and a build needs large pieces.
            memory.give_back()
        checkpoint.slice += 1
        checkpoint.seen = 0
        if await self.state.save_checkpoint(run.run_id, checkpoint, etag) is None:
            raise StaleMessage(f"another worker read slice {number} of {dataset}")
        log.info(
            "slice read",
            extra={
                "run_id": run.run_id,
                "dataset": dataset,
                "slice": number,
                "rows": checkpoint.rows,
                "pages": checkpoint.pages,
                "requests": checkpoint.usage.requests,
                "status": checkpoint.status,
            },
        )
        if checkpoint.status == "unavailable":
            events.DatasetUnavailable(
                run_id=run.run_id,
                dataset=dataset,
                reason=checkpoint.reason or "rejected",
                sentence=checkpoint.error or "",
            ).emit()
        if outcome.delay is None:
            await self._advance(run)
        else:
            await self.queue.send(_collect_step(run, checkpoint), outcome.delay)

    async def _build(self, run: Run, stage: Stage, batch: int) -> None:
        batches = run.batches(stage)
        if run.status != "building" or run.stage != stage or not 0 <= batch < len(batches):
            raise StaleMessage(f"run {run.run_id} builds {stage} no longer")
        if await self.state.built(run.run_id, stage, batch) is None:
            builder = await self._builder_of(run)
            built = await builder.build(stage, batches[batch])
            await self.state.save_built(run.run_id, stage, batch, built)
            if run.kind == "incremental":
                builder.built[stage, batch] = built
        await self._advance(run)

    async def _builder_of(self, run: Run) -> Builder:
        async with self._builder_turn:
            if self._builder is None or not self._builder.serves(run):
                self._builder = await Builder.begin(
                    BuildInput(
                        run=run,
                        checkpoints=await self._checkpoints(run),
                        previous=await self._previous(run),
                        kept={} if run.kind == "incremental" else None,
                        tenant_id=self.settings.tenant_id,
                        cloud=self.settings.cloud,
                        state=self.state.container,
                        output=self.output,
                    )
                )
            return self._builder

    async def _advance(self, run: Run) -> None:
        """Whatever is due after a step ended. Each of its callers may be the last; all may call it."""
        if run.status == "collecting":
            checkpoints = await self._checkpoints(run)
            failed = [one for one in checkpoints.values() if one.status == "failed"]
            if any(one.reason == DeltaStateLost.reason for one in failed):
                await self._begin_anew(run)
                return
            if failed:
                errors = dict.fromkeys(one.error for one in failed if one.error)
                await self._fail(run.run_id, failed[0].reason or "error", " ".join(errors))
                return
            waiting = [one for one in checkpoints.values() if not one.ended]
            if waiting:
                for one in waiting:
                    awaited = COLLECTORS[one.dataset]().waits_for(one)
                    if awaited and all(checkpoints[name].ended for name in awaited):
                        await self.queue.send(_collect_step(run, one))
                return
            await self._move(run, "members")
            return
        built = await self.state.built_batches(run.run_id, run.stage)
        if len(built) < len(run.batches(run.stage)):
            return
        if run.stage == "members":
            await self._move(run, "groups")
        else:
            await self._publish(run)

    async def _move(self, run: Run, stage: Stage) -> None:
        """To the next stage, by whoever is first; then its messages, by everybody who gets here."""
        stored = await self.state.run()
        if stored is None or stored[0].run_id != run.run_id or not stored[0].under_way:
            return
        current, etag = stored
        if (current.status, current.stage) == (run.status, run.stage):
            if current.kind == "incremental":
                await self._plan(current, stage)
            current.status, current.stage = "building", stage
            if await self.state.save_run(current, etag) is None:
                return  # somebody was faster, and enqueues
            log.info("run builds", extra={"run_id": run.run_id, "stage": stage})
            await self._enqueue_pending(current)

    async def _plan(self, run: Run, stage: Stage) -> None:
        """Find the buckets that an incremental run has to build in this stage."""
        previous = await self._previous(run)
        assert previous is not None
        checkpoints = await self._checkpoints(run)
        if stage == "members":
            touched = touched_members(checkpoints.values())
            if checkpoints["groups"].files:
                changed = (await self._builder_of(run)).relabelled
                run.relabelled = sorted(await buckets_with(self.state.container, run, previous, changed))
                touched.update(run.relabelled)
            if replaced_datasets(checkpoints, previous):
                touched.update(range(run.cut.buckets))
            run.touched = {"members": sorted(touched), "groups": []}
        else:
            assert run.touched is not None
            members = await self._built(run, "members")
            run.touched["groups"] = sorted(touched_groups(checkpoints.values(), members.values()))

    async def _begin_anew(self, run: Run) -> None:
        """Graph no longer knows where we were: end this run and start a full one at once."""
        if await self._end(
            run.run_id, "failed", "Graph has forgotten the delta link, so a full run follows."
        ):
            events.DeltaLost(run_id=run.run_id).emit()
        stored = await self.state.run()
        if stored is not None and stored[0].run_id == run.run_id:
            try:
                await self._start(stored, full=True)
            except RunUnderWay:
                return

    async def _publish(self, run: Run) -> None:
        members, groups = await self._built(run, "members"), await self._built(run, "groups")
        checkpoints = await self._checkpoints(run)
        previous = await self._previous(run)
        manifest, published = compose(
            run,
            checkpoints,
            members,
            groups,
            previous,
            labels=await self._labels(run, previous),
            tenant_id=self.settings.tenant_id,
            now=self.now(),
        )
        self._hold_if_it_shrinks(run, manifest, previous)
        manifest = await publish(manifest, published, self.state, self.output, follows=run.follows)
        await self._retain()
        if await self._end(run.run_id, "published", None):
            _published(manifest, built=len(members) + len(groups)).emit()
        self._builder = None
        await self.state.sweep(keep_run=None, keep_published=run.run_id)

    async def _labels(self, run: Run, previous: Published | None) -> StoredPart | None:
        """The names of all groups after this run, as they are kept."""
        if previous is not None and run.touched is not None:
            if not any(run.touched.values()):
                return previous.labels
            if not (await self._builder_of(run)).relabelled:
                return previous.labels
        return await (await self._builder_of(run)).store_labels()

    def _hold_if_it_shrinks(self, run: Run, manifest: Manifest, previous: Published | None) -> None:
        """Raise `RunHeld` for a run that would remove too much and that nobody has confirmed."""
        percent = self.settings.max_removal_percent
        much = would_shrink(manifest, previous, percent, run.would_remove)
        accepted = self.settings.accept_shrink
        if much is None or (accepted is not None and accepted in (run.run_id, run.confirms)):
            return
        assert manifest.changes is not None
        raise RunHeld(
            f"Run {run.run_id} would remove {much}, so it is held. If that is what happened, set "
            f"SYNC_ACCEPT_SHRINK={run.run_id}; else the next run reads everything and decides.",
            {dataset: counts.removed for dataset, counts in manifest.changes.datasets.items()},
        )

    async def _retain(self) -> None:
        """Sweep what no kept run needs, while this run is still under way and no other one builds."""
        removed = await sweep_published(self.output, self.settings.keep_runs, self.now())
        if removed:
            events.RunsSwept(blobs=removed).emit()

    async def _built(self, run: Run, stage: Stage) -> dict[int, Built]:
        """What all buckets of a stage came to."""
        builder = self._builder
        here = builder.built if builder is not None and builder.run_id == run.run_id else {}
        return await self.state.built_whole(run, stage, here)

    async def _previous(self, run: Run) -> Published | None:
        """The snapshot that the run is compared with. Raises `SnapshotLost` if it is there no longer."""
        if run.previous_run_id is None:
            return None
        if self._builder is not None and self._builder.run_id == run.run_id:
            return self._builder.previous
        previous = await self.state.published(run.previous_run_id)
        if previous is None:
            raise SnapshotLost(
                f"What is known of run {run.previous_run_id} was taken away. "
                "The next run begins a new history."
            )
        return previous

    async def _checkpoints(self, run: Run) -> dict[str, Checkpoint]:
        stored = await asyncio.gather(*(self.state.checkpoint(run.run_id, name) for name in run.datasets))
        if not all(stored):
            # A run that is under way has all of them. One that has just ended does not mind.
            raise StateUnreadable(f"What run {run.run_id} has read was taken away. The next run begins anew.")
        return {one[0].dataset: one[0] for one in stored if one}

    async def _enqueue_pending(self, run: Run) -> None:
        """A message for all that is still to be done. What is queued already comes twice, harmlessly."""
        if run.status == "collecting":
            checkpoints = await self._checkpoints(run)
            pending = [one for one in checkpoints.values() if not one.ended]
            for one in pending:
                await self.queue.send(_collect_step(run, one))
            if not pending:
                await self.queue.send(Step(run.run_id, "publish"))
            return
        built = await self.state.built_batches(run.run_id, run.stage)
        missing = [batch for batch in range(len(run.batches(run.stage))) if batch not in built]
        for batch in missing:
            await self.queue.send(Step(run.run_id, "build", stage=run.stage, batch=batch))
        if not missing:
            await self.queue.send(Step(run.run_id, "publish"))

    # --- ending ---------------------------------------------------------------------------------------

    async def _fail(self, run_id: str, reason: str, error: str) -> bool:
        """End the run as failed; `reason` is one word, `error` a sentence. False if it has ended already."""
        ended = await self._end(run_id, "failed", error)
        if ended:
            events.RunFailed(run_id=run_id, reason=reason, sentence=error).emit()
        return ended

    async def _end(
        self,
        run_id: str,
        status: Literal["published", "failed", "held"],
        error: str | None,
        would_remove: dict[str, int] | None = None,
    ) -> bool:
        """Store the end of the run. False if it has ended already."""
        while (stored := await self.state.run()) is not None:
            run, etag = stored
            if run.run_id != run_id or not run.under_way:
                return False
            run.status, run.error, run.ended_at = status, error, rfc3339(self.now())
            run.would_remove = would_remove or run.would_remove
            if await self.state.save_run(run, etag) is not None:
                return True
        return False


def _published(manifest: Manifest, built: int) -> events.RunPublished:
    took = datetime.fromisoformat(manifest.published_at) - datetime.fromisoformat(manifest.started_at)
    changes = None
    if manifest.changes is not None:
        changes = {name: msgspec.structs.asdict(one) for name, one in manifest.changes.datasets.items()}
    return events.RunPublished(
        run_id=manifest.run_id,
        kind=manifest.kind,
        sequence=manifest.sequence,
        seconds=round(took.total_seconds()),
        rows={name: entry.rows for name, entry in manifest.datasets.items()},
        changes=changes,
        **msgspec.structs.asdict(manifest.graph),
        drift=manifest.drift,
        buckets=manifest.buckets,
        built=built,
    )


def _collect_step(run: Run, checkpoint: Checkpoint) -> Step:
    return Step(run.run_id, "collect", dataset=checkpoint.dataset, slice=checkpoint.slice)


def _held_by(last: Run) -> tuple[str, str | None] | None:
    """The held run that the next full run has to confirm, and why it is held."""
    if last.status == "held":
        return last.run_id, last.error
    if last.confirms is not None and last.status != "published":
        return last.confirms, last.held_reason
    return None


def _describe(step: Step) -> str:
    of = step.dataset or step.stage or ""
    number = step.slice if step.slice is not None else step.batch
    return " ".join(str(word) for word in (step.action, of, number) if word not in ("", None))
