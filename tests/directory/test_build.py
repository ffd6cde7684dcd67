"""Buckets in memory: cut anew in any way, with ids of any kind, they hold the same directory in order.

What is collected from a tenant and published is the matter of the other tests; here it is the cut.
"""

import gzip
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import clouds
from shared.directory.building import Builder
from shared.directory.building.inputs import BuildInput
from shared.directory.publish import compose
from shared.directory.records import Group, Membership, User
from shared.snapshots.manifest import ChangeCounts, Manifest
from shared.snapshots.parts import StoredPart, open_part, read_lines
from shared.snapshots.shuffle import Cut, RowWriter
from shared.snapshots.state import Built, Checkpoint, Published, Run, StateStore
from tests.snapshots.memory import MemoryContainer

_documents = msgspec.json.Decoder(dict[str, Any])

TENANT = "0c1f6b0e-5a7d-4c52-9a35-6f1d2b9c7e10"
THEN, NOW = "2026-11-20T09:00:00Z", "2026-11-21T09:00:00Z"

cuts = st.builds(Cut, st.sampled_from((1, 2, 4, 8)), st.sampled_from((1, 2, 4)))
ids = st.one_of(
    st.uuids().map(str),
    st.text("0123456789abcdef", min_size=1, max_size=4),
    st.text("\x00/09:@AG`ag~é\U0001f600", min_size=1, max_size=4),
)


@dataclass
class Company:
    """Names by id, and pairs of a group and a member."""

    users: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    edges: set[tuple[str, str]] = field(default_factory=set)


names = st.sampled_from((None, "Ada", "Bo"))
"""None is not there, or not yet."""


@st.composite
def companies(draw: st.DrawFn, users: Sequence[str], groups: Sequence[str]) -> Company:
    """Of these users and groups, who is there; edges may lead from and to who is not."""
    company = Company(
        {user: name for user in users if (name := draw(names))},
        {group: name for group in groups if (name := draw(names))},
    )
    if groups:
        of_one = st.lists(st.sampled_from(groups), max_size=3)
        company.edges = {(group, user) for user in users for group in draw(of_one)}
    return company


