"""JSON Schema validators that are quick enough for tens of thousands of documents.

Most of jsonschema's time goes into looking up references. Here each `$ref` is replaced, once, by the very
dictionary it points to, so that there is nothing to look up. A recursive schema becomes a cyclic structure,
which is fine: validation only goes as deep as the document. What stands beside a `$ref` is dropped, so it has
to be a title or a description; anything else is refused.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"

_ANNOTATIONS = {"$ref", "title", "description", "deprecated"}


@cache
def schema(name: str) -> dict[str, Any]:
    """docs/schemas/<name>.schema.json, as it is."""
    document: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text("utf-8"))
    return document


@cache
def published(name: str) -> Draft202012Validator:
    """The validator of docs/schemas/<name>.schema.json."""
    return Draft202012Validator(_linked_file(f"{name}.schema.json"))


def validator(root: dict[str, Any]) -> Draft202012Validator:
    """The validator of any schema that refers only to itself. Changes `root`."""
    _link(root, root)
    return Draft202012Validator(root)


def fault(against: Draft202012Validator, document: dict[str, Any]) -> str | None:
    """The most telling fault of the document, or nothing."""
    if against.is_valid(document):
        return None
    error = best_match(against.iter_errors(document))
    assert error is not None
    return f"{error.json_path}: {error.message[:300]}"


@cache
def _linked_file(name: str) -> dict[str, Any]:
    root: dict[str, Any] = json.loads((SCHEMAS / name).read_text("utf-8"))
    _link(root, root)
    return root


def _link(node: Any, root: dict[str, Any]) -> Any:
    """Replaces the references below `node` in place, and gives what stands in its stead."""
    if isinstance(node, list):
        node[:] = [_link(item, root) for item in node]
    elif isinstance(node, dict):
        if "$ref" in node:
            beside = node.keys() - _ANNOTATIONS
            assert not beside, f"{beside} beside a $ref would be lost"
            return _target(node["$ref"], root)
        for key, value in node.items():
            if key not in ("const", "enum"):
                node[key] = _link(value, root)
    return node


def _target(reference: str, root: dict[str, Any]) -> Any:
    name, _, pointer = reference.partition("#")
    node: Any = _linked_file(name) if name else root
    for step in pointer.split("/")[1:]:
        node = node[step]
    # A definition that is itself a reference is not linked yet when it is looked up.
    return _target(node["$ref"], root) if isinstance(node, dict) and "$ref" in node else node
