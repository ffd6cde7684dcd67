"""One table of a real store: conditional writes, and a sentence for each way in which it may refuse."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError
from azure.data.tables.aio import TableServiceClient

from sandbox.azurite import StorageAccount
from shared.errors import StorageUnavailable
from shared.tables import PROPERTY_BYTES, Table, Value

KEYS: dict[str, Value] = {"PartitionKey": "p", "RowKey": "r"}
DAY = timedelta(days=1)


@pytest.fixture
async def service(account: StorageAccount) -> AsyncIterator[TableServiceClient]:
    async with TableServiceClient.from_connection_string(account.connection_string) as client:
        yield client


@pytest.fixture
async def table(service: TableServiceClient) -> Table:
    made = Table(service.get_table_client("things"))
    await made.ensure()
    return made


async def test_ensure_may_be_repeated(table: Table) -> None:
    await table.ensure()
    assert table.name == "things"


async def test_what_is_inserted_is_read(table: Table) -> None:
    entity = KEYS | {
        "text": "é'\n",
        "none": "",
        "bytes": bytes(range(256)),
        "nothing": b"",
        "small": -(2**31),
        "large": 2**40,
        "largest": 2**63 - 1,
        "full": b"\xff" * PROPERTY_BYTES,
    }
    etag = await table.insert(entity)
    assert await table.get("p", "r") == (entity, etag)
    assert await table.get("p", "other") is None


async def test_insert_only_if_there_is_none(table: Table) -> None:
    assert await table.insert(KEYS | {"n": 1})
    assert await table.insert(KEYS | {"n": 2}) is None
    read = await table.get("p", "r")
    assert read is not None
    assert read[0]["n"] == 1


async def test_replace_only_what_is_still_the_same(table: Table) -> None:
    first = await table.insert(KEYS | {"n": 1, "old": "x"})
    assert first
    second = await table.replace(KEYS | {"n": 2}, first)
    assert second not in (None, first)
    assert await table.replace(KEYS | {"n": 3}, first) is None
    assert await table.get("p", "r") == (KEYS | {"n": 2}, second)


async def test_replace_of_what_is_gone(table: Table) -> None:
    etag = await table.insert(KEYS)
    assert etag
    await table.delete("p", "r")
    assert await table.replace(KEYS, etag) is None
    assert await table.get("p", "r") is None


async def test_delete(table: Table) -> None:
    first = await table.insert(KEYS)
    assert first
    second = await table.replace(KEYS | {"n": 1}, first)
    assert not await table.delete("p", "r", first)
    assert await table.get("p", "r")
    assert await table.delete("p", "r", second)
    assert await table.get("p", "r") is None
    assert await table.delete("p", "r", second)
    assert await table.delete("p", "r")


@pytest.mark.parametrize("racers", [2, 8])
async def test_one_of_several_wins(table: Table, racers: int) -> None:
    inserted = await asyncio.gather(*(table.insert(KEYS | {"n": n}) for n in range(racers)))
    (etag,) = [etag for etag in inserted if etag]
    replaced = await asyncio.gather(*(table.replace(KEYS | {"m": n}, etag) for n in range(racers)))
    assert sum(etag is not None for etag in replaced) == 1


async def test_older_than(table: Table) -> None:
    etags = {
        (partition, row): await table.insert({"PartitionKey": partition, "RowKey": row, "n": 1})
        for partition in ("p", "it's")
        for row in ("1", "2")
    }
    now = datetime.now(UTC)
    assert [row async for row in table.older_than(now - DAY)] == []
    assert {(row.partition, row.row): row.etag async for row in table.older_than(now + DAY)} == etags
    assert [row.row async for row in table.older_than(now + DAY, "it's")] == ["1", "2"]
    assert [row async for row in table.older_than(now - DAY, "it's")] == []


async def test_what_was_listed_is_deleted_only_if_it_is_still_the_same(table: Table) -> None:
    await table.insert(KEYS)
    (listed,) = [row async for row in table.older_than(datetime.now(UTC) + DAY)]
    assert await table.replace(KEYS | {"n": 1}, listed.etag)
    assert not await table.delete(*listed)
    (listed,) = [row async for row in table.older_than(datetime.now(UTC) + DAY)]
    assert await table.delete(*listed)


async def test_table_that_is_not_there(service: TableServiceClient) -> None:
    """A missing entity is an answer; a missing table is a deployment that is not finished."""
    absent = Table(service.get_table_client("absent"))
    for call in (absent.get("p", "r"), absent.insert(KEYS), absent.replace(KEYS, 'W/"x"')):
        with pytest.raises(StorageUnavailable, match=r"404 TableNotFound .* table `absent`\. Deploy"):
            await call


def refusal(status: int) -> HttpResponseError:
    error = HttpResponseError("secret detail")
    error.status_code = status
    return error


class Refusing:
    """An SDK client whose every call fails alike."""

    table_name = "things"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        async def call(*_: Any, **__: Any) -> None:
            raise self._error

        async def listing(*_: Any, **__: Any) -> AsyncIterator[None]:
            await call()
            yield

        return listing if name == "query_entities" else call


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (refusal(403), "Grant the app's identity Storage Table Data Contributor"),
        (refusal(503), "It will be tried again"),
        (refusal(400), "Check DIRECTORY_STORAGE"),
        (ClientAuthenticationError("secret detail"), "Check that the identity is assigned"),
        (ServiceRequestError("secret detail"), "Storage is unreachable (ServiceRequestError)"),
    ],
)
async def test_refusals_are_explained_without_what_the_sdk_quotes(error: Exception, sentence: str) -> None:
    table = Table(Refusing(error))  # type: ignore[arg-type]

    async def listed() -> None:
        assert [row async for row in table.older_than(datetime.now(UTC))]

    for call in (
        table.get("p", "r"),
        table.insert(KEYS),
        table.replace(KEYS, "etag"),
        table.delete("p", "r"),
        table.ensure(),
        listed(),
    ):
        with pytest.raises(StorageUnavailable) as raised:
            await call
        assert sentence in str(raised.value)
        assert "`things`" in str(raised.value)
        assert "secret" not in str(raised.value)
