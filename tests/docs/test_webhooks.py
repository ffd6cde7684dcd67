"""`docs/webhooks.md`: its callers are run as they stand there, against the product's own check of callers."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from aiohttp import web

from shared.config import WEBHOOK_AUTHS
from shared.errors import CallerRefused
from shared.webhooks import SCHEMES, WebhookScheme
from shared.webhooks.entra_token import LEEWAY_SECONDS
from shared.webhooks.flare import LEAST_SECRET_CHARACTERS, FlareScheme
from shared.webhooks.headers import LONGEST_CALL_ID, WINDOW_SECONDS
from shared.webhooks.replay import KEPT, TABLE, WORKER_IS_DEAD_AFTER
from shared.webhooks.signing_keys import KEPT_SECONDS, LEAST_SECONDS_BETWEEN_READS
from shared.webhooks.signing_secrets import LEAST_SECONDS_BETWEEN_READS as LEAST_SECONDS_BETWEEN_SECRETS
from shared.webhooks.standard import LEAST_KEY_BYTES, StandardWebhooksScheme
from tests.webhooks.support import Vault

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"
FLARE_SECRET = "a secret of Flare's channel"
FUNCTION_KEY = "a function key"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


@asynccontextmanager
async def webhook(scheme: WebhookScheme) -> AsyncIterator[tuple[str, list[str | None]]]:
    """The route with nothing but its check of callers; its URL, and the ids of the calls that it took."""
    taken: list[str | None] = []

    async def validate(request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        assert request.headers["x-functions-key"] == FUNCTION_KEY
        try:
            caller = await scheme.authenticate(request.headers, await request.read())
        except CallerRefused:
            return web.json_response({"status": 401}, status=401)
        taken.append(caller.call_id)
        return web.json_response({"results": [{"id": "leak-1"}]})

    app = web.Application()
    app.router.add_post("/api/credentials/validate", validate)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/api/credentials/validate", taken
    finally:
        await runner.cleanup()


def run(names: dict[str, Any], block: str) -> None:
    exec(compile(block, PAGE.name, "exec"), names)


async def test_the_sender_of_standard_webhooks() -> None:
    vault = Vault()
    async with webhook(StandardWebhooksScheme(vault.store())) as (url, taken):
        make_secret, sender = blocks("python")
        names: dict[str, Any] = {"url": url, "function_key": FUNCTION_KEY}
        run(names, make_secret)
        vault.values.append(names["webhook_secret"])
        await asyncio.to_thread(run, names, sender)
        assert names["answer"] == {"results": [{"id": "leak-1"}]}

        again = (url, FUNCTION_KEY, names["webhook_secret"], names["call_id"], names["body"])
        await asyncio.to_thread(names["send"], *again)
        assert taken == [names["call_id"]] * 2

        run(names, make_secret)
        with pytest.raises(HTTPError, match="401") as refused:
            await asyncio.to_thread(
                names["send"], url, FUNCTION_KEY, names["webhook_secret"], "msg_2", names["body"]
            )
        refused.value.close()


async def shell(script: str, **environment: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euo",
        "pipefail",
        "-c",
        script,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_sender_in_the_shell() -> None:
    (script,) = blocks("bash")
    async with webhook(FlareScheme(Vault(FLARE_SECRET).store(), time.time)) as (url, taken):
        environment = {
            "URL": url,
            "FUNCTION_KEY": FUNCTION_KEY,
            "BODY": '{"credentials": [{"password": "100 % $HOME é"}]}',
        }
        code, output = await shell(script, WEBHOOK_SECRET=FLARE_SECRET, **environment)
        assert (code, output) == (0, '{"results": [{"id": "leak-1"}]}')
        assert len(taken) == 1

        code, output = await shell(script, WEBHOOK_SECRET="another secret of that length", **environment)
        assert code == 22
        assert '{"status": 401}' in output


def test_every_scheme_stands_in_the_table() -> None:
    named = re.findall(r"^\| `([a-z-]+)`(?: \(default\))? \|", PAGE.read_text(), re.M)
    assert tuple(SCHEMES) == WEBHOOK_AUTHS
    assert named == [*WEBHOOK_AUTHS, *WEBHOOK_AUTHS]


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        ("1 to 256 printable ASCII characters", LONGEST_CALL_ID == 256),
        ("at most five minutes from the app's clock", WINDOW_SECONDS == 300),
        ("base64 of 24 to 64 random bytes", LEAST_KEY_BYTES == 24),
        ("at least 16 characters", LEAST_SECRET_CHARACTERS == 16),
        ("with a minute to spare", LEEWAY_SECONDS == 60),
        ("Keys are kept for an hour", KEPT_SECONDS == 3600),
        ("at most once a minute", LEAST_SECONDS_BETWEEN_READS == 60),
        ("at most once in 30 seconds", LEAST_SECONDS_BETWEEN_SECRETS == 30),
        ("Answers are kept for 7 days", KEPT.days == 7),
        ("delivery after five minutes takes its place", WORKER_IS_DEAD_AFTER.total_seconds() == 300),
        ("The table `webhookrequests`", TABLE == "webhookrequests"),
    ],
)
def test_numbers_are_those_of_the_code(words: str, holds: bool) -> None:
    assert words in PAGE.read_text()
    assert holds
