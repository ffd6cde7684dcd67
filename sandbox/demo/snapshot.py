"""The published snapshot as a consumer gets it: pointer, manifest, parts; downloaded and checked."""

import gzip
import hashlib
import shutil
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


class Manifest(msgspec.Struct):
    run_id: str
    sequence: int
    kind: str
    buckets: int
    datasets: dict[str, Dataset]
    graph: GraphUse


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
            yield from gzip.decompress(path.read_bytes()).splitlines()

    def rows[Row](self, dataset: str, row_type: type[Row]) -> Iterator[Row]:
        decoder = msgspec.json.Decoder(row_type)
        yield from map(decoder.decode, self.lines(dataset))

    def find(self, dataset: str, text: str) -> Iterator[Any]:
        """The records that hold this text anywhere."""
        wanted = text.encode()
        return (msgspec.json.decode(line) for line in self.lines(dataset) if wanted in line)


def download_snapshot(account: StorageAccount, certificates: ServerCertificates, directory: Path) -> Snapshot:
    """Replace `directory` by what is current. Raises SandboxError when a blob is not what was announced."""
    from azure.storage.blob import ContainerClient

    shutil.rmtree(directory, ignore_errors=True)
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
        for dataset in manifest.datasets.values():
            for part in dataset.parts:
                if hashlib.sha256(fetch(part.path)).hexdigest() != part.sha256:
                    raise SandboxError(f"{part.path} is not what the manifest says: its SHA-256 differs.")
    return Snapshot(directory, manifest_path, manifest)
