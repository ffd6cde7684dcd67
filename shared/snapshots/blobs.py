"""One container of Blob storage, with the few operations that the app needs.

Every write that another worker may race with is conditional. Failures become `StorageUnavailable` with a
sentence; "it is not there" and "somebody was faster" are answers, not errors.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import batched
from typing import TYPE_CHECKING, Any

from shared.errors import StateUnreadable, StorageUnavailable

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient, StorageStreamDownloader

DELETED_AT_ONCE = 16

CLIENT_OPTIONS: dict[str, Any] = {"max_chunk_get_size": 32 * 1024 * 1024}
"""The SDK asks for 32 MB at once, but hands them out in pieces of 4, which would have to be joined."""


class BlobContainer:
    """A container. `client` is the SDK's; it is injected and closed by whoever made it."""

    def __init__(self, client: "ContainerClient") -> None:
        self._client = client
        self.name = str(client.container_name)

    async def ensure(self) -> None:
        """Create the container where nobody has; a deployment creates it up front and lets us only use it."""
        from azure.core.exceptions import ResourceExistsError

        async with self._explained("create the container"):
            try:
                if not await self._client.exists():
                    await self._client.create_container()
            except ResourceExistsError:
                return

    async def read(self, path: str) -> bytes | None:
        """The whole blob, or None."""
        content = await self.read_with_etag(path)
        return content[0] if content else None

    async def read_with_etag(self, path: str) -> tuple[bytes, str] | None:
        from azure.core.exceptions import ResourceNotFoundError

        async with self._explained(f"read {path}"):
            try:
                download = await self._client.download_blob(path, max_concurrency=1)
                return await _content(download), str(download.properties.etag)
            except ResourceNotFoundError:
                return None

    async def read_range(self, path: str, offset: int, length: int) -> bytes:
        """Some bytes of a blob that a run has set aside. Raises `StateUnreadable` if it is gone."""
        from azure.core.exceptions import ResourceNotFoundError

        async with self._explained(f"read {path}"):
            try:
                download = await self._client.download_blob(
                    path, offset=offset, length=length, max_concurrency=1
                )
                return await _content(download)
            except ResourceNotFoundError as error:
                if getattr(error, "error_code", None) != "BlobNotFound":
                    raise
                raise StateUnreadable(
                    f"{path} is gone from container `{self.name}`. The next run begins anew."
                ) from None

    async def write(
        self,
        path: str,
        content: bytes,
        *,
        etag: str | None = None,
        new: bool = False,
        content_type: str = "application/json",
    ) -> str | None:
        """Write the blob and return its ETag.

        With `etag` only if it is still the stored one; with `new` only if there is none. None if somebody
        was faster.
        """
        from azure.core import MatchConditions
        from azure.core.exceptions import (
            ResourceExistsError,
            ResourceModifiedError,
            ResourceNotFoundError,
        )
        from azure.storage.blob import ContentSettings

        options: dict[str, Any] = {}
        if etag is not None:
            options = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        elif new:
            options = {"match_condition": MatchConditions.IfMissing}
        async with self._explained(f"write {path}"):
            try:
                blob = self._client.get_blob_client(path)
                answer = await blob.upload_blob(
                    content,
                    overwrite=not new,
                    content_settings=ContentSettings(content_type=content_type),
                    **options,
                )
            except (ResourceModifiedError, ResourceExistsError):
                return None
            except ResourceNotFoundError:
                if etag is not None:
                    return None
                raise
            return str(answer["etag"])

    async def append(self, path: str, content: bytes) -> int | None:
        """Append one block to an append blob, which is made where there is none.

        Returns the number of its blocks; None if it takes no more, which is so after 50,000. After a broken
        connection the SDK sends a block again, so it may stand there twice.
        """
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        async with self._explained(f"append to {path}"):
            blob = self._client.get_blob_client(path)
            try:
                try:
                    answer = await blob.append_block(content)
                except ResourceNotFoundError as error:
                    if getattr(error, "error_code", None) != "BlobNotFound":
                        raise
                    await self._make_append_blob(path)
                    answer = await blob.append_block(content)
            except HttpResponseError as error:
                if getattr(error, "error_code", None) != "BlockCountExceedsLimit":
                    raise
                return None
            blocks: Any = answer["blob_committed_block_count"]
            return int(blocks)

    async def _make_append_blob(self, path: str) -> None:
        """Make an empty one, unless somebody was faster."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError
        from azure.storage.blob import ContentSettings

        try:
            await self._client.get_blob_client(path).create_append_blob(
                content_settings=ContentSettings(content_type="application/jsonl"),
                match_condition=MatchConditions.IfMissing,
            )
        except (ResourceExistsError, ResourceModifiedError):
            return

    async def names(self, prefix: str) -> AsyncIterator[str]:
        """The names under a prefix."""
        async with self._explained(f"list {prefix}"):
            async for name in self._client.list_blob_names(name_starts_with=prefix):
                yield name

    async def delete(self, paths: Sequence[str]) -> None:
        """Delete these blobs, where they still are.

        One request each: a batch request answers 200 whatever became of the single deletions.
        """
        from azure.core.exceptions import ResourceNotFoundError

        async def delete_one(path: str) -> None:
            try:
                await self._client.delete_blob(path)
            except ResourceNotFoundError:
                return  # somebody else has swept already

        async with self._explained("delete blobs"):
            for some in batched(paths, DELETED_AT_ONCE, strict=False):
                await asyncio.gather(*map(delete_one, some))

    @asynccontextmanager
    async def _explained(self, action: str) -> AsyncIterator[None]:
        from azure.core.exceptions import (
            AzureError,
            ClientAuthenticationError,
            HttpResponseError,
            ResourceNotFoundError,
        )

        try:
            yield
        except ResourceNotFoundError as error:
            code = getattr(error, "error_code", None) or "not found"
            raise StorageUnavailable(
                f"Storage could not {action} in container `{self.name}`: {code}. "
                "Deploy the container, or check DIRECTORY_CONTAINER."
            ) from None
        except ClientAuthenticationError:
            raise StorageUnavailable(
                f"Storage refused the app's identity when it tried to {action} in container `{self.name}`. "
                "Check that the identity is assigned, and AZURE_CLIENT_ID."
            ) from None
        except HttpResponseError as error:
            code = getattr(error, "error_code", None)
            raise StorageUnavailable(
                f"Storage answered {error.status_code}{f' {code}' if code else ''} when the app tried to "
                f"{action} in container `{self.name}`. {_hint(error.status_code)}"
            ) from None
        except AzureError as error:
            raise StorageUnavailable(
                f"Storage is unreachable ({type(error).__name__}): could not {action} in container "
                f"`{self.name}`. Check DIRECTORY_STORAGE and the network."
            ) from None


async def _content(download: "StorageStreamDownloader[bytes]") -> bytes:
    """What is downloaded. The SDK holds it already; `readall` would copy it once more, and a copy of some
    megabytes costs more than to receive them, since the kernel clears each page of fresh memory."""
    chunks = [chunk async for chunk in download.chunks()]
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _hint(status: int | None) -> str:
    """What to do about a status of Blob storage."""
    if status == 403:
        return "Grant the app's identity Storage Blob Data Contributor on it."
    if status in (408, 429) or (status is not None and status >= 500):
        return "It will be tried again."
    return "Check DIRECTORY_STORAGE and DIRECTORY_CONTAINER."
