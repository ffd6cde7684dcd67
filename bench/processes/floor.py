"""The floor: what the same pages cost when nothing is done with them but what has to be done.

Each page is decoded into the app's own typed structs, these are encoded as JSON lines, and the lines are
compressed as parts are. No HTTP, no Storage, no joining, sorting, splitting into buckets or hashing. With
renderings, the OCSF structs of the same objects, made beforehand, are encoded and compressed as well.

Beside it, the floor of what is published: the same decoding, but what is encoded and compressed are the
records of the contract, made beforehand: users with their groups, groups, and a line for each membership.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import batched
from pathlib import Path
from typing import Any

import msgspec
from isal import isal_zlib

from bench.pages.archive import Archive, Kind, gunzip
from bench.results import FloorCost
from bench.scale import GROUPS_A_PAGE
from shared.clouds import CLOUDS
from shared.directory.authentication import from_report
from shared.directory.groups import group_record
from shared.directory.memberships import MEMBER_TYPES
from shared.directory.records import Authentication, Membership, Relation
from shared.directory.users import user_record
from shared.formats.interface import GroupLabel, RenderContext
from shared.formats.ocsf import OcsfFormat
from shared.graph import objects
from shared.graph.paging import Page
from shared.snapshots.parts import GZIP_LEVEL, GZIP_WINDOW

DECODERS: dict[Kind, msgspec.json.Decoder[Page[Any]]] = {
    "users": msgspec.json.Decoder(Page[objects.User]),
    "groups": msgspec.json.Decoder(Page[objects.Group]),
    "authentication": msgspec.json.Decoder(Page[objects.RegistrationDetails]),
}
_TENANT = "00000000-0000-4000-8000-000000000001"
_CHANGED_AT = "2026-12-31T09:00:00Z"
_encoder = msgspec.json.Encoder()


class _Sink:
    """Encodes and compresses, and knows what either took."""

    def __init__(self) -> None:
        self.encode = 0.0
        self.compress = 0.0
        self._compressor = isal_zlib.compressobj(GZIP_LEVEL, wbits=GZIP_WINDOW)

    def take(self, records: Sequence[Any]) -> None:
        start = time.process_time()
        lines = _encoder.encode_lines(records)
        encoded = time.process_time()
        self._compressor.compress(lines)
        self.encode += encoded - start
        self.compress += time.process_time() - encoded


def measure(archive: Archive) -> FloorCost:
    """The floor of all pages, kind by kind, page by page."""
    cost = FloorCost()
    for kind, decoder in DECODERS.items():
        sink = _Sink()
        for number in range(archive.count(kind)):
            stored = archive.stored(kind, number)
            start = time.process_time()
            body = gunzip(stored)
            unpacked = time.process_time()
            page = decoder.decode(body)
            cost.gunzip += unpacked - start
            cost.decode += time.process_time() - unpacked
            sink.take(page.value)
        cost.encode += sink.encode
        cost.compress += sink.compress
    published, rendered = _Sink(), _Sink()
    _take_published(archive, published, rendered)
    cost.published_encode, cost.published_compress = published.encode, published.compress
    cost.rendering_encode, cost.rendering_compress = rendered.encode, rendered.compress
    return cost


def _take_published(archive: Archive, published: _Sink, rendered: _Sink) -> None:
    """Make what the app publishes, which is not measured here, and measure what is then done with it."""
    labels: dict[str, GroupLabel] = {}
    groups_of: dict[str, list[str]] = {}
    counts: dict[str, list[int]] = {}
    groups: dict[str, objects.Group] = {}
    for page in _pages(archive, "groups"):
        edges = []
        for group in page:
            labels[group.id] = GroupLabel(group.id, group.display_name or None)
            counted = counts.setdefault(group.id, [0, 0])
            sides: tuple[tuple[Relation, Any], ...] = (("member", group.members), ("owner", group.owners))
            for relation, references in sides:
                for reference in references or ():
                    kind = MEMBER_TYPES.get(reference.odata_type, "unknown")
                    edges.append(Membership(group.id, reference.id, kind, relation))
                    counted[relation == "owner"] += 1
                    if relation == "member":
                        groups_of.setdefault(reference.id, []).append(group.id)
            group.members = group.owners = msgspec.UNSET
            groups[group.id] = group
        published.take(edges)
    authentication: dict[str, Authentication] = {
        row.id: from_report(row) for page in _pages(archive, "authentication") for row in page
    }
    ocsf = OcsfFormat(RenderContext(_TENANT, CLOUDS["public"], labels))
    for page in _pages(archive, "users"):
        users = []
        for user in page:
            record = user_record(user)
            record.groups = sorted(groups_of.get(record.id, ()))
            record.owned_groups = []
            record.authentication = authentication.get(record.id)
            record.changed_at = _CHANGED_AT
            users.append(record)
        published.take(users)
        rendered.take([ocsf.render_user(record) for record in users])
    for some in batched(groups.values(), GROUPS_A_PAGE, strict=False):
        records = [group_record(group, *counts[group.id]) for group in some]
        for group_in_record in records:
            group_in_record.changed_at = _CHANGED_AT
        published.take(records)
        rendered.take([ocsf.render_group(group_in_record) for group_in_record in records])


def _pages(archive: Archive, kind: Kind) -> Iterator[list[Any]]:
    for number in range(archive.count(kind)):
        yield DECODERS[kind].decode(gunzip(archive.stored(kind, number))).value


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.processes.floor", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where the pages are")
    arguments = parser.parse_args()
    print(msgspec.json.encode(measure(Archive(arguments.directory))).decode())


if __name__ == "__main__":
    main()
