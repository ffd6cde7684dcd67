"""Settings: defaults, every check, and that table, documentation and example say the same."""

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config import DATASETS, Settings
from shared.errors import ConfigurationError
from shared.ncrontab import schedule_problem
from shared.settings_table import SETTING, SETTINGS

ROOT = Path(__file__).parent.parent
TENANT = "0c1f6b0e-5a7d-4c52-9a35-6f1d2b9c7e10"
CLIENT = "7b0a3f52-91c4-4b1e-8d6c-2f6a8b4e5d01"
KEY = "c2VjcmV0LWFjY291bnQta2V5LXRoYXQtbXVzdC1ub3Qtc2hvdw=="
CONNECTION_STRING = f"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={KEY}"
LEAST = {
    "ENTRA_TENANT_ID": TENANT,
    "ENTRA_CLIENT_ID": CLIENT,
    "KEY_VAULT_URL": "https://acme.vault.azure.net",
    "DIRECTORY_STORAGE": CONNECTION_STRING,
}
BY_URI = {
    "DIRECTORY_STORAGE": "",
    "DIRECTORY_STORAGE__blobServiceUri": "https://acme.blob.core.windows.net/",
    "DIRECTORY_STORAGE__queueServiceUri": "https://acme.queue.core.windows.net/",
}


def settings(**changes: str) -> Settings:
    return Settings.from_environment(LEAST | changes)


def problems(**changes: str) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        settings(**changes)
    return raised.value.problems


def outcome(changes: dict[str, str]) -> Settings | list[str]:
    try:
        return Settings.from_environment(LEAST | changes)
    except ConfigurationError as error:
        return error.problems


def test_the_least_settings_give_the_documented_defaults() -> None:
    read = settings()

    assert (read.tenant_id, read.client_id, read.credential) == (TENANT, CLIENT, "client-secret")
    assert read.cloud.name == "public"
    assert read.graph_origin == "https://graph.microsoft.com"
    assert read.authority == "https://login.microsoftonline.com"
    assert not read.authority_overridden
    assert read.key_vault_url == "https://acme.vault.azure.net"
    assert read.own_client_id is None
    assert read.secret_ttl == timedelta(minutes=5)
    assert read.storage.connection_string == CONNECTION_STRING
    assert read.storage.blob_uri is None
    assert read.container == "directory"
    assert read.datasets == ("users", "groups", "memberships", "authentication")
    assert read.formats == ("ocsf",)
    assert read.schedule == "0 0 * * * *"
    assert read.full_every == timedelta(days=7)
    assert (read.slice_seconds, read.max_removal_percent, read.keep_runs) == (120, 20, 30)
    assert read.accept_shrink is None
    assert read.validation_enabled
    assert read.validation_client_id == CLIENT
    assert read.validation_attempts_per_user_per_day == 2
    assert read.validation_attempts_per_day == 200
    assert read.validation_failing_users_per_20_min == 4
    assert read.validation_spacing_seconds == 900
    assert read.validation_lockout_pause_seconds == 86400
    assert read.validation_excluded_group is None
    assert read.webhook_auth == "standard-webhooks"
    assert (read.webhook_audience, read.webhook_allowed_clients, read.webhook_role) == (None, (), None)


def test_whitespace_case_and_trailing_slashes_do_not_matter() -> None:
    read = settings(
        ENTRA_TENANT_ID=f"  {TENANT.upper()}\n",
        KEY_VAULT_URL=" https://acme.vault.azure.net/ ",
        ENTRA_CLOUD=" Public ",
        VALIDATION_ENABLED="False",
        SYNC_SCHEDULE=" 0  */15 * * * Mon-Fri ",
        DIRECTORY_DATASETS=" sign-in, memberships ,groups,users,users,",
    )

    assert read.tenant_id == TENANT
    assert read.key_vault_url == "https://acme.vault.azure.net"
    assert not read.validation_enabled
    assert read.schedule == "0 */15 * * * Mon-Fri"
    assert read.datasets == ("users", "groups", "memberships", "sign-in")


