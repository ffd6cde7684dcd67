"""What a consumer reads first: the pointer, and the manifest that it names."""

from typing import Literal

import msgspec

from shared.snapshots.blobs import BlobContainer
from shared.snapshots.parts import PartRef

SCHEMA_VERSION = 1

POINTER = "current.json"


class Pointer(msgspec.Struct):
    """`current.json`: the one blob that changes. Replaced last, in one conditional write."""

    run_id: str
    sequence: int
    manifest: str
    published_at: str
    schema_version: int = SCHEMA_VERSION


class DatasetEntry(msgspec.Struct, omit_defaults=True):
    """One dataset of a manifest."""

    status: Literal["complete", "unavailable"]
    as_of: str
    """When its reading began: what changed later may be missing."""
    rows: int
    parts: list[PartRef]
    reason: str | None = None
    """Why it is unavailable: `permission`, `licence`, `throttling`, `unreachable`, `invalid` …"""


class ChangeCounts(msgspec.Struct):
    added: int = 0
    updated: int = 0
    removed: int = 0

    def add(self, other: "ChangeCounts") -> None:
        self.added += other.added
        self.updated += other.updated
        self.removed += other.removed


class Changes(msgspec.Struct):
    """What this run changed against the run before."""

    datasets: dict[str, ChangeCounts]
    parts: list[PartRef]


class GraphUsage(msgspec.Struct):
    requests: int
    resource_units: int
    throttled: int
    retried: int


class Manifest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """`runs/<run_id>/manifest.json`: everything that a snapshot consists of."""

    schema_version: int
    run_id: str
    sequence: int
    kind: Literal["full", "incremental"]
    tenant_id: str
    started_at: str
    published_at: str
    previous_run_id: str | None = None
    buckets: int
    datasets: dict[str, DatasetEntry]
    changes: Changes | None = None
    drift: dict[str, int] | None = None
    """Full runs: by dataset, what the deltas since the last full run had missed."""
    graph: GraphUsage


def manifest_path(run_id: str) -> str:
    return f"runs/{run_id}/manifest.json"


async def read_pointer(container: BlobContainer) -> tuple[Pointer, str] | None:
    """The pointer and its ETag, or None before the first publication."""
    content = await container.read_with_etag(POINTER)
    if content is None:
        return None
    return msgspec.json.decode(content[0], type=Pointer), content[1]


async def read_manifest(container: BlobContainer, path: str) -> Manifest | None:
    content = await container.read(path)
    return msgspec.json.decode(content, type=Manifest) if content else None


def encode(document: msgspec.Struct) -> bytes:
    """Indented: people read these."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
