"""What a check of the connection must find, each switched on and off from another process."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from sandbox.tenant import MANAGED_IDENTITY_CLIENT_ID, Tenant, generate
from tests.sandbox.tenant_client import Client, client_of

SECRETS = {
    "credential-memory-key": 1,
    "entra-client-secret": 1,
    "validation-client-secret": 1,
    "webhook-secret": 1,
}
REPORT = "/reports/authenticationMethods/userRegistrationDetails"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with client_of(Tenant(generate(60, seed=1))) as client:
        yield client


async def steered(client: Client, name: str, **body: Any) -> Any:
    answer = await client.ask(f"/_sandbox/{name}", "POST", json=body)
    assert answer.status == 200, answer.text
    return answer.json


async def read_secret(client: Client, name: str) -> int:
    token = client.tenant.token_for(client.tenant.managed_identity, "https://vault.azure.net").text
    headers = {"Authorization": f"Bearer {token}"}
    return (await client.ask(f"/secrets/{name}?api-version=7.4", headers=headers)).status


async def test_a_permission_is_taken_away_and_given_back(client: Client) -> None:
    await steered(client, "permissions", revoke=["User.Read.All"])
    assert (await client.graph("/users")).status == 403
    await steered(client, "permissions", grant=["User.Read.All"])
    assert (await client.graph("/users")).status == 200
    answer = await steered(
        client, "permissions", client_id=MANAGED_IDENTITY_CLIENT_ID, revoke=["Domain.Read.All"]
    )
    assert "Domain.Read.All" not in answer["permissions"]


async def test_the_licence_ends(client: Client) -> None:
    await steered(client, "permissions", premium=False)
    answer = await client.graph(REPORT)
    assert answer.code == "Authentication_RequestFromNonPremiumTenantOrB2CTenant"
    await steered(client, "permissions", premium=True)
    assert (await client.graph(REPORT)).status == 200


async def test_the_vault_refuses_all_or_one_or_lacks_one(client: Client) -> None:
    assert await steered(client, "vault") == {"forbidden": False, "refused": [], "secrets": SECRETS}
    await steered(client, "vault", forbidden=True)
    assert await read_secret(client, "webhook-secret") == 403
    await steered(client, "vault", forbidden=False, secret="webhook-secret", refused=True)
    assert await read_secret(client, "webhook-secret") == 403
    assert await read_secret(client, "entra-client-secret") == 200
    await steered(client, "vault", secret="webhook-secret", refused=False, value=None)
    assert await read_secret(client, "webhook-secret") == 404
    answer = await steered(client, "vault", secret="webhook-secret", value="another")
    assert answer["secrets"] == SECRETS
    assert await read_secret(client, "webhook-secret") == 200


async def test_one_capability_is_throttled(client: Client) -> None:
    rule = {"action": "throttle", "arguments": {"retry_after": 3}, "path": "/domains", "times": None}
    await steered(client, "faults", **rule)
    answer = await client.graph("/domains")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
    assert (await client.graph("/users")).status == 200
    await client.ask("/_sandbox/faults", "DELETE")
    assert (await client.graph("/domains")).status == 200
