"""The scripts that a directory administrator runs once, against an `az` that records what is asked of it."""

import base64
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.credentials.calls import memory_key
from tests.infra.azure_cli import CALLER, IDENTITY, INFRA, TENANT, VAULT, AzureCli

GRANT = "grant-permissions.sh"
SECRETS = "create-secrets.sh"


@pytest.fixture
def az(tmp_path: Path) -> Iterator[AzureCli]:
    with AzureCli(tmp_path) as started:
        yield started


def test_managed_identity_gets_the_permissions_of_its_capabilities_and_no_others(az: AzureCli) -> None:
    ran = az.run(GRANT, "managed-identity", "--principal-id", IDENTITY, "--with", "sign-in,leave-date")
    assert (ran.code, ran.errors) == (0, "")
    assert az.granted(IDENTITY) == {
        "User.Read.All",
        "GroupMember.Read.All",
        "AuditLog.Read.All",
        "User-LifeCycleInfo.Read.All",
    }
    assert "Set ENTRA_CREDENTIAL to managed-identity." in ran.output


def test_second_run_changes_nothing(az: AzureCli) -> None:
    az.run(GRANT, "managed-identity", "--principal-id", IDENTITY)
    written = az.writes()
    assert az.granted(IDENTITY) == {
        "User.Read.All",
        "GroupMember.Read.All",
        "Member.Read.Hidden",
        "AuditLog.Read.All",
    }
    ran = az.run(GRANT, "managed-identity", "--principal-id", IDENTITY)
    assert (ran.code, ran.errors) == (0, "")
    assert ran.output.count("is granted already") == 4
    assert az.writes() == written


def test_app_registration_is_made_consented_to_and_its_secret_never_shown(az: AzureCli) -> None:
    ran = az.run(GRANT, "app-registration", "--vault", VAULT, "--with", "")
    assert (ran.code, ran.errors) == (0, "")
    state = az.state
    (app,) = state["applications"]
    assert (app["displayName"], app["signInAudience"]) == ("Entra Connector", "AzureADMyOrg")
    (listed,) = app["requiredResourceAccess"]
    principal = state["servicePrincipals"][-1]
    assert principal["appId"] == app["appId"]
    assert az.granted(principal["id"]) == {"User.Read.All", "GroupMember.Read.All"}
    assert {one["id"] for one in listed["resourceAccess"]} == {
        one["appRoleId"] for one in state["assignments"]
    }
    (password,) = state["passwords"]
    (stored,) = state["secrets"]["entra-client-secret"]
    assert stored == {"value": password["text"], "expires": password["endDateTime"]}
    assert password["text"] not in ran.output + str(state["calls"])
    assert f"ENTRA_CLIENT_ID to {app['appId']}" in ran.output

    written = az.writes()
    again = az.run(GRANT, "app-registration", "--vault", VAULT, "--with", "")
    assert (again.code, again.errors) == (0, "")
    assert az.writes() == written


def test_secret_that_the_vault_refuses_is_made_invalid_again(az: AzureCli) -> None:
    az.state["forbidden"] = "set"
    ran = az.run(GRANT, "app-registration", "--vault", VAULT)
    assert ran.code == 1
    assert "Key Vault Secrets Officer" in ran.errors
    assert az.state["passwords"] == []


def test_new_secret_is_a_new_version_beside_the_old_one(az: AzureCli) -> None:
    az.run(GRANT, "app-registration", "--vault", VAULT)
    ran = az.run(GRANT, "app-registration", "--vault", VAULT, "--renew-secret", "--secret-days", "30")
    assert ran.code == 0
    assert len(az.state["secrets"]["entra-client-secret"]) == 2
    assert len(az.state["passwords"]) == 2


def test_federated_app_registration_trusts_the_identity_and_has_no_secret(az: AzureCli) -> None:
    az.state["cloud"] |= {
        "name": "AzureUSGovernment",
        "endpoints": {
            "microsoftGraphResourceId": "https://graph.microsoft.us/",
            "activeDirectory": "https://login.microsoftonline.us",
        },
    }
    for _ in range(2):
        ran = az.run(GRANT, "app-registration", "--principal-id", IDENTITY)
        assert (ran.code, ran.errors) == (0, "")
    state = az.state
    (trust,) = state["applications"][0]["federatedIdentityCredentials"]
    assert trust["issuer"] == f"https://login.microsoftonline.us/{TENANT}/v2.0"
    assert trust["subject"] == IDENTITY
    assert trust["audiences"] == ["api://AzureADTokenExchangeUSGov"]
    assert state["passwords"] == []


