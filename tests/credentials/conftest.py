"""Certificates for a simulated Entra over TLS."""

import pytest

from sandbox.certificates import ServerCertificates, make_server_certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificates:
    return make_server_certificates(tmp_path_factory.mktemp("tls"))
