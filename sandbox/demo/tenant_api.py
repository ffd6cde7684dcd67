"""The tenant's controls, as somebody steers it from outside."""

import ssl
from typing import Any

import httpx

from sandbox.services.errors import SandboxError
from sandbox.services.sandbox import Sandbox


async def let_things_happen(sandbox: Sandbox, count: int, seed: int) -> dict[str, int]:
    """Let the tenant change; the same things happen for the same seed. How many of each kind."""
    events: dict[str, int] = (await _ask(sandbox, "churn", {"count": count, "seed": seed}))["events"]
    return events


async def change_user(sandbox: Sandbox, change: dict[str, Any]) -> dict[str, Any]:
    """Change the sign-in of one user, `change["user"]`; what it is now, the password included."""
    return await _ask(sandbox, "users", change)


async def _ask(sandbox: Sandbox, control: str, body: dict[str, Any]) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=str(sandbox.certificates.authority))
    async with httpx.AsyncClient(base_url=sandbox.tenant.url, verify=context, trust_env=False) as http:
        try:
            answer = await http.post(f"/_sandbox/{control}", json=body)
        except httpx.TransportError as error:
            raise SandboxError(
                f"The simulated tenant does not answer: {type(error).__name__} (log: {sandbox.tenant.log})."
            ) from None
    if not answer.is_success:
        raise SandboxError(f"The simulated tenant did not change: {answer.text}")
    told: dict[str, Any] = answer.json()
    return told
