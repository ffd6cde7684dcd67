"""What the next run reads: everything or what changed, and which of the optional datasets are due."""

from datetime import datetime, timedelta

from shared.config import Settings
from shared.directory.collectors.authentication import BY_USER
from shared.snapshots.state import RECORD_VERSION, Published

REFRESH_EVERY = {"authentication": timedelta(hours=6), "sign-in": timedelta(hours=24)}
"""Neither is part of a delta, so incremental runs read them again only this often."""


def may_be_incremental(previous: Published, settings: Settings, wanted: list[str], now: datetime) -> bool:
    """Whether the last snapshot can be carried on by what changed. `wanted` are the datasets asked for."""
    last_full = datetime.fromisoformat(previous.full_run_at)
    return (
        previous.record_version == RECORD_VERSION
        and previous.formats == list(settings.formats)
        and previous.datasets == wanted
        and previous.delta_links.keys() >= {"users", "groups"}
        and now - last_full < settings.full_every
    )


def is_due(dataset: str, previous: Published, now: datetime) -> bool:
    """Whether an incremental run reads this dataset again."""
    known = previous.optional.get(dataset)
    if dataset not in REFRESH_EVERY or known is None or known.status != "complete":
        return True
    if known.mode == BY_USER:
        return True  # a budget of users, every time
    return now - datetime.fromisoformat(known.as_of) >= REFRESH_EVERY[dataset]
