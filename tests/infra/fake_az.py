"""An `az` for the scripts of infra/: a directory and a vault in memory, and a record of every call.

It knows the calls that the scripts make and refuses all others; `--query` is JMESPath by the library that the
real one uses, and `--output tsv` is written as the real one does.
"""

import json
import re
from typing import Any

import jmespath

type Json = dict[str, Any]


class Refused(Exception):
    """What the real one writes to standard error before it exits with 1."""


def option(arguments: list[str], name: str) -> str | None:
    return arguments[arguments.index(name) + 1] if name in arguments else None


def tsv(value: Any) -> str:
    """A list of lists is rows, a list of texts is lines, null is nothing."""

    def text(item: Any) -> str:
        return "None" if item is None else str(item)

    if value is None:
        return ""
    if isinstance(value, list):
        rows = ("\t".join(map(text, row)) if isinstance(row, list) else text(row) for row in value)
        return "".join(f"{row}\n" for row in rows)
    return f"{text(value)}\n"


class Directory:
    """The part of Microsoft Graph v1.0 that the scripts ask."""

    def __init__(self, state: Json) -> None:
        self._state = state

    def get(self, path: str) -> Json:
        path, _, query = path.partition("?")
        if path in ("applications", "servicePrincipals"):
            return {"value": self._filtered(self._state[path], query)}
        collection, identifier, *rest = self._parts(path)
        item = self._one(collection, identifier)
        assignments = self._state["assignments"]
        match rest:
            case []:
                return item
            case ["appRoleAssignments"]:
                return {"value": [one for one in assignments if one["principalId"] == item["id"]]}
            case ["appRoleAssignedTo"]:
                return {"value": [one for one in assignments if one["resourceId"] == item["id"]]}
            case ["federatedIdentityCredentials"]:
                return {"value": item["federatedIdentityCredentials"]}
        raise Refused(f"Resource not found for the segment '{rest[0]}'.")

    def send(self, method: str, path: str, body: Json) -> Json:
        if self._state["failures"]:
            raise Refused(self._state["failures"].pop(0))
        if (method, path) == ("POST", "applications"):
            lists = ("federatedIdentityCredentials", "requiredResourceAccess", "identifierUris")
            return self._add("applications", {"appId": self._new_id()} | {name: [] for name in lists} | body)
        if (method, path) == ("POST", "servicePrincipals"):
            if not any(one["appId"] == body["appId"] for one in self._state["applications"]):
                raise Refused("The appId of the service principal does not exist.")
            return self._add("servicePrincipals", {"appRoleAssignmentRequired": False} | body)
        collection, identifier, *rest = self._parts(path)
        item = self._one(collection, identifier)
        match method, rest:
            case "PATCH", []:
                item |= body
                return {}
            case "POST", ["appRoleAssignments"]:
                return self._assign(item, body)
            case "POST", ["addPassword"]:
                key = self._new_id()
                password = {"keyId": key, "text": f"secret~{key}", **body["passwordCredential"]}
                self._state["passwords"].append(password)
                return {"keyId": key, "secretText": password["text"]}
            case "POST", ["removePassword"]:
                kept = [one for one in self._state["passwords"] if one["keyId"] != body["keyId"]]
                self._state["passwords"] = kept
                return {}
            case "POST", ["federatedIdentityCredentials"]:
                credential = {"id": self._new_id(), **body}
                item["federatedIdentityCredentials"].append(credential)
                return credential
        raise Refused(f"{method} {path} is not supported.")

    def _assign(self, principal: Json, body: Json) -> Json:
        if body["principalId"] != principal["id"]:
            raise Refused("The principal is not that of the path.")
        resource = self._one("servicePrincipals", body["resourceId"])
        roles = resource.get("appRoles") or [
            role
            for app in self._state["applications"]
            if app["appId"] == resource["appId"]
            for role in app.get("appRoles", [])
        ]
        if body["appRoleId"] not in [role["id"] for role in roles]:
            raise Refused("Permission being assigned was not found on application.")
        if any(body.items() <= one.items() for one in self._state["assignments"]):
            raise Refused("Permission being assigned already exists on the object.")
        return self._add("assignments", body)

    def _new_id(self) -> str:
        self._state["ids"] += 1
        return f"00000000-0000-4000-9000-{self._state['ids']:012}"

    def _add(self, kind: str, item: Json) -> Json:
        item = {"id": self._new_id(), **item}
        self._state[kind].append(item)
        return item

    def _one(self, collection: str, identifier: str) -> Json:
        name, _, value = identifier.partition("=")
        key, wanted = (name, value.strip("'")) if value else ("id", identifier)
        found: list[Json] = [item for item in self._state[collection] if item[key] == wanted]
        if not found:
            raise Refused(f"Resource '{identifier}' does not exist.")
        return found[0]

    @staticmethod
    def _parts(path: str) -> list[str]:
        match = re.fullmatch(r"(\w+)\((\w+='[^']*')\)(?:/(\w+))?", path)
        return [part for part in (match.groups() if match else path.split("/")) if part]

    @staticmethod
    def _filtered(items: list[Json], query: str) -> list[Json]:
        match = re.search(r"\$filter=(\w+) eq '([^']*)'", query)
        if match is None:
            raise Refused("The scripts never list everything.")
        return [item for item in items if item.get(match[1]) == match[2]]


