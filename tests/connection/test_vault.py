"""Key Vault: the vault itself, and each secret on its own."""

import base64
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from sandbox.tenant import faults
from sandbox.tenant.configuration import CLIENT_ID, CLIENT_SECRET, VALIDATION_CLIENT_ID
from tests.connection.conftest import Connection, Rows, troubles

CLIENT = "entra-client-secret"
WEBHOOK = "webhook-secret"
MEMORY = "credential-memory-key"
VALIDATION = "validation-client-secret"
SECRETS = (CLIENT, WEBHOOK, MEMORY, VALIDATION)
DAY = 24 * 3600.0


def of_secrets(rows: Rows) -> dict[str, str]:
    return {name: status for name, status in troubles(rows).items() if name.startswith("secret:")}


async def test_role_that_is_missing(connection: Connection) -> None:
    connection.tenant.vault.forbidden = True
    rows = await connection.test()
    assert rows["key-vault"].status == "missing-permission"
    assert "az role assignment create" in (rows["key-vault"].fix or "")
    assert "Key Vault Secrets User" in (rows["key-vault"].fix or "")
    assert of_secrets(rows) == {f"secret:{name}": "missing-permission" for name in SECRETS}
    for name in SECRETS:
        assert rows[f"secret:{name}"].detail.startswith("Not checked since `key-vault`")
    # Who signs in with a secret cannot, and says so; storage goes on.
    assert rows["graph-sign-in"].status == rows["validation-app"].status == "missing-permission"
    assert rows["users"].detail.startswith("Not checked since `graph-sign-in`")
    assert rows["container:directory"].status == "ok"


async def test_role_that_is_missing_for_one_secret(connection: Connection) -> None:
    connection.tenant.vault.forbidden_names.add(MEMORY)
    rows = await connection.test()
    assert troubles(rows) == {f"secret:{MEMORY}": "missing-permission"}
    assert f"/secrets/{MEMORY}" in (rows[f"secret:{MEMORY}"].fix or "")


@pytest.mark.parametrize("fault", [faults.close(), faults.respond(503), faults.html(502)])
async def test_vault_out_of_reach(connection: Connection, fault: faults.Action) -> None:
    connection.tenant.faults.add(fault, "/secrets/", times=None)
    rows = await connection.test()
    assert rows["key-vault"].status == "unreachable"
    assert set(of_secrets(rows).values()) == {"unreachable"}


async def test_firewall_of_the_vault(connection: Connection) -> None:
    body = '{"error": {"code": "Forbidden", "message": "x", "innererror": {"code": "ForbiddenByFirewall"}}}'
    connection.tenant.faults.add(faults.respond(403, body=body), "/secrets/", times=None)
    row = (await connection.test())["key-vault"]
    assert row.status == "unreachable"
    assert "network-rule" in (row.fix or "")


async def test_identity_that_gets_no_token(connection: Connection) -> None:
    connection.tenant.faults.add(faults.respond(400, body="{}"), "/msi/token", times=None)
    row = (await connection.test())["key-vault"]
    assert row.status == "misconfigured"
    assert "identity" in row.detail


async def test_one_secret_that_hangs_hides_no_other(connection: Connection) -> None:
    connection.tenant.faults.add(faults.hang(), f"/secrets/{WEBHOOK}", times=None)
    connection.deadline_seconds = 5.0
    rows = await connection.test()
    assert of_secrets(rows) == {f"secret:{WEBHOOK}": "unreachable"}


