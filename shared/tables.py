"""One table of Table storage, with the few operations that the app needs.

As in `snapshots/blobs.py`: failures become `StorageUnavailable` with a sentence; "it is not there" and
"somebody was faster" are answers, not errors.

After a broken connection the SDK sends a request again. Its first try may have been stored, and then
"somebody was faster" was this very call: whoever must know puts a value of its own into the entity, and reads
it back.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.errors import StorageUnavailable

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient

type Value = str | bytes | int
type Entity = Mapping[str, Value]
"""`PartitionKey`, `RowKey`, and properties. A property holds at most `PROPERTY_BYTES` of bytes, half as many
characters of text, or an integer of 64 bits; all of them together at most 1 MiB."""

PROPERTY_BYTES = 64 * 1024
"""Source: https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model"""

_INT32 = range(-(2**31), 2**31)


class Row(NamedTuple):
    """The keys of an entity, and the ETag that it had when it was listed."""

    partition: str
    row: str
    etag: str


class Table:
    """A table. `client` is the SDK's; it is injected and closed by whoever made it."""

    def __init__(self, client: "TableClient") -> None:
        self._client = client
        self.name = str(client.table_name)

    async def ensure(self) -> None:
        """Create the table where nobody has; a deployment creates it up front and lets us only use it."""
        from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

        async with self._explained("create the table"):
            try:
                await self._client.get_entity("", "")
            except ResourceNotFoundError as error:
                if not _is_table_missing(error):
                    return
            try:
                await self._client.create_table()
            except ResourceExistsError:
                return

    async def get(self, partition: str, row: str) -> tuple[dict[str, Value], str] | None:
        """The entity with its keys, and its ETag; or None."""
        from azure.core.exceptions import ResourceNotFoundError

        async with self._explained("read an entity"):
            try:
                entity = await self._client.get_entity(partition, row)
            except ResourceNotFoundError as error:
                if _is_table_missing(error):
                    raise
                return None
            content = {name: _from_sdk(value) for name, value in entity.items()}
            return content, str(entity.metadata["etag"])

    async def insert(self, entity: Entity) -> str | None:
        """Store a new entity and return its ETag; None if there is one with these keys."""
        from azure.core.exceptions import ResourceExistsError

        async with self._explained("insert an entity"):
            try:
                answer = await self._client.create_entity(_to_sdk(entity))
            except ResourceExistsError:
                return None
            return str(answer["etag"])

    async def replace(self, entity: Entity, etag: str) -> str | None:
        """Store the whole entity in place of the one with this ETag and return the new ETag.

        None if somebody was faster: changed it, or deleted it.
        """
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        async with self._explained("replace an entity"):
            try:
                answer = await self._client.update_entity(
                    _to_sdk(entity), mode="replace", etag=etag, match_condition=MatchConditions.IfNotModified
                )
            except ResourceModifiedError:
                return None
            except ResourceNotFoundError as error:
                if _is_table_missing(error):
                    raise
                return None
            return str(answer["etag"])

    async def delete(self, partition: str, row: str, etag: str | None = None) -> bool:
        """Delete the entity, with `etag` only if it is still the stored one.

        False if somebody changed it. One that is gone already is deleted.
        """
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError

        condition: dict[str, Any] = (
            {} if etag is None else {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        )
        async with self._explained("delete an entity"):
            try:
                await self._client.delete_entity(partition, row, **condition)
            except ResourceModifiedError:
                return False
            return True

    async def older_than(self, moment: datetime, partition: str | None = None) -> AsyncIterator[Row]:
        """The entities that were last written before the moment, by the clock of Table storage.

        Reads the whole table, or the whole partition: there is no index on the time.
        """
        condition = "Timestamp lt @moment"
        parameters: dict[str, Any] = {"moment": moment}
        if partition is not None:
            condition = f"PartitionKey eq @partition and {condition}"
            parameters["partition"] = partition
        async with self._explained("list entities"):
            async for entity in self._client.query_entities(
                # The Timestamp is asked for since the ETag is made of it where the service gives none.
                condition,
                parameters=parameters,
                select=["PartitionKey", "RowKey", "Timestamp"],
            ):
                yield Row(entity["PartitionKey"], entity["RowKey"], str(entity.metadata["etag"]))

    @asynccontextmanager
    async def _explained(self, action: str) -> AsyncIterator[None]:
        from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

        try:
            yield
        except ClientAuthenticationError:
            raise StorageUnavailable(
                f"Storage refused the app's identity when it tried to {action} in table `{self.name}`. "
                "Check that the identity is assigned, and AZURE_CLIENT_ID."
            ) from None
        except HttpResponseError as error:
            code = _code(error)
            raise StorageUnavailable(
                f"Storage answered {error.status_code}{f' {code}' if code else ''} when the app tried to "
                f"{action} in table `{self.name}`. {_hint(error.status_code)}"
            ) from None
        except AzureError as error:
            raise StorageUnavailable(
                f"Storage is unreachable ({type(error).__name__}): could not {action} in table "
                f"`{self.name}`. Check DIRECTORY_STORAGE and the network."
            ) from None


def _to_sdk(entity: Entity) -> dict[str, Any]:
    """The SDK takes an integer of more than 32 bits only with its type."""
    from azure.data.tables import EdmType, EntityProperty

    return {
        name: EntityProperty(value, EdmType.INT64)
        if isinstance(value, int) and value not in _INT32
        else value
        for name, value in entity.items()
    }


def _from_sdk(value: Any) -> Value:
    return int(value.value) if hasattr(value, "edm_type") else value


def _code(error: Exception) -> str | None:
    """The service's word for a fault. The SDK decodes it for some operations only."""
    code = getattr(error, "error_code", None) or _header_of_answer(error)
    return str(getattr(code, "value", code)) if code else None


def _header_of_answer(error: Exception) -> str | None:
    response = getattr(error, "response", None)
    return response.headers.get("x-ms-error-code") if response is not None else None


def _is_table_missing(error: Exception) -> bool:
    return _code(error) == "TableNotFound"


def _hint(status: int | None) -> str:
    """What to do about a status of Table storage."""
    if status == 403:
        return "Grant the app's identity Storage Table Data Contributor on it."
    if status == 404:
        return "Deploy the table, or check DIRECTORY_STORAGE."
    if status in (408, 429) or (status is not None and status >= 500):
        return "It will be tried again."
    return "Check DIRECTORY_STORAGE."
