"""The app is put together once a loop, from settings that are read once, and closes what it opened."""

import asyncio
import logging
from typing import Any

import pytest
from azure.storage.blob.aio import ExponentialRetry

import shared.composition as composition
from shared.config import Settings
from shared.errors import ConfigurationError
from shared.storage_clients import STORAGE_OPTIONS
from tests.support.world import settings

ENVIRONMENT = {
    "ENTRA_TENANT_ID": "0c1f6b0e-5a7d-4c52-9a35-6f1d2b9c7e10",
    "ENTRA_CREDENTIAL": "managed-identity",
    "DIRECTORY_STORAGE": "UseDevelopmentStorage=true",
}


@pytest.fixture(autouse=True)
def no_app_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops are told apart by their ids, which a later loop may have again."""
    monkeypatch.setattr(composition, "_apps", {})


async def test_one_app_a_loop() -> None:
    first = composition.app(ENVIRONMENT)
    assert composition.app(ENVIRONMENT) is first
    assert composition.app({}) is first  # settings are read once
    assert first.directory is first.directory
    await first.close()


async def test_settings_that_are_wrong_are_told_at_every_call() -> None:
    for _ in range(2):
        with pytest.raises(ConfigurationError) as raised:
            composition.app({})
        assert len(raised.value.problems) > 1


def test_another_loop_gets_another_app() -> None:
    """Clients belong to the loop on which they were made."""

    async def made() -> Any:
        app = composition.app(ENVIRONMENT)
        await app.close()
        return app

    one = asyncio.new_event_loop()
    other = asyncio.new_event_loop()
    try:
        assert one.run_until_complete(made()) is not other.run_until_complete(made())
    finally:
        one.close()
        other.close()


async def test_graph_client_is_made_once_however_many_ask() -> None:
    app = composition.App(settings(ENTRA_CREDENTIAL="managed-identity"))
    clients = await asyncio.gather(*(app.graph() for _ in range(5)))
    assert len({id(client) for client in clients}) == 1
    await app.close()


@pytest.mark.parametrize(
    "storage",
    [
        {"DIRECTORY_STORAGE": "UseDevelopmentStorage=true"},
        {
            "DIRECTORY_STORAGE": "",
            "DIRECTORY_STORAGE__blobServiceUri": "https://a.blob.core.windows.net/",
            "DIRECTORY_STORAGE__queueServiceUri": "https://a.queue.core.windows.net",
        },
    ],
)
async def test_storage_by_connection_string_and_by_identity(storage: dict[str, str]) -> None:
    app = composition.App(
        Settings.from_environment({**ENVIRONMENT, **storage, "DIRECTORY_CONTAINER": "people"})
    )
    directory = app.directory
    assert directory.output.name == "people"
    assert directory.state.container.name == composition.STATE_CONTAINER
    assert not hasattr(app, "graph_client")
    await app.close()


async def test_sdks_are_quiet() -> None:
    app = composition.App(Settings.from_environment(ENVIRONMENT))
    for name in composition.QUIET_LOGGERS:
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
    await app.close()


def test_storage_that_is_away_is_told_within_twenty_seconds() -> None:
    """The waits that the SDK makes between its tries, at most."""
    options = STORAGE_OPTIONS
    retry: Any = ExponentialRetry(
        initial_backoff=options["initial_backoff"],
        increment_base=options["increment_base"],
        retry_total=options["retry_total"],
    )
    waits = [
        retry.initial_backoff + (0 if count == 0 else retry.increment_base**count)
        for count in range(options["retry_total"])
    ]
    assert sum(waits) + len(waits) * retry.random_jitter_range < 20
