"""Storage accounts for tests that need several, one after the other."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.azurite import Azurite, StorageAccount


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK warns of itself when its request builders are loaded for the first time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning"))


@pytest.fixture
def new_account(azurite: Azurite, _account_numbers: Iterator[int]) -> Callable[[], StorageAccount]:
    """Each call gives an empty account that nobody else uses."""
    return lambda: azurite.account(next(_account_numbers))
