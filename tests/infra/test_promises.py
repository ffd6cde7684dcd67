"""What the templates promise about safety: one test a promise."""

import re
from typing import Any

import pytest

from tests.infra.bicep import INFRA, Expression, Resource, Template, read, template, templates

MAIN = template("main.bicep")
APP = template("modules/app.bicep")
HOST = template("modules/host-storage.bicep")
DATA = template("modules/data-storage.bicep")
VAULT = template("modules/vault.bicep")
MONITORING = template("modules/monitoring.bicep")
NETWORK = template("modules/network.bicep")
EVENTS = template("modules/events.bicep")

ACCOUNTS = pytest.mark.parametrize("storage", [HOST, DATA], ids=["host", "data"])
STORAGE = "Microsoft.Storage/storageAccounts"
ROLES = "Microsoft.Authorization/roleAssignments"
DIAGNOSTICS = "Microsoft.Insights/diagnosticSettings"


def account(storage: Template) -> dict[str, Any]:
    return storage.one(STORAGE).properties


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for storage in (HOST, DATA):
        found += storage.one(f"{STORAGE}/managementPolicies").properties["policy"]["rules"]
    return found


# ------------------------------------------------------------------------------------------- storage


@ACCOUNTS
def test_storage_has_no_shared_keys(storage: Template) -> None:
    assert account(storage)["allowSharedKeyAccess"] is False
    assert account(storage)["defaultToOAuthAuthentication"] is True


@ACCOUNTS
def test_storage_has_no_local_users(storage: Template) -> None:
    assert account(storage)["isLocalUserEnabled"] is False


@ACCOUNTS
def test_no_blob_can_be_made_public(storage: Template) -> None:
    assert account(storage)["allowBlobPublicAccess"] is False
    containers = storage.of_type(f"{STORAGE}/blobServices/containers")
    assert containers
    assert {one.properties["publicAccess"] for one in containers} == {"None"}


@ACCOUNTS
def test_storage_speaks_tls_1_2_and_https_only(storage: Template) -> None:
    assert account(storage)["minimumTlsVersion"] == "TLS1_2"
    assert account(storage)["supportsHttpsTrafficOnly"] is True


@ACCOUNTS
def test_storage_is_not_replicated_into_other_tenants(storage: Template) -> None:
    assert account(storage)["allowCrossTenantReplication"] is False


@ACCOUNTS
def test_deleted_and_overwritten_blobs_can_be_had_back(storage: Template) -> None:
    blobs = storage.one(f"{STORAGE}/blobServices").properties
    assert blobs["isVersioningEnabled"] is True
    for policy in ("deleteRetentionPolicy", "containerDeleteRetentionPolicy"):
        assert blobs[policy] == {"enabled": True, "days": "protectionDays"}


@ACCOUNTS
def test_old_versions_do_not_pile_up(storage: Template) -> None:
    actions = [
        rule["definition"]["actions"]["version"]["delete"]
        for rule in storage.one(f"{STORAGE}/managementPolicies").properties["policy"]["rules"]
        if "version" in rule["definition"]["actions"]
    ]
    assert actions == [{"daysAfterCreationGreaterThan": "protectionDays"}]


def test_no_rule_deletes_what_is_published_the_package_or_the_links_of_the_next_run() -> None:
    deleting = [rule["definition"] for rule in rules() if "baseBlob" in rule["definition"]["actions"]]
    assert [one["filters"].get("prefixMatch") for one in deleting] == [["sync-state/runs/"], ["audit/"]]
    leftovers, audit = (one["actions"]["baseBlob"] for one in deleting)
    assert leftovers == {"delete": {"daysAfterModificationGreaterThan": "leftoverDays"}}
    assert DATA.variables["leftoverDays"] >= 14
    assert deleting[1]["filters"]["blobTypes"] == ["appendBlob"]
    assert audit == {
        "delete": {"daysAfterModificationGreaterThan": "max(auditRetentionDays, auditImmutabilityDays)"}
    }


