"""OData query options, as far as Graph takes them on the resources that are simulated.

Everything else is refused.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.tenant.access import GraphError, bad_request, unsupported
from sandbox.tenant.messages import Call, JsonObject
from sandbox.tenant.schema import EntityType

type Test = Callable[[Mapping[str, Any]], bool]

MAX_PAGE = 999
DEFAULT_PAGE = 100
SIGN_IN_PAGE = 500
MAX_FILTER_IDS = 50
MAX_EXPANDED = 20

_NAVIGATION = frozenset({"manager", "members", "owners", "memberOf", "directReports", "transitiveMembers"})
_VALUE = r"'(?:[^']|'')*'|true|false|null"
_CLAUSE = re.compile(
    rf"""\(?\s*(?:
        (?P<name>\w+)\s+eq\s+(?P<value>{_VALUE})
      | (?P<list>\w+)/any\(\s*(?P<var>\w+)\s*:\s*(?:
            (?P=var)\s+eq\s+(?P<item>{_VALUE})
          | (?P<inner>startswith|endswith)\(\s*(?P=var)\s*,\s*(?P<part>'(?:[^']|'')*')\s*\)
        )\s*\)
      | (?P<function>startswith|endswith)\(\s*(?P<of>\w+)\s*,\s*(?P<text>'(?:[^']|'')*')\s*\)
      | (?P<member>\w+)\s+in\s+\((?P<values>\s*(?:{_VALUE})(?:\s*,\s*(?:{_VALUE}))*)\s*\)
    )(?:\s*\))?""",
    re.VERBOSE | re.IGNORECASE,
)
_EXPAND = re.compile(r"(?P<name>\w+)(?:\((?P<options>[^()]*)\))?")

FILTERABLE_USER = frozenset(
    [
        "id",
        "userPrincipalName",
        "mail",
        "mailNickname",
        "employeeId",
        "accountEnabled",
        "userType",
        "onPremisesImmutableId",
        "proxyAddresses",
        "otherMails",
        "displayName",
        "department",
    ]
)
_ADVANCED = frozenset({"onPremisesImmutableId"})
"""Filtered only by advanced queries: the header `ConsistencyLevel: eventual` together with `$count=true`."""
_STARTS_WITH = frozenset(
    ["displayName", "mail", "mailNickname", "userPrincipalName", "otherMails", "proxyAddresses"]
)
_ENDS_WITH = frozenset(["mail", "userPrincipalName", "otherMails", "proxyAddresses"])
_COLLECTIONS = frozenset(["otherMails", "proxyAddresses", "groupTypes", "businessPhones"])
FILTERABLE_GROUP = frozenset(
    ["id", "displayName", "mail", "mailNickname", "securityEnabled", "mailEnabled", "groupTypes"]
)
FILTERABLE_REGISTRATION = frozenset(
    [
        "id",
        "userPrincipalName",
        "isMfaRegistered",
        "isMfaCapable",
        "isAdmin",
        "isPasswordlessCapable",
        "isSsprRegistered",
        "userType",
    ]
)


def select(call: Call, entity: EntityType) -> tuple[str, ...] | None:
    """The names in `$select`, or None without one; 400 for a name that the type lacks."""
    text = call.query.get("$select")
    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in _NAVIGATION and not entity.knows(name):
            raise bad_request(
                f"Parsing OData Select and Expand failed: Could not find a property named '{name}' on type "
                f"'{entity.name}'."
            )
    return names


def top(call: Call, default: int = DEFAULT_PAGE, maximum: int = MAX_PAGE) -> int:
    """The page size of `$top`; 400 outside 1 to 999."""
    text = call.query.get("$top")
    if text is None:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= maximum:
        raise bad_request(
            f"Invalid page size specified: '{text}'. Must be between 1 and {maximum} inclusive.",
            "Request_BadRequest" if text.isdecimal() else "BadRequest",
        )
    return int(text)


def is_eventual(call: Call) -> bool:
    """Whether the request carries the header of advanced queries."""
    return call.headers.get("ConsistencyLevel", "").lower() == "eventual"


def refuse(call: Call, *options: str) -> None:
    """400 for options that the resource does not support."""
    for option in options:
        if option in call.query:
            raise unsupported(f"The query option '{option}' is not supported for this request.")


def refuse_unknown(call: Call, known: frozenset[str]) -> None:
    """400 for a `$` option that OData or this resource does not have; other parameters are ignored, as in
    Graph."""
    for option in call.query:
        if option.startswith("$") and option not in known:
            raise unsupported(f"The query option '{option}' is not supported for this request.")


@dataclass(frozen=True, slots=True)
class Expansion:
    """`$expand` of one relation."""

    relation: str
    select: tuple[str, ...] | None


def expand(call: Call, allowed: frozenset[str]) -> Expansion | None:
    """The one relation that a list may expand."""
    text = call.query.get("$expand")
    if text is None:
        return None
    match = _EXPAND.fullmatch(text.strip())
    if match is None or match["name"] not in allowed:
        raise bad_request(f"Parsing OData Select and Expand failed: '{text}' cannot be expanded here.")
    options = (match["options"] or "").strip()
    if not options:
        return Expansion(match["name"], None)
    name, _, value = options.partition("=")
    if name != "$select":
        raise unsupported(f"The option '{name}' is not supported in $expand.")
    return Expansion(match["name"], tuple(part.strip() for part in value.split(",")))


def matching(call: Call, filterable: frozenset[str]) -> Test | None:
    """The test of `$filter`: `eq`, `in`, `any(x:x eq …)`, startsWith and endsWith, joined by `or` alone or
    `and` alone."""
    text = call.query.get("$filter")
    if text is None:
        return None
    advanced = is_eventual(call) and (
        call.query.get("$count", "").lower() == "true" or call.path.endswith("/$count")
    )
    tests: list[Test] = []
    joints: set[str] = set()
    at = 0
    while True:
        match = _CLAUSE.match(text, at)
        if match is None:
            raise bad_request(f"Invalid filter clause: {text}")
        tests.append(_test(match, filterable, advanced))
        at = match.end()
        if at == len(text):
            break
        joint = re.compile(r"\s+(or|and)\s+", re.IGNORECASE).match(text, at)
        if joint is None:
            raise bad_request(f"Invalid filter clause: {text}")
        joints.add(joint[1].lower())
        at = joint.end()
    if len(joints) > 1:
        raise unsupported("The sandbox does not mix 'and' and 'or' in a filter.")
    if joints == {"and"}:
        return lambda content: all(test(content) for test in tests)
    return lambda content: any(test(content) for test in tests)


def _test(match: re.Match[str], filterable: frozenset[str], advanced: bool) -> Test:
    name = match["name"] or match["list"] or match["member"] or match["of"]
    function = (match["function"] or match["inner"] or "").lower()
    if name not in filterable or (name in _COLLECTIONS) != bool(match["list"]):
        raise unsupported(f"Unsupported or invalid query filter clause specified for property '{name}'.")
    if function:
        return _part_test(name, function, _literal(match["text"] or match["part"]), advanced)
    if name in _ADVANCED and not advanced:
        raise _needs_advanced_query("eq")
    if match["list"]:
        item = _comparable(_literal(match["item"]))
        return lambda content: item in {_comparable(value) for value in content.get(name) or ()}
    if match["member"]:
        values = {_comparable(_literal(value)) for value in re.findall(_VALUE, match["values"])}
    else:
        values = {_comparable(_literal(match["value"]))}
    return lambda content: _comparable(content.get(name)) in values


def _part_test(name: str, function: str, wanted: object, advanced: bool) -> Test:
    """startsWith works by default, endsWith in advanced queries only, each on a few properties."""
    at_end = function == "endswith"
    if name not in (_ENDS_WITH if at_end else _STARTS_WITH):
        raise unsupported(f"Unsupported or invalid query filter clause specified for property '{name}'.")
    if at_end and not advanced:
        raise _needs_advanced_query("endsWith")
    part = str(wanted).casefold()

    def test(content: Mapping[str, Any]) -> bool:
        stored = content.get(name) or ()
        texts = [text.casefold() for text in ([stored] if isinstance(stored, str) else stored)]
        return any(text.endswith(part) if at_end else text.startswith(part) for text in texts)

    return test


def _needs_advanced_query(operator: str) -> GraphError:
    return unsupported(
        f"Operator '{operator}' is not supported because the required parameters might be missing. Try "
        "adding $count=true query parameter and ConsistencyLevel:eventual header. Refer to "
        "https://aka.ms/graph-docs/advanced-queries for more information"
    )


def _literal(text: str) -> object:
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    return {"true": True, "false": False, "null": None}[text.lower()]


def _comparable(value: object) -> object:
    """Graph compares strings without regard to case."""
    return value.casefold() if isinstance(value, str) else value


def filtered_ids(call: Call) -> frozenset[str] | None:
    """The ids of a delta query's `$filter`: only `id eq '…'` joined by `or`, at most 50."""
    text = call.query.get("$filter")
    if text is None:
        return None
    ids = re.findall(r"id eq '([^']*)'", text)
    if " or ".join(f"id eq '{object_id}'" for object_id in ids) != text.strip() or not ids:
        raise unsupported("Only filters on 'id' joined by 'or' are supported with change tracking.")
    if len(ids) > MAX_FILTER_IDS:
        raise unsupported(f"Too many ids in the filter: {len(ids)}; at most {MAX_FILTER_IDS} are supported.")
    return frozenset(ids)


def projected(
    stored: Mapping[str, Any], names: tuple[str, ...] | None, default: tuple[str, ...]
) -> JsonObject:
    """The selected properties, null where there is no value; `id` always."""
    wanted = names if names is not None else default
    content: JsonObject = {"id": stored["id"]}
    for name in wanted:
        if name not in _NAVIGATION:
            content[name] = stored.get(name)
    return content
