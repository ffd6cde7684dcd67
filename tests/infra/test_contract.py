"""What stands in the templates and in the app alike is the same: settings, names, versions, permissions."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.clouds import CLOUDS
from shared.composition import STATE_CONTAINER
from shared.config import CREDENTIALS, WEBHOOK_AUTHS, Settings
from shared.credentials.audit import AUDIT_CONTAINER
from shared.credentials.ledger import BUDGET_TABLE, USERS_TABLE
from shared.directory.steps import QUEUE
from shared.ncrontab import schedule_problem
from shared.settings_table import SETTING, SETTINGS
from shared.webhooks.replay import TABLE as REQUESTS_TABLE
from tests.infra.bicep import INFRA, Expression, template, templates

REPOSITORY = INFRA.parent
MAIN = template("main.bicep")
DATA = template("modules/data-storage.bicep")
APP = template("modules/app.bicep")
APP_SETTINGS: dict[str, Any] = MAIN.modules["app"].parameters["settings"]

SANDBOX_ONLY = {"DIRECTORY_STORAGE", "GRAPH_ENDPOINT", "AZURE_AUTHORITY_HOST"}
"""Settings that no deployment has: a connection string, and other services than the cloud's."""

DERIVED = {
    "KEY_VAULT_URL",
    "AZURE_CLIENT_ID",
    "DIRECTORY_STORAGE__blobServiceUri",
    "DIRECTORY_STORAGE__queueServiceUri",
    "DIRECTORY_STORAGE__tableServiceUri",
}
"""Settings that the template knows by itself."""

OTHER_DEFAULT = {
    "ENTRA_TENANT_ID": Expression("tenant().tenantId"),
    "ENTRA_CREDENTIAL": "managed-identity",
    "VALIDATION_ATTEMPTS_PER_USER_PER_DAY": "",
}
"""Parameters whose default is not the setting's: the tenant of the subscription; in Azure there is a managed
identity; blank, so that the app's default for the cloud holds."""

HOST_SETTINGS = {
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "DIRECTORY_STORAGE__credential",
    "DIRECTORY_STORAGE__clientId",
}

NOT_ON_FLEX_CONSUMPTION = re.compile(
    r"ENABLE_ORYX_BUILD|SCM_DO_BUILD_DURING_DEPLOYMENT|FUNCTIONS_EXTENSION_VERSION|FUNCTIONS_WORKER_\w+"
    r"|FUNCTIONS_MAX_HTTP_CONCURRENCY|WEBSITE_\w+|AzureWebJobsDashboard"
)
PROPERTIES_NOT_ON_FLEX_CONSUMPTION = {
    "alwaysOn",
    "containerSize",
    "ftpsState",
    "functionsRuntimeScaleMonitoringEnabled",
    "isReserved",
    "IsXenon",
    "linuxFxVersion",
    "minimumElasticInstanceCount",
    "netFrameworkVersion",
    "preWarmedInstanceCount",
    "use32BitWorkerProcess",
    "vnetBackupRestoreEnabled",
    "vnetContentShareEnabled",
    "vnetImagePullEnabled",
    "vnetRouteAllEnabled",
    "windowsFxVersion",
}

ROLE_NAMES = {
    "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "storageBlobDataContributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "storageBlobDataReader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "storageQueueDataMessageProcessor": "8a0f0c08-91a1-4084-bc3d-661d67233fed",
    "storageQueueDataMessageSender": "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a",
    "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "keyVaultSecretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
    "keyVaultSecretsOfficer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
}
"""From https://learn.microsoft.com/azure/role-based-access-control/built-in-roles"""


def camel(setting: str) -> str:
    first, *others = setting.lower().split("_")
    return first + "".join(map(str.capitalize, others))


# ---------------------------------------------------------------------------------------- settings


