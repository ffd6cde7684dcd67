"""What was measured, as it goes from process to process and into `--json`. CPU in seconds, sizes in bytes."""

import msgspec

from bench.pages.archive import Facts
from bench.scale import Scale


class ProfileLine(msgspec.Struct):
    """One line or function of code and the CPU seconds that were spent in it, by phase."""

    place: str
    """File, line and function; of a function: file, first line and name."""
    source: str
    phases: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.phases.values())


class Profile(msgspec.Struct):
    """Samples of a sync. C code counts for the line that calls it."""

    lines: list[ProfileLine]
    functions: list[ProfileLine]
    """By own time: of all lines of the function, without what it calls in Python."""
    inclusive: list[ProfileLine]
    """With all that is called."""
    samples: int


class StorageUse(msgspec.Struct):
    """What was asked of Storage. Writes that were skipped because the blob was there count as well."""

    reads: int = 0
    bytes_read: int = 0
    writes: int = 0
    bytes_written: int = 0


class Touched(msgspec.Struct):
    """The buckets that a run built, of how many."""

    members: int
    all_members: int
    groups: int
    all_groups: int


class SyncCost(msgspec.Struct):
    """One sync in a process of its own."""

    formats: str
    kind: str
    start_cpu: float
    """Interpreter, imports, clients, and one first request to Graph and to Storage."""
    phases: dict[str, float]
    garbage_collection: float
    """Of Python's cyclic collector; contained in the phases."""
    wall: float
    start_peak: int
    """Peak memory before the sync began."""
    peak: int
    model_modules: int
    """Modules of `msgraph.generated.models` that were loaded at the end."""
    late_modules: int
    """Modules that were still imported while it ran."""
    rows: dict[str, int]
    """Rows of the snapshot, by dataset."""
    changes: dict[str, int]
    """Records added, updated and removed, by dataset."""
    touched: Touched
    storage: StorageUse
    stored: int
    """Bytes that lie in Storage at the end."""
    digest: str
    """SHA-256 over all published parts."""
    requests: int = 0
    """As the server counted them, without the one of the start."""
    profile: Profile | None = None

    @property
    def cpu(self) -> float:
        return sum(self.phases.values())


class WorkerCost(msgspec.Struct):
    """One of several processes that worked the same full sync off."""

    cpu: float
    """Without what the process costs before."""
    wall: float
    peak: int
    messages: int
    digest: str
    """SHA-256 over all published parts, as this worker reads them."""


class FloorCost(msgspec.Struct):
    """The least that the same pages cost, in CPU seconds. `gunzip` is told, and in no floor."""

    gunzip: float = 0.0
    decode: float = 0.0
    """Pages into typed structs."""
    encode: float = 0.0
    compress: float = 0.0
    """Of these structs."""
    published_encode: float = 0.0
    published_compress: float = 0.0
    """Of the records that are published instead."""
    rendering_encode: float = 0.0
    rendering_compress: float = 0.0
    """Of the OCSF structs."""

    @property
    def pages(self) -> float:
        """The floor."""
        return self.decode + self.encode + self.compress

    @property
    def published(self) -> float:
        """The floor of what is published."""
        return self.decode + self.published_encode + self.published_compress

    @property
    def renderings(self) -> float:
        """What the renderings add to either."""
        return self.rendering_encode + self.rendering_compress


class TypedCost(msgspec.Struct):
    """The SDK's typed loop over the first pages of each kind, once the models were loaded."""

    objects: dict[str, int]
    pages: dict[str, int]
    cpu: dict[str, float]
    model_modules: int
    peak: int


class IndexingCost(msgspec.Struct):
    """What the worker library needs until it knows an app's functions."""

    wall: float
    cpu: float
    functions: int


class Repetition(msgspec.Struct):
    """What ran one after the other, so that its ratios are of one moment."""

    floor: FloorCost
    sync: SyncCost
    """With the default formats."""
    bare: SyncCost
    """With no formats."""
    rounds: list[SyncCost]
    """The syncs that follow the default one, as `bench.pages.changes.ROUNDS` has them."""


class IndexingPair(msgspec.Struct):
    app: IndexingCost
    empty: IndexingCost


class Machine(msgspec.Struct):
    cpus: int
    model: str
    python: str


class Sized(msgspec.Struct):
    """One scale of several: the default sync, what follows it, and the same by several workers at once."""

    scale: Scale
    pages: dict[str, Facts]
    sync: SyncCost
    rounds: list[SyncCost]
    workers: list[WorkerCost]


class Growth(msgspec.Struct):
    """Several scales, the smallest first."""

    machine: Machine
    sizes: list[Sized]


class Results(msgspec.Struct):
    """A whole run at one scale."""

    scale: Scale
    machine: Machine
    pages: dict[str, Facts]
    repetitions: list[Repetition]
    typed: TypedCost
    indexing: list[IndexingPair]