def rest(state: Json, arguments: list[str]) -> Json:
    origin = state["graph"] or state["cloud"]["endpoints"]["microsoftGraphResourceId"].rstrip("/")
    if option(arguments, "--resource") != origin:
        raise Refused("That is no resource of this cloud.")
    url, method = option(arguments, "--url") or "", option(arguments, "--method") or ""
    path = url.removeprefix(f"{origin}/v1.0/")
    if path == url:
        raise Refused(f"{url} is not Microsoft Graph.")
    directory = Directory(state)
    if method == "GET":
        return directory.get(path)
    return directory.send(method, path, json.loads(option(arguments, "--body") or "{}"))


def vault(state: Json, arguments: list[str], stdin: str) -> Any:
    if option(arguments, "--vault-name") != state["vault"]:
        raise Refused("Failed to resolve the vault's address.")
    if arguments[2] == state["forbidden"]:
        raise Refused(f"Forbidden: the user does not have secrets {arguments[2]} permission.")
    if arguments[2] == "list":
        return [{"name": name} for name in state["secrets"]]
    if arguments[2] == "set":
        if (option(arguments, "--file"), option(arguments, "--encoding")) != ("/dev/stdin", "utf-8"):
            raise Refused("A value would be seen in the list of processes.")
        secret = {"value": stdin, "expires": option(arguments, "--expires")}
        state["secrets"].setdefault(option(arguments, "--name") or "", []).append(secret)
        return secret
    raise Refused(f"{arguments} is not supported.")


def answer(state: Json, arguments: list[str], stdin: str) -> Any:
    match arguments[:2]:
        case ["account", "show"]:
            if state["account"] is None:
                raise Refused("Please run 'az login' to setup account.")
            return state["account"]
        case ["cloud", "show"]:
            return state["cloud"]
        case ["keyvault", "secret"]:
            return vault(state, arguments, stdin)
        case ["rest", _]:
            return rest(state, arguments)
    raise Refused(f"{arguments} is not supported.")


def run(state: Json, arguments: list[str], stdin: str) -> tuple[int, str]:
    """The exit status, and what is written: to standard error where the status is not 0."""
    state["calls"].append(arguments)
    try:
        value = answer(state, arguments, stdin)
    except Refused as refused:
        return 1, f"ERROR: {refused}\n"
    query, output = option(arguments, "--query"), option(arguments, "--output")
    if query is not None:
        value = jmespath.search(query, value)
    return 0, tsv(value) if output == "tsv" else "" if output == "none" else json.dumps(value)
