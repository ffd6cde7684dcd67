"""How checks are run: side by side, each for itself, and never for longer than they may."""

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import override

import pytest

from sandbox.azurite import StorageAccount
from sandbox.tenant import faults
from sandbox.tenant.configuration import vault_secrets
from shared.connection.interface import Check, Finding, Row, ok
from shared.connection.run import run_checks
from shared.errors import ConfigurationError, StorageUnavailable
from tests.connection.conftest import Connection
from tests.connection.silence import silent_port

NO_SETTINGS = {"ENTRA_TENANT_ID": "not a guid", "WEBHOOK_AUTH": "carrier pigeon", "DIRECTORY_STORAGE": ""}


@dataclass(kw_only=True)
class Does(Check):
    """A check that ends in a certain way."""

    permission: str | None = None
    ends: Finding | Exception | None = None
    """None never ends."""
    tried: bool = False

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        self.tried = True
        match self.ends:
            case None:
                await asyncio.Event().wait()
                raise AssertionError
            case Exception():
                raise self.ends
            case finding:
                return finding


async def test_one_that_breaks_or_hangs_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rows = await run_checks(
        [
            Does(capability="works", ends=ok("Fine.")),
            Does(capability="hangs", without="Without it nothing."),
            Does(capability="breaks", ends=KeyError("a secret")),
            Does(capability="storage", ends=StorageUnavailable("Away.")),
            Does(capability="settings", ends=ConfigurationError(["X is missing."])),
        ],
        0.2,
    )
    assert [row.status for row in rows] == [
        "ok",
        "unreachable",
        "misconfigured",
        "unreachable",
        "misconfigured",
    ]
    assert rows[1].detail == "No answer for hangs in time. Without it nothing."
    assert "KeyError in test_run.py, line " in rows[2].detail
    assert "secret" not in str(rows) + caplog.text
    assert "connection check failed: breaks, KeyError in test_run.py" in caplog.text
    assert all(row.fix for row in rows[1:])


async def test_what_needs_something_that_failed_is_not_tried() -> None:
    last = Does(capability="c", needs=("b",), ends=ok("Fine."))
    looks = Does(capability="d", after=("a",), ends=ok("Fine."))
    rows = await run_checks(
        [
            Does(capability="a", ends=Finding("missing-licence", "No.", "Buy one.")),
            Does(capability="b", needs=("a",), ends=ok("Fine.")),
            last,
            looks,
        ],
        60.0,
    )
    assert [row.status for row in rows] == ["missing-licence", "missing-licence", "missing-licence", "ok"]
    assert rows[1].detail == "Not checked since `a` is missing-licence."
    assert rows[2].fix == "First settle the row `b`."
    assert not last.tried
    assert looks.tried


async def test_what_waits_for_something_that_hangs_has_time_left() -> None:
    rows = await run_checks(
        [
            Does(capability="hangs", share=0.1),
            Does(capability="goes on", after=("hangs",), ends=ok("Fine.")),
        ],
        1.0,
    )
    assert [row.status for row in rows] == ["unreachable", "ok"]


async def test_everything_hangs(connection: Connection, account: StorageAccount) -> None:
    """Graph, Entra, Key Vault and storage: the answer comes, and says so."""
    connection.tenant.faults.add(faults.hang(), times=None)
    async with silent_port() as port:
        origin = f"http://127.0.0.1:{port}/{account.name}"
        connection.deadline_seconds = 1.0
        rows = await connection.test(
            DIRECTORY_STORAGE=f"DefaultEndpointsProtocol=http;AccountName={account.name};"
            f"AccountKey={account.key};BlobEndpoint={origin};QueueEndpoint={origin};TableEndpoint={origin}",
        )
    assert {row.capability for row in rows.values() if row.status == "ok"} == {"settings"}
    assert {row.status for row in rows.values()} == {"ok", "unreachable"}


async def test_settings_that_are_wrong(connection: Connection) -> None:
    rows = await connection.test(**NO_SETTINGS)
    settings = rows.pop("settings")
    assert settings.status == "misconfigured"
    for name in NO_SETTINGS:
        assert name in settings.detail
    assert rows
    for row in rows.values():
        assert (row.status, row.fix) == ("misconfigured", "First settle the row `settings`.")
    assert connection.tenant.requests == []


async def test_no_setting_at_all(connection: Connection) -> None:
    connection.environment.clear()
    assert "ENTRA_TENANT_ID is missing" in (await connection.test())["settings"].detail


async def test_nothing_secret_is_told(
    connection: Connection, account: StorageAccount, logged: Callable[[], str]
) -> None:
    """Neither in a row nor in the log at its most talkative, whatever fails."""
    issued: list[str] = []
    issue = connection.tenant.issuer.sign

    def remembered(*arguments: object) -> object:
        token = issue(*arguments)  # type: ignore[arg-type]
        issued.append(token.text)
        return token

    connection.tenant.issuer.sign = remembered  # type: ignore[method-assign, assignment]
    await connection.test()
    connection.app.permissions.clear()
    await connection.test()
    await connection.test(DIRECTORY_STORAGE=account.connection_string.replace(account.key, "A" * 86 + "=="))
    connection.app.secrets.clear()
    connection.validation_app.secrets.clear()
    await connection.test()
    connection.tenant.vault.forbidden = True
    await connection.test()
    everything = str(connection.told) + logged()
    secrets = [*vault_secrets().values(), account.key, "A" * 86, connection.tenant.identity_header, *issued]
    secrets.append(base64.b64encode(account.key.encode()).decode())
    assert len(issued) > 4
    for secret in secrets:
        assert secret not in everything
    for signature in (token.rpartition(".")[2] for token in issued):
        assert signature not in everything
