"""The tenant's controls, as somebody steers it from outside."""

import ssl

import httpx

from sandbox.services.errors import SandboxError
from sandbox.services.sandbox import Sandbox


async def let_things_happen(sandbox: Sandbox, count: int, seed: int) -> dict[str, int]:
    """Let the tenant change; the same things happen for the same seed. How many of each kind."""
    context = ssl.create_default_context(cafile=str(sandbox.certificates.authority))
    async with httpx.AsyncClient(base_url=sandbox.tenant.url, verify=context, trust_env=False) as http:
        try:
            answer = await http.post("/_sandbox/churn", json={"count": count, "seed": seed})
        except httpx.TransportError as error:
            raise SandboxError(
                f"The simulated tenant does not answer: {type(error).__name__} (log: {sandbox.tenant.log})."
            ) from None
    if not answer.is_success:
        raise SandboxError(f"The simulated tenant did not change: {answer.text}")
    events: dict[str, int] = answer.json()["events"]
    return events
