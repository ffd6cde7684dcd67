"""Starts the services, a real Azurite and the app, each a process of its own, and collects what it prints."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from bench.run import ROOT, Failed, machine
from bench.validation.app import WEBHOOK_SECRET
from bench.validation.costs import Load, MixCost, ValidationCosts
from bench.validation.upstream import Ready
from sandbox.azurite import Azurite
from sandbox.certificates import ServerCertificates
from sandbox.tenant import CLIENT_ID, MANAGED_IDENTITY_CLIENT_ID, TENANT_ID, VALIDATION_CLIENT_ID

LOADS = (Load(1), Load(20, every=2.0), Load(20))
CALLS = 300
"""Of each kind. All loads together stay below 1000 users who fail within 20 minutes."""
_PLAIN_SHARE = 3
"""The tenant has so many times more users than are needed: many are guests, disabled or synchronised."""


def measure(
    say: Callable[[str], None],
    *,
    loads: Sequence[Load] = LOADS,
    calls: int = CALLS,
) -> ValidationCosts:
    """Measure all kinds of calls. `say` is told what comes next."""
    say("credential validation: no attempt, attempts, memory")
    needed = 1 + len(loads) * calls
    with (
        TemporaryDirectory(prefix="bench-") as name,
        _upstream(Path(name), needed) as ready,
        Azurite() as azurite,
    ):
        users = Path(name) / "users"
        users.write_text("\n".join(ready.users[:needed]), encoding="utf-8")
        command = [sys.executable, "-m", "bench.validation.app"]
        command += ["--origin", ready.origin, "--users", str(users)]
        command += ["--calls", str(calls), "--loads", msgspec.json.encode(loads).decode()]
        environment = _settings(ready, azurite.account().connection_string)
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | environment, capture_output=True, check=False
        )
    if done.returncode:
        raise Failed(f"The app failed:\n{done.stderr.decode(errors='replace')[-2000:]}")
    return ValidationCosts(machine(), msgspec.json.decode(done.stdout.splitlines()[-1], type=list[MixCost]))


@contextmanager
def _upstream(directory: Path, needed: int) -> Iterator[Ready]:
    command = [sys.executable, "-m", "bench.validation.upstream", "--directory", str(directory / "tls")]
    command += ["--users", str(max(100, _PLAIN_SHARE * needed))]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise Failed("The simulated tenant did not start.")
        ready = msgspec.json.decode(line, type=Ready)
        if len(ready.users) < needed:
            raise Failed(f"The simulated tenant has {len(ready.users)} plain users; {needed} are needed.")
        yield ready
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def _settings(ready: Ready, storage: str) -> dict[str, str]:
    authority = Path(ready.authority)
    return {
        "ENTRA_TENANT_ID": TENANT_ID,
        "ENTRA_CLIENT_ID": CLIENT_ID,
        "ENTRA_CREDENTIAL": "client-secret",
        "VALIDATION_CLIENT_ID": VALIDATION_CLIENT_ID,
        "VALIDATION_ATTEMPTS_PER_DAY": "100000",
        "VALIDATION_FAILING_USERS_PER_20_MIN": "1000",
        "AZURE_CLIENT_ID": MANAGED_IDENTITY_CLIENT_ID,
        "AZURE_AUTHORITY_HOST": ready.origin,
        "GRAPH_ENDPOINT": ready.origin,
        "KEY_VAULT_URL": ready.origin,
        "IDENTITY_ENDPOINT": f"{ready.origin}/msi/token",
        "IDENTITY_HEADER": ready.identity_header,
        "DIRECTORY_STORAGE": storage,
        WEBHOOK_SECRET: ready.webhook_secret,
        **ServerCertificates(authority, authority, authority).environment,
    }
