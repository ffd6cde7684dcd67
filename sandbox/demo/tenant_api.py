"""The tenant's controls, as somebody steers it from outside."""

import ssl
from collections.abc import Iterable
from typing import Any

import httpx

from sandbox.services.errors import SandboxError
from sandbox.services.sandbox import Sandbox


async def let_things_happen(sandbox: Sandbox, count: int, seed: int) -> dict[str, int]:
    """Let the tenant change; the same things happen for the same seed. How many of each kind."""
    answer = await _told(sandbox, "POST", "churn", {"count": count, "seed": seed})
    events: dict[str, int] = answer["events"]
    return events


async def change_permissions(
    sandbox: Sandbox, *, grant: Iterable[str] = (), revoke: Iterable[str] = ()
) -> list[str]:
    """Give permissions on Graph to the app, or take them away, at once. Those that it then has."""
    answer = await _told(sandbox, "POST", "permissions", {"grant": list(grant), "revoke": list(revoke)})
    permissions: list[str] = answer["permissions"]
    return permissions


async def change_user(sandbox: Sandbox, user: str, **changes: Any) -> dict[str, Any]:
    """Change what a user's sign-in depends on, such as `password` or `after_password`; without a change, only
    look. The user is named by id or principal name; the answer has its password and its state."""
    return await _told(sandbox, "POST", "users", {"user": user, **changes})


async def ever_locked(sandbox: Sandbox) -> list[str]:
    """The ids of the users who were ever locked out."""
    answer = await _told(sandbox, "GET", "sign-ins")
    users: list[str] = answer["ever_locked"]
    return users


async def _told(
    sandbox: Sandbox, method: str, name: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=str(sandbox.certificates.authority))
    async with httpx.AsyncClient(base_url=sandbox.tenant.url, verify=context, trust_env=False) as http:
        try:
            answer = await http.request(method, f"/_sandbox/{name}", json=body)
        except httpx.TransportError as error:
            raise SandboxError(
                f"The simulated tenant does not answer: {type(error).__name__} (log: {sandbox.tenant.log})."
            ) from None
    if not answer.is_success:
        raise SandboxError(f"The simulated tenant refused {name}: {answer.text}")
    told: dict[str, Any] = answer.json()
    return told
