"""Reads a Bicep template into Python values: what is literal as it is, everything else as its own text.

It compiles nothing. It is enough to ask a template what it promises, and it refuses a file that does not
parse.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tree_sitter
import tree_sitter_bicep

INFRA = Path(__file__).parents[2] / "infra"

_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))

type Node = tree_sitter.Node


class Expression(str):
    """What only a deployment can know: the text of an expression, with single spaces."""

    __slots__ = ()


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str
    default: Any
    """None where a value must be given."""
    has_default: bool
    decorators: dict[str, list[Any]]

    @property
    def description(self) -> str:
        return str(self.decorators.get("description", [""])[0])


@dataclass(frozen=True)
class Resource:
    symbol: str
    type: str
    version: str
    body: dict[str, Any]
    existing: bool
    condition: str | None
    """It is made only if this holds."""
    loop: str | None
    """It is made for each of these."""

    @property
    def properties(self) -> dict[str, Any]:
        properties: dict[str, Any] = self.body.get("properties", {})
        return properties


@dataclass(frozen=True)
class Module:
    symbol: str
    path: Path
    parameters: dict[str, Any]
    condition: str | None


@dataclass
class Template:
    path: Path
    text: str
    scope: str = ""
    parameters: dict[str, Parameter] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    modules: dict[str, Module] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    def of_type(self, kind: str) -> list[Resource]:
        """The resources of this type that the template makes."""
        return [one for one in self.resources.values() if one.type == kind and not one.existing]

    def one(self, kind: str) -> Resource:
        (found,) = self.of_type(kind)
        return found


def text(node: Node | None) -> str:
    assert node is not None
    assert node.text is not None
    return node.text.decode()


def lower(node: Node) -> Any:
    """The value of an expression."""
    match node.type:
        case "object":
            return {
                _key(prop.named_children[0]): lower(prop.named_children[-1])
                for prop in node.named_children
                if prop.type == "object_property" and prop.named_children[0].type != "resource_declaration"
            }
        case "array":
            return [lower(child) for child in node.named_children if child.type != "comment"]
        case "string" if "${" not in text(node):
            return re.sub(r"\\(.)", r"\1", text(node)[1:-1])
        case "number":
            return int(text(node))
        case "unary_expression" if re.fullmatch(r"-\d+", text(node)):
            return int(text(node))
        case "boolean":
            return text(node) == "true"
        case "null":
            return None
    return Expression(" ".join(text(node).split()))


def _key(node: Node) -> str:
    return text(node).strip("'")


@cache
def template(name: str) -> Template:
    """The template at this path below `infra/`. Do not change what it returns."""
    return read(INFRA / name, (INFRA / name).read_text())


def read(path: Path, source: str) -> Template:
    root = _PARSER.parse(source.encode()).root_node
    if root.has_error:
        raise AssertionError(f"{path} does not parse")
    found = Template(path, source)
    decorators: dict[str, list[Any]] = {}
    for node in root.named_children:
        children = node.named_children
        match node.type:
            case "decorators":
                decorators = dict(map(_decorator, children))
                continue
            case "target_scope_assignment":
                found.scope = lower(children[0])
            case "parameter_declaration":
                name, has_default = text(children[0]), len(children) > 2
                default = lower(children[2]) if has_default else None
                found.parameters[name] = Parameter(name, text(children[1]), default, has_default, decorators)
            case "variable_declaration":
                found.variables[text(children[0])] = lower(children[-1])
            case "resource_declaration":
                found.resources |= {one.symbol: one for one in _resources(node, "", "")}
            case "module_declaration":
                _, condition, loop, body = _parts(node)
                assert body is not None
                values = lower(body)
                where = (path.parent / lower(children[1])).resolve()
                found.modules[text(children[0])] = Module(
                    text(children[0]), where, values.get("params", {}), condition or loop
                )
            case "output_declaration":
                found.outputs[text(children[0])] = lower(children[-1])
        decorators = {}
    return found


def _decorator(node: Node) -> tuple[str, list[Any]]:
    call = node.named_children[0]
    arguments = call.named_children[1:]
    return text(call.named_children[0]), [lower(value) for one in arguments for value in one.named_children]


def _parts(declaration: Node) -> tuple[str, str | None, str | None, Node | None]:
    """What a declaration of a resource or module says: type or path, condition, loop, body."""
    condition = loop = body = None
    kind = ""
    for child in declaration.named_children[1:]:
        if child.type == "string":
            kind = lower(child)
        elif child.type == "if_statement":
            condition = " ".join(text(child.named_children[0])[1:-1].split())
            inner = [one for one in child.named_children if one.type == "object"]
            body = inner[0] if inner else body
        elif child.type == "for_statement":
            loop = text(child.named_children[1])
            body = child.child_by_field_name("body")
        elif child.type == "object":
            body = child
    return kind, condition, loop, body


def _resources(declaration: Node, parent_type: str, parent_version: str) -> Iterator[Resource]:
    kind, condition, loop, body = _parts(declaration)
    assert body is not None
    name, _, version = kind.partition("@")
    name, version = f"{parent_type}/{name}" if parent_type else name, version or parent_version
    existing = any(text(child) == "existing" for child in declaration.children)
    symbol = text(declaration.named_children[0])
    yield Resource(symbol, name, version, lower(body), existing, condition, loop)
    for prop in body.named_children:
        if prop.named_children and prop.named_children[0].type == "resource_declaration":
            yield from _resources(prop.named_children[0], name, version)


def templates() -> list[Template]:
    """Every template, `main.bicep` first."""
    paths = sorted(INFRA.rglob("*.bicep"), key=lambda path: (path.name != "main.bicep", path))
    return [template(path.relative_to(INFRA).as_posix()) for path in paths]
