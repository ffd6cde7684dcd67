"""Everything as it should be: in a tenant with nothing in it, in one with people, for other settings."""

import asyncio

import pytest
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates, make_client_certificate
from sandbox.tenant import MANAGED_IDENTITY_CLIENT_ID, generate
from tests.connection.conftest import Connection, troubles

INVENTORY = {
    "settings",
    "container:directory",
    "container:sync-state",
    "queue:directory-sync",
    "graph-sign-in",
    "users",
    "groups",
    "memberships",
    "hidden-members",
    "deleted-users",
    "leave-date",
    "registration-report",
    "authentication-methods",
}
SIGN_IN_BY_SECRET = {"key-vault", "secret:entra-client-secret"}
VALIDATION = {
    "key-vault",
    "secret:webhook-secret",
    "secret:credential-memory-key",
    "secret:validation-client-secret",
    "container:audit",
    "table:validationusers",
    "table:validationbudget",
    "table:webhookrequests",
    "domains",
    "lockout-policy",
    "validation-app",
}


async def test_empty_tenant(connection: Connection) -> None:
    rows = await connection.test()
    assert troubles(rows) == {}
    assert rows.keys() == INVENTORY | SIGN_IN_BY_SECRET | VALIDATION
    assert "There is no user to ask about" in rows["authentication-methods"].detail


async def test_tenant_with_people(connection: Connection) -> None:
    connection.tenant.directory = generate(users=30, seed=5)
    group = next(iter(connection.tenant.directory.groups))
    rows = await connection.test(
        DIRECTORY_DATASETS="users,groups,memberships,authentication,sign-in", VALIDATION_EXCLUDED_GROUP=group
    )
    assert troubles(rows) == {}
    assert rows.keys() == INVENTORY | SIGN_IN_BY_SECRET | VALIDATION | {"sign-in-activity", "excluded-group"}
    assert group in rows["excluded-group"].detail
    assert connection.tenant.requests_to("/authentication/methods")


async def test_what_the_settings_do_not_ask_for_has_no_row(connection: Connection) -> None:
    rows = await connection.test(VALIDATION_ENABLED="false", DIRECTORY_DATASETS="users,groups,memberships")
    assert troubles(rows) == {}
    assert rows.keys() == (INVENTORY | SIGN_IN_BY_SECRET) - {"registration-report", "authentication-methods"}


async def test_inventory_by_managed_identity_needs_no_vault(connection: Connection) -> None:
    rows = await connection.test(
        ENTRA_CREDENTIAL="managed-identity",
        AZURE_CLIENT_ID=MANAGED_IDENTITY_CLIENT_ID,
        VALIDATION_ENABLED="false",
        KEY_VAULT_URL="",
    )
    assert troubles(rows) == {}
    assert rows.keys() == INVENTORY
    assert not connection.tenant.requests_to("/secrets/")


async def test_federated(connection: Connection) -> None:
    rows = await connection.test(
        ENTRA_CREDENTIAL="federated", AZURE_CLIENT_ID=MANAGED_IDENTITY_CLIENT_ID, VALIDATION_ENABLED="false"
    )
    assert troubles(rows) == {}


async def test_certificate(
    connection: Connection, certificates: ServerCertificates, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from cryptography import x509

    pem = make_client_certificate(tmp_path_factory.mktemp("client")).read_bytes()
    connection.app.certificates.append(x509.load_pem_x509_certificate(pem))
    connection.tenant.vault.put("entra-client-certificate", pem.decode())
    rows = await connection.test(ENTRA_CREDENTIAL="certificate")
    assert troubles(rows) == {}
    assert "secret:entra-client-certificate" in rows
    assert "secret:entra-client-secret" not in rows


async def test_entra_token_needs_no_webhook_secret(connection: Connection) -> None:
    connection.tenant.vault.secrets.pop("webhook-secret")
    rows = await connection.test(
        WEBHOOK_AUTH="entra-token", WEBHOOK_AUDIENCE="api://x", WEBHOOK_ROLE="Credentials.Validate"
    )
    assert troubles(rows) == {}
    assert "secret:webhook-secret" not in rows


async def test_broader_permission_does(connection: Connection) -> None:
    connection.app.permissions -= {"User.Read.All", "GroupMember.Read.All", "Group.Read.All"}
    connection.app.permissions -= {"Domain.Read.All", "GroupSettings.Read.All"}
    connection.app.permissions.add("Directory.Read.All")
    rows = await connection.test()
    assert troubles(rows) == {}
    assert rows["lockout-policy"].detail == "Graph lets the app read it."


async def test_nothing_is_left_behind(connection: Connection, account: StorageAccount) -> None:
    """Also when two people press the button at once."""
    await asyncio.gather(*(connection.test() for _ in range(4)))
    assert {row.status for row in connection.told} == {"ok"}
    async with BlobServiceClient.from_connection_string(account.connection_string) as blobs:
        containers = [each.name async for each in blobs.list_containers()]
        assert sorted(containers) == ["audit", "directory", "sync-state"]
        for name in containers:
            assert [each async for each in blobs.get_container_client(name).list_blobs()] == []
    async with QueueServiceClient.from_connection_string(account.connection_string) as queues:
        assert [each.name async for each in queues.list_queues()] == ["directory-sync"]
        properties = await queues.get_queue_client("directory-sync").get_queue_properties()
        assert properties.approximate_message_count == 0
    async with TableServiceClient.from_connection_string(account.connection_string) as tables:
        names = [each.name async for each in tables.list_tables()]
        assert sorted(names) == ["validationbudget", "validationusers", "webhookrequests"]
        for name in names:
            assert [each async for each in tables.get_table_client(name).list_entities()] == []


async def test_messages_of_a_run_are_left_alone(connection: Connection, account: StorageAccount) -> None:
    await connection.test()
    async with QueueServiceClient.from_connection_string(account.connection_string) as queues:
        queue = queues.get_queue_client("directory-sync")
        await queue.send_message("of a run")
        assert (await connection.test())["queue:directory-sync"].status == "ok"
        (message,) = [each async for each in queue.receive_messages()]
        assert (message.content, message.dequeue_count) == ("of a run", 1)


async def test_no_password_is_tried(connection: Connection) -> None:
    connection.tenant.directory = generate(users=3, seed=5)
    await connection.test()
    assert connection.tenant.sign_ins == []
