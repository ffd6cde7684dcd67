"""`/_sandbox/…`: steering a tenant that runs in another process.

Never part of what it simulates; not recorded.
"""

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from sandbox.tenant import faults, sign_in_control
from sandbox.tenant.changes import churn
from sandbox.tenant.messages import Call, JsonObject, Reply, json_reply

if TYPE_CHECKING:
    from sandbox.tenant.tenant import Tenant

PREFIX = "/_sandbox/"


def answer_control(tenant: "Tenant", call: Call) -> Reply:
    """Do what is asked; 400 with a text when the request makes no sense."""
    try:
        body: Any = msgspec.json.decode(call.body) if call.body else {}
        match call.method, call.path.removeprefix(PREFIX):
            case "POST", "churn":
                before = tenant.directory.position
                told = churn(tenant.directory, int(body.get("seed", before)), int(body.get("count", 20)))
                return json_reply({"changes": tenant.directory.position - before, "events": told})
            case "POST", "faults":
                rules = [faults.from_json(rule) for rule in (body if isinstance(body, list) else [body])]
                tenant.faults.rules.extend(rules)
                return json_reply({"rules": len(tenant.faults.rules)})
            case "DELETE", "faults":
                tenant.faults.clear()
                return json_reply({"rules": 0})
            case "POST", "permissions":
                return _permissions(tenant, body)
            case "POST", "vault":
                return _vault(tenant, body)
            case "POST", "keys":
                tenant.issuer.rotate_keys(keep_old=bool(body.get("keep_old", True)))
                return json_reply({"keys": len(tenant.issuer.key_set()["keys"])})
            case "GET", "users":
                return json_reply(sign_in_control.shown(tenant, call.query.get("user", "")))
            case "POST", "users":
                return json_reply(sign_in_control.changed(tenant, body))
            case "GET", "sign-ins":
                return json_reply(sign_in_control.log(tenant))
            case "GET", "stats":
                return json_reply(stats(tenant))
            case _:
                return json_reply({"error": f"No such control: {call.method} {call.path}"}, 404)
    except (msgspec.DecodeError, ValueError, AttributeError, TypeError) as error:
        return json_reply({"error": str(error)}, 400)


def _permissions(tenant: "Tenant", body: JsonObject) -> Reply:
    """`{"client_id"?, "grant": […], "revoke": […], "premium"?}`; the managed identity is meant by its
    client id."""
    client_id = body.get("client_id") or next(iter(tenant.clients))
    client = tenant.client(client_id)
    if client is None:
        raise ValueError(f"no application {client_id}")
    client.permissions |= set(body.get("grant", ()))
    client.permissions -= set(body.get("revoke", ()))
    if "premium" in body:
        tenant.premium = bool(body["premium"])
    return json_reply({"client_id": client_id, "permissions": sorted(client.permissions)})


def _vault(tenant: "Tenant", body: JsonObject) -> Reply:
    """`{"forbidden"?, "secret"?, "value"?, "refused"?}`: forbid all reads, or put (null: remove) or refuse
    one secret."""
    vault = tenant.vault
    vault.forbidden = bool(body.get("forbidden", vault.forbidden))
    name = body.get("secret")
    if name is not None and "value" in body:
        if body["value"] is None:
            vault.remove(name)
        else:
            vault.put(name, str(body["value"]))
    if name is not None and "refused" in body:
        (vault.forbidden_names.add if body["refused"] else vault.forbidden_names.discard)(name)
    return json_reply(
        {
            "forbidden": vault.forbidden,
            "refused": sorted(vault.forbidden_names),
            "secrets": {name: len(versions) for name, versions in sorted(vault.secrets.items())},
        }
    )


def stats(tenant: "Tenant") -> JsonObject:
    """Counts of requests by path and status, the resource units, and the size of the directory."""
    directory = tenant.directory
    return {
        "requests": len(tenant.requests),
        "resource_units": tenant.resource_units,
        "by_status": {str(k): v for k, v in Counter(r.status for r in tenant.requests).items()},
        "by_path": dict(Counter(record.path.split("?")[0] for record in tenant.requests).most_common(50)),
        "users": len(directory.users),
        "groups": len(directory.groups),
        "members": sum(map(len, directory.members.values())),
        "owners": sum(map(len, directory.owners.values())),
        "deleted_users": len(directory.deleted_users),
        "changes": directory.position,
    }