async def test_no_vault_where_validation_needs_one(connection: Connection) -> None:
    rows = await connection.test(ENTRA_CREDENTIAL="managed-identity", KEY_VAULT_URL="")
    assert rows["key-vault"].status == "misconfigured"
    assert "VALIDATION_ENABLED" in (rows["key-vault"].fix or "")
    assert rows["users"].status == "ok"


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("trouble", ["missing", "disabled", "expired", "not in force", "empty"])
async def test_secret_that_cannot_be_used(connection: Connection, name: str, trouble: str) -> None:
    """Only its own row, and those of who signs in with it."""
    vault = connection.tenant.vault
    value = vault.secrets[name][-1].value
    vault.remove(name)
    words = trouble
    match trouble:
        case "missing":
            words = "does not exist"
        case "disabled":
            vault.put(name, value, enabled=False)
        case "expired":
            vault.put(name, value, expires=time.time() - DAY)
        case "not in force":
            vault.put(name, value)
            connection.tenant.faults.add(
                faults.edit(lambda content, _: begins_tomorrow(content)), f"/secrets/{name}", times=None
            )
        case "empty":
            vault.put(name, " ")
    # A version that is not in force does not count for who accepts all versions.
    if name == WEBHOOK:
        words = "no version in force" if trouble != "empty" else "does not exist|is empty"
    rows = await connection.test()
    if (name, trouble) == (VALIDATION, "missing"):
        assert rows[f"secret:{name}"].status == "ok"
        assert f"`{CLIENT}` is used" in rows[f"secret:{name}"].detail
        # It is another app registration's secret.
        assert troubles(rows) == {"validation-app": "misconfigured"}
        return
    assert of_secrets(rows) == {f"secret:{name}": "misconfigured"}
    row = rows[f"secret:{name}"]
    assert any(each in row.detail for each in words.split("|")), row.detail
    assert f" {name}" in (row.fix or "") or "infra/create-secrets.sh" in (row.fix or "")
    expected = {f"secret:{name}"}
    if trouble in ("missing", "disabled", "empty"):
        expected |= {VALIDATION: {"validation-app"}, CLIENT: not_signed_in(rows)}.get(name, set())
    assert troubles(rows).keys() == expected


def not_signed_in(rows: Rows) -> set[str]:
    return {"graph-sign-in"} | {
        row.capability for row in rows.values() if (row.permission or "").endswith((".All", ".Hidden"))
    }


def begins_tomorrow(content: dict[str, object]) -> None:
    tomorrow = int(time.time() + DAY)
    value = content.get("value", [])
    each: Any
    for each in value if isinstance(value, list) else [content]:
        each["attributes"]["nbf"] = tomorrow


@pytest.mark.parametrize("name", [CLIENT, MEMORY, WEBHOOK, VALIDATION])
async def test_secret_that_expires_soon(connection: Connection, name: str) -> None:
    ends = time.time() + 10 * DAY
    for version in connection.tenant.vault.secrets[name]:
        version.expires = ends
    rows = await connection.test()
    assert troubles(rows) == {}
    detail = rows[f"secret:{name}"].detail
    assert f"expires soon, on {datetime.fromtimestamp(ends, UTC):%Y-%m-%d}. To renew it: " in detail


async def test_secret_that_expires_in_a_year(connection: Connection) -> None:
    connection.tenant.vault.secrets[MEMORY][-1].expires = time.time() + 365 * DAY
    detail = (await connection.test())[f"secret:{MEMORY}"].detail
    assert "in force, until " in detail


async def test_webhook_secret_that_is_being_rotated(connection: Connection) -> None:
    """The old version ends tomorrow, the new one holds: nothing is due."""
    connection.tenant.vault.secrets[WEBHOOK][-1].expires = time.time() + DAY
    connection.tenant.vault.put(WEBHOOK, f"whsec_{base64.b64encode(bytes(32)).decode()}")
    assert (await connection.test())[f"secret:{WEBHOOK}"].detail == "It is there and in force."


@pytest.mark.parametrize(
    ("name", "value", "settings"),
    [
        (WEBHOOK, "whsec_dG9vIHNob3J0", {}),
        (WEBHOOK, "no base64 !!", {}),
        (WEBHOOK, "fifteen letters", {"WEBHOOK_AUTH": "flare"}),
        (MEMORY, "c2hvcnQ=", {}),
        (MEMORY, "no base64 !!", {}),
    ],
)
async def test_secret_that_is_not_well_formed(
    connection: Connection, name: str, value: str, settings: dict[str, str]
) -> None:
    connection.tenant.vault.put(name, value)
    rows = await connection.test(**settings)
    assert troubles(rows) == {f"secret:{name}": "misconfigured"}
    row = rows[f"secret:{name}"]
    assert value not in row.detail
    assert "--rotate" in (row.fix or "")


async def test_flare_pastes_its_secret(connection: Connection) -> None:
    connection.tenant.vault.remove(WEBHOOK)
    row = (await connection.test(WEBHOOK_AUTH="flare"))[f"secret:{WEBHOOK}"]
    assert (row.fix or "").endswith(" --paste-webhook-secret")


async def test_one_app_registration_for_both_is_noticed(connection: Connection) -> None:
    connection.tenant.vault.remove(VALIDATION)
    rows = await connection.test(VALIDATION_CLIENT_ID="")
    assert troubles(rows) == {}
    assert "It is the one that reads the directory, too" in rows["validation-app"].detail
    assert CLIENT_ID != VALIDATION_CLIENT_ID
    assert CLIENT_SECRET not in str(rows)
