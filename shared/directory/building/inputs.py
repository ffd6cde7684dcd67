"""What all buckets of a run share, and how a bucket's rows and the last snapshot's records are reached."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from shared.clouds import Cloud
from shared.directory import records
from shared.directory.authentication import AuthenticationRow
from shared.directory.collectors.authentication import BY_USER
from shared.directory.memberships import Edge, edge_of
from shared.directory.users import SignInRow
from shared.formats.interface import GroupLabel
from shared.graph import objects
from shared.graph.paging import decode_objects
from shared.snapshots.blobs import BlobContainer
from shared.snapshots.parts import open_part
from shared.snapshots.shuffle import BucketRows, Cut, read_rows
from shared.snapshots.state import Checkpoint, Published, Run

USER_LINES = msgspec.json.Decoder(records.User)
GROUP_LINES = msgspec.json.Decoder(records.Group)
MEMBERSHIP_LINES = msgspec.json.Decoder(records.Membership)
COUNT_ROWS = msgspec.json.Decoder(list[tuple[str, int, int, int]])

_authentication_rows = msgspec.json.Decoder(list[AuthenticationRow])
_sign_in_rows = msgspec.json.Decoder(list[SignInRow])
_texts = msgspec.json.Decoder(list[str])
_ids = msgspec.json.Decoder(list[objects.ObjectId])


@dataclass(frozen=True, slots=True)
class BuildInput:
    """Everything that all buckets of a run share."""

    run: Run
    checkpoints: dict[str, Checkpoint]
    """By dataset; all of them have ended."""
    previous: Published | None
    """The last snapshot, if there is one."""
    tenant_id: str
    cloud: Cloud
    state: BlobContainer
    output: BlobContainer
    kept: dict[str, bytes] | None = None
    """Small files of rows that were read, in an incremental run."""
    labels: dict[str, GroupLabel] = field(default_factory=dict)
    """In an incremental run every live group, by id."""
    retold: set[str] = field(default_factory=set)
    """Groups of an incremental run whose edges Graph told anew: the edges kept back for them are outdated."""
    relabelled: set[str] = field(default_factory=set)
    """Groups of an incremental run that came, went, or changed what a rendering of their members shows."""

    @property
    def replaced(self) -> set[str]:
        return replaced_datasets(self.checkpoints, self.previous)

    async def rows(self, dataset: str, stream: str, cut: Cut, bucket: int) -> BucketRows:
        """The rows of a dataset that was read to its end; no rows of one that was not."""
        checkpoint = self.checkpoints.get(dataset)
        files = checkpoint.files if checkpoint is not None and checkpoint.status == "complete" else []
        return await read_rows(self.state, files, stream, cut, bucket, self.kept)

    def known_methods(self, before: dict[str, records.User] | None) -> dict[str, records.Authentication]:
        """What stays known of users whose methods are read one by one, and not all of them every time."""
        checkpoint = self.checkpoints.get("authentication")
        if not before or checkpoint is None or checkpoint.status != "complete" or checkpoint.mode != BY_USER:
            return {}
        return {
            user.id: user.authentication
            for user in before.values()
            if user.authentication is not None and user.authentication.source == "methods"
        }

    async def deleted_users(self, bucket: int) -> set[str] | None:
        """Ids of soft-deleted users, or None where they were not read."""
        checkpoint = self.checkpoints.get("deleted-users")
        if checkpoint is None or checkpoint.status != "complete":
            return None
        rows = await self.rows("deleted-users", "deleted", self.run.cut, bucket)
        return {row.id for row in decode_objects(rows.all(), _ids, "deleted-users")}

    @property
    def drift_is_known(self) -> bool:
        """Whether the deltas since the last run were read as well, to be compared with."""
        reported = [self.checkpoints.get(name) for name in ("users-reported", "groups-reported")]
        return all(one is not None and one.status == "complete" for one in reported)

    async def reported(self, dataset: str, stream: str, cut: Cut, bucket: int) -> set[str]:
        """The ids in this bucket that the deltas told of."""
        return set(_texts.decode((await self.rows(dataset, stream, cut, bucket)).all()))

    async def previous_records[R: (records.User, records.Group, records.Membership)](
        self, dataset: str, bucket: int, cut: Cut, decoder: msgspec.json.Decoder[R]
    ) -> list[R]:
        """The last snapshot's records of this bucket, also where it had another number of buckets.

        Both numbers are powers of two and buckets are leading digits, so a bucket's records lie in one
        larger bucket, or in several smaller ones.
        """
        if self.previous is None:
            return []
        parts = self.previous.parts[dataset]
        had, has = len(parts), cut.buckets
        first = bucket * had // has
        found: list[R] = []
        for number in range(first, max((bucket + 1) * had // has, first + 1)):
            reader = await open_part(self.output, parts[number])
            found += reader.all(decoder)
        if had < has:
            found = [record for record in found if cut.bucket_of(_bucketed_by(record)) == bucket]
        return found

    async def previous_segments[R: (records.User, records.Group)](
        self, dataset: str, bucket: int, cut: Cut, decoder: msgspec.json.Decoder[R]
    ) -> Callable[[int], dict[str, R]] | None:
        """The last snapshot's records of a segment of this bucket, by id. None if there is no last snapshot.

        Cut in the same way, they are decoded when they are asked for.
        """
        if self.previous is None:
            return None
        had = self.previous.group_cut if dataset == "groups" else self.previous.cut
        if had != cut:
            listed = await self.previous_records(dataset, bucket, cut, decoder)
            return _by_segment(cut, bucket, listed).__getitem__
        part = await open_part(self.output, self.previous.parts[dataset][bucket])
        return lambda number: {record.id: record for record in part.segment(number, decoder)}

    async def previous_edges(self, bucket: int) -> list[Edge] | None:
        if self.previous is None:
            return None
        listed = await self.previous_records("memberships", bucket, self.run.cut, MEMBERSHIP_LINES)
        return sorted(map(edge_of, listed))


def replaced_datasets(checkpoints: Mapping[str, Checkpoint], previous: Published | None) -> set[str]:
    """Optional datasets whose values are replaced for all users: read as a whole, or lost."""
    replaced = set()
    for dataset in ("authentication", "sign-in"):
        checkpoint = checkpoints.get(dataset)
        known = previous.optional.get(dataset) if previous else None
        if checkpoint is None:
            continue
        if checkpoint.status == "complete":
            by_user = checkpoint.mode == BY_USER and known is not None and known.mode == BY_USER
            if not by_user:
                replaced.add(dataset)
        elif known is not None and known.status == "complete":
            replaced.add(dataset)
    return replaced


def authentication_of(rows: bytes) -> dict[str, records.Authentication]:
    return {row.id: row.authentication for row in _authentication_rows.decode(rows)}


def sign_ins_of(rows: bytes) -> dict[str, records.SignIn]:
    return {row.id: row.sign_in for row in _sign_in_rows.decode(rows)}


def _by_segment[R: (records.User, records.Group)](
    cut: Cut, bucket: int, listed: list[R]
) -> list[dict[str, R]]:
    """Records of a bucket by segment and id."""
    segments: list[dict[str, R]] = [{} for _ in range(cut.segments)]
    first = bucket * cut.segments
    for record in listed:
        segments[cut.segment_of(record.id) - first][record.id] = record
    return segments


def _bucketed_by(record: Any) -> str:
    return record.member_id if isinstance(record, records.Membership) else str(record.id)
