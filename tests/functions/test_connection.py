"""The Test connector in Microsoft's worker: 200 and rows, whatever works and whatever does not."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates
from sandbox.tenant import CLIENT_ID, TENANT_ID, Tenant, TenantServer
from sandbox.tenant.configuration import CLIENT_SECRET, IDENTITY_HEADER, VALIDATION_CLIENT_ID
from tests.support.tls import serving
from tests.worker.run import run_app

CALL = {
    "function": "connection_test",
    "http": {"method": "GET", "url": "https://app.example/api/connection", "body": ""},
}
ROW = ["capability", "permission", "status", "detail", "fix"]


def rows_of(outcome: dict[str, Any]) -> dict[str, dict[str, Any]]:
    assert outcome["status"] == 200, outcome
    assert outcome["headers"]["content-type"].startswith("application/json")
    document = json.loads(outcome["body"])
    assert list(document) == ["capabilities"]
    for row in document["capabilities"]:
        assert list(row) == ROW
    return {row["capability"]: row for row in document["capabilities"]}


@pytest.fixture
async def served(
    certificates: ServerCertificates, account: StorageAccount
) -> AsyncIterator[tuple[Tenant, dict[str, str]]]:
    """An empty tenant over TLS, and the settings that lead to it."""
    context = serving(certificates)
    tenant = Tenant()
    tenant.clients[CLIENT_ID].permissions.add("Domain.Read.All")
    async with TenantServer(tenant, context) as server:
        yield (
            tenant,
            {
                "ENTRA_TENANT_ID": TENANT_ID,
                "ENTRA_CLIENT_ID": CLIENT_ID,
                "VALIDATION_CLIENT_ID": VALIDATION_CLIENT_ID,
                "KEY_VAULT_URL": server.url,
                "AZURE_AUTHORITY_HOST": server.url,
                "GRAPH_ENDPOINT": server.url,
                "IDENTITY_ENDPOINT": f"{server.url}/msi/token",
                "IDENTITY_HEADER": IDENTITY_HEADER,
                "DIRECTORY_STORAGE": account.connection_string,
                **certificates.environment,
            },
        )


async def test_all_is_well(served: tuple[Tenant, dict[str, str]], account: StorageAccount) -> None:
    _, environment = served
    report = await run_app([CALL, {**CALL, "after": True}], environment)
    for outcome in report.outcomes:
        rows = rows_of(outcome)
        assert {name: row for name, row in rows.items() if row["status"] != "ok"} == {}
        assert {"settings", "key-vault", "users", "memberships", "validation-app"} <= rows.keys()
        assert all(row["fix"] is None for row in rows.values())
    assert "connection tested: all is ok" in report.log
    for secret in (CLIENT_SECRET, account.key):
        assert secret not in report.log + json.dumps(report.outcomes)


async def test_permission_that_is_missing(served: tuple[Tenant, dict[str, str]]) -> None:
    tenant, environment = served
    tenant.clients[CLIENT_ID].permissions.discard("AuditLog.Read.All")
    (outcome,) = (await run_app([CALL], environment)).outcomes
    (row,) = [row for row in rows_of(outcome).values() if row["status"] != "ok"]
    assert (row["capability"], row["status"]) == ("registration-report", "missing-permission")
    assert row["permission"] == "AuditLog.Read.All"
    assert "infra/grant-permissions.sh" in row["fix"]


async def test_settings_that_are_wrong() -> None:
    (outcome,) = (await run_app([CALL], {"ENTRA_TENANT_ID": "contoso.com"})).outcomes
    rows = rows_of(outcome)
    assert {row["status"] for row in rows.values()} == {"misconfigured"}
    assert "ENTRA_TENANT_ID is not a GUID" in rows["settings"]["detail"]
