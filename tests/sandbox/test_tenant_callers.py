"""Tokens of those who call our own API: their shapes, their roles, the keys that sign them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest

from sandbox.certificates import ServerCertificates
from sandbox.tenant import (
    API_IDENTIFIER,
    CALLER_CLIENT_ID,
    CALLER_CLIENT_SECRET,
    CALLER_ROLE,
    CLIENT_ID,
    TENANT_ID,
    VALIDATION_CLIENT_ID,
    Tenant,
)
from tests.sandbox.tenant_client import Answer, Client
from tests.sandbox.tls import tls_client


@pytest.fixture
async def client(certificates: ServerCertificates) -> AsyncIterator[Client]:
    async with tls_client(Tenant(), certificates) as client:
        yield client


async def asked(client: Client, resource: str = API_IDENTIFIER, **form: str) -> Answer:
    body = {
        "grant_type": "client_credentials",
        "client_id": CALLER_CLIENT_ID,
        "client_secret": CALLER_CLIENT_SECRET,
        "scope": f"{resource}/.default",
        **form,
    }
    url = f"{client.server.url}/{TENANT_ID}/oauth2/v2.0/token"
    async with client.session.post(url, data=body) as response:
        text = await response.text()
        return Answer(response.status, response.headers, json.loads(text), text)


async def verified(client: Client, token: str, audience: str) -> dict[str, Any]:
    """The claims, checked as a validator does: with the published keys."""
    discovery = (await client.ask(f"/{TENANT_ID}/v2.0/.well-known/openid-configuration")).json
    keys = jwt.PyJWKSet.from_dict((await client.ask(discovery["jwks_uri"])).json)
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=["RS256"], audience=audience)
    if claims["ver"] == "2.0":
        assert claims["iss"] == discovery["issuer"]
    return claims


async def test_a_token_of_version_1(client: Client) -> None:
    token = (await asked(client)).json["access_token"]
    claims = await verified(client, token, API_IDENTIFIER)
    assert (claims["ver"], claims["appid"], claims["tid"]) == ("1.0", CALLER_CLIENT_ID, TENANT_ID)
    assert claims["iss"] == f"https://sts.windows.net/{TENANT_ID}/"
    assert claims["roles"] == [CALLER_ROLE]
    assert "azp" not in claims


async def test_a_token_of_version_2(client: Client) -> None:
    client.tenant.clients[CLIENT_ID].token_version = 2
    for resource in (API_IDENTIFIER, CLIENT_ID):
        token = (await asked(client, resource)).json["access_token"]
        claims = await verified(client, token, CLIENT_ID)
        assert (claims["ver"], claims["azp"], claims["tid"]) == ("2.0", CALLER_CLIENT_ID, TENANT_ID)
        assert claims["roles"] == [CALLER_ROLE]
        assert "appid" not in claims


async def test_any_application_gets_a_token_unless_assignment_is_required(client: Client) -> None:
    caller, api = client.tenant.clients[CALLER_CLIENT_ID], client.tenant.clients[CLIENT_ID]
    caller.app_roles.clear()
    token = (await asked(client)).json["access_token"]
    assert "roles" not in await verified(client, token, API_IDENTIFIER)
    api.assignment_required = True
    answer = await asked(client)
    assert (answer.status, answer.json["error_codes"]) == (400, [501051])
    caller.app_roles[CLIENT_ID] = {CALLER_ROLE}
    assert (await asked(client)).status == 200


async def test_an_application_without_an_api_is_no_resource(client: Client) -> None:
    for resource in (VALIDATION_CLIENT_ID, "api://nobody"):
        assert (await asked(client, resource)).json["error_codes"] == [500011]


async def test_a_callers_token_is_not_for_graph(client: Client) -> None:
    client.token = client.tenant.token_for(client.tenant.clients[CALLER_CLIENT_ID], API_IDENTIFIER).text
    assert (await client.graph("/users")).status == 401


async def test_keys_rotate_with_the_old_one_still_published(client: Client) -> None:
    issuer = client.tenant.issuer
    old = client.tenant.token_for(client.tenant.clients[CALLER_CLIENT_ID], API_IDENTIFIER).text
    issuer.rotate_keys()
    new = (await asked(client)).json["access_token"]
    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    for token in (old, new):
        assert (await verified(client, token, API_IDENTIFIER))["appid"] == CALLER_CLIENT_ID
    answer = await client.ask("/_sandbox/keys", "POST", json={"keep_old": False})
    assert answer.json == {"keys": 1}
    for token in (old, new):
        with pytest.raises(KeyError):
            await verified(client, token, API_IDENTIFIER)


async def test_a_dropped_key_ends_every_token(client: Client) -> None:
    application = client.tenant.clients[CLIENT_ID]
    client.token = client.tenant.token_for(application).text
    assert (await client.graph("/organization")).status == 200
    client.tenant.issuer.rotate_keys()
    assert (await client.graph("/organization")).status == 200
    client.tenant.issuer.rotate_keys(keep_old=False)
    assert (await client.graph("/organization")).status == 401


async def test_any_claim_can_be_forged_with_the_tenants_own_key(client: Client) -> None:
    other = "11111111-2222-3333-4444-555555555555"
    claims = {"aud": API_IDENTIFIER, "tid": other, "iss": f"https://sts.windows.net/{other}/", "ver": "1.0"}
    token = client.tenant.issuer.sign(claims, 60).text
    assert (await verified(client, token, API_IDENTIFIER))["tid"] == other
    expired = client.tenant.issuer.sign(claims, -60).text
    with pytest.raises(jwt.ExpiredSignatureError):
        await verified(client, expired, API_IDENTIFIER)
