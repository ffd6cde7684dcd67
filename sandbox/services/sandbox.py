"""All processes of the sandbox together: who starts when, and who stops first."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.azurite import Azurite, AzuriteError, StorageAccount
from sandbox.certificates import ServerCertificates, make_server_certificates
from sandbox.services import tenant_process
from sandbox.services.app_settings import NOT_INHERITED, app_environment
from sandbox.services.child import REPOSITORY, Child, inherited_environment
from sandbox.services.errors import SandboxError
from sandbox.services.occupation import occupied

HOST_READY = "Host ready on"
HOST_GRACE_SECONDS = 3


@dataclass(frozen=True)
class Sandbox:
    """What runs. `host` is None where the app runs elsewhere, under `func start`."""

    directory: Path
    tenant: Child
    account: StorageAccount
    certificates: ServerCertificates
    host: Child | None

    @property
    def children(self) -> list[Child]:
        return [child for child in (self.tenant, self.host) if child is not None]


@asynccontextmanager
async def running_sandbox(
    directory: Path,
    *,
    users: int,
    seed: int,
    port: int = 0,
    with_host: bool = True,
    settings: Mapping[str, str],
) -> AsyncIterator[Sandbox]:
    """Everything started; stopped at the end in the order in which nothing misses what it needs.

    Certificates and logs lie in `directory`. `port` is the host's, 0 for a free one. `settings` are the
    app's. Raises SandboxError.
    """
    if port:
        _check_free(port)
    with occupied(directory):
        certificates = make_server_certificates(directory / "certificates")
        tenant = Child(
            "The simulated tenant",
            tenant_process.__name__,
            f"--users={users}",
            f"--seed={seed}",
            f"--certificate={certificates.certificate}",
            f"--key={certificates.key}",
            environment=inherited_environment(NOT_INHERITED),
            ready=tenant_process.READY,
            log=directory / "tenant.log",
        )
        # Azurite starts while the tenant generates its company.
        async with tenant, _azurite(certificates) as azurite:
            await tenant.until_ready()
            account = azurite.account()
            if not with_host:
                yield Sandbox(directory, tenant, account, certificates, None)
                return
            environment = app_environment(tenant.url, account, certificates, settings)
            async with host_process(environment, directory / "host.log", port=port) as host:
                await host.until_ready()
                yield Sandbox(directory, tenant, account, certificates, host)


def host_process(environment: dict[str, str], log: Path, *, port: int = 0) -> Child:
    """The local Functions host with the app, not yet started."""
    return Child(
        "The app",
        "sandbox.host",
        f"--app={REPOSITORY}",
        f"--port={port}",
        f"--grace={HOST_GRACE_SECONDS}",
        environment=environment,
        ready=HOST_READY,
        log=log,
    )


@asynccontextmanager
async def _azurite(certificates: ServerCertificates) -> AsyncIterator[Azurite]:
    azurite = Azurite(certificates=certificates)
    try:
        await asyncio.to_thread(azurite.start)
    except AzuriteError as error:
        raise SandboxError(str(error)) from None
    try:
        yield azurite
    finally:
        await asyncio.to_thread(azurite.stop)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise SandboxError(
                f"Port {port} {why}: choose another with --port, or a free one with --port 0."
            ) from None