def test_every_lifecycle_rule_is_on() -> None:
    assert {(rule["enabled"], rule["type"]) for rule in rules()} == {(True, "Lifecycle")}


def test_audit_can_be_made_immutable_and_still_be_appended_to() -> None:
    policy = DATA.one(f"{STORAGE}/blobServices/containers/immutabilityPolicies")
    assert policy.condition == "auditImmutabilityDays > 0"
    assert policy.body["parent"] == "containers[2]"
    assert DATA.variables["containerNames"][2] == "auditContainer"
    assert DATA.variables["auditContainer"] == "audit"
    assert policy.properties["allowProtectedAppendWrites"] is True


# --------------------------------------------------------------------------------------- vault, logs


def test_vault_decides_by_roles_and_keeps_what_is_deleted() -> None:
    vault = VAULT.one("Microsoft.KeyVault/vaults").properties
    assert vault["enableRbacAuthorization"] is True
    assert "accessPolicies" not in vault
    assert vault["enableSoftDelete"] is True
    assert vault["softDeleteRetentionInDays"] == 90
    assert vault["enablePurgeProtection"] is True


def test_vault_gives_nothing_to_deployments_disks_or_machines() -> None:
    vault = VAULT.one("Microsoft.KeyVault/vaults").properties
    names = ("enabledForDeployment", "enabledForDiskEncryption", "enabledForTemplateDeployment")
    assert [vault[name] for name in names] == [False] * 3


def test_no_secret_passes_through_a_template() -> None:
    for one in templates():
        assert re.search(r"\blist\w*\(|getSecret\(|AccountKey|SharedAccess", one.text) is None, one.path
        assert not any("vaults/secrets" in resource.type for resource in one.resources.values())
        for parameter in one.parameters.values():
            if re.search(r"secret$|password|key$|webhookUrl$", parameter.name, re.IGNORECASE):
                assert "secure" in parameter.decorators, parameter.name


def test_logs_take_data_from_entra_identities_only() -> None:
    insights = MONITORING.one("Microsoft.Insights/components").properties
    assert insights["DisableLocalAuth"] is True
    assert insights["WorkspaceResourceId"] == "workspace.id"
    workspace = MONITORING.one("Microsoft.OperationalInsights/workspaces").properties
    assert workspace["features"]["disableLocalAuth"] is True
    settings = MAIN.modules["app"].parameters["settings"]
    assert settings["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"] == (
        "'ClientId=${identity.properties.clientId};Authorization=AAD'"
    )


def test_bill_for_logs_is_bounded() -> None:
    workspace = MONITORING.one("Microsoft.OperationalInsights/workspaces").properties
    assert workspace["workspaceCapping"] == {"dailyQuotaGb": "dailyCapGb"}
    assert workspace["retentionInDays"] == "retentionDays"
    assert 0 < MAIN.parameters["logDailyCapGb"].default <= 1


def test_use_of_app_storage_and_vault_is_logged() -> None:
    logged = {
        (one.path.stem, setting.body["scope"]): {log["category"] for log in setting.properties["logs"]}
        for one in templates()
        for setting in one.of_type(DIAGNOSTICS)
    }
    everything = {"StorageRead", "StorageWrite", "StorageDelete"}
    assert logged == {
        ("app", "app"): {"FunctionAppLogs"},
        ("vault", "vault"): {"AuditEvent"},
        ("data-storage", "blobs"): everything,
        ("data-storage", "tableService"): everything,
        ("data-storage", "queueService"): {"StorageWrite", "StorageDelete"},
        ("host-storage", "blobs"): {"StorageWrite", "StorageDelete"},
    }
    for one in templates():
        for setting in one.of_type(DIAGNOSTICS):
            assert setting.properties["workspaceId"] == "workspaceId"
            assert all(log["enabled"] is True for log in setting.properties["logs"])
            assert setting.condition is None


