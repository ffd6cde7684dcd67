"""What is left behind when the app has worked, and whether a secret is in it, in any of its usual forms."""

import base64
import hashlib
import json
import logging
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from sandbox.azurite import StorageAccount
from shared.webhooks.replay import TABLE as REQUESTS_TABLE

DIGESTS = ("md5", "sha1", "sha256")
ANSWERS = f"answers in table {REQUESTS_TABLE}"
"""Where a caller's answer is kept for the same call, as bytes."""


def forms(secret: str | bytes) -> dict[str, str]:
    """How a text or a key could stand somewhere: as it is, encoded, escaped, and as an unkeyed digest."""
    content = secret if isinstance(secret, bytes) else secret.encode()
    found = {
        "hex": content.hex(),
        "URL-encoded": quote(content, safe=""),
        "as a form": quote_plus(content),
        "bytes": repr(content)[2:-1],
    }
    if isinstance(secret, str):
        found |= {
            "plain": secret,
            "JSON": json.dumps(secret)[1:-1],
            "repr": repr(secret)[1:-1],
            "ascii": ascii(secret)[1:-1],
        }
    for name in DIGESTS:
        digest = hashlib.new(name, content, usedforsecurity=False).digest()
        found[name] = digest.hex()
        found[f"{name} in base64"] = base64.b64encode(digest).decode().rstrip("=")
    # In a longer text that is encoded as a whole it may begin at any of three places.
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + content).decode().rstrip("=")
        found[f"base64, offset {offset}"] = encoded[-(-offset * 8 // 6) : -2]
    found |= {
        f"{name}, for URLs": text.replace("+", "-").replace("/", "_")
        for name, text in found.items()
        if "base64" in name
    }
    return found


@dataclass
class Evidence:
    """Texts by where they were found."""

    texts: list[tuple[str, str]] = field(default_factory=list)

    def add(self, where: str, content: object) -> None:
        text = content.decode("utf-8", "backslashreplace") if isinstance(content, bytes) else str(content)
        self.texts.append((where, text))

    def add_error(self, where: str, error: BaseException) -> None:
        """The error as it is shown, and all that led to it, whether that is shown or not."""
        self.add(where, "".join(traceback.format_exception(error)))
        for one in _led_to(error):
            kind = f"{where}: {type(one).__name__}"
            for shown in (str(one), repr(one), repr(one.args), repr(getattr(one, "__notes__", ""))):
                self.add(kind, shown)
            for name, value in vars(one).items():
                self.add(f"{kind}.{name}", repr(value))

    def add_record(self, record: logging.LogRecord, formatter: logging.Formatter) -> None:
        where = f"log {record.name}"
        self.add(where, formatter.format(record))
        self.add(where, repr(record.__dict__))

    async def add_storage(self, account: StorageAccount) -> None:
        """Every entity, blob and message of the account."""
        connection = account.connection_string
        async with TableServiceClient.from_connection_string(connection) as tables:
            async for table in tables.list_tables():
                async for entity in tables.get_table_client(table.name).list_entities():
                    for name, value in entity.items():
                        is_answer = (table.name, name) == (REQUESTS_TABLE, "answer")
                        self.add(ANSWERS if is_answer else f"table {table.name}, {name}", value)
        async with BlobServiceClient.from_connection_string(connection) as blobs:
            async for container in blobs.list_containers():
                client = blobs.get_container_client(container.name)
                async for name in client.list_blob_names():
                    self.add(f"name in {container.name}", name)
                    self.add(f"blob {name}", await (await client.download_blob(name)).readall())
        async with QueueServiceClient.from_connection_string(connection) as queues:
            async for queue in queues.list_queues():
                for message in await queues.get_queue_client(queue.name).peek_messages(32):
                    self.add(f"queue {queue.name}", base64.b64decode(message.content))

    def places_of(self, secrets: dict[str, str | bytes], *, but: frozenset[str] = frozenset()) -> set[str]:
        """Where which secret stands in which form, in any case of letters. Empty is what is wished."""
        texts = {(where, text.lower()) for where, text in self.texts if where not in but}
        everything = "\0".join(text for _, text in texts)
        return {
            f"{where}: {name} ({form})"
            for name, secret in secrets.items()
            for form, looked_for in forms(secret).items()
            if looked_for.lower() in everything
            for where, text in texts
            if looked_for.lower() in text
        }


def _led_to(error: BaseException) -> Iterator[BaseException]:
    """The error, its causes and contexts, and the members of groups."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [each for each in (one.__cause__, one.__context__) if each is not None]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def lines_of(log: str, source: Path | str) -> list[tuple[str, str]]:
    """The lines of a log, each as a text of its own."""
    return [(f"log of {source}", line) for line in log.splitlines()]
