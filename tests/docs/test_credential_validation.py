"""`docs/credential-validation.md`: its snippets run as they stand, and its tables say what the code does."""

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates, make_server_certificates
from sandbox.tenant import Tenant, generate
from shared.credentials.answers import Answered
from shared.credentials.budgets import DAY, LOCKOUT_THRESHOLD, LOCKOUT_THRESHOLDS, Limits
from shared.credentials.candidates import LONGEST_PASSWORD, MOST_CREDENTIALS
from shared.credentials.ledger import FORGET_AFTER_SECONDS
from shared.credentials.verdicts import FLARE_STATUS, STATUSES
from shared.settings_table import SETTING
from shared.webhooks.replay import KEPT
from tests.support.validation import Clock, ValidationWorld, validation_world
from tests.support.world import settings

PAGE = (Path(__file__).parents[2] / "docs" / "credential-validation.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def table_after(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    section = PAGE[PAGE.index(f"\n## {heading}\n") :]
    rows = re.search(r"(?:^\|.*\n)+", section, re.M)
    assert rows is not None
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[0].splitlines()[2:]]


def test_statuses_are_those_of_the_code() -> None:
    rows = table_after("What a status means")
    assert tuple(row[0].strip("`") for row in rows) == STATUSES
    assert {row[0].strip("`"): row[1] for row in rows if row[1]} == FLARE_STATUS


def test_numbers_are_those_of_the_code() -> None:
    defaults = {row[1].strip("`"): row[2] for row in table_after("Budgets")}
    assert defaults["VALIDATION_ATTEMPTS_PER_USER_PER_DAY"].startswith("2; 1 in US Government")
    for name, said in (
        ("VALIDATION_SPACING_SECONDS", "15 min"),
        ("VALIDATION_FAILING_USERS_PER_20_MIN", "4"),
        ("VALIDATION_ATTEMPTS_PER_DAY", "200"),
        ("VALIDATION_LOCKOUT_PAUSE_SECONDS", "24 h"),
    ):
        number = int(SETTING[name].default)
        written = {"15 min": 900, "24 h": DAY}.get(said) or int(said)
        assert (defaults[name], number) == (said, written)
    assert (LOCKOUT_THRESHOLD, LOCKOUT_THRESHOLDS["usgov"]) == (10, 3)
    bold = settings(VALIDATION_ATTEMPTS_PER_USER_PER_DAY="10")
    assert Limits.from_settings(bold).per_user_day == LOCKOUT_THRESHOLD // 4
    assert f"Up to {MOST_CREDENTIALS} credentials" in PAGE
    assert f"longer than {LONGEST_PASSWORD}" in PAGE
    assert f"{FORGET_AFTER_SECONDS // DAY} days after the last attempt" in PAGE
    assert f"| {KEPT.days} days |" in PAGE


def test_the_example_has_every_field() -> None:
    _, answer = blocks("json")
    [result] = json.loads(answer)["results"]
    assert list(result) == list(Answered.__struct_fields__)


@pytest.fixture
async def world(account: StorageAccount, tmp_path: Path) -> AsyncIterator[ValidationWorld]:
    certificates: ServerCertificates = make_server_certificates(tmp_path)
    clock = Clock()
    tenant = Tenant(generate(40, seed=4), clock=clock)
    async with validation_world(tenant, clock, account, certificates) as started:
        yield started


@asynccontextmanager
async def route(world: ValidationWorld) -> AsyncIterator[str]:
    """The app's answers behind a URL, as the Functions host would give them."""

    async def validate(request: web.Request) -> web.Response:
        assert request.headers["x-functions-key"] == "a function key"
        assert request.content_type == "application/json"
        answer = await world.calls.answer(request.headers, await request.read())
        return web.Response(body=answer, content_type="application/json")

    app = web.Application()
    app.router.add_post("/api/credentials/validate", validate)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/api/credentials/validate"
    finally:
        await runner.cleanup()


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
async def test_curl_and_python_find_who_has_to_be_reset(world: ValidationWorld) -> None:
    mfa, bare = world.staff(0), world.staff(1)
    world.tenant.accounts[mfa["id"]].after_password = (50076,)
    world.tenant.accounts[bare["id"]].after_password = (50072,)
    sent = [
        {"id": str(number), "username": user["userPrincipalName"], "password": world.password_of(user)}
        for number, user in enumerate((mfa, bare))
    ]
    secret, curl = blocks("bash")
    assert "credential-memory-key" in secret
    async with route(world) as url:
        # The snippet signs with the machine's clock.
        world.clock.now = time.time()
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            curl,
            env={
                "PATH": os.environ["PATH"],
                "URL": url,
                "FUNCTION_KEY": "a function key",
                "WEBHOOK_SECRET": world.tenant.vault.secrets["webhook-secret"][-1].value,
                "BODY": json.dumps({"credentials": sent}, ensure_ascii=False),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    names: dict[str, Any] = {}
    exec(compile(blocks("python")[0], "credential-validation.md", "exec"), names)
    assert [link.rpartition("/")[2] for link in names["to_reset"](json.loads(output))] == [
        bare["id"],
        mfa["id"],
    ]
