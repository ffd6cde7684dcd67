"""Both ends of TLS with the sandbox's certificates."""

import ssl

from sandbox.certificates import ServerCertificates


def serving(certificates: ServerCertificates) -> ssl.SSLContext:
    """For a server."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.certificate, certificates.key)
    return context


def trusting(certificates: ServerCertificates) -> ssl.SSLContext:
    """For a client that trusts nobody else."""
    return ssl.create_default_context(cafile=str(certificates.authority))