def test_validation_app_can_do_nothing_and_nobody_can_sign_in_to_it(az: AzureCli) -> None:
    for _ in range(2):
        ran = az.run(GRANT, "validation-app", "--vault", VAULT)
        assert (ran.code, ran.errors) == (0, "")
        assert "warning" not in ran.output
    state = az.state
    (app,) = state["applications"]
    principal = state["servicePrincipals"][-1]
    assert app["isFallbackPublicClient"] is False
    assert (app["signInAudience"], app["requiredResourceAccess"]) == ("AzureADMyOrg", [])
    assert principal["appRoleAssignmentRequired"] is True
    assert state["assignments"] == []
    assert list(state["secrets"]) == ["validation-client-secret"]
    assert len(state["passwords"]) == 1


def test_validation_app_that_somebody_loosened_is_closed_again(az: AzureCli) -> None:
    az.run(GRANT, "validation-app", "--vault", VAULT)
    state = az.state
    state["applications"][0]["isFallbackPublicClient"] = True
    state["servicePrincipals"][-1]["appRoleAssignmentRequired"] = False
    app = state["servicePrincipals"][-1]["id"]
    state["assignments"] = [{"principalId": IDENTITY, "resourceId": app, "appRoleId": "0"}]
    ran = az.run(GRANT, "validation-app", "--vault", VAULT)
    assert ran.code == 0
    assert "somebody is assigned" in ran.output
    state = az.state
    assert state["applications"][0]["isFallbackPublicClient"] is False
    assert state["servicePrincipals"][-1]["appRoleAssignmentRequired"] is True


def test_caller_gets_one_role_of_an_app_that_needs_assignment(az: AzureCli) -> None:
    for _ in range(2):
        ran = az.run(GRANT, "caller-role", "--caller", CALLER)
        assert (ran.code, ran.errors) == (0, "")
    state = az.state
    (app,) = state["applications"]
    assert app["identifierUris"] == [f"api://{app['appId']}"]
    assert app["api"] == {"requestedAccessTokenVersion": 2}
    (assignment,) = state["assignments"]
    assert assignment["principalId"] == IDENTITY
    assert assignment["appRoleId"] == app["appRoles"][0]["id"]
    assert app["appRoles"][0]["allowedMemberTypes"] == ["Application"]
    assert (
        f"WEBHOOK_AUDIENCE to {app['appId']} and WEBHOOK_ROLE to {app['appRoles'][0]['value']}" in ran.output
    )


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        (GRANT, ["managed-identity", "--principal-id", IDENTITY]),
        (GRANT, ["app-registration", "--vault", VAULT]),
        (GRANT, ["app-registration", "--principal-id", IDENTITY]),
        (GRANT, ["validation-app", "--vault", VAULT]),
        (GRANT, ["caller-role", "--caller", CALLER]),
        (SECRETS, ["--vault", VAULT]),
    ],
)
def test_dry_run_says_what_it_would_do_and_does_nothing(
    az: AzureCli, script: str, arguments: list[str]
) -> None:
    ran = az.run(script, *arguments, "--dry-run")
    assert (ran.code, ran.errors) == (0, "")
    assert "would " in ran.output
    assert az.writes() == []


def test_graph_can_be_named_where_az_does_not_know_it(az: AzureCli) -> None:
    az.state["graph"] = "https://dod-graph.microsoft.us"
    arguments = ["managed-identity", "--principal-id", IDENTITY, "--with", ""]
    assert az.run(GRANT, *arguments).code == 1
    ran = az.run(GRANT, *arguments, "--graph", "https://dod-graph.microsoft.us/")
    assert (ran.code, ran.errors) == (0, "")
    assert len(az.granted(IDENTITY)) == 2


def test_object_that_graph_does_not_know_yet_is_waited_for(az: AzureCli) -> None:
    az.state["failures"] += ["Resource '1' does not exist.", "Permission being assigned was not found."]
    ran = az.run(GRANT, "managed-identity", "--principal-id", IDENTITY, "--with", "")
    assert (ran.code, ran.errors) == (0, "")
    assert len(az.granted(IDENTITY)) == 2


def test_refusal_ends_the_script_at_once_and_names_the_role(az: AzureCli) -> None:
    az.state["failures"] += ["Insufficient privileges to complete the operation."]
    ran = az.run(GRANT, "managed-identity", "--principal-id", IDENTITY)
    assert ran.code == 1
    assert "Insufficient privileges" in ran.errors
    assert "Privileged Role Administrator" in ran.errors
    assert len(az.writes()) == 1


