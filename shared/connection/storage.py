"""Storage: what the app does with each container, queue and table, done once with something harmless.

    container   a blob is written, read and deleted, under `connection-test/`
    audit       a block is appended, read and deleted; an immutable container keeps it, which is no fault, so
                there is one blob a day
    queue       a message is put, invisible for a minute, and deleted by the receipt of its putting. Should
                the app die in between, the message expires a second after it can be seen; and it is a step
                of no run, which ends quietly
    table       an entity is inserted and deleted, in a partition of its own

What is missing is made, as the app itself does at its first run or call: a laptop's storage begins empty. In
Azure the deployment has made it, and the app may only use it.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, override

from shared.connection.commands import Commands
from shared.connection.faults import ASK_AGAIN
from shared.connection.interface import Check, Finding, Row, ok

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError
    from azure.data.tables.aio import TableClient
    from azure.storage.blob.aio import BlobClient, ContainerClient
    from azure.storage.queue.aio import QueueClient

PROBE = "connection-test"
CONTENT = b"Written by the Test connector. It may be deleted.\n"
INVISIBLE_SECONDS = 60

MISSING = ("ContainerNotFound", "QueueNotFound", "TableNotFound")
FIREWALL = "AuthorizationFailure"
"""403 for the account's network rules, when the app comes with a token."""
NO_ROLE = ("AuthorizationPermissionMismatch", "InsufficientAccountPermissions")
SIGNATURE_ALLOWS_LESS = (
    "AuthorizationPermissionMismatch",
    "AuthorizationResourceTypeMismatch",
    "AuthorizationServiceMismatch",
)
"""With a shared access signature in the connection string."""
IMMUTABLE = "BlobImmutableDueToPolicy"

Kind = Literal["containers", "queues", "tables"]
ROLES: dict[Kind, str] = {
    "containers": "Storage Blob Data Contributor",
    "queues": "Storage Queue Data Contributor",
    "tables": "Storage Table Data Contributor",
}


@dataclass(kw_only=True)
class StorageCheck(Check):
    """What the checks of storage have in common: make what is missing, and explain what is refused."""

    name: str
    kind: Kind
    commands: Commands

    async def tried(
        self, work: Callable[[], Awaitable[str]], make: Callable[[], Awaitable[object]]
    ) -> Finding:
        """The finding of this work, which returns what to say of its success."""
        from azure.core.exceptions import AzureError, ResourceExistsError

        try:
            return ok(await work())
        except AzureError as error:
            if _code(error) not in MISSING:
                return self.explained(error)
        try:
            with suppress(ResourceExistsError):  # somebody else was faster
                await make()
            return ok(await work())
        except AzureError as error:
            refused = self.explained(error)
        return Finding(
            "misconfigured",
            f"{self._what} is missing, and the app could not make it. {refused.detail}",
            self._deploy,
        )

    def explained(self, error: "AzureError") -> Finding:
        """What a refusal means. The error's own text may quote the request, so it is not told."""
        from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

        by_key = self.commands.settings.storage.connection_string is not None
        code = _code(error)
        if isinstance(error, ClientAuthenticationError) and not _is_answer_of_storage(error):
            return Finding(
                "misconfigured",
                "The app's own identity gave no token for storage.",
                "Assign a managed identity to the app, and set AZURE_CLIENT_ID to its client id; on a "
                "laptop, run `az login`.",
            )
        status = error.status_code if isinstance(error, HttpResponseError) else None
        if status is None:
            return Finding(
                "unreachable",
                f"Storage does not answer ({type(error).__name__}).",
                "Check DIRECTORY_STORAGE, name resolution, and the network between the app and the account.",
            )
        said = f"Storage answers {status}{f' {code}' if code else ''} for {self._what.lower()}."
        if code in MISSING:
            return Finding("misconfigured", said, self._deploy)
        if by_key and status in (401, 403):
            return self._refused_by_key(code, said)
        if status == 403 and code == FIREWALL:
            return Finding(
                "unreachable",
                f"{said} Its network rules do not let the app in.",
                f"az storage account network-rule add --account-name {self.commands.account} "
                "--subnet <subnet of the app>",
            )
        if status == 403 and code in NO_ROLE:
            role = ROLES[self.kind]
            return Finding(
                "missing-permission",
                f"{said} The app's own identity lacks the role {role} on it.",
                self.commands.role_on_storage(role, self.kind, self.name),
            )
        if status in (408, 429) or status >= 500:
            return Finding("unreachable", said, ASK_AGAIN)
        return Finding("misconfigured", said, "Check DIRECTORY_STORAGE and AZURE_CLIENT_ID.")

    def _refused_by_key(self, code: str, said: str) -> Finding:
        if code in SIGNATURE_ALLOWS_LESS:
            return Finding(
                "missing-permission",
                f"{said} The shared access signature in DIRECTORY_STORAGE does not allow it.",
                "Set DIRECTORY_STORAGE__…ServiceUri in its place, or take a signature that allows it.",
            )
        return Finding(
            "misconfigured",
            f"{said} The connection string in DIRECTORY_STORAGE is refused.",
            "Set DIRECTORY_STORAGE__…ServiceUri in its place, or copy the connection string anew.",
        )

    @property
    def _what(self) -> str:
        return f"{self.kind[:-1].capitalize()} `{self.name}`"

    @property
    def _deploy(self) -> str:
        service = {"containers": "container", "queues": "queue", "tables": "table"}[self.kind]
        return (
            f"az storage {service} create --name {self.name} --account-name {self.commands.account} "
            "--auth-mode login"
        )


