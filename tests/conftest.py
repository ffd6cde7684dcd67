"""Fixtures for all tests: a clean environment, and one Azurite with an account for every test."""

import logging
import os
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import settings as hypothesis_settings

from sandbox.azurite import Azurite, StorageAccount
from sandbox.certificates import ServerCertificates, make_server_certificates
from shared.composition import QUIET_LOGGERS

ACCOUNTS = 1_000

# How long an example takes says more about the machine than about the code.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")

SETTINGS_PREFIXES = (
    "ENTRA_",
    "DIRECTORY_",
    "SYNC_",
    "VALIDATION_",
    "WEBHOOK_",
    "AZURE_",
    "IDENTITY_",
    "MSI_",
)
SETTINGS_NAMES = (
    "KEY_VAULT_URL",
    "GRAPH_ENDPOINT",
    "SECRET_TTL_SECONDS",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test, and no log level of another test."""
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name in list(os.environ):
        if name.startswith(SETTINGS_PREFIXES) or name in SETTINGS_NAMES:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificates:
    """An authority that nobody else trusts, and a server's certificate for loopback."""
    return make_server_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """The real storage emulator, over plain HTTP on loopback."""
    with Azurite(accounts=ACCOUNTS) as started:
        yield started


@pytest.fixture(scope="session")
def _account_numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def account(azurite: Azurite, _account_numbers: Iterator[int]) -> StorageAccount:
    """An empty storage account that no other test uses."""
    return azurite.account(next(_account_numbers))