def test_other_tenant_is_refused_before_anything_is_asked(az: AzureCli) -> None:
    other = TENANT.replace("72f988bf", "00000000")
    for script, arguments in ((GRANT, ["validation-app", "--vault", VAULT]), (SECRETS, ["--vault", VAULT])):
        ran = az.run(script, *arguments, tenant=other)
        assert ran.code == 1
        assert f"signed in to tenant {TENANT}, not to {other}" in ran.errors
    assert {call[0] for call in az.state["calls"]} == {"account"}


def test_who_is_not_signed_in_is_told_how(az: AzureCli) -> None:
    az.state["account"] = None
    ran = az.run(GRANT, "managed-identity", "--principal-id", IDENTITY)
    assert (ran.code, ran.errors) == (1, f"error: az is not signed in: az login --tenant {TENANT}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["managed-identity"], "--principal-id"),
        (["managed-identity", "--principal-id", IDENTITY.replace("1d", "ee")], "take the object id"),
        (
            ["managed-identity", "--principal-id", IDENTITY, "--with", "everything"],
            "unknown capability 'everything'",
        ),
        (["app-registration"], "--vault"),
        (["app-registration", "--vault", VAULT, "--name", 'x"y'], "--name takes"),
        (["app-registration", "--vault", VAULT, "--force"], "unknown option --force"),
    ],
)
def test_wrong_call_is_explained_and_changes_nothing(
    az: AzureCli, arguments: list[str], message: str
) -> None:
    ran = az.run(GRANT, *arguments)
    assert ran.code == 1
    assert message in ran.errors
    assert az.writes() == []


def test_secrets_are_made_once_and_never_shown(az: AzureCli) -> None:
    ran = az.run(SECRETS, "--vault", VAULT)
    assert (ran.code, ran.errors) == (0, "")
    (webhook,), (memory,) = (az.state["secrets"][n] for n in ("webhook-secret", "credential-memory-key"))
    assert webhook["value"].startswith("whsec_")
    assert len(base64.b64decode(webhook["value"].removeprefix("whsec_"), validate=True)) == 32
    assert len(memory_key(memory["value"])) == 32
    for secret in (webhook, memory):
        assert secret["value"] not in ran.output + str(az.state["calls"])
    assert "az keyvault secret show" in ran.output

    written = az.writes()
    again = az.run(SECRETS, "--vault", VAULT)
    assert again.output.count("is there already") == 2
    assert az.writes() == written
    az.run(SECRETS, "--vault", VAULT, "--rotate", "webhook-secret")
    assert len(az.state["secrets"]["webhook-secret"]) == 2
    assert len(az.state["secrets"]["credential-memory-key"]) == 1


def test_secret_of_the_platform_can_be_pasted(az: AzureCli) -> None:
    ran = az.run(SECRETS, "--vault", VAULT, "--paste-webhook-secret", stdin="from-flare\n")
    assert ran.code == 0
    assert az.state["secrets"]["webhook-secret"][0]["value"] == "from-flare"
    assert "from-flare" not in ran.output + str(az.state["calls"])
    az.state["secrets"].clear()
    nothing = az.run(SECRETS, "--vault", VAULT, "--paste-webhook-secret", stdin="\n")
    assert nothing.code == 1
    assert az.state["secrets"] == {}


def test_vault_that_is_closed_is_named(az: AzureCli) -> None:
    az.state["forbidden"] = "list"
    ran = az.run(SECRETS, "--vault", VAULT)
    assert ran.code == 1
    assert "Key Vault Secrets Officer" in ran.errors
    assert az.writes() == []


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_scripts_are_clean_to_shellcheck() -> None:
    scripts = [path.name for path in sorted(INFRA.glob("*.sh"))]
    done = subprocess.run(
        ["shellcheck", "-x", *scripts], cwd=INFRA, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_scripts_are_plain_enough_for_the_shell_of_macos() -> None:
    """Its Bash is 3.2: no associative arrays, no mapfile, no case changes in expansions."""
    for path in INFRA.glob("*.sh"):
        text = path.read_text()
        assert re.search(r"\bdeclare -A\b|\bmapfile\b|\breadarray\b|\$\{\w+(,,|\^\^)\}|&>>", text) is None, (
            path.name
        )
