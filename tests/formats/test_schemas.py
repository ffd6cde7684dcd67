"""docs/schemas: are they schemas, do they say what the structs say, and do they refuse what is wrong?"""

import copy
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from shared.clouds import CLOUDS
from shared.directory.records import Change, Group, Membership, User
from shared.formats import ocsf, sekoia
from shared.formats.ocsf import OcsfFormat
from shared.formats.sekoia import SekoiaFormat
from tests.formats import people
from tests.formats.people import CONTEXT, published
from tests.validation import validate_line, validate_lines, validate_manifest, validate_pointer
from tests.validation.json_schema import SCHEMAS, schema
from tests.validation.ocsf import ocsf_fault, official_validator
from tests.validation.sekoia import sekoia_fault

NAMES = sorted(path.name.removesuffix(".schema.json") for path in SCHEMAS.glob("*.schema.json"))


def test_there_is_one_schema_a_published_document() -> None:
    assert set(NAMES) == {
        "users",
        "groups",
        "memberships",
        "changes",
        "ocsf-users",
        "ocsf-groups",
        "sekoia-users",
        "manifest",
        "current",
    }


@pytest.mark.parametrize("name", NAMES)
def test_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("name", NAMES)
def test_no_object_is_open(name: str) -> None:
    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            if "properties" in node and node.get("type") == "object":
                assert node.get("additionalProperties") is False, path
            for key, value in node.items():
                walk(value, f"{path}/{key}")
        elif isinstance(node, list):
            for index, value in enumerate(node):
                walk(value, f"{path}/{index}")

    walk(schema(name), name)


# --- the schemas and the structs


