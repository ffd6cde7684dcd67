"""Certificates: that strict verification takes them, and that nobody else can read the keys."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from azure.identity import CertificateCredential
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sandbox.certificates import make_client_certificate, make_server_certificates


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_strict_verification_takes_the_server(tmp_path: Path, name: str) -> None:
    certificates = make_server_certificates(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates.certificate, certificates.key)
    client = ssl.create_default_context(cafile=certificates.authority)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    near, far = socket.socketpair()
    with near, far:
        answering = threading.Thread(target=lambda: server.wrap_socket(far, server_side=True).close())
        answering.start()
        with client.wrap_socket(near, server_hostname=name) as connection:
            assert connection.version() == "TLSv1.3"
        answering.join()


def test_files_are_for_the_owner_only_and_may_be_renewed(tmp_path: Path) -> None:
    first = make_server_certificates(tmp_path).certificate.read_bytes()
    second = make_server_certificates(tmp_path)
    assert second.certificate.read_bytes() != first
    make_client_certificate(tmp_path)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    assert second.environment == {
        "SSL_CERT_FILE": str(second.authority),
        "REQUESTS_CA_BUNDLE": str(second.authority),
    }


def test_client_certificate_is_one_that_the_sdk_takes(tmp_path: Path) -> None:
    path = make_client_certificate(tmp_path / "new", "app")
    pem = path.read_bytes()
    assert x509.load_pem_x509_certificate(pem).public_key() == load_pem_private_key(pem, None).public_key()
    CertificateCredential("tenant", "client", certificate_path=str(path)).close()