def test_blank_is_absent_but_for_formats() -> None:
    assert settings(SYNC_SLICE_SECONDS=" ", DIRECTORY_FORMATS="").slice_seconds == 120
    assert settings(DIRECTORY_FORMATS=" ").formats == ()
    assert settings(DIRECTORY_FORMATS="sekoia,ocsf").formats == ("ocsf", "sekoia")


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_environment({"SYNC_SLICE_SECONDS": "5", "ENTRA_CLOUD": "mars"})

    named = [problem.split()[0] for problem in raised.value.problems]
    assert sorted(named) == [
        "DIRECTORY_STORAGE",
        "ENTRA_CLIENT_ID",
        "ENTRA_CLOUD",
        "ENTRA_TENANT_ID",
        "KEY_VAULT_URL",
        "SYNC_SLICE_SECONDS",
    ]
    assert all(problem.endswith(".") for problem in raised.value.problems)
    assert all(problem in str(raised.value) for problem in raised.value.problems)


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("ENTRA_TENANT_ID", "contoso.onmicrosoft.com", "is not a GUID"),
        ("ENTRA_CLIENT_ID", "", "is missing"),
        ("ENTRA_CLIENT_ID", "Ab8Q~verysecretvaluepastedbymistake", "is not a GUID"),
        ("ENTRA_CREDENTIAL", "password", "is 'password'"),
        ("ENTRA_CLOUD", "germany", "is 'germany'"),
        ("KEY_VAULT_URL", "acme", "is not a URL"),
        ("KEY_VAULT_URL", "http://127.0.0.1:8443", "does not begin with https://"),
        ("KEY_VAULT_URL", "https://acme.vault.azure.net/secrets/x", "has a path"),
        ("AZURE_CLIENT_ID", "my-identity", "is not a GUID"),
        ("SECRET_TTL_SECONDS", "five", "is 'five'"),
        ("SECRET_TTL_SECONDS", "-1", "is '-1'"),
        ("DIRECTORY_STORAGE", "", "is missing"),
        ("DIRECTORY_STORAGE", "acme", "is not well-formed"),
        ("DIRECTORY_STORAGE__blobServiceUri", "https://acme.blob.core.windows.net", "is set beside"),
        ("DIRECTORY_CONTAINER", "Directory", "is 'Directory'"),
        ("DIRECTORY_CONTAINER", "a--b", "is 'a--b'"),
        ("DIRECTORY_CONTAINER", "ab", "is 'ab'"),
        ("DIRECTORY_CONTAINER", "a" * 64, "is an unreadable value"),
        ("DIRECTORY_CONTAINER", "sync-state", "is 'sync-state'"),
        ("DIRECTORY_CONTAINER", "audit", "is 'audit'"),
        ("DIRECTORY_DATASETS", "users,groups", "lacks memberships"),
        ("DIRECTORY_DATASETS", "users,groups,memberships,signin", "holds 'signin'"),
        ("DIRECTORY_FORMATS", "ocsf,ecs", "holds 'ecs'"),
        ("SYNC_SCHEDULE", "0 * * * *", "has 5 fields instead of 6"),
        ("SYNC_SCHEDULE", "0 60 * * * *", "has a minute"),
        ("SYNC_FULL_EVERY", "7.00:00:00", "is '7.00:00:00'"),
        ("SYNC_FULL_EVERY", "0d", "is '0d'"),
        ("SYNC_FULL_EVERY", "91d", "is '91d'"),
        ("SYNC_SLICE_SECONDS", "9", "is 9"),
        ("SYNC_SLICE_SECONDS", "1501", "is 1501"),
        ("SYNC_MAX_REMOVAL_PERCENT", "101", "is 101"),
        ("SYNC_MAX_REMOVAL_PERCENT", "20%", "is an unreadable value"),
        ("SYNC_ACCEPT_SHRINK", "yes please", "is not well-formed"),
        ("SYNC_KEEP_RUNS", "0", "is 0"),
        ("VALIDATION_ENABLED", "off", "is 'off'"),
        ("VALIDATION_CLIENT_ID", "probe", "is not a GUID"),
        ("VALIDATION_ATTEMPTS_PER_USER_PER_DAY", "11", "is 11"),
        ("VALIDATION_ATTEMPTS_PER_DAY", "1000000", "is 1000000"),
        ("VALIDATION_FAILING_USERS_PER_20_MIN", "1001", "is 1001"),
        ("VALIDATION_SPACING_SECONDS", "15m", "is '15m'"),
        ("VALIDATION_LOCKOUT_PAUSE_SECONDS", "99999999", "is 99999999"),
        ("VALIDATION_EXCLUDED_GROUP", "Break glass", "is not a GUID"),
        ("WEBHOOK_AUTH", "basic", "is 'basic'"),
        ("WEBHOOK_AUDIENCE", "api://a b", "is not well-formed"),
        ("WEBHOOK_ALLOWED_CLIENTS", f"{CLIENT},flare", "holds an item that is not a GUID"),
        ("WEBHOOK_ROLE", "a, b", "is not well-formed"),
        ("GRAPH_ENDPOINT", "http://graph.example", "does not begin with https://"),
        ("GRAPH_ENDPOINT", "https://graph.microsoft.com/v1.0", "has a path"),
        ("GRAPH_ENDPOINT", "https://me:pw@graph.example", "holds more than a host"),
        ("GRAPH_ENDPOINT", "https://graph.example:port", "is not a URL"),
        ("AZURE_AUTHORITY_HOST", "login.microsoftonline.com", "is not a URL"),
        ("AZURE_AUTHORITY_HOST", "https://login.example?x=y", "holds more than a host"),
    ],
)
def test_a_wrong_value_gives_one_sentence_with_what_is_expected(name: str, value: str, wrong: str) -> None:
    (problem,) = problems(**{name: value})

    assert name.partition("__")[0] in problem
    assert wrong in problem
    if "is set beside" not in wrong:
        assert problem.endswith(f"expected {SETTING[name].expected}.")