def resolve(node: dict[str, Any], root: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    while "$ref" in node:
        name, _, pointer = node["$ref"].partition("#")
        root = schema(name.removesuffix(".schema.json")) if name else root
        node = root
        for step in pointer.split("/")[1:]:
            node = node[step]
    return node, root


JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", tuple: "array"}


def json_type_of(node: dict[str, Any]) -> str:
    if "const" in node or "enum" in node:
        values = node["enum"] if "enum" in node else [node["const"]]
        (kind,) = {JSON_TYPES[type(value)] for value in values}
        return kind
    kind = node["type"]
    assert isinstance(kind, str)
    return kind


def compare(struct: type[msgspec.Struct], node: dict[str, Any], root: dict[str, Any], path: str) -> None:
    """Same fields, same types, and enumerations of the same values, all the way down."""
    node, root = resolve(node, root)
    hints = get_type_hints(struct)
    assert set(node["properties"]) == set(struct.__struct_fields__), path
    for field in msgspec.structs.fields(struct):
        hint = hints[field.name]
        hint = hint.__value__ if hasattr(hint, "__value__") else hint
        options = [hint]
        if get_origin(hint) in (Union, types.UnionType):
            options = [each for each in get_args(hint) if each not in (type(None), msgspec.UnsetType)]
        inner, inner_root = resolve(node["properties"][field.name], root)
        where = f"{path}.{field.name}"
        kind = options[0]
        if kind is msgspec.Raw or len(options) > 1:
            continue  # constants, and what is one of several structs: the validators see to them
        if get_origin(kind) is Literal:
            assert set(inner["enum"]) == set(get_args(kind)), where
        elif get_origin(kind) in (list, tuple):
            assert json_type_of(inner) == "array", where
            item = get_args(kind)[0]
            if isinstance(item, type) and issubclass(item, msgspec.Struct):
                compare(item, inner["items"], inner_root, where)
        elif issubclass(kind, msgspec.Struct):
            compare(kind, inner, inner_root, where)
        else:
            assert json_type_of(inner) == JSON_TYPES[kind], where


@pytest.mark.parametrize(
    ("name", "struct"),
    [
        ("users", User),
        ("groups", Group),
        ("memberships", Membership),
        ("changes", Change),
        ("ocsf-users", ocsf.UserInventoryInfo),
        ("ocsf-groups", ocsf.CloudResourcesInventoryInfo),
        ("sekoia-users", sekoia.UserAsset),
    ],
)
def test_schema_and_struct_say_the_same(name: str, struct: type[msgspec.Struct]) -> None:
    document = schema(name)
    compare(struct, document, document, name)


@pytest.mark.parametrize("name", ["users", "groups"])
def test_the_fields_stand_in_the_order_of_the_struct(name: str) -> None:
    struct = {"users": User, "groups": Group}[name]
    assert list(schema(name)["properties"]) == list(struct.__struct_fields__)


def test_the_shared_definitions_are_the_same_everywhere() -> None:
    for definition in ("text", "time", "on_premises", "milliseconds", "cloud"):
        found = [schema(name)["$defs"][definition] for name in NAMES if definition in schema(name)["$defs"]]
        assert all(each == found[0] for each in found), definition


# --- what is refused

USER = published(people.FULL)
OCSF_USER = published(OcsfFormat(CONTEXT).render_user(people.FULL))
OCSF_GROUP = published(OcsfFormat(CONTEXT).render_group(people.GROUPS["security"]))
SEKOIA_USER = published(SekoiaFormat(CONTEXT).render_user(people.FULL))


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at `a.b.0.c`; `...` leaves it out."""
    document = copy.deepcopy(document)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    node: Any = document
    for step in steps:
        node = node[step]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return document


@pytest.mark.parametrize("user", people.USERS.values(), ids=people.USERS)
def test_users_are_accepted(user: User) -> None:
    validate_line("users", published(user))
    validate_line("changes", published(Change("users", "added", user.id, user)))


@pytest.mark.parametrize("group", people.GROUPS.values(), ids=people.GROUPS)
def test_groups_are_accepted(group: Group) -> None:
    validate_line("groups", published(group))
    validate_line("changes", published(Change("groups", "updated", group.id, group)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", ...),
        ("changed_at", ...),
        ("display_name", None),
        ("display_name", ""),
        ("created_at", "2020-01-02T03:04:05+00:00"),
        ("created_at", "2020-01-02T03:04:05.1234567Z"),
        ("created_at", "2020-01-02"),
        ("created_at", "0001-01-01T00:00:00Z"),
        ("account_enabled", "true"),
        ("has_mfa", True),
        ("groups", ["b", "a"]),
        ("groups", ["a", "a"]),
        ("owned_groups", ["b", "a"]),
        ("authentication.methods", ["b", "a"]),
        ("authentication.source", "guess"),
        ("on_premises.immutable_id", "x"),
    ],
)
def test_users_are_refused(path: str, value: Any) -> None:
    broken = changed(USER, path, value)
    with pytest.raises(AssertionError, match=r"^users: "):
        validate_line("users", broken)
    with pytest.raises(AssertionError, match=r"^changes: "):
        validate_line(
            "changes", {"dataset": "users", "operation": "added", "id": USER["id"], "record": broken}
        )


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("user.type", "Admin", "type"),
        ("severity", "Low", "severity"),
        ("time", 1772600767, "milliseconds"),
        ("time", 1772600767.5, "integer"),
        ("time", "2026-03-04T05:06:07Z", "integer"),
        ("user.ldap_person.created_time", 1577934245, "milliseconds"),
        ("user.ldap_person.hire_time", 1577934245, "milliseconds"),
        ("user.email_addr", "Unknown", "email_addr"),
        ("user.account.type", "Azure AD account", "type"),
        ("cloud.account.type", "Tenant", "type"),
        ("metadata.profiles", [], "profiles"),
        ("type_uid", 5003002, "type_uid"),
        ("activity_name", "Log", "activity_name"),
        ("class_name", "User Inventory", "class_name"),
        ("user", ..., "user"),
        ("user.is_enabled", True, "is_enabled"),
        ("metadata.version", ..., "version"),
        ("enrichments.0.data", ..., "data"),
    ],
)
def test_ocsf_users_are_refused(path: str, value: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        validate_line("ocsf-users", changed(OCSF_USER, path, value))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("user.type", "Admin", "1 is 'User', and type says 'Admin'"),
        ("time", 1772600767, "no plausible time in milliseconds"),
        ("user.ldap_person.last_login_time", 1772600767, "no plausible time in milliseconds"),
        ("cloud.account.type", "Tenant", "17 is 'M365 Tenant'"),
        ("activity_id", 1, "type_uid 500302 is not"),
        ("metadata.profiles", [], "does not name the cloud profile"),
    ],
)
def test_our_own_check_finds_what_the_official_schema_lets_through(
    path: str, value: Any, message: str
) -> None:
    broken = changed(OCSF_USER, path, value)
    assert official_validator("user_inventory").is_valid(broken)
    fault = ocsf_fault("user_inventory", broken)
    assert fault is not None
    assert message in fault


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("user.uid", "x"),
        ("user.uid", 1),
        ("user.email_addr", "Unknown"),
        ("user.ldap_person.manager", {"uid": "x"}),
        ("user.ldap_person.manager", {}),
        ("user.ldap_person.manager", {"uid": "x", "ldap_person": {"manager": {"uid": 1}}}),
        ("user.groups.0", {}),
        ("cloud", ...),
    ],
)
def test_linking_the_references_changes_no_verdict(path: str, value: Any) -> None:
    plain = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0")).get_class_schema(
        "user_inventory", profiles=["cloud"]
    )
    document = changed(OCSF_USER, path, value)
    expected = Draft202012Validator(plain).is_valid(document)
    assert official_validator("user_inventory").is_valid(document) is expected


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("resources.0.uid", ...),
        ("resources", []),
        ("resources.0.labels", ["Big"]),
        ("resources.0.created_time", 1609459200),
        ("resources.0.type", "Group"),
        ("type_name", "Cloud Resources Inventory Info: Log"),
        ("time", 1772600767),
    ],
)
def test_ocsf_groups_are_refused(path: str, value: Any) -> None:
    with pytest.raises(AssertionError, match=r"^ocsf-groups: "):
        validate_line("ocsf-groups", changed(OCSF_GROUP, path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("time", 1772600767891),
        ("user.name", ...),
        ("user.type", "Admin"),
        ("user.type_id", 99),
        ("user.phone_number", "+44"),
        ("user.groups.0.type", "Security"),
        ("user.groups.0.name", ...),
        ("user.ldap_person.cost_center", "x"),
        ("user.account.type", "LDAP Account"),
        ("enrichments.0.data.last_time_password_change", 1767225600500),
        ("enrichments.0.data.is_mfa_capable", True),
        ("type_name", "User Inventory"),
        ("type_uid", 500301),
    ],
)
def test_sekoia_users_are_refused(path: str, value: Any) -> None:
    broken = changed(SEKOIA_USER, path, value)
    with pytest.raises(AssertionError, match=r"^sekoia-users: "):
        validate_line("sekoia-users", broken)
    if path != "type_name":  # the model takes any text
        assert sekoia_fault(broken) is not None


@pytest.mark.parametrize("relation", ["member", "owner"])
def test_memberships(relation: Literal["member", "owner"]) -> None:
    edge = Membership("g", "m", "user", relation)
    validate_line("memberships", published(edge))
    validate_line("changes", published(Change("memberships", "added", edge.id, edge)))
    validate_line("changes", published(Change("memberships", "removed", edge.id)))
    with pytest.raises(AssertionError, match="member_type"):
        validate_line("memberships", changed(published(edge), "member_type", "robot"))
    with pytest.raises(AssertionError, match="id"):
        validate_line("memberships", {**published(edge), "id": edge.id})
    with pytest.raises(AssertionError, match=r"\$\.id"):
        validate_line("changes", published(Change("memberships", "added", "g|m", edge)))


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "users", "operation": "added", "id": "1"},
        {"dataset": "users", "operation": "removed", "id": "1", "reason": "retired"},
        {"dataset": "groups", "operation": "removed", "id": "1", "reason": "deleted"},
        {"dataset": "users", "operation": "removed", "id": USER["id"], "reason": "deleted", "record": USER},
        {"dataset": "users", "operation": "added", "id": USER["id"], "reason": "deleted", "record": USER},
        {"dataset": "groups", "operation": "added", "id": USER["id"], "record": USER},
        {"dataset": "ocsf-users", "operation": "removed", "id": "1"},
    ],
)
def test_changes_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match=r"^changes: "):
        validate_line("changes", change)


def test_changes_are_accepted() -> None:
    validate_line("changes", published(Change("users", "removed", "1", reason="soft_deleted")))
    validate_line("changes", published(Change("groups", "removed", "1")))


def test_a_sample_still_checks_every_line() -> None:
    validate_lines("ocsf-users", [OCSF_USER, OCSF_USER, OCSF_USER], sample=2)
    with pytest.raises(AssertionError, match="milliseconds"):
        validate_lines("ocsf-users", [OCSF_USER, changed(OCSF_USER, "time", 1772600767)], sample=2)


SHA = "0123456789abcdef" * 4


def part(path: str, rows: int) -> dict[str, Any]:
    return {"path": path, "rows": rows, "bytes": 100, "sha256": SHA}


MANIFEST = {
    "schema_version": 1,
    "run_id": "r2",
    "sequence": 2,
    "kind": "incremental",
    "tenant_id": people.TENANT,
    "started_at": "2026-03-04T05:06:07Z",
    "published_at": "2026-03-04T05:06:09.123456Z",
    "previous_run_id": "r1",
    "buckets": 1,
    "datasets": {
        "users": {
            "status": "complete",
            "as_of": "2026-03-04T05:06:07Z",
            "rows": 3,
            "parts": [part(f"parts/users/{SHA}.jsonl.gz", 3)],
        },
        "authentication": {"status": "unavailable", "reason": "licence"},
        "sign-in": {"status": "complete", "as_of": "2026-03-04T05:06:07Z"},
    },
    "changes": {
        "datasets": {"users": {"added": 1, "updated": 1, "removed": 0}},
        "parts": [part("runs/r2/changes-0000.jsonl.gz", 2)],
    },
    "graph": {"requests": 4, "resource_units": 12, "throttled": 0, "retried": 1},
}


def test_a_manifest_is_accepted() -> None:
    validate_manifest(MANIFEST)
    first = {key: value for key, value in MANIFEST.items() if key not in ("previous_run_id", "changes")}
    validate_manifest({**first, "sequence": 1, "kind": "full"})
    begun_anew = {**first, "sequence": 9, "kind": "full"}
    validate_manifest(begun_anew)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sequence", 0),
        ("sequence", 1),
        ("kind", "partial"),
        ("previous_run_id", ...),
        ("previous_run_id", None),
        ("changes", ...),
        ("started_at", "2026-03-04 05:06:07"),
        ("datasets.users.status", "partial"),
        ("datasets.users.reason", "licence"),
        ("datasets.users.rows", 4),
        ("datasets.users.parts", ...),
        ("datasets.users.parts.0.path", f"parts/groups/{SHA}.jsonl.gz"),
        ("datasets.users.parts.0.sha256", "F" * 64),
        ("datasets.authentication.reason", ...),
        ("datasets.sign-in.parts", [part(f"parts/sign-in/{SHA}.jsonl.gz", 1)]),
        ("datasets.devices", {"status": "complete"}),
        ("changes.datasets.users.added", 2),
        ("changes.parts.0.path", "runs/r1/changes-0000.jsonl.gz"),
        ("graph.requests", -1),
        ("graph.retried", ...),
        ("note", "x"),
    ],
)
def test_a_manifest_is_refused(path: str, value: Any) -> None:
    with pytest.raises(AssertionError):
        validate_manifest(changed(MANIFEST, path, value))


POINTER = {
    "schema_version": 1,
    "run_id": "r2",
    "sequence": 2,
    "manifest": "runs/r2/manifest.json",
    "published_at": "2026-03-04T05:06:09Z",
}


def test_the_pointer() -> None:
    validate_pointer(POINTER)
    for path, value in (
        ("manifest", "runs/r1/manifest.json"),
        ("manifest", "manifest.json"),
        ("sequence", "2"),
        ("published_at", ...),
        ("etag", "x"),
    ):
        with pytest.raises(AssertionError):
            validate_pointer(changed(POINTER, path, value))


def test_every_cloud_is_in_the_schema() -> None:
    partitions = schema("ocsf-users")["$defs"]["cloud"]["properties"]["cloud_partition"]["enum"]
    assert set(partitions) == {cloud.ocsf_partition for cloud in CLOUDS.values()}