@st.composite
def two_days(draw: st.DrawFn) -> tuple[Company, Company]:
    """A company and what it is a day later: some are gone, some are new, some are renamed."""
    count = draw(st.integers(0, 24))
    everybody = draw(st.lists(ids, unique=True, min_size=count, max_size=count))
    of = companies(everybody[: 2 * count // 3], everybody[2 * count // 3 :])
    return draw(of), draw(of)


@dataclass
class Day:
    """One run in memory."""

    run: Run
    state: MemoryContainer
    output: MemoryContainer
    members: dict[int, Built]
    groups: dict[int, Built]
    manifest: Manifest
    published: Published
    """What the next run needs."""

    async def lines[R](self, dataset: str, record: type[R]) -> list[list[R]]:
        """The records of each bucket."""
        decoder = msgspec.json.Decoder(record)
        return [(await open_part(self.output, part)).all(decoder) for part in self.published.parts[dataset]]

    async def records(self) -> dict[str, Any]:
        """All records as a consumer reads them, by dataset and id."""
        read: dict[str, list[Any]] = {
            "users": await self.lines("users", User),
            "groups": await self.lines("groups", Group),
            "memberships": await self.lines("memberships", Membership),
        }
        return {
            f"{dataset} {record.id}": msgspec.to_builtins(record)
            for dataset, buckets in read.items()
            for bucket in buckets
            for record in bucket
        }

    async def changes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for built in (*self.members.values(), *self.groups.values()):
            if built.changes_part:
                listed = read_lines(self.output.blobs[built.changes_part.path], _documents)
                assert listed == sorted(listed, key=lambda change: (change["dataset"], change["id"]))
                found += listed
        return found


async def built(
    company: Company,
    cut: Cut,
    group_cut: Cut,
    *,
    after: Day | None = None,
    formats: Sequence[str] = (),
    flush_every: int = 7,
) -> Day:
    """Collect the company's rows, with a flush now and then, and build all buckets."""
    state = MemoryContainer("sync-state")
    output = MemoryContainer("directory")
    if after:
        output.restore(after.output.saved())
    run = Run(
        run_id="then" if after is None else f"after-{after.run.run_id}",
        sequence=1,
        kind="full",
        status="building",
        started_at=THEN if after is None else NOW,
        cut=cut,
        group_cut=group_cut,
        datasets=["users", "groups"],
        wanted=["users", "groups"],
        formats=list(formats),
        previous_run_id=after.run.run_id if after else None,
    )
    checkpoints = {
        name: Checkpoint(dataset=name, status="complete", as_of=run.started_at) for name in run.datasets
    }
    rows = [
        ("users", "users", user, {"id": user, "displayName": name}) for user, name in company.users.items()
    ]
    rows += [
        ("groups", "groups", one, {"id": one, "displayName": name}) for one, name in company.groups.items()
    ]
    edges = [
        ("groups", "edges", user, (group, "member", user, "user")) for group, user in sorted(company.edges)
    ]
    writers = {
        "users": RowWriter({"users": cut}),
        "groups": RowWriter({"groups": group_cut, "edges": cut}),
    }
    for number, (dataset, stream, object_id, row) in enumerate([*rows, *edges], 1):
        writers[dataset].add(stream, object_id, msgspec.json.encode(row))
        if number % flush_every == 0 and (file := await writers[dataset].flush(state, dataset)):
            checkpoints[dataset].files.append(file)
    for dataset, writer in writers.items():
        if file := await writer.flush(state, dataset):
            checkpoints[dataset].files.append(file)

    shared = BuildInput(
        run=run,
        checkpoints=checkpoints,
        previous=after.published if after else None,
        tenant_id=TENANT,
        cloud=clouds.PUBLIC,
        state=state,
        output=output,
    )
    builder = await Builder.begin(shared)
    members: dict[int, Built] = {}
    for batch, buckets in enumerate(run.batches("members")):
        some = await builder.build("members", buckets)
        await StateStore(state).save_built(run.run_id, "members", batch, some)
        members |= some
    groups = await builder.build("groups", run.buckets("groups"))
    manifest, published = compose(
        run,
        checkpoints,
        members,
        groups,
        shared.previous,
        labels=await builder.store_labels(),
        tenant_id=TENANT,
        now=datetime(2026, 11, 21, 9, 30, tzinfo=UTC),
    )
    return Day(run, state, output, members, groups, manifest, published)


async def assert_holds(day: Day, company: Company) -> None:
    """Every bucket has just its own, sorted; together they are the company."""
    run = day.run
    users = await day.lines("users", User)
    groups = await day.lines("groups", Group)
    memberships = await day.lines("memberships", Membership)
    whole = {pair for pair in company.edges if pair[0] in company.groups and pair[1] in company.users}

    assert (len(users), len(memberships), len(groups)) == (
        run.cut.buckets,
        run.cut.buckets,
        run.group_cut.buckets,
    )
    for bucket in range(run.cut.buckets):
        assert all(run.cut.bucket_of(user.id) == bucket for user in users[bucket])
        assert all(run.cut.bucket_of(edge.member_id) == bucket for edge in memberships[bucket])
        keys = [(edge.group_id, edge.relation, edge.member_id) for edge in memberships[bucket]]
        assert keys == sorted(keys)
    for bucket in range(run.group_cut.buckets):
        assert all(run.group_cut.bucket_of(group.id) == bucket for group in groups[bucket])
    everybody = [user for part in users for user in part]
    assert [(user.id, user.display_name) for user in everybody] == sorted(company.users.items())
    for user in everybody:
        assert user.groups == sorted(group for group, member in whole if member == user.id)
    listed = [group for part in groups for group in part]
    assert [(group.id, group.display_name) for group in listed] == sorted(company.groups.items())
    for group in listed:
        assert group.member_count == sum(1 for pair in whole if pair[0] == group.id)
    assert {(edge.group_id, edge.member_id) for part in memberships for edge in part} == whole
    assert sum(map(len, memberships)) == len(whole)


@settings(deadline=None)
@given(two_days(), cuts, cuts, cuts, cuts)
async def test_buckets_are_split_and_joined_with_all_that_is_in_them(
    days: tuple[Company, Company], cut: Cut, group_cut: Cut, later_cut: Cut, later_group_cut: Cut
) -> None:
    then, now = days
    first = await built(then, cut, group_cut)
    await assert_holds(first, then)
    assert await first.changes() == []

    second = await built(now, later_cut, later_group_cut, after=first)
    await assert_holds(second, now)
    before, after = await first.records(), await second.records()
    changes = await second.changes()
    changed = {f"{change['dataset']} {change['id']}": change for change in changes}
    assert len(changed) == len(changes)
    # `changed_at` stands in a record, so one that did not change is all the same.
    assert {key: change["operation"] for key, change in changed.items()} == {
        key: "added" if key not in before else "removed" if key not in after else "updated"
        for key in before | after
        if before.get(key) != after.get(key)
    }
    assert {key: change["record"] for key, change in changed.items() if "record" in change} == {
        key: after[key] for key in changed.keys() & after.keys()
    }
    assert second.manifest.changes is not None
    assert sum(map(_total, second.manifest.changes.datasets.values())) == len(changes)


@settings(deadline=None, max_examples=50)
@given(two_days(), cuts, cuts, cuts, cuts)
async def test_nothing_happened_is_no_change_however_buckets_are_cut(
    days: tuple[Company, Company], cut: Cut, group_cut: Cut, later_cut: Cut, later_group_cut: Cut
) -> None:
    company, _ = days
    first = await built(company, cut, group_cut)
    again = await built(company, later_cut, later_group_cut, after=first, flush_every=3)
    assert await again.changes() == []
    assert again.manifest.changes is not None
    assert set(map(_total, again.manifest.changes.datasets.values())) == {0}
    assert await again.records() == await first.records()
    for dataset, had, has in (
        ("users", cut, later_cut),
        ("memberships", cut, later_cut),
        ("groups", group_cut, later_group_cut),
    ):
        if had == has:
            assert again.published.parts[dataset] == first.published.parts[dataset]


def _total(counts: ChangeCounts) -> int:
    return counts.added + counts.updated + counts.removed


def a_company(users: int = 2_000) -> Company:
    """One that fills its parts, with names that compress in many ways."""
    drawn = random.Random(3)
    company = Company(
        {
            f"{number * 0x9E3779B1 % 2**32:08x}": "x" * drawn.randint(0, 60) + str(drawn.random())
            for number in range(users)
        },
        {f"{number * 0x85EBCA6B % 2**32:08x}": "Bo" for number in range(20)},
    )
    groups = sorted(company.groups)
    company.edges = {(groups[number % 20], user) for number, user in enumerate(sorted(company.users))}
    return company


@pytest.mark.parametrize("segments", [1, 4, 64])
async def test_bucket_that_is_built_twice_is_the_same_bytes(segments: int) -> None:
    """Records and renderings alike, whatever the flushes on the way."""
    company, cut, formats = a_company(), Cut(2, segments), ("ocsf", "sekoia")
    first = await built(company, cut, Cut(1, segments), formats=formats)
    again = await built(company, cut, Cut(1, segments), formats=formats, flush_every=100)
    assert again.output.blobs == first.output.blobs
    assert again.published.parts == first.published.parts
    # What the next run needs is the same, too.
    assert again.published == first.published
    assert len(first.output.blobs) == sum(len(parts) for parts in first.published.parts.values())


async def test_number_of_segments_is_not_seen_in_what_is_published() -> None:
    """The bytes of a part may differ; its lines do not."""
    days = [await built(a_company(), Cut(2, segments), Cut(1, segments)) for segments in (1, 16)]
    for dataset, record in (("users", User), ("groups", Group), ("memberships", Membership)):
        one, other = [await day.lines(dataset, record) for day in days]
        assert one == other
        assert _rows(days[0].published.parts[dataset]) == _rows(days[1].published.parts[dataset])


def _rows(parts: Sequence[StoredPart | None]) -> list[int]:
    return [part.ref.rows if part else 0 for part in parts]


async def test_part_in_which_nothing_changed_stays_though_its_bytes_would_not() -> None:
    """Another machine compresses in another way; consumers need not read again what they have."""
    company, cut, group_cut = a_company(), Cut(2, 16), Cut(1, 4)
    first = await built(company, cut, group_cut)
    for dataset, parts in first.published.parts.items():
        first.published.parts[dataset] = [elsewhere_compressed(first.output, part) for part in parts]
    again = await built(company, cut, group_cut, after=first)
    assert again.published.parts == first.published.parts
    assert await again.changes() == []


def elsewhere_compressed(output: MemoryContainer, part: StoredPart | None) -> StoredPart | None:
    """The same segments in other bytes."""
    if part is None:
        return None
    content, offset, members = output.blobs.pop(part.ref.path), 0, []
    for size in part.sizes:
        member = content[offset : offset + size]
        members.append(gzip.compress(gzip.decompress(member), 9) if member else b"")
        offset += size
    path = f"{part.ref.path}.gz"
    output.blobs[path] = b"".join(members)
    ref = msgspec.structs.replace(part.ref, path=path, bytes=len(output.blobs[path]))
    return StoredPart(ref, list(map(len, members)), part.rows)


async def test_directory_that_is_cut_into_other_segments_is_written_anew() -> None:
    """The next run finds its segments by this cut. Nothing has changed all the same."""
    company = a_company()
    first = await built(company, Cut(2, 1), Cut(1, 1))
    anew = await built(company, Cut(2, 16), Cut(1, 4))
    again = await built(company, Cut(2, 16), Cut(1, 4), after=first)
    for dataset in ("users", "groups"):
        assert again.published.parts[dataset] != first.published.parts[dataset]
        for part in again.published.parts[dataset]:
            assert part is not None
            assert len(part.sizes) == len(part.rows) == (16 if dataset == "users" else 4)
    assert _rows(again.published.parts["users"]) == _rows(anew.published.parts["users"])
    assert await again.changes() == []
    assert await again.records() == await first.records()


async def test_edges_that_are_kept_back_are_stored_as_they_would_be_published() -> None:
    edges = {("g", "a1"), ("f", "b1"), ("f", "a0"), ("g", "a0"), ("g", "b1")}
    day = await built(Company({"a0": "Ada"}, {"g": "Bo"}, edges), Cut(1, 8), Cut(1, 1))
    kept = (await open_part(day.state, day.members[0].hidden)).all(msgspec.json.Decoder(Membership))
    assert [edge.id for edge in kept] == ["f|member|a0", "f|member|b1", "g|member|a1", "g|member|b1"]