# ----------------------------------------------------------------------------------------------- app


def test_app_speaks_https_with_tls_1_2_only() -> None:
    site = APP.one("Microsoft.Web/sites").properties
    assert site["httpsOnly"] is True
    assert site["siteConfig"]["minTlsVersion"] == "1.2"
    assert site["siteConfig"]["scmMinTlsVersion"] == "1.2"


def test_nobody_publishes_with_a_password() -> None:
    policies = APP.of_type("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    assert {one.body["name"]: one.properties for one in policies} == {
        "ftp": {"allow": False},
        "scm": {"allow": False},
    }


def test_app_has_one_identity_of_its_own_and_no_key() -> None:
    site = APP.one("Microsoft.Web/sites")
    assert site.body["identity"] == {"type": "UserAssigned", "userAssignedIdentities": {"${identityId}": {}}}
    deployment = site.properties["functionAppConfig"]["deployment"]["storage"]
    assert deployment["authentication"] == {
        "type": "UserAssignedIdentity",
        "userAssignedIdentityResourceId": "identityId",
    }
    settings = MAIN.modules["app"].parameters["settings"]
    for connection in ("AzureWebJobsStorage", "DIRECTORY_STORAGE"):
        assert connection not in settings
        assert settings[f"{connection}__credential"] == "managedidentity"
        assert settings[f"{connection}__clientId"] == "identity.properties.clientId"


def test_no_browser_may_call_the_app_from_another_origin() -> None:
    assert "cors" not in APP.one("Microsoft.Web/sites").properties["siteConfig"]


def test_callers_can_be_kept_to_given_addresses() -> None:
    config = APP.one("Microsoft.Web/sites").properties["siteConfig"]
    assert config["ipSecurityRestrictionsDefaultAction"] == "empty(ipRanges) ? 'Allow' : 'Deny'"
    assert "action: 'Allow' ipAddress: ipRanges[i]" in config["ipSecurityRestrictions"]
    assert MAIN.modules["app"].parameters["ipRanges"] == "callerIpRanges"


# --------------------------------------------------------------------------------------------- roles

GRANTS = {
    ("monitoring", "insights", "appPrincipalId", "monitoringMetricsPublisher"),
    ("vault", "vault", "appPrincipalId", "keyVaultSecretsUser"),
    ("vault", "vault", "operatorPrincipalId", "keyVaultSecretsOfficer"),
    ("host-storage", "account", "appPrincipalId", "role"),
    ("data-storage", "containers[i]", "appPrincipalId", "storageBlobDataContributor"),
    ("data-storage", "queues[i]", "appPrincipalId", "storageQueueDataContributor"),
    ("data-storage", "tables[i]", "appPrincipalId", "storageTableDataContributor"),
    ("data-storage", "containers[0]", "readerPrincipalId", "storageBlobDataReader"),
    ("data-storage", "eventQueue", "readerPrincipalId", "storageQueueDataMessageProcessor"),
    ("events", "account::queues::queue", "topic.identity.principalId", "storageQueueDataMessageSender"),
}
"""Every role that is given: in which module, on what, to whom, and which."""


def assignments() -> list[tuple[Template, Resource]]:
    return [(one, role) for one in templates() for role in one.of_type(ROLES)]


def role_of(assignment: Resource) -> str:
    definition = assignment.properties["roleDefinitionId"]
    match = re.fullmatch(
        r"subscriptionResourceId\('Microsoft\.Authorization/roleDefinitions', (?:roles\.)?(\w+)\)", definition
    )
    assert match, definition
    return match[1]


def test_these_roles_are_given_and_no_others() -> None:
    given = {
        (one.path.stem, role.body["scope"], role.properties["principalId"], role_of(role))
        for one, role in assignments()
    }
    assert given == GRANTS
    assert HOST.variables["hostRoles"] == [
        "roles.storageBlobDataOwner",
        "roles.storageQueueDataContributor",
        "roles.storageTableDataContributor",
    ]


