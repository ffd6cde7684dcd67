"""What Graph tells of the tenant itself: the organization, its domains, and settings that apply to all."""

import re
from typing import TYPE_CHECKING

from sandbox.tenant.access import Caller, bad_request, not_found
from sandbox.tenant.configuration import Domain
from sandbox.tenant.messages import GRAPH_JSON, Call, JsonObject, Reply, json_reply
from sandbox.tenant.queries import refuse_unknown

if TYPE_CHECKING:
    from sandbox.tenant.tenant import Tenant

_PREMIUM_PLAN = {
    "assignedDateTime": "2024-01-15T09:00:00Z",
    "capabilityStatus": "Enabled",
    "service": "AADPremiumService",
    "servicePlanId": "41781fb2-bc02-4b7c-bd55-b576c07bb09d",
}
_PASSWORD_RULES = "5cf42378-d67d-4f36-ba46-e8b86229381d"
_UNIFIED_GROUPS = "62375ab9-6b52-47ed-826b-58e47e0e304b"


def organization(call: Call, caller: Caller, _match: re.Match[str]) -> Reply:
    """The tenant, with the plans that it bought and its verified domains."""
    tenant = caller.tenant
    value = {
        "id": tenant.tenant_id,
        "displayName": "Contoso",
        "tenantType": "AAD",
        "countryLetterCode": "FR",
        "assignedPlans": [_PREMIUM_PLAN] if tenant.premium else [],
        "verifiedDomains": [
            {
                "name": each.name,
                "isDefault": each.is_default,
                "isInitial": each.is_initial,
                "type": each.authentication_type,
                "capabilities": "Email, OfficeCommunicationsOnline",
            }
            for each in tenant.domains.values()
            if each.is_verified
        ],
    }
    return _collection(call, "organization", [value])


def domains(call: Call, caller: Caller, _match: re.Match[str]) -> Reply:
    """All domains, verified or not; the whole list is one page."""
    refuse_unknown(call, frozenset({"$select"}))
    return _collection(
        call, "domains", [_selected(call, _described(each)) for each in caller.tenant.domains.values()]
    )


def domain(call: Call, caller: Caller, match: re.Match[str]) -> Reply:
    """One domain by its name."""
    found = caller.tenant.domains.get(match["id"].lower())
    if found is None:
        raise not_found(match["id"])
    context = {"@odata.context": f"{call.origin}/v1.0/$metadata#domains/$entity"}
    return json_reply(context | _selected(call, _described(found)), content_type=GRAPH_JSON)


def group_settings(call: Call, caller: Caller, _match: re.Match[str]) -> Reply:
    """Settings that were changed from their template; an untouched tenant has none."""
    return _collection(call, "groupSettings", _changed_settings(caller.tenant))


def _changed_settings(tenant: "Tenant") -> list[JsonObject]:
    if not tenant.lockout.is_customised:
        return []
    rules = {
        "BannedPasswordCheckOnPremisesMode": "Audit",
        "EnableBannedPasswordCheckOnPremises": "True",
        "EnableBannedPasswordCheck": "False",
        "LockoutDurationInSeconds": f"{tenant.lockout.duration_seconds:.0f}",
        "LockoutThreshold": f"{tenant.lockout.threshold}",
        "BannedPasswordList": "",
    }
    return [
        _setting("Group.Unified", _UNIFIED_GROUPS, {"EnableGroupCreation": "true"}),
        _setting("Password Rule Settings", _PASSWORD_RULES, rules),
    ]


def _setting(name: str, template: str, values: dict[str, str]) -> JsonObject:
    return {
        "id": template.translate(str.maketrans("0123456789", "1234567890")),
        "displayName": name,
        "templateId": template,
        "values": [{"name": key, "value": value} for key, value in values.items()],
    }


def _described(each: Domain) -> JsonObject:
    return {
        "id": each.name,
        "authenticationType": each.authentication_type,
        "availabilityStatus": None,
        "isAdminManaged": True,
        "isDefault": each.is_default,
        "isInitial": each.is_initial,
        "isRoot": True,
        "isVerified": each.is_verified,
        "passwordNotificationWindowInDays": 14 if each.is_verified else None,
        "passwordValidityPeriodInDays": 2147483647 if each.is_verified else None,
        "supportedServices": ["Email", "OfficeCommunicationsOnline"] if each.is_verified else [],
    }


def _selected(call: Call, content: JsonObject) -> JsonObject:
    text = call.query.get("$select")
    if text is None:
        return content
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in content:
            raise bad_request(
                f"Parsing OData Select and Expand failed: Could not find a property named '{name}' on type "
                "'microsoft.graph.domain'."
            )
    return {name: content[name] for name in names}


def _collection(call: Call, name: str, value: list[JsonObject]) -> Reply:
    context = f"{call.origin}/v1.0/$metadata#{name}"
    return json_reply({"@odata.context": context, "value": value}, content_type=GRAPH_JSON)
