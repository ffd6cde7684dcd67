"""What a run changed, in people's words: names instead of ids, fields instead of records."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sandbox.demo.snapshot import Change, Snapshot

DATASETS = ("users", "groups", "memberships")
KEPT_BY_US = {"changed_at"}
FROM_EDGES = {"groups", "owned_groups", "member_count", "owner_count"}
"""Fields of a user or group that change with memberships."""

type Record = dict[str, Any]


@dataclass(frozen=True, order=True)
class Entry:
    """One change: who or what, and what is to say about it."""

    name: str
    details: tuple[str, ...]


@dataclass
class Entries:
    """The changes of one dataset, those that tell most first."""

    added: list[Entry] = field(default_factory=list)
    updated: list[Entry] = field(default_factory=list)
    removed: list[Entry] = field(default_factory=list)


class _Named(msgspec.Struct):
    id: str
    display_name: str | None = None


def changes_between(before: Snapshot, now: Snapshot) -> dict[str, Entries]:
    """The changes of `now`, the run after `before`."""
    changes = list(now.changes())
    wanted = {one for change in changes for one in change.id.split("|")}
    records = {dataset: _records(before, dataset, wanted) for dataset in ("users", "groups")}
    names = {
        object_id: record.get("display_name") or object_id
        for snapshot in (before, now)
        for dataset in ("users", "groups")
        for object_id, record in _records(snapshot, dataset, wanted).items()
    }
    return {
        dataset: _edges((one for one in changes if one.dataset == dataset), names)
        if dataset == "memberships"
        else _objects((one for one in changes if one.dataset == dataset), records[dataset], names)
        for dataset in DATASETS
    }


def _records(snapshot: Snapshot, dataset: str, wanted: set[str]) -> dict[str, Record]:
    named = msgspec.json.Decoder(_Named)
    return {
        object_id: msgspec.json.decode(line)
        for line in snapshot.lines(dataset)
        if (object_id := named.decode(line).id) in wanted
    }


def _objects(changes: Iterable[Change], before: dict[str, Record], names: dict[str, str]) -> Entries:
    entries = Entries()
    updated: list[tuple[bool, Entry]] = []
    for change in changes:
        name = names[change.id]
        if change.operation == "removed":
            entries.removed.append(Entry(name, (change.reason,) if change.reason else ()))
        elif change.operation == "added":
            entries.added.append(Entry(name, _newcomer(change.record or {})))
        else:
            was, record = before[change.id], change.record or {}
            fields = changed_fields(was, record)
            details = tuple(_changed(one, was.get(one), record.get(one)) for one in fields)
            updated.append((set(fields) <= FROM_EDGES, Entry(name, details)))
    entries.added.sort()
    entries.removed.sort(key=lambda entry: (entry.details, entry.name))
    entries.updated = [entry for _, entry in sorted(updated)]
    return entries


def changed_fields(before: Record, now: Record) -> list[str]:
    """Names of the fields that differ, in the order of the records; those from memberships last."""
    fields = [
        name
        for name in dict.fromkeys([*now, *before])
        if name not in KEPT_BY_US and before.get(name) != now.get(name)
    ]
    return sorted(fields, key=FROM_EDGES.__contains__)


def _changed(name: str, was: object, now: object) -> str:
    """A field, with its values where these are short."""
    return f"{name} {was:,} → {now:,}" if type(was) is type(now) is int else name


def _newcomer(record: Record) -> tuple[str, ...]:
    """A user's job and groups; a group's members."""
    if "member_count" in record:
        return (_counted(record["member_count"], "member"),)
    described = [record.get("job_title"), record.get("department")]
    if groups := record.get("groups"):
        described.append(f"in {_counted(len(groups), 'group')}")
    return tuple(filter(None, described))


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _edges(changes: Iterable[Change], names: dict[str, str]) -> Entries:
    entries = Entries()
    for change in changes:
        group_id, relation, member_id = change.id.split("|")
        # Devices and applications are members, too, but have no record.
        name = names.get(member_id) or f"object {member_id[:8]}"
        what = "owner of" if relation == "owner" else "member of"
        listed = entries.added if change.operation == "added" else entries.removed
        listed.append(Entry(name, (f"{what} {names[group_id]}",)))
    entries.added, entries.removed = _spread(entries.added), _spread(entries.removed)
    return entries


def _spread(entries: list[Entry]) -> list[Entry]:
    """One of each name first, so that the first few tell of several."""
    seen: Counter[str] = Counter()
    rounds = []
    for entry in sorted(entries):
        rounds.append((seen[entry.name], entry))
        seen[entry.name] += 1
    return [entry for _, entry in sorted(rounds)]
