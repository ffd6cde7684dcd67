"""A simulated tenant with a clock of the test's, and credential validation before it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates
from sandbox.tenant import Tenant, generate
from tests.support.validation import Clock, ValidationWorld, validation_world


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK warns of itself when its request builders are loaded for the first time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning"))


@pytest.fixture
async def world(account: StorageAccount, certificates: ServerCertificates) -> AsyncIterator[ValidationWorld]:
    clock = Clock()
    tenant = Tenant(generate(120, seed=3), clock=clock)
    async with validation_world(tenant, clock, account, certificates) as started:
        yield started
