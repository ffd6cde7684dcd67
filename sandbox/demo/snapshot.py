"""Published snapshots as a consumer gets them: pointer, manifest, parts; downloaded and checked."""

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates
from sandbox.services.errors import SandboxError

CONTAINER = "directory"
POINTER = "current.json"


class Part(msgspec.Struct):
    path: str
    rows: int
    bytes: int
    sha256: str


class Dataset(msgspec.Struct):
    status: str
    rows: int
    parts: list[Part]
    reason: str | None = None

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)


class GraphUse(msgspec.Struct):
    requests: int
    resource_units: int
    throttled: int
    retried: int


class ChangeCounts(msgspec.Struct):
    added: int
    updated: int
    removed: int


class Changes(msgspec.Struct):
    datasets: dict[str, ChangeCounts]
    parts: list[Part]


class Manifest(msgspec.Struct):
    run_id: str
    sequence: int
    kind: str
    buckets: int
    datasets: dict[str, Dataset]
    graph: GraphUse
    changes: Changes | None = None

    @property
    def paths(self) -> set[str]:
        """The parts of all datasets."""
        return {part.path for dataset in self.datasets.values() for part in dataset.parts}


class Change(msgspec.Struct):
    """One line of a changes part."""

    dataset: str
    operation: str
    id: str
    record: dict[str, Any] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """A copy on disk with the names that the blobs have."""

    directory: Path
    manifest_path: str
    manifest: Manifest

    def part_paths(self, dataset: str) -> list[Path]:
        return [self.directory / part.path for part in self.manifest.datasets[dataset].parts]

    def lines(self, dataset: str) -> Iterator[bytes]:
        """The records, as stored."""
        for path in self.part_paths(dataset):
            yield from _lines(path)

    def rows[Row](self, dataset: str, row_type: type[Row]) -> Iterator[Row]:
        decoder = msgspec.json.Decoder(row_type)
        yield from map(decoder.decode, self.lines(dataset))

    def find(self, dataset: str, text: str) -> Iterator[Any]:
        """The records that hold this text anywhere."""
        wanted = text.encode()
        return (msgspec.json.decode(line) for line in self.lines(dataset) if wanted in line)

    def changes(self) -> Iterator[Change]:
        """What this run changed against the run before."""
        decoder = msgspec.json.Decoder(Change)
        for part in self.manifest.changes.parts if self.manifest.changes else ():
            yield from map(decoder.decode, _lines(self.directory / part.path))


def _lines(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines()


def download_snapshot(account: StorageAccount, certificates: ServerCertificates, directory: Path) -> Snapshot:
    """Bring `directory` up to what is current; parts that are there already are not fetched again.

    Raises SandboxError when a blob is not what was announced.
    """
    from azure.storage.blob import ContainerClient

    with ContainerClient.from_connection_string(
        account.connection_string, CONTAINER, connection_verify=str(certificates.authority)
    ) as container:

        def fetch(path: str) -> bytes:
            content = container.download_blob(path).readall()
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            return content

        manifest_path = msgspec.json.decode(fetch(POINTER))["manifest"]
        manifest = msgspec.json.decode(fetch(manifest_path), type=Manifest)
        parts = [part for dataset in manifest.datasets.values() for part in dataset.parts]
        for part in [*parts, *(manifest.changes.parts if manifest.changes else ())]:
            if (directory / part.path).exists():
                continue
            if hashlib.sha256(fetch(part.path)).hexdigest() != part.sha256:
                raise SandboxError(f"{part.path} is not what the manifest says: its SHA-256 differs.")
    return Snapshot(directory, manifest_path, manifest)