@dataclass(kw_only=True)
class ContainerCheck(StorageCheck):
    """Write, read and delete a blob."""

    kind: Kind = "containers"
    permission: str | None = ROLES["containers"]
    client: Callable[[str], "ContainerClient"]

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        client = self.client(self.name)
        path = f"{PROBE}/{uuid.uuid4()}.txt"

        async def work() -> str:
            await client.upload_blob(path, CONTENT)
            await (await client.download_blob(path)).readall()
            await client.delete_blob(path)
            return "A blob was written, read and deleted."

        return await self.tried(work, client.create_container)


@dataclass(kw_only=True)
class AuditCheck(StorageCheck):
    """Append to a blob and read it. It is deleted where that is allowed."""

    kind: Kind = "containers"
    permission: str | None = ROLES["containers"]
    client: Callable[[str], "ContainerClient"]

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        client = self.client(self.name)
        path = f"{PROBE}/{datetime.now(UTC):%Y-%m-%d}.txt"

        async def append(blob: "BlobClient") -> None:
            try:
                await blob.append_block(CONTENT)
            except ResourceNotFoundError as error:
                if _code(error) != "BlobNotFound":
                    raise
                await blob.create_append_blob()
                await append(blob)  # and once more, if another test deletes it in between

        async def work() -> str:
            blob = client.get_blob_client(path)
            await append(blob)
            try:
                with suppress(ResourceNotFoundError):  # deleted by another test
                    await (await blob.download_blob()).readall()
                    await blob.delete_blob()
            except HttpResponseError as error:
                if _code(error) != IMMUTABLE:
                    raise
                return "A block was appended and read. It stays: the container is immutable."
            return "A block was appended, read and deleted."

        return await self.tried(work, client.create_container)


@dataclass(kw_only=True)
class QueueCheck(StorageCheck):
    """Put a message that nobody sees, peek, and delete the message."""

    kind: Kind = "queues"
    permission: str | None = ROLES["queues"]
    client: Callable[[str], "QueueClient"]

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        import msgspec
        from azure.core.exceptions import DecodeError

        from shared.directory.steps import Step

        client = self.client(self.name)
        step_of_no_run = msgspec.json.encode(Step(run_id=PROBE, action="publish"))

        async def work() -> str:
            message = await client.send_message(
                step_of_no_run, visibility_timeout=INVISIBLE_SECONDS, time_to_live=INVISIBLE_SECONDS + 1
            )
            with suppress(DecodeError):  # a message that somebody else put there
                await client.peek_messages()
            await client.delete_message(message)
            return "A message was put out of sight and deleted; others were peeked at."

        return await self.tried(work, client.create_queue)


@dataclass(kw_only=True)
class TableCheck(StorageCheck):
    """Insert and delete an entity."""

    kind: Kind = "tables"
    permission: str | None = ROLES["tables"]
    client: Callable[[str], "TableClient"]

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        client = self.client(self.name)
        keys = {"PartitionKey": PROBE, "RowKey": str(uuid.uuid4())}

        async def work() -> str:
            await client.create_entity(keys)
            await client.get_entity(keys["PartitionKey"], keys["RowKey"])
            await client.delete_entity(keys["PartitionKey"], keys["RowKey"])
            return "An entity was inserted, read and deleted."

        return await self.tried(work, client.create_table)


def _code(error: Exception) -> str:
    """Storage's word for it, or blank. The SDKs decode it for some operations only."""
    code = getattr(error, "error_code", None)
    response = getattr(error, "response", None)
    if code is None and response is not None:
        code = response.headers.get("x-ms-error-code")
    return str(getattr(code, "value", code) or "")


def _is_answer_of_storage(error: Exception) -> bool:
    response = getattr(error, "response", None)
    return response is not None and "x-ms-version" in response.headers
