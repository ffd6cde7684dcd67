"""Throw-away certificates: an authority and a server certificate for loopback, and a client certificate.

They pass Python 3.13's strict verification (`VERIFY_X509_STRICT`), which wants key usage, subject and
authority key identifiers. Point `SSL_CERT_FILE` and `REQUESTS_CA_BUNDLE` at `authority`.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

type _Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

VALIDITY = timedelta(days=7)


@dataclass(frozen=True)
class ServerCertificates:
    """Paths of PEM files, readable by the owner only."""

    authority: Path
    certificate: Path
    key: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to trust the server: OpenSSL's variable, and that of `requests` (msal)."""
        return {"SSL_CERT_FILE": str(self.authority), "REQUESTS_CA_BUNDLE": str(self.authority)}


def make_server_certificates(directory: Path) -> ServerCertificates:
    """Write a new authority and a certificate for localhost, 127.0.0.1 and ::1 into the directory."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _sign(
        _authority_builder(authority_key),
        issuer="Entra Connector sandbox authority",
        issuer_key=authority_key,
    )
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(
        _leaf_builder("localhost", key, ExtendedKeyUsageOID.SERVER_AUTH).add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.DNSName("localhost"),
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    x509.IPAddress(ipaddress.ip_address("::1")),
                ]
            ),
            critical=False,
        ),
        issuer="Entra Connector sandbox authority",
        issuer_key=authority_key,
    )
    return ServerCertificates(
        authority=_write(directory / "authority.pem", _pem(authority)),
        certificate=_write(directory / "server.pem", _pem(certificate)),
        key=_write(directory / "server-key.pem", _key_pem(key)),
    )


def make_client_certificate(directory: Path, name: str = "entra-connector") -> Path:
    """Write a self-signed certificate and its key into one PEM file, for an app registration.

    RSA, since Entra verifies client assertions with PS256 or RS256 only.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    certificate = _sign(
        _leaf_builder(name, key, ExtendedKeyUsageOID.CLIENT_AUTH), issuer=name, issuer_key=key
    )
    return _write(directory / f"{name}.pem", _key_pem(key) + _pem(certificate))


def _authority_builder(key: _Key) -> x509.CertificateBuilder:
    return (
        _builder("Entra Connector sandbox authority", key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
    )


def _leaf_builder(name: str, key: _Key, usage: x509.ObjectIdentifier) -> x509.CertificateBuilder:
    return (
        _builder(name, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    )


def _builder(name: str, key: _Key) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _sign(builder: x509.CertificateBuilder, *, issuer: str, issuer_key: _Key) -> x509.Certificate:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        builder.issuer_name(_name(issuer))
        .add_extension(identifier, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: _Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> Path:
    """Write a file that was never readable by others, not even for a moment."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return path
