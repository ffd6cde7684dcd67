"""Key Vault's secrets: get one, get a version, list the versions or all secrets; and the challenge that tells
a client whom to ask.

`azure-keyvault-secrets` checks that the resource of the challenge is a suffix of the vault's host. Ours is
on loopback, so a client of the sandbox passes `verify_challenge_resource=False`; it also needs https.
"""

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from sandbox.tenant.configuration import SecretVersion
from sandbox.tenant.messages import Call, JsonObject, Reply, json_reply
from sandbox.tenant.tokens import InvalidTokenError

if TYPE_CHECKING:
    from sandbox.tenant.tenant import Tenant

RESOURCE = "https://vault.azure.net"
_PATH = re.compile(r"/secrets(?:/(?P<name>[0-9A-Za-z-]{1,127})(?:/(?P<version>[0-9a-z]*))?)?/?")
PAGE = 25
"""Most entries of a list on one page."""


class KeyVault:
    """The data plane of one vault."""

    PREFIX = "/secrets"

    def __init__(self, tenant: "Tenant") -> None:
        self._tenant = tenant

    async def answer(self, call: Call) -> Reply:
        """The secret, its versions, or Key Vault's refusal."""
        token = call.bearer()
        if token is None:
            return self._challenge(
                call, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token."
            )
        try:
            self._tenant.issuer.verify(token, [RESOURCE])
        except InvalidTokenError as error:
            code = "AKV10022: Invalid audience." if "audience" in str(error) else f"AKV10032: {error}"
            return self._challenge(call, "Unauthorized", code)
        if "api-version" not in call.query:
            return _refusal(400, "BadParameter", "Property api-version must be specified.")
        match = _PATH.fullmatch(call.path)
        if match is None or call.method != "GET":
            return _refusal(405, "MethodNotAllowed", "The sandbox's vault is read-only.")
        if self._tenant.vault.forbidden or match["name"] in self._tenant.vault.forbidden_names:
            return _refusal(
                403,
                "Forbidden",
                "Caller is not authorized to perform action on resource. Action: "
                "'Microsoft.KeyVault/vaults/secrets/getSecret/action'.",
                inner="ForbiddenByRbac",
            )
        name, version = match["name"], match["version"]
        if name is None:
            return self._list_all(call)
        versions = self._tenant.vault.secrets.get(name, [])
        if version == "versions":
            return self._list(call, name, versions)
        return self._get(call, name, versions, version)

    def _get(self, call: Call, name: str, versions: list[SecretVersion], version: str | None) -> Reply:
        found = next((v for v in reversed(versions) if not version or v.version == version), None)
        if found is None:
            wanted = f"{name}/{version}" if version else name
            return _refusal(
                404,
                "SecretNotFound",
                f"A secret with (name/id) {wanted} was not found in this key vault. If you recently "
                "deleted this "
                "secret you may be able to recover it using the correct recovery command.",
            )
        if not found.enabled:
            return _refusal(
                403, "Forbidden", "Operation get is not allowed on a disabled secret.", inner="SecretDisabled"
            )
        return json_reply({"value": found.value, **_described(call, name, found)})

    def _list(self, call: Call, name: str, versions: list[SecretVersion]) -> Reply:
        ordered = sorted(versions, key=lambda v: v.version)
        return _page(call, [_described(call, name, version) for version in ordered])

    def _list_all(self, call: Call) -> Reply:
        """Each secret with the attributes of its current version, and without its version in the id."""
        current = sorted((name, versions[-1]) for name, versions in self._tenant.vault.secrets.items())
        described = [_described(call, name, version) for name, version in current]
        for (name, _), one in zip(current, described, strict=True):
            one["id"] = f"{call.origin}/secrets/{name}"
        return _page(call, described)

    def _challenge(self, call: Call, code: str, message: str) -> Reply:
        reply = _refusal(401, code, message)
        authority = f"{call.origin}/{self._tenant.tenant_id}"
        reply.headers["WWW-Authenticate"] = f'Bearer authorization="{authority}", resource="{RESOURCE}"'
        return reply


def _page(call: Call, entries: list[JsonObject]) -> Reply:
    size = min(int(call.query.get("maxresults", PAGE)), PAGE)
    start = int(call.query.get("$skiptoken", 0))
    link = None
    if start + size < len(entries):
        api = quote(call.query["api-version"])
        link = f"{call.origin}{call.path}?api-version={api}&$skiptoken={start + size}&maxresults={size}"
    return json_reply({"value": entries[start : start + size], "nextLink": link})


def _described(call: Call, name: str, version: SecretVersion) -> JsonObject:
    attributes: JsonObject = {
        "enabled": version.enabled,
        "created": version.created,
        "updated": version.created,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": 90,
    }
    if version.expires is not None:
        attributes["exp"] = int(version.expires)
    described: JsonObject = {
        "id": f"{call.origin}/secrets/{name}/{version.version}",
        "attributes": attributes,
        "tags": {},
    }
    if version.content_type is not None:
        described["contentType"] = version.content_type
    return described


def _refusal(status: int, code: str, message: str, inner: str | None = None) -> Reply:
    error: JsonObject = {"code": code, "message": message}
    if inner is not None:
        error["innererror"] = {"code": inner}
    return json_reply({"error": error}, status)