def test_platform_reads_one_container_and_nothing_else() -> None:
    (reader,) = (r for _, r in assignments() if r.symbol == "readerOnDirectory")
    assert reader.condition == "!empty(readerPrincipalId)"
    assert DATA.variables["containerNames"][0] == "directoryContainer"
    (events,) = (r for _, r in assignments() if r.symbol == "readerOnEvents")
    assert events.condition == "withEventQueue && !empty(readerPrincipalId)"


def test_people_get_no_role_unless_they_are_named() -> None:
    (officer,) = (r for _, r in assignments() if r.symbol == "operatorStoresSecrets")
    assert officer.condition == "!empty(operatorPrincipalId)"
    assert MAIN.parameters["operatorPrincipalId"].default == ""
    assert MAIN.parameters["readerPrincipalId"].default == ""


def test_role_assignments_say_what_kind_of_principal_and_can_be_repeated() -> None:
    kinds = {"appPrincipalId": "ServicePrincipal", "topic.identity.principalId": "ServicePrincipal"}
    for _, role in assignments():
        principal = role.properties["principalId"]
        expected = kinds.get(principal, principal.replace("Id", "Type"))
        assert role.properties["principalType"] == expected, role.symbol
        scope = re.escape(role.body["scope"])
        who = "topic.id" if principal.startswith("topic") else principal
        assert re.fullmatch(rf"guid\({scope}\.id, {who}, (roles\.)?{role_of(role)}\)", role.body["name"])


def test_deployer_needs_rights_on_one_resource_group_only() -> None:
    assert MAIN.scope == "resourceGroup"
    for one in templates():
        assert one.scope in ("", "resourceGroup")
        assert re.search(r"\bscope: (subscription|tenant|managementGroup|resourceGroup)\(", one.text) is None


# ------------------------------------------------------------------------------------------- network


@pytest.mark.parametrize(
    ("one", "kind"),
    [(HOST, STORAGE), (DATA, STORAGE), (VAULT, "Microsoft.KeyVault/vaults")],
    ids=["host", "data", "vault"],
)
def test_private_network_closes_storage_and_vault(one: Template, kind: str) -> None:
    properties = one.one(kind).properties
    shut = "closed" if one is HOST else "closed && empty(ipRanges)"
    assert properties["publicNetworkAccess"] == f"{shut} ? 'Disabled' : 'Enabled'"
    assert properties["networkAcls"]["defaultAction"] == "closed ? 'Deny' : 'Allow'"
    for module in ("hostStorage", "dataStorage", "vault"):
        assert MAIN.modules[module].parameters["closed"] == "privateNetwork"


def test_private_network_leads_to_everything_that_it_closes() -> None:
    endpoints = MAIN.text.split("var endpoints = privateNetwork ? [")[1].split("]")[0]
    pairs = re.findall(r"target: '(\w+)', service: '(\w+)'", endpoints)
    assert pairs == [
        *((target, service) for target in ("host", "data") for service in ("blob", "queue", "table")),
        ("secrets", "vault"),
    ]
    zones = NETWORK.variables["zoneNames"]
    for name in ("blob", "queue", "table"):
        assert f"'privatelink.{name}.${{environment().suffixes.storage}}'" in zones
    assert "'.vault.', '.vaultcore.'" in zones


def test_app_waits_for_its_private_endpoints() -> None:
    assert "dependsOn: [privateEndpoints]" in MAIN.text.split("module app ")[1].split("\n}")[0]


def test_subnet_of_the_app_is_one_that_flex_consumption_takes() -> None:
    app, endpoints = NETWORK.one("Microsoft.Network/virtualNetworks").properties["subnets"]
    assert [one["properties"]["serviceName"] for one in app["properties"]["delegations"]] == [
        "Microsoft.App/environments"
    ]
    assert "_" not in app["name"]
    assert "delegations" not in endpoints["properties"]