def test_every_setting_can_be_set_by_the_template() -> None:
    assert APP_SETTINGS.keys() - HOST_SETTINGS == SETTING.keys() - SANDBOX_ONLY
    assert APP_SETTINGS.keys() & SANDBOX_ONLY == set()


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.name not in SANDBOX_ONLY | DERIVED])
def test_setting_has_a_parameter_of_its_name_and_default(setting: Any) -> None:
    parameter = MAIN.parameters[camel(setting.name)]
    value = APP_SETTINGS[setting.name]
    if parameter.type == "bool":
        assert value == f"{parameter.name} ? 'true' : 'false'"
    else:
        assert value == (f"string({parameter.name})" if parameter.type == "int" else parameter.name)
    if setting.name == "ENTRA_CLOUD":
        return
    default = parameter.default
    shown = str(default).lower() if parameter.type == "bool" else default
    expected: Any = OTHER_DEFAULT.get(setting.name, setting.default)
    assert shown == (int(expected) if parameter.type == "int" else expected)
    assert parameter.description.startswith(f"Setting {setting.name}")


def test_limits_of_parameters_are_those_of_settings() -> None:
    for setting in SETTINGS:
        match = re.match(r"a whole number from (\d+) to (\d+)$", setting.expected)
        if match is not None:
            decorators = MAIN.parameters[camel(setting.name)].decorators
            assert decorators["minValue"] == [int(match[1])], setting.name
            assert decorators["maxValue"] == [int(match[2])], setting.name


def test_choices_of_parameters_are_those_of_settings() -> None:
    for setting, choices in (
        ("ENTRA_CREDENTIAL", CREDENTIALS),
        ("ENTRA_CLOUD", tuple(CLOUDS)),
        ("WEBHOOK_AUTH", WEBHOOK_AUTHS),
    ):
        assert set(MAIN.parameters[camel(setting)].decorators["allowed"][0]) == set(choices)


def test_cloud_is_that_of_the_subscription() -> None:
    default = MAIN.parameters["entraCloud"].default
    assert re.findall(r"'(\w+)' \? '([\w-]+)'", default) == [
        ("AzureUSGovernment", "usgov"),
        ("AzureChinaCloud", "china"),
    ]
    assert default.endswith(": 'public'")


def test_app_accepts_what_a_deployment_with_defaults_sets() -> None:
    """The values of the template, with what only Azure knows filled in."""
    known = {
        "tenant().tenantId": "72f988bf-0000-4000-8000-000000000001",
        "identity.properties.clientId": "72f988bf-0000-4000-8000-000000000002",
        "vault.outputs.uri": "https://kv-x.vault.azure.net",
        "dataStorage.outputs.blobUri": "https://stdatax.blob.core.windows.net",
        "dataStorage.outputs.queueUri": "https://stdatax.queue.core.windows.net",
        "dataStorage.outputs.tableUri": "https://stdatax.table.core.windows.net",
        MAIN.parameters["entraCloud"].default: "public",
    }

    def value(text: str) -> str:
        name = re.sub(r"^string\((\w+)\)$|^(\w+) \? 'true' : 'false'$", r"\1\2", text)
        if name in MAIN.parameters:
            default = MAIN.parameters[name].default
            return known.get(default, str(default).lower() if isinstance(default, bool) else str(default))
        return known.get(text, text)

    settings = Settings.from_environment(
        {name: value(text) for name, text in APP_SETTINGS.items() if name not in HOST_SETTINGS}
    )
    assert settings.credential == "managed-identity"
    assert settings.cloud.name == "public"
    assert settings.schedule == SETTING["SYNC_SCHEDULE"].default
    assert settings.storage.table_uri == "https://stdatax.table.core.windows.net"


def test_timer_always_has_a_schedule_that_the_host_understands() -> None:
    assert APP_SETTINGS["SYNC_SCHEDULE"] == "syncSchedule"
    assert schedule_problem(MAIN.parameters["syncSchedule"].default) is None


def test_nothing_is_set_that_flex_consumption_refuses() -> None:
    assert [name for name in APP_SETTINGS if NOT_ON_FLEX_CONSUMPTION.match(name)] == []
    site = APP.one("Microsoft.Web/sites").properties
    assert site.keys() & PROPERTIES_NOT_ON_FLEX_CONSUMPTION == set()
    assert site["siteConfig"].keys() & PROPERTIES_NOT_ON_FLEX_CONSUMPTION == set()
    assert APP.one("Microsoft.Web/serverfarms").body["sku"] == {"tier": "FlexConsumption", "name": "FC1"}


