"""Storage: what a real account refuses, what is missing, and what is away."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.storage.blob import (
    AccountSasPermissions,
    ResourceTypes,
    Services,
    generate_account_sas,
)
from azure.storage.blob.aio import ContainerClient

from sandbox.azurite import StorageAccount
from shared.config import Settings
from shared.connection.commands import Commands
from shared.connection.interface import Finding
from shared.connection.storage import (
    AuditCheck,
    ContainerCheck,
    Kind,
    QueueCheck,
    StorageCheck,
    TableCheck,
)
from tests.connection.conftest import Connection, Rows, troubles
from tests.connection.silence import silent_port

STORAGE = {
    "container:directory",
    "container:sync-state",
    "container:audit",
    "queue:directory-sync",
    "table:validationusers",
    "table:validationbudget",
    "table:webhookrequests",
}
OTHER_KEY = "A" * 86 + "=="


def statuses(rows: Rows) -> set[str]:
    assert troubles(rows).keys() == STORAGE
    return set(troubles(rows).values())


def with_signature(account: StorageAccount, permissions: str, types: str = "sco") -> str:
    """A connection string with a shared access signature."""
    signature = generate_account_sas(
        account.name,
        account.key,
        ResourceTypes.from_string(types),  # type: ignore[no-untyped-call]
        AccountSasPermissions.from_string(permissions),  # type: ignore[no-untyped-call]
        datetime.now(UTC) + timedelta(hours=1),
        services=Services.from_string("bqt"),  # type: ignore[no-untyped-call]
    )
    return (
        f"BlobEndpoint={account.blob_uri};QueueEndpoint={account.queue_uri};"
        f"TableEndpoint={account.table_uri};SharedAccessSignature={signature}"
    )


async def test_wrong_key(connection: Connection, account: StorageAccount) -> None:
    wrong = account.connection_string.replace(account.key, OTHER_KEY)
    rows = await connection.test(DIRECTORY_STORAGE=wrong)
    assert statuses(rows) == {"misconfigured"}
    for name in STORAGE:
        assert "connection string in DIRECTORY_STORAGE is refused" in rows[name].detail
        assert OTHER_KEY not in rows[name].detail


async def test_signature_that_may_only_read(connection: Connection, account: StorageAccount) -> None:
    rows = await connection.test(DIRECTORY_STORAGE=with_signature(account, "rl"))
    assert statuses(rows) == {"missing-permission"}


async def test_what_is_missing_and_cannot_be_made(connection: Connection, account: StorageAccount) -> None:
    """A signature for what is inside, not for containers, queues and tables themselves."""
    rows = await connection.test(DIRECTORY_STORAGE=with_signature(account, "rwdlacup", types="o"))
    assert troubles(rows)["container:directory"] == troubles(rows)["container:audit"] == "misconfigured"
    assert "az storage container create --name directory" in (rows["container:directory"].fix or "")
    assert "could not make it" in rows["container:directory"].detail


async def test_blobs_that_may_not_be_deleted(connection: Connection, account: StorageAccount) -> None:
    await connection.test()
    rows = await connection.test(DIRECTORY_STORAGE=with_signature(account, "rwlacup"))
    assert rows["container:directory"].status == "missing-permission"


async def test_account_that_does_not_exist(connection: Connection, account: StorageAccount) -> None:
    nowhere = account.connection_string.replace(account.blob_uri, f"http://127.0.0.1:9/{account.name}")
    rows = await connection.test(DIRECTORY_STORAGE=nowhere)
    assert troubles(rows) == dict.fromkeys(
        ("container:directory", "container:sync-state", "container:audit"), "unreachable"
    )


async def test_account_that_says_nothing(connection: Connection, account: StorageAccount) -> None:
    async with silent_port() as port:
        silent = account.connection_string.replace(account.queue_uri, f"http://127.0.0.1:{port}/q")
        connection.deadline_seconds = 5.0
        rows = await connection.test(DIRECTORY_STORAGE=silent)
    assert troubles(rows) == {"queue:directory-sync": "unreachable"}
    assert "No answer" in rows["queue:directory-sync"].detail


async def test_without_a_uri_for_tables(connection: Connection, account: StorageAccount) -> None:
    connection.deadline_seconds = 1.0
    rows = await connection.test(
        DIRECTORY_STORAGE="",
        DIRECTORY_STORAGE__blobServiceUri="https://127.0.0.1:9/acme",
        DIRECTORY_STORAGE__queueServiceUri="https://127.0.0.1:9/acme",
    )
    assert rows["table:validationusers"].status == "misconfigured"
    assert "tableServiceUri" in rows["table:validationusers"].detail


# --- what Azurite does not answer: roles, network rules, immutable containers ---------------------------


class Answer:
    """As much of the SDK's response as is looked at."""

    def __init__(self, code: str) -> None:
        self.headers = {"x-ms-version": "2025-01-05", "x-ms-error-code": code}
        self.reason = "secret detail"
        self.status_code = 403


