"""The platform's call: six leaked credentials of the simulated tenant, and what the app says of them."""

import json
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from rich.console import Console
from standardwebhooks import Webhook

from sandbox.demo.app_api import AppApi
from sandbox.demo.snapshot import Snapshot
from sandbox.demo.summary import heading, line
from sandbox.demo.tenant_api import change_user
from sandbox.services.errors import SandboxError
from sandbox.services.sandbox import Sandbox
from sandbox.tenant.configuration import vault_secrets

STATUS_WIDTH = 13
NAME_WIDTH = 40
STYLES = {"valid": "bold red", "invalid": "green", "superseded": "green", "disabled": "yellow"}
LEAKED_DAYS_AGO = 30
MFA_REQUIRED = 50076


class Person(msgspec.Struct):
    """A published user, as far as the choice of an example needs it."""

    id: str
    user_principal_name: str
    user_type: str | None = None
    account_enabled: bool | None = None
    last_password_change_at: str | None = None


class Told(msgspec.Struct):
    """Whom the answer names."""

    portal_url: str


class Result(msgspec.Struct):
    """One result of the answer."""

    id: str
    status: str
    detail: str
    evidence: list[str]
    account_state: str | None = None
    user: Told | None = None


class Answer(msgspec.Struct):
    results: list[Result]


@dataclass(frozen=True)
class Leak:
    """One leaked credential of the tenant."""

    id: str
    """What is true of it."""
    username: str
    password: str


async def show_validation(console: Console, sandbox: Sandbox, snapshot: Snapshot) -> None:
    """Leak six credentials, call the webhook, show its verdicts."""
    leaks = await _leak(sandbox, snapshot)
    seen = datetime.now(UTC) - timedelta(days=LEAKED_DAYS_AGO)
    body = json.dumps(
        {
            "credentials": [
                {
                    "id": leak.id,
                    "username": leak.username,
                    "password": leak.password,
                    "first_seen_at": f"{seen:%Y-%m-%dT%H:%M:%SZ}",
                }
                for leak in leaks
            ]
        }
    )
    assert sandbox.host is not None
    started = time.perf_counter()
    async with AppApi(sandbox.host) as api:
        answer = await api.validate(body, signed(body))
    took = time.perf_counter() - started
    heading(console, "Leaked credentials", f"one signed call with {len(leaks)}, answered in {took:.1f} s")
    line(console, (f"  {'verdict':<{STATUS_WIDTH}}{'user':<{NAME_WIDTH}}state", "dim"))
    results = {result.id: result for result in msgspec.json.decode(answer, type=Answer).results}
    for leak in leaks:
        _show(console, leak, results[leak.id])


def signed(body: str) -> dict[str, str]:
    """The headers of Standard Webhooks for a body."""
    call_id, sent = f"msg_{uuid.uuid4().hex}", datetime.now(UTC)
    return {
        "webhook-id": call_id,
        "webhook-timestamp": str(int(sent.timestamp())),
        "webhook-signature": Webhook(vault_secrets()["webhook-secret"]).sign(call_id, sent, body),
    }


async def _leak(sandbox: Sandbox, snapshot: Snapshot) -> list[Leak]:
    """Choose people, and make of their accounts what the example needs."""
    long_ago = f"{datetime.now(UTC) - timedelta(days=LEAKED_DAYS_AGO + 1):%Y-%m-%d}"
    plain = [
        person
        for person in snapshot.rows("users", Person)
        if person.account_enabled
        and person.user_type == "Member"
        and "#" not in person.user_principal_name
        and person.user_principal_name.endswith("@contoso.com")
        and (person.last_password_change_at or "") < long_ago
    ]
    if len(plain) < 5:
        raise SandboxError("The company is too small for an example of leaked credentials: take more USERS.")
    mfa, wrong, changed, disabled, expired = (person.user_principal_name for person in plain[:5])

    async def password(name: str, **changes: Any) -> str:
        """Change the account as asked; its password."""
        told = await change_user(sandbox, name, **changes)
        return str(told["password"])

    old = await password(changed)
    await password(changed, password="Changed-since-7")
    return [
        Leak("still-valid", mfa, await password(mfa, after_password=[MFA_REQUIRED])),
        Leak("wrong", wrong, "Summer-2019!"),
        Leak("changed-since", changed, old),
        Leak("disabled", disabled, await password(disabled, enabled=False)),
        Leak("unknown", "former.employee@contoso.com", "Welcome-1"),
        Leak("expired", expired, await password(expired, expired=True)),
    ]


def _show(console: Console, leak: Leak, result: Result) -> None:
    state = result.account_state or ", ".join(result.evidence)
    told = [result.detail]
    if result.account_state and result.evidence:
        told.append(", ".join(result.evidence))
    line(
        console,
        (f"  {result.status:<{STATUS_WIDTH}}", STYLES.get(result.status, "")),
        f"{leak.username:<{NAME_WIDTH}}",
        (state, "bold"),
    )
    for text in told:
        line(console, (f"  {'':<{STATUS_WIDTH}}{text}", "dim"))
    if result.user is not None:
        line(console, f"  {'':<{STATUS_WIDTH}}{result.user.portal_url}")