@pytest.mark.parametrize("secret", [KEY, "sig=abcdef", "Ab8Q~verysecretvaluepastedbymistake"])
@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS])
def test_no_problem_shows_a_secret(name: str, secret: str) -> None:
    for value in (secret, f"https://acme.blob.core.windows.net?{secret}", f"https://x:{secret}@host"):
        result = outcome({name: value})
        assert isinstance(result, Settings) or secret not in "".join(result)


def test_the_connection_string_is_not_in_the_repr() -> None:
    assert KEY not in repr(settings())


def test_misspelled_names_are_reported() -> None:
    (problem,) = problems(VALIDATION_ENABLE="false")

    assert problem == ("VALIDATION_ENABLE is not a setting: rename it to VALIDATION_ENABLED, or remove it.")


def test_names_of_others_are_left_alone() -> None:
    settings(
        DIRECTORY_STORAGE__credential="managedidentity",
        DIRECTORY_STORAGE__clientId=CLIENT,
        AZURE_CLIENT_SECRET="",
        SYNC_ENGINE_OF_SOMEBODY_ELSE="1",
        WEBHOOKS="1",
    )


def test_storage_by_uri() -> None:
    read = settings(**BY_URI, DIRECTORY_STORAGE__tableServiceUri="https://127.0.0.1:10002/devstoreaccount1")

    assert read.storage.connection_string is None
    assert read.storage.blob_uri == "https://acme.blob.core.windows.net"
    assert read.storage.queue_uri == "https://acme.queue.core.windows.net"
    assert read.storage.table_uri == "https://127.0.0.1:10002/devstoreaccount1"


def test_half_of_the_storage_uris_is_a_problem() -> None:
    (problem,) = problems(**BY_URI | {"DIRECTORY_STORAGE__queueServiceUri": ""})

    assert problem.startswith("DIRECTORY_STORAGE__queueServiceUri is missing")


def test_a_managed_identity_needs_neither_client_id_nor_vault() -> None:
    read = settings(ENTRA_CREDENTIAL="managed-identity", ENTRA_CLIENT_ID="", KEY_VAULT_URL="")

    assert (read.client_id, read.key_vault_url, read.validation_client_id) == (None, None, None)


def test_federated_needs_a_client_id_but_no_vault() -> None:
    assert settings(ENTRA_CREDENTIAL="federated", KEY_VAULT_URL="").key_vault_url is None
    (problem,) = problems(ENTRA_CREDENTIAL="federated", KEY_VAULT_URL="", ENTRA_CLIENT_ID="")
    assert problem.startswith("ENTRA_CLIENT_ID is missing")


@pytest.mark.parametrize("credential", ["client-secret", "certificate"])
def test_a_stored_credential_needs_the_vault(credential: str) -> None:
    (problem,) = problems(ENTRA_CREDENTIAL=credential, KEY_VAULT_URL="")
    assert problem.startswith("KEY_VAULT_URL is missing")


def test_clouds_decide_hosts_and_the_default_budget() -> None:
    government = settings(ENTRA_CLOUD="usgov")

    assert government.graph_origin == "https://graph.microsoft.us"
    assert government.authority == "https://login.microsoftonline.us"
    assert government.validation_attempts_per_user_per_day == 1
    assert (
        settings(ENTRA_CLOUD="usgov", VALIDATION_ATTEMPTS_PER_USER_PER_DAY="2")
    ).validation_attempts_per_user_per_day == 2


def test_overridden_hosts() -> None:
    read = settings(GRAPH_ENDPOINT="http://127.0.0.1:9000/", AZURE_AUTHORITY_HOST="https://localhost:9443/")

    assert read.graph_origin == "http://127.0.0.1:9000"
    assert read.cloud.graph_scope == "https://graph.microsoft.com/.default"
    assert (read.authority, read.authority_overridden) == ("https://localhost:9443", True)


