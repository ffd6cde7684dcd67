"""Is what we publish what we promise? Used by every test that holds a published document.

Each function returns nothing when the document is right and raises AssertionError with the first fault
otherwise. A line is held against our own JSON Schema (docs/schemas), and a rendering also against the schema
of those who read it: the official OCSF one, and Sekoia's models.

What it costs, measured: a user 0.3 ms, an OCSF user with eight groups 1.5 ms, half of it the official schema.
For tens of thousands of lines `validate_lines` takes a sample of that one.
"""

import json
from collections.abc import Iterable
from typing import Any

from tests.validation.json_schema import fault, published
from tests.validation.ocsf import ocsf_fault
from tests.validation.sekoia import sekoia_fault

_OCSF_CLASSES = {"ocsf-users": "user_inventory", "ocsf-groups": "cloud_resources_inventory_info"}


def validate_line(dataset: str, document: dict[str, Any], *, official: bool = True) -> None:
    """One line of a part of `dataset`, decoded. `official=False` skips OCSF's own schema, nothing else."""
    _hold_against_ours(dataset, document)
    found: str | None
    if dataset in _OCSF_CLASSES:
        found = ocsf_fault(_OCSF_CLASSES[dataset], document, official=official)
    elif dataset == "sekoia-users":
        found = sekoia_fault(document)
    elif dataset == "users":
        found = _user_fault(document)
    elif dataset == "changes" and document["dataset"] == "users" and "record" in document:
        found = _user_fault(document["record"])
    else:
        found = None
    assert found is None, f"{dataset}: {found} in {_short(document)}"


def validate_lines(dataset: str, documents: Iterable[dict[str, Any]], *, sample: int = 1) -> None:
    """Lines of `dataset`. Holds every `sample`-th, the first included, against OCSF's own schema too."""
    for index, document in enumerate(documents):
        validate_line(dataset, document, official=index % sample == 0)


def validate_manifest(document: dict[str, Any]) -> None:
    """A run's manifest, decoded: its schema, and whether its numbers and names agree with each other."""
    _hold_against_ours("manifest", document)
    for name, dataset in document["datasets"].items():
        parts = dataset.get("parts", [])
        if parts:
            rows = sum(part["rows"] for part in parts)
            assert dataset["rows"] == rows, f"{name}: {dataset['rows']} rows, and {rows} in its parts"
        for part in parts:
            expected = f"parts/{name}/{part['sha256']}.jsonl.gz"
            assert part["path"] == expected, f"{name}: a part at {part['path']}, expected at {expected}"
    if "changes" in document:
        rows = sum(part["rows"] for part in document["changes"]["parts"])
        counted = sum(sum(counts.values()) for counts in document["changes"]["datasets"].values())
        assert rows == counted, f"changes: {counted} are counted, and {rows} are in the parts"
        for part in document["changes"]["parts"]:
            folder = f"runs/{document['run_id']}/"
            assert part["path"].startswith(folder), f"changes: {part['path']} is not in {folder}"


def validate_pointer(document: dict[str, Any]) -> None:
    """`current.json`, decoded."""
    _hold_against_ours("current", document)
    expected = f"runs/{document['run_id']}/manifest.json"
    assert document["manifest"] == expected, f"the pointer names {document['manifest']}, not {expected}"


def _hold_against_ours(name: str, document: dict[str, Any]) -> None:
    found = fault(published(name), document)
    assert found is None, f"{name}: {found} in {_short(document)}"


def _user_fault(user: dict[str, Any]) -> str | None:
    """JSON Schema knows no order."""
    lists = {name: user.get(name, []) for name in ("groups", "owned_groups")}
    lists["authentication.methods"] = user.get("authentication", {}).get("methods", [])
    for name, values in lists.items():
        if values != sorted(values):
            return f"{name} is not sorted"
    return None


def _short(document: dict[str, Any]) -> str:
    text = json.dumps(document, ensure_ascii=False)
    return text if len(text) <= 500 else f"{text[:500]}…"