def refusal(status: int, code: str, kind: type[HttpResponseError] = HttpResponseError) -> HttpResponseError:
    error = kind("secret detail")
    error.status_code = status
    error.response = Answer(code)  # type: ignore[assignment]
    return error


BY_IDENTITY = {
    "ENTRA_TENANT_ID": "0c1f6b0e-5a7d-4c52-9a35-6f1d2b9c7e10",
    "ENTRA_CREDENTIAL": "managed-identity",
    "AZURE_CLIENT_ID": "3d9e5c84-6f20-4a7b-b1d3-8c5e7a9f1b22",
    "DIRECTORY_STORAGE__blobServiceUri": "https://acme.blob.core.windows.net",
    "DIRECTORY_STORAGE__queueServiceUri": "https://acme.queue.core.windows.net",
}


def check(kind: Kind, settings: Mapping[str, str] = BY_IDENTITY) -> StorageCheck:
    common: dict[str, Any] = {
        "capability": "x",
        "name": "things",
        "client": None,
        "commands": Commands(Settings.from_environment(settings)),
    }
    made: dict[Kind, type[StorageCheck]] = {
        "containers": ContainerCheck,
        "queues": QueueCheck,
        "tables": TableCheck,
    }
    return made[kind](**common)


def told(error: AzureError, kind: Kind = "containers") -> Finding:
    finding = check(kind).explained(error)
    assert "secret" not in finding.detail
    assert finding.fix
    return finding


@pytest.mark.parametrize(
    ("kind", "role", "scope"),
    [
        ("containers", "Storage Blob Data Contributor", "/blobServices/default/containers/things"),
        ("queues", "Storage Queue Data Contributor", "/queueServices/default/queues/things"),
        ("tables", "Storage Table Data Contributor", "/tableServices/default/tables/things"),
    ],
)
def test_role_that_is_missing(kind: Kind, role: str, scope: str) -> None:
    finding = told(refusal(403, "AuthorizationPermissionMismatch"), kind)
    assert finding.status == "missing-permission"
    assert finding.fix == (
        f'az role assignment create --assignee 3d9e5c84-6f20-4a7b-b1d3-8c5e7a9f1b22 --role "{role}" --scope '
        f'"$(az storage account show --name acme --query id --output tsv){scope}"'
    )


@pytest.mark.parametrize(
    ("error", "status", "fix"),
    [
        (refusal(403, "AuthorizationFailure"), "unreachable", "network-rule add --account-name acme"),
        (refusal(404, "TableNotFound"), "misconfigured", "az storage table create --name things"),
        (refusal(401, "InvalidAuthenticationInfo", ClientAuthenticationError), "misconfigured", "CLIENT_ID"),
        (refusal(503, "ServerBusy"), "unreachable", "again"),
        (refusal(429, "TooManyRequests"), "unreachable", "again"),
        (refusal(400, "InvalidUri"), "misconfigured", "DIRECTORY_STORAGE"),
        (ClientAuthenticationError("secret detail"), "misconfigured", "AZURE_CLIENT_ID"),
        (AzureError("secret detail"), "unreachable", "network"),
    ],
)
def test_refusals_are_told_apart(error: AzureError, status: str, fix: str) -> None:
    finding = told(error, "tables")
    assert finding.status == status
    assert fix in (finding.fix or "")


async def test_immutable_container_keeps_the_block(account: StorageAccount) -> None:
    """Azurite knows no immutability, so the deletion alone is refused here."""

    class Immutable(ContainerClient):
        def get_blob_client(self, *args: Any, **options: Any) -> Any:
            blob = super().get_blob_client(*args, **options)

            async def delete_blob() -> None:
                raise refusal(409, "BlobImmutableDueToPolicy")

            blob.delete_blob = delete_blob  # type: ignore[method-assign, assignment]
            return blob

    async with Immutable.from_connection_string(account.connection_string, "audit") as client:
        audit = AuditCheck(
            capability="x",
            name="audit",
            client=lambda _: client,
            commands=Commands(Settings.from_environment(BY_IDENTITY)),
        )
        for _ in range(3):
            finding = await audit.run({})
            assert (finding.status, "immutable" in finding.detail) == ("ok", True)
        # One blob a day, however often it is tried.
        assert len([name async for name in client.list_blob_names()]) == 1
