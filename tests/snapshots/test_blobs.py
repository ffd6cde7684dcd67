"""One container of a real store: conditional writes, and a sentence for each way in which it may refuse."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ServiceRequestError,
)
from azure.storage.blob.aio import BlobServiceClient

from sandbox.azurite import StorageAccount
from shared.errors import StorageUnavailable
from shared.snapshots.blobs import DELETED_AT_ONCE, BlobContainer


@pytest.fixture
async def service(account: StorageAccount) -> AsyncIterator[BlobServiceClient]:
    async with BlobServiceClient.from_connection_string(account.connection_string) as client:
        yield client


@pytest.fixture
async def container(service: BlobServiceClient) -> BlobContainer:
    made = BlobContainer(service.get_container_client("directory"))
    await made.ensure()
    return made


async def test_ensure_may_be_repeated(container: BlobContainer) -> None:
    await container.ensure()
    assert container.name == "directory"
    assert [name async for name in container.names("")] == []


async def test_what_is_written_is_read(container: BlobContainer) -> None:
    content = bytes(range(256)) * 10
    etag = await container.write("a/b.bin", content, content_type="application/gzip")
    assert await container.read("a/b.bin") == content
    assert await container.read_with_etag("a/b.bin") == (content, etag)
    assert await container.read_range("a/b.bin", 10, 5) == content[10:15]
    assert await container.read("a/c.bin") is None
    assert await container.read_with_etag("a/c.bin") is None


async def test_content_type_is_stored(container: BlobContainer, service: BlobServiceClient) -> None:
    await container.write("a.gz", b"x", content_type="application/gzip")
    await container.write("a.json", b"{}")
    client = service.get_container_client("directory")
    types = [
        (await client.get_blob_client(name).get_blob_properties()).content_settings.content_type
        for name in ("a.gz", "a.json")
    ]
    assert types == ["application/gzip", "application/json"]


async def test_write_only_if_there_is_none(container: BlobContainer) -> None:
    assert await container.write("a", b"1", new=True)
    assert await container.write("a", b"2", new=True) is None
    assert await container.read("a") == b"1"


async def test_write_only_if_it_is_still_the_same(container: BlobContainer) -> None:
    first = await container.write("a", b"1")
    second = await container.write("a", b"2", etag=first)
    assert second not in (None, first)
    assert await container.write("a", b"3", etag=first) is None
    assert await container.read("a") == b"2"


async def test_conditional_write_of_a_blob_that_is_gone(
    container: BlobContainer, service: BlobServiceClient
) -> None:
    etag = await container.write("a", b"1")
    await service.get_blob_client("directory", "a").delete_blob()
    assert await container.write("a", b"2", etag=etag) is None
    assert await container.read("a") is None


async def test_write_without_condition_replaces(container: BlobContainer) -> None:
    await container.write("a", b"1")
    assert await container.write("a", b"2") is not None
    assert await container.read("a") == b"2"


async def test_names_under_a_prefix(container: BlobContainer) -> None:
    for name in ("a/1", "a/2", "b/1"):
        await container.write(name, b"")
    assert [name async for name in container.names("a/")] == ["a/1", "a/2"]


async def test_delete_takes_any_number_and_what_is_gone(container: BlobContainer) -> None:
    there = [f"there-{number:02}" for number in range(2 * DELETED_AT_ONCE + 1)]
    for name in ["stays", *there]:
        await container.write(name, b"1")
    gone = [f"gone-{number}" for number in range(DELETED_AT_ONCE)]
    await container.delete([*gone, *there, *gone])
    assert [name async for name in container.names("")] == ["stays"]
    assert await container.read(there[0]) is None
    await container.delete(there)
    await container.delete(("gone",))
    await container.delete([])
    assert [name async for name in container.names("")] == ["stays"]


async def test_container_that_is_not_there(service: BlobServiceClient) -> None:
    """Reading is an answer, so that a first start finds nothing; writing says what to do."""
    absent = BlobContainer(service.get_container_client("absent"))
    assert await absent.read("a") is None
    with pytest.raises(StorageUnavailable, match=r"container `absent`: ContainerNotFound\. Deploy"):
        await absent.write("a", b"1")
    with pytest.raises(StorageUnavailable, match="could not list"):
        assert [name async for name in absent.names("")]


def refusal(status: int) -> HttpResponseError:
    error = HttpResponseError("secret detail")
    error.status_code = status
    return error


class Refusing:
    """An SDK client whose every call fails alike."""

    container_name = "directory"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        if name == "get_blob_client":
            return lambda path: self

        async def call(*_: Any, **__: Any) -> None:
            raise self._error

        return call


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (refusal(403), "Grant the app's identity Storage Blob Data Contributor"),
        (refusal(503), "It will be tried again"),
        (ClientAuthenticationError("secret detail"), "Check that the identity is assigned"),
        (ServiceRequestError("secret detail"), "Storage is unreachable (ServiceRequestError)"),
    ],
)
async def test_refusals_are_explained_without_what_the_sdk_quotes(error: Exception, sentence: str) -> None:
    container = BlobContainer(Refusing(error))  # type: ignore[arg-type]
    for call in (
        container.read("a"),
        container.write("a", b"1"),
        container.read_range("a", 0, 1),
        container.delete(["a"]),
        container.ensure(),
    ):
        with pytest.raises(StorageUnavailable) as raised:
            await call
        assert sentence in str(raised.value)
        assert "`directory`" in str(raised.value)
        assert "secret" not in str(raised.value)


async def test_one_deletion_that_is_refused_is_not_silent() -> None:
    """The others are deleted, as many at a time as we allow ourselves."""
    deleted: list[str] = []
    under_way = most = 0

    class Client:
        container_name = "directory"

        async def delete_blob(self, path: str) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            if path == "locked":
                raise refusal(409)
            deleted.append(path)

    names = [f"{number}" for number in range(3 * DELETED_AT_ONCE)]
    container = BlobContainer(Client())  # type: ignore[arg-type]
    with pytest.raises(StorageUnavailable, match="answered 409 when the app tried to delete blobs"):
        await container.delete([*names, "locked"])
    assert sorted(deleted) == sorted(names)
    assert most == DELETED_AT_ONCE


async def test_container_that_somebody_creates_meanwhile_is_there() -> None:
    await BlobContainer(Refusing(ResourceExistsError("exists"))).ensure()  # type: ignore[arg-type]