def test_egress_address_is_fixed_on_request() -> None:
    for kind in ("publicIPAddresses", "natGateways"):
        assert NETWORK.one(f"Microsoft.Network/{kind}").condition == "fixedEgressAddress"
    address = NETWORK.one("Microsoft.Network/publicIPAddresses")
    assert address.properties["publicIPAllocationMethod"] == "Static"
    app = NETWORK.one("Microsoft.Network/virtualNetworks").properties["subnets"][0]["properties"]
    assert app["natGateway"] == "fixedEgressAddress ? { id: gateway.id } : null"


def test_what_costs_money_by_the_hour_is_off_by_default() -> None:
    for name in ("privateNetwork", "fixedEgressAddress"):
        assert MAIN.parameters[name].default is False
    assert MAIN.parameters["alwaysReadyHttpInstances"].default == 0
    assert MAIN.modules["network"].condition == "withNetwork"


# -------------------------------------------------------------------------------------------- events


def test_event_is_sent_for_the_pointer_alone() -> None:
    assert EVENTS.variables["published"] == {
        "includedEventTypes": ["Microsoft.Storage.BlobCreated"],
        "subjectBeginsWith": "'/blobServices/default/containers/${directoryContainer}/blobs/current.json'",
        "subjectEndsWith": "/current.json",
        "isSubjectCaseSensitive": True,
    }
    subscriptions = EVENTS.of_type("Microsoft.EventGrid/systemTopics/eventSubscriptions")
    assert {one.condition for one in subscriptions} == {"toQueue", "!toQueue"}
    assert {one.properties["filter"] for one in subscriptions} == {"published"}
    # As docs/consume.md reads it.
    assert {one.properties["eventDeliverySchema"] for one in subscriptions} == {"EventGridSchema"}
    assert MAIN.modules["events"].condition == "publishEventsTo != 'none'"
    assert MAIN.parameters["publishEventsTo"].default == "none"


def test_event_is_delivered_with_an_identity_not_a_key() -> None:
    (queue,) = (r for r in EVENTS.resources.values() if r.symbol == "intoQueue")
    assert queue.properties["deliveryWithResourceIdentity"]["identity"] == {"type": "SystemAssigned"}
    assert "destination" not in queue.properties


# ----------------------------------------------------------------------------------- templates as such


def test_only_built_in_types_are_used_in_one_version_each() -> None:
    versions: dict[str, set[str]] = {}
    for one in templates():
        assert "br:" not in one.text
        assert "br/" not in one.text
        for resource in one.resources.values():
            service = "/".join(resource.type.split("/")[:2])
            versions.setdefault(service, set()).add(resource.version)
    assert {service for service, found in versions.items() if len(found) > 1} == set()


def test_every_parameter_of_the_main_template_is_explained_and_has_a_default() -> None:
    for parameter in MAIN.parameters.values():
        assert parameter.description.endswith("."), parameter.name
        assert parameter.has_default, parameter.name


def test_no_name_of_a_cloud_is_written_out() -> None:
    for one in templates():
        assert re.search(r"windows\.net|azure\.net|microsoftonline|azurewebsites", one.text) is None, one.path


# What the other tests stand on.


def test_expressions_are_told_from_texts() -> None:
    location, name = MAIN.parameters["location"].default, MAIN.parameters["environmentName"].default
    assert (isinstance(location, Expression), isinstance(name, Expression)) == (True, False)


def test_template_that_does_not_parse_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"broken\.bicep does not parse"):
        read(INFRA / "broken.bicep", "param x string = {")


def test_every_resource_that_is_written_down_is_read() -> None:
    for one in templates():
        written = len(re.findall(r"^ *resource \w+ '", one.text, re.MULTILINE))
        assert len(one.resources) == written, one.path
        assert len(one.modules) == len(re.findall(r"^module \w+ '", one.text, re.MULTILINE))
        assert len(one.parameters) == len(re.findall(r"^param \w+ ", one.text, re.MULTILINE))
