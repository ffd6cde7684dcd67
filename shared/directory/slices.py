"""One slice of one dataset: read pages until time is up, set the rows aside, say how far it came.

What each error means for the dataset is decided here, and nowhere else:

    throttled, unreachable      the slice ends with what it has; the next one comes later, a bounded
                                number of times without progress
    page token expired          the dataset starts anew, a bounded number of times
    storage unavailable         not the dataset's trouble: the message stays, and the slice is read again
    state unreadable            not the dataset's trouble either: the run begins anew
    anything else               a required dataset fails; an optional one is unavailable, with the reason
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.directory.collectors.interface import Collector, Progress, SliceContext
from shared.errors import (
    DeltaStateLost,
    EntraConnectorError,
    GraphError,
    GraphThrottled,
    GraphUnreachable,
    PageTokenExpired,
    StaleMessage,
    StateUnreadable,
    StorageUnavailable,
)
from shared.snapshots.state import Checkpoint, StateStore

log = logging.getLogger(__name__)

MAX_RESTARTS = 3
MAX_STALLS = 8
"""Slices in a row without a single page before a dataset is given up: about an hour and a half."""
FIRST_STALL_SECONDS = 15.0
LONGEST_STALL_SECONDS = 15 * 60.0

SHOW_SECONDS = 2.0

REASONS = frozenset({"permission", "licence", "throttling", "unreachable", "invalid", "rejected"})
"""The words of the manifest; what has none of its own there was rejected."""


@dataclass(frozen=True, slots=True)
class SliceOutcome:
    """What becomes of the dataset after this slice."""

    delay: float | None
    """Seconds until the next slice may start, or None if the dataset ended."""


async def read_slice(
    collector: Collector,
    context: SliceContext,
    *,
    deadline: float,
    clock: Callable[[], float],
    show: Callable[[int], Awaitable[None]],
) -> SliceOutcome:
    """Read until the dataset or the time ends. Moves `context.checkpoint`; the caller stores it.

    `deadline` and `clock` are in seconds of the same monotonic clock. At least one page is tried. `show` is
    told the rows from time to time.
    """
    checkpoint = context.checkpoint
    pages_before = checkpoint.pages
    shown_at: float | None = None
    try:
        progress = Progress.GOES_ON
        while progress is Progress.GOES_ON:
            progress = await collector.step(context)
            if context.rows.full:
                context.rows.pack()
                if context.rows.heavy:
                    await _set_aside(context)
            now = clock()
            if now >= deadline:
                break
            if shown_at is None:
                shown_at = now
            elif now >= shown_at + SHOW_SECONDS:
                shown_at = now
                await show(checkpoint.rows)
    except (GraphThrottled, GraphUnreachable) as error:
        await _set_aside(context)
        checkpoint.visited = context.visited.digests()
        return _stalled(collector, checkpoint, error, progressed=checkpoint.pages > pages_before)
    except (PageTokenExpired, DeltaStateLost) as error:
        if isinstance(error, DeltaStateLost) and checkpoint.begin is not None:
            # Only a full run helps; the engine starts it when it sees this reason.
            _end_badly(collector, checkpoint, error)
            checkpoint.reason = DeltaStateLost.reason
            return SliceOutcome(None)
        return _restarted(collector, checkpoint, error)
    except (StorageUnavailable, StaleMessage, StateUnreadable):
        raise
    except EntraConnectorError as error:
        _end_badly(collector, checkpoint, error)
        return SliceOutcome(None)
    await _set_aside(context)
    checkpoint.stalls = 0
    checkpoint.visited = context.visited.digests()
    if progress is Progress.ENDED:
        checkpoint.status = "complete"
        checkpoint.cursor = None
        checkpoint.visited = b""
        checkpoint.reason = checkpoint.error = None
        return SliceOutcome(None)
    return SliceOutcome(0.0)


async def _set_aside(context: SliceContext) -> None:
    folder = StateStore.collected_folder(context.run.run_id, context.checkpoint.dataset)
    file = await context.rows.flush(context.state, folder)
    if file:
        context.checkpoint.files.append(file)


def _stalled(
    collector: Collector,
    checkpoint: Checkpoint,
    error: GraphThrottled | GraphUnreachable,
    *,
    progressed: bool,
) -> SliceOutcome:
    checkpoint.stalls = 0 if progressed else checkpoint.stalls + 1
    if checkpoint.stalls > MAX_STALLS:
        _end_badly(collector, checkpoint, error)
        return SliceOutcome(None)
    asked = error.retry_after if isinstance(error, GraphThrottled) else 0.0
    backoff = min(LONGEST_STALL_SECONDS, FIRST_STALL_SECONDS * 2 ** max(0, checkpoint.stalls - 1))
    delay = max(asked, backoff if not progressed or not asked else 0.0)
    log.info(
        "slice paused",
        extra={
            "dataset": checkpoint.dataset,
            "delay": round(delay),
            "stalls": checkpoint.stalls,
            "why": str(error),
        },
    )
    return SliceOutcome(delay)


def _restarted(collector: Collector, checkpoint: Checkpoint, error: GraphError) -> SliceOutcome:
    """Begin the dataset anew: what was read belongs to a state that Graph no longer knows."""
    checkpoint.restarts += 1
    if checkpoint.restarts > MAX_RESTARTS:
        _end_badly(collector, checkpoint, error)
        return SliceOutcome(None)
    checkpoint.cursor, checkpoint.delta_link = checkpoint.begin, None
    checkpoint.minted = None  # it may be what was lost, and the list begins anew anyway
    checkpoint.files = []
    checkpoint.rows = checkpoint.pages = 0
    checkpoint.visited = b""
    log.info("dataset restarted", extra={"dataset": checkpoint.dataset, "why": str(error)})
    return SliceOutcome(0.0)


def _end_badly(collector: Collector, checkpoint: Checkpoint, error: EntraConnectorError) -> None:
    checkpoint.status = "failed" if collector.required else "unavailable"
    checkpoint.reason = error.reason if error.reason in REASONS else "rejected"
    checkpoint.error = str(error)
    checkpoint.cursor = checkpoint.delta_link = None
    checkpoint.files = []