# -------------------------------------------------------------------------------- what lies in storage


def test_containers_are_those_of_the_app() -> None:
    assert (DATA.variables["stateContainer"], DATA.variables["auditContainer"]) == (
        STATE_CONTAINER,
        AUDIT_CONTAINER,
    )
    assert DATA.variables["containerNames"] == ["directoryContainer", "stateContainer", "auditContainer"]
    assert MAIN.parameters["directoryContainer"].default == SETTING["DIRECTORY_CONTAINER"].default


def test_queues_are_that_of_the_trigger_and_its_poison_queue() -> None:
    assert DATA.variables["queueNames"] == [QUEUE, f"{QUEUE}-poison"]


def test_tables_are_those_of_the_app() -> None:
    assert DATA.variables["tableNames"] == [USERS_TABLE, BUDGET_TABLE, REQUESTS_TABLE]


def test_names_of_containers_queues_and_tables_are_valid() -> None:
    for name in (*DATA.variables["queueNames"], "sync-state", "audit", DATA.variables["eventQueueName"]):
        assert re.fullmatch(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*", name)
    for name in DATA.variables["tableNames"]:
        assert re.fullmatch(r"[a-z][a-z0-9]{2,62}", name)


# ----------------------------------------------------------------------------------- versions and host


def test_python_is_the_one_that_the_app_is_written_for() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    runtime = APP.one("Microsoft.Web/sites").properties["functionAppConfig"]["runtime"]
    assert runtime == {"name": "python", "version": "3.13"}
    assert project["requires-python"] == f"=={runtime['version']}.*"
    assert (REPOSITORY / ".python-version").read_text().strip() == runtime["version"]


def test_host_finds_the_queue_by_the_connection_that_the_template_sets() -> None:
    sources = [path.read_text() for path in (REPOSITORY / "functions").glob("*.py")]
    connections = {name for text in sources for name in re.findall(r'connection="(\w+)"', text)}
    assert connections
    for connection in connections:
        for suffix in ("queueServiceUri", "credential", "clientId"):
            assert f"{connection}__{suffix}" in APP_SETTINGS


def test_function_timeout_is_longer_than_a_slice_and_bounded() -> None:
    host = json.loads((REPOSITORY / "host.json").read_text())
    hours, minutes, seconds = map(int, host["functionTimeout"].split(":"))
    limit = hours * 3600 + minutes * 60 + seconds
    assert MAIN.parameters["syncSliceSeconds"].decorators["maxValue"][0] < limit <= 3600


def test_webhook_url_has_the_route_prefix_of_the_host() -> None:
    host = json.loads((REPOSITORY / "host.json").read_text())
    prefix = host["extensions"]["http"]["routePrefix"]
    source = (REPOSITORY / "functions/credentials.py").read_text()
    (route,) = re.findall(r'\.route\("([^"]+)"', source)
    assert MAIN.outputs["WEBHOOK_URL"] == f"'https://${{app.outputs.hostname}}/{prefix}/{route}'"


# --------------------------------------------------------------------------------- the files beside them


def test_role_ids_belong_to_their_names() -> None:
    assert json.loads((INFRA / "modules/roles.json").read_text()) == ROLE_NAMES
    used = {name for one in templates() for name in re.findall(r"\broles\.(\w+)", one.text)} - {"json"}
    assert used == ROLE_NAMES.keys()


def test_modules_are_called_with_what_they_take() -> None:
    called = set()
    for module in MAIN.modules.values():
        taken = template(module.path.relative_to(INFRA).as_posix())
        called.add(taken.path)
        required = {name for name, one in taken.parameters.items() if not one.has_default}
        assert required <= module.parameters.keys() <= taken.parameters.keys(), module.symbol
    assert called == set((INFRA / "modules").glob("*.bicep"))


def test_outputs_that_are_read_exist() -> None:
    read = set(re.findall(r"\b(\w+)!?\.outputs\.(\w+)", MAIN.text))
    assert read
    for symbol, output in read:
        taken = template(MAIN.modules[symbol].path.relative_to(INFRA).as_posix())
        assert output in taken.outputs, f"{symbol}.{output}"


def test_no_parameter_or_variable_is_unused() -> None:
    for one in templates():
        for name in (*one.parameters, *one.variables):
            assert len(re.findall(rf"(?<![.\w]){name}\b", one.text)) > 1, f"{one.path.name}: {name}"


def test_azd_finds_the_parameters_and_the_app() -> None:
    document = json.loads((INFRA / "main.parameters.json").read_text())
    for name, entry in document["parameters"].items():
        parameter = MAIN.parameters[name]
        variable = re.fullmatch(r"\$\{([A-Z_]+)(?:=(.*))?\}", entry["value"])
        assert variable, name
        assert parameter.type == "string", "azd writes texts only"
        assert name in ("environmentName", "location") or (variable[2] or "") == parameter.default, name
    project = yaml.safe_load((REPOSITORY / "azure.yaml").read_text())
    assert (INFRA.name, MAIN.path.stem) == (project["infra"]["path"], project["infra"]["module"])
    (service,) = project["services"]
    assert project["services"][service] == {"project": ".", "language": "python", "host": "function"}
    assert (
        APP.one("Microsoft.Web/sites").body["tags"] == f"union(tags, {{ 'azd-service-name': '{service}' }})"
    )
    assert "'azd-env-name': environmentName" in MAIN.variables["allTags"]


# ---------------------------------------------------------------------------------- permissions in Graph


def granted_by_script() -> dict[str, list[str]]:
    script = (INFRA / "grant-permissions.sh").read_text()
    return {
        name: values.split() for name, values in re.findall(r"^    ([\w-]+)\) say (.*) ;;$", script, re.M)
    }


def test_template_and_script_grant_the_same_permissions() -> None:
    graph = template("graph/graph.bicep")
    assert graph.variables["permissionsFor"] == granted_by_script()
    assert graph.parameters["capabilities"].default == ["inventory", "hidden-members", "methods"]


def test_permissions_are_those_that_the_documentation_names() -> None:
    table = (REPOSITORY / "docs/graph.md").read_text().split("## Permissions")[1].split("\n## ")[0]
    documented = set(re.findall(r"^\| `([\w.-]+)`", table, re.M))
    assert {name for names in granted_by_script().values() for name in names} == documented


def test_every_permission_that_a_message_asks_for_can_be_granted() -> None:
    sources = [path.read_text() for path in (REPOSITORY / "shared").rglob("*.py")]
    named = {name for text in sources for name in re.findall(r"\b[\w-]+\.Read\.(?:All|Hidden)\b", text)}
    granted = {name for names in granted_by_script().values() for name in names}
    # These do as well where somebody has granted them; the app asks for less.
    assert named - {"Directory.Read.All", "Group.Read.All"} <= granted


def test_no_permission_can_write() -> None:
    for names in granted_by_script().values():
        for name in names:
            assert re.fullmatch(r"[\w-]+\.Read(\.All|\.Hidden)?", name), name


def test_graph_extension_is_loaded_beside_its_template_only() -> None:
    """Other clouds have no such extension, and must not be asked for one by the main template."""
    assert "extensions" not in json.loads((INFRA / "bicepconfig.json").read_text())
    graph = json.loads((INFRA / "graph/bicepconfig.json").read_text())
    assert graph["implicitExtensions"] == ["az", *graph["extensions"]]
    for one in templates():
        uses = any(resource.type.startswith("Microsoft.Graph/") for resource in one.resources.values())
        assert uses == (one.path.parent.name == "graph"), one.path


def test_deployment_leaves_the_templates_out() -> None:
    assert "infra/" in (Path(REPOSITORY) / ".funcignore").read_text().splitlines()
    assert "azure.yaml" in (Path(REPOSITORY) / ".funcignore").read_text().splitlines()
