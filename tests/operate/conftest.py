"""A directory sync, and a validation of credentials, whose log is taken as the host would get it."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates
from sandbox.tenant import Tenant, generate
from tests.operate.logs import WorkerLog
from tests.support.validation import Clock, ValidationWorld, validation_world
from tests.support.world import World, world


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK warns of itself when its request builders are loaded for the first time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning"))


@pytest.fixture
async def w(account: StorageAccount) -> AsyncIterator[World]:
    async with world(Tenant(generate(users=200, seed=91)), account) as started:
        yield started


@pytest.fixture
def log(w: World) -> Iterator[WorkerLog]:
    """What the sync logs, by the world's clock."""
    with WorkerLog(w.clock.now) as taken:
        yield taken


@pytest.fixture
async def v(account: StorageAccount, certificates: ServerCertificates) -> AsyncIterator[ValidationWorld]:
    clock = Clock()
    async with validation_world(
        Tenant(generate(120, seed=92), clock=clock), clock, account, certificates
    ) as started:
        yield started


@pytest.fixture
def validation_log(v: ValidationWorld) -> Iterator[WorkerLog]:
    """What the validation logs, by its world's clock."""
    with WorkerLog(lambda: datetime.fromtimestamp(v.clock(), UTC)) as taken:
        yield taken
