"""`make sandbox`: everything started, described, and kept until it is interrupted."""

import asyncio
from pathlib import Path

from rich.console import Console

from sandbox.demo.app_api import AppApi
from sandbox.demo.paths import shown
from sandbox.demo.summary import heading, line
from sandbox.services.app_settings import write_local_settings
from sandbox.services.child import Child
from sandbox.services.errors import SandboxError
from sandbox.services.sandbox import Sandbox, running_sandbox

CONTROLS = (
    ("GET", "stats", "requests by path and status, size of the directory"),
    ("POST", "churn", '{"count": 50}: so many changes, for the next sync to find'),
    ("POST", "faults", '{"action": "throttle", "path": "/users/delta"}; DELETE removes all'),
    ("POST", "permissions", '{"revoke": ["AuditLog.Read.All"]}, or "grant"'),
    ("POST", "users", '{"user": "<id or name>", "password": "…", "after_password": [50076]}'),
    ("POST", "vault", '{"secret": "webhook-secret", "value": null} takes one away'),
    ("GET", "sign-ins", "attempts with a password, and who was ever locked out"),
)


async def keep_running(
    console: Console,
    directory: Path,
    *,
    users: int,
    seed: int,
    port: int,
    schedule: str,
    with_host: bool,
) -> None:
    """Until cancelled. Raises SandboxError when a process ends by itself."""
    app_settings = {"SYNC_SCHEDULE": schedule}
    heading(console, "Entra Connector sandbox", f"{users:,} users, seed {seed}")
    async with running_sandbox(
        directory, users=users, seed=seed, port=port, with_host=with_host, settings=app_settings
    ) as sandbox:
        settings = directory / "local.settings.json"
        write_local_settings(
            settings, sandbox.tenant.url, sandbox.account, sandbox.certificates, app_settings
        )
        await _describe(console, sandbox, settings)
        await _until_one_ends(sandbox.children)


async def _until_one_ends(children: list[Child]) -> None:
    waiting = {asyncio.create_task(child.wait()): child for child in children}
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    child = waiting[done.pop()]
    raise SandboxError(f"{child.name} ended: {child.last_words()} (log: {child.log})")


async def _describe(console: Console, sandbox: Sandbox, settings: Path) -> None:
    authority = shown(sandbox.certificates.authority)
    tenant, account = sandbox.tenant.url, sandbox.account
    if sandbox.host is not None:
        heading(
            console,
            "App",
            f"{sandbox.host.url}  no function key is asked for; log: {shown(sandbox.host.log)}",
        )
        async with AppApi(sandbox.host) as api:
            for function in await api.functions():
                line(console, f"  {function}")
    heading(console, "Tenant", tenant)
    for method, name, what in CONTROLS:
        line(console, f"  {method:<5} /_sandbox/{name:<12} {what}")
    heading(console, "Storage", "Azurite, in memory")
    for service, uri in (
        ("blob", account.blob_uri),
        ("queue", account.queue_uri),
        ("table", account.table_uri),
    ):
        line(console, f"  {service:<5} {uri}")
    heading(console, "Settings", f"{shown(settings)}  storage by connection string")
    line(console, "  for Core Tools, with --no-host here (not tested; they must trust the authority, too):")
    line(console, f"  cp {shown(settings)} . && SSL_CERT_FILE={authority} func start")
    heading(console, "Try")
    line(console, f"  export CURL_CA_BUNDLE={authority}")
    if sandbox.host is not None:
        line(console, f"  curl -X POST {sandbox.host.url}/api/directory/sync")
        line(console, f"  curl {sandbox.host.url}/api/directory/status")
    line(console, f"  curl -d '{{\"count\": 50}}' {tenant}/_sandbox/churn")
    console.print("\nCtrl-C stops everything.")