def test_the_clouds_own_authority_is_no_override() -> None:
    assert not settings(AZURE_AUTHORITY_HOST="https://login.microsoftonline.com/").authority_overridden


def test_a_token_caller_needs_an_audience_and_someone_allowed() -> None:
    named = [problem.split()[0] for problem in problems(WEBHOOK_AUTH="entra-token")]
    assert named == ["WEBHOOK_AUDIENCE", "WEBHOOK_ALLOWED_CLIENTS"]

    read = settings(WEBHOOK_AUTH="entra-token", WEBHOOK_AUDIENCE="api://x", WEBHOOK_ROLE="Validate")
    assert (read.webhook_allowed_clients, read.webhook_role) == ((), "Validate")
    read = settings(
        WEBHOOK_AUTH="entra-token", WEBHOOK_AUDIENCE="api://x", WEBHOOK_ALLOWED_CLIENTS=CLIENT.upper()
    )
    assert read.webhook_allowed_clients == (CLIENT,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7d", timedelta(days=7)), ("12h", timedelta(hours=12)), ("90M", timedelta(minutes=90))],
)
def test_durations(text: str, expected: timedelta) -> None:
    assert settings(SYNC_FULL_EVERY=text).full_every == expected


@pytest.mark.parametrize(
    "schedule",
    [
        "0 0 * * * *",
        "*/30 5,10,15 0-23/2 1-31 Jan-Mar 0-6",
        "0 30 9 * JAN,July Mon-Fri",
        "0 5/15 * * * Sunday",
        "00 00 00 01 12 6",
    ],
)
def test_schedules_that_the_host_understands(schedule: str) -> None:
    assert schedule_problem(schedule) is None


@pytest.mark.parametrize(
    "schedule",
    [
        "",
        "@hourly",
        "0 0 * * *",
        "0 0 24 * * *",
        "60 0 0 * * *",
        "0 0 0 0 * *",
        "0 0 0 * 13 *",
        "0 0 0 * * 7",
        "0 0 0 ? * *",
        "0 0 0 L * *",
        "0 */0 * * * *",
        "0 9-5 * * * *",
        "0 1,,2 * * * *",
        "0 1, * * * *",
        "0 - * * * *",
        "0 *-5 * * * *",
        "0 0 0 * Foo *",
        "0 0 0 Mon * *",
        "0 0 0 * * * *",
        "01:00:00",
        "%SCHEDULE%",
        "0 0 ٣ * * *",
    ],
)
def test_schedules_that_it_does_not_understand(schedule: str) -> None:
    assert schedule_problem(schedule) is not None


@given(st.dictionaries(st.sampled_from(sorted(SETTING)), st.text(max_size=60)))
def test_any_text_gives_settings_or_one_configuration_error(environment: dict[str, str]) -> None:
    result = outcome(environment)

    assert result
    if isinstance(result, Settings):
        assert set(DATASETS[:3]) <= set(result.datasets)


def test_the_documentation_holds_the_table() -> None:
    text = (ROOT / "docs/settings.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", text, re.MULTILINE)

    assert {name: (default.strip("`"), expected, meaning) for name, default, expected, meaning in rows} == {
        setting.name: (setting.default, setting.expected, setting.meaning) for setting in SETTINGS
    }
    assert len(rows) == len(SETTINGS)


def test_the_example_has_every_setting_with_its_default_or_a_placeholder() -> None:
    values = json.loads((ROOT / "local.settings.json.example").read_text())["Values"]

    assert values.pop("FUNCTIONS_WORKER_RUNTIME") == "python"
    assert values.pop("AzureWebJobsStorage") == "UseDevelopmentStorage=true"
    assert list(values) == [setting.name for setting in SETTINGS]
    assert values["DIRECTORY_STORAGE"] == "UseDevelopmentStorage=true"
    for name, value in values.items():
        assert value == SETTING[name].default or "<your" in value or name == "DIRECTORY_STORAGE"


def test_the_examples_placeholders_are_all_that_it_lacks() -> None:
    values = json.loads((ROOT / "local.settings.json.example").read_text())["Values"]

    with pytest.raises(ConfigurationError) as raised:
        Settings.from_environment(values)
    named = [problem.split()[0] for problem in raised.value.problems]
    assert sorted(named) == ["ENTRA_CLIENT_ID", "ENTRA_TENANT_ID", "KEY_VAULT_URL"]


def test_reading_settings_imports_no_sdk() -> None:
    """Functions that never call Graph must not pay for its import at a cold start."""
    code = "import sys, shared.config; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert not {"azure", "msal", "msgraph", "aiohttp", "cryptography", "msgspec"} & set(loaded.stdout.split())
