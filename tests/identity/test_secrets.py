"""The secret store's memory and its words, with a vault that counts reads."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.keyvault.secrets.aio import SecretClient

from shared.config import Settings
from shared.errors import ConfigurationError, SecretUnavailable
from shared.identity.secrets import SecretStore, secret_store
from tests.identity.fakes import FakeOwnIdentity, settings


class FakeVault:
    """Answers with `name#read`, or raises what stands in `trouble`."""

    vault_url = "https://acme.vault.azure.net"

    def __init__(self) -> None:
        self.reads = 0
        self.trouble: Exception | None = None
        self.pause = 0.0
        self.closed = False

    async def get_secret(self, name: str, version: str | None = None) -> SimpleNamespace:
        self.reads += 1
        await asyncio.sleep(self.pause)
        if self.trouble is not None:
            raise self.trouble
        return SimpleNamespace(value=f"{name}#{self.reads}")

    async def list_properties_of_secret_versions(self, name: str) -> AsyncIterator[SimpleNamespace]:
        for version in ("a", "b"):
            yield SimpleNamespace(
                enabled=version == "a", not_before=None, expires_on=None, created_on=None, version=version
            )

    async def close(self) -> None:
        self.closed = True


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def vault() -> FakeVault:
    return FakeVault()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(vault: FakeVault, clock: Clock) -> SecretStore:
    return SecretStore(cast(SecretClient, vault), 300, clock, deadline_seconds=0.2)


async def test_a_secret_is_kept_until_its_time_is_up(
    store: SecretStore, vault: FakeVault, clock: Clock
) -> None:
    assert await store.get("s") == "s#1"
    clock.now += 299.9
    assert await store.get("s") == "s#1"
    clock.now += 0.1
    assert await store.get("s") == "s#2"
    assert vault.reads == 2


async def test_refresh_reads_at_once_and_renews_what_is_kept(store: SecretStore) -> None:
    assert await store.get("s") == "s#1"
    assert await store.refresh("s") == "s#2"
    assert await store.get("s") == "s#2"


async def test_concurrent_callers_share_one_read(store: SecretStore, vault: FakeVault) -> None:
    values = await asyncio.gather(
        *(store.get("s") for _ in range(20)), *(store.refresh("s") for _ in range(20))
    )

    assert set(values) == {"s#1"}
    assert vault.reads == 1


async def test_names_do_not_wait_for_each_other(store: SecretStore, vault: FakeVault) -> None:
    assert set(await asyncio.gather(store.get("a"), store.get("b"))) == {"a#2", "b#2"}
    assert vault.reads == 2


async def test_a_failed_read_is_shared_and_not_kept(store: SecretStore, vault: FakeVault) -> None:
    vault.trouble = ServiceRequestError("no route")
    outcomes = await asyncio.gather(*(store.get("s") for _ in range(5)), return_exceptions=True)

    assert all(isinstance(outcome, SecretUnavailable) for outcome in outcomes)
    assert vault.reads == 1
    vault.trouble = None
    assert await store.get("s") == "s#2"


async def test_a_caller_that_gives_up_does_not_stop_the_others(store: SecretStore, vault: FakeVault) -> None:
    vault.pause = 0.02
    impatient = asyncio.create_task(store.get("s"))
    patient = asyncio.create_task(store.get("s"))
    await asyncio.sleep(0)
    impatient.cancel()

    assert await patient == "s#1"
    assert impatient.cancelled()


async def test_a_vault_that_does_not_answer_in_time(store: SecretStore, vault: FakeVault) -> None:
    vault.pause = 10

    with pytest.raises(SecretUnavailable, match="unreachable"):
        await store.get("s")


async def test_a_challenge_for_another_domain(store: SecretStore, vault: FakeVault) -> None:
    vault.trouble = ValueError("The challenge resource does not match the requested domain")

    with pytest.raises(SecretUnavailable, match="KEY_VAULT_URL"):
        await store.get("s")


async def test_the_firewall_is_named(store: SecretStore, vault: FakeVault) -> None:
    error = HttpResponseError("forbidden")
    error.status_code = 403
    error.error = cast(None, SimpleNamespace(innererror={"code": "ForbiddenByFirewall"}))
    vault.trouble = error

    with pytest.raises(SecretUnavailable, match="firewall"):
        await store.get("s")


async def test_versions_leave_out_disabled_ones(store: SecretStore) -> None:
    assert await store.versions("s") == ("s#1",)
    assert await store.get("s") == "s#2"


async def test_close_forgets_stops_and_closes(store: SecretStore, vault: FakeVault) -> None:
    await store.get("s")
    vault.pause = 10
    waiting = asyncio.create_task(store.refresh("s"))
    await asyncio.sleep(0)

    await store.close()

    assert vault.closed
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_failure_that_nobody_waits_for_makes_no_noise(
    store: SecretStore, vault: FakeVault, caplog: pytest.LogCaptureFixture
) -> None:
    vault.pause = 0.01
    vault.trouble = ServiceRequestError("no route")
    caller = asyncio.create_task(store.get("s"))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0.05)

    assert not caplog.records


@pytest.mark.parametrize(
    ("url", "verified"),
    [("https://acme.vault.azure.net", True), ("https://127.0.0.1:8443", False), ("https://localhost", False)],
)
async def test_the_challenge_is_verified_but_on_loopback(
    monkeypatch: pytest.MonkeyPatch, url: str, verified: bool
) -> None:
    asked: dict[str, object] = {}

    class Client:
        def __init__(self, vault_url: str, credential: object, **options: object) -> None:
            asked.update(options, vault_url=vault_url)

        async def close(self) -> None:
            return None

    monkeypatch.setattr("azure.keyvault.secrets.aio.SecretClient", Client)
    await secret_store(settings(KEY_VAULT_URL=url), FakeOwnIdentity()).close()

    assert asked["vault_url"] == url
    assert asked["verify_challenge_resource"] is verified


def test_no_vault_is_a_matter_of_settings() -> None:
    no_vault: Settings = settings(ENTRA_CREDENTIAL="managed-identity", KEY_VAULT_URL="")

    with pytest.raises(ConfigurationError, match="KEY_VAULT_URL"):
        secret_store(no_vault, FakeOwnIdentity())
