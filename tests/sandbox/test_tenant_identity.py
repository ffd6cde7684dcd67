"""Entra, the managed identity and Key Vault as azure-identity and azure-keyvault-secrets see them, over TLS.

The SDKs run in processes of their own: they read which authority to trust when they are imported.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509

from sandbox.azurite import Azurite
from sandbox.certificates import ServerCertificates, make_client_certificate
from sandbox.tenant import (
    CLIENT_ID,
    CLIENT_SECRET,
    MANAGED_IDENTITY_CLIENT_ID,
    TENANT_ID,
    Secret,
    Tenant,
    generate,
)
from tests.sandbox.tenant_client import Answer, Client
from tests.sandbox.tls import tls_client

GRAPH_SCOPE = "https://graph.microsoft.com/.default"


@dataclass(frozen=True)
class Registered:
    """A client certificate: the file with its key, and what an app registration holds."""

    path: Path
    certificate: x509.Certificate


@pytest.fixture(scope="module")
def client_certificate(tmp_path_factory: pytest.TempPathFactory) -> Registered:
    path = make_client_certificate(tmp_path_factory.mktemp("client"))
    return Registered(path, x509.load_pem_x509_certificate(path.read_bytes()))


@pytest.fixture
async def client(certificates: ServerCertificates) -> AsyncIterator[Client]:
    async with tls_client(Tenant(generate(60, seed=1)), certificates) as client:
        yield client


async def token_answer(client: Client, tenant_id: str = TENANT_ID, **form: str) -> Answer:
    body = {
        "grant_type": "client_credentials",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "scope": GRAPH_SCOPE,
        **form,
    }
    url = f"{client.server.url}/{tenant_id}/oauth2/v2.0/token"
    async with client.session.post(url, data={k: v for k, v in body.items() if v}) as response:
        text = await response.text()
        return Answer(response.status, response.headers, json.loads(text), text)


async def run(
    client: Client, certificates: ServerCertificates, script: str, **environment: str
) -> dict[str, Any]:
    """Run a script in another process; it prints one JSON object."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "ignore",
        "-c",
        script,
        env={
            **certificates.environment,
            "SERVER": client.server.url,
            "TENANT_ID": TENANT_ID,
            "CLIENT_ID": CLIENT_ID,
            "CLIENT_SECRET": CLIENT_SECRET,
            "NO_PROXY": "*",
            **environment,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    result: dict[str, Any] = json.loads(output)
    return result


# --- the token endpoint --------------------------------------------------------------------------------


async def test_a_secret_buys_a_token_that_graph_accepts(client: Client) -> None:
    answer = await token_answer(client)
    assert answer.status == 200
    assert answer.json["token_type"] == "Bearer"
    claims = jwt.decode(answer.json["access_token"], options={"verify_signature": False})
    assert claims["aud"] == "https://graph.microsoft.com"
    assert claims["iss"] == f"https://sts.windows.net/{TENANT_ID}/"
    assert (claims["tid"], claims["appid"]) == (TENANT_ID, CLIENT_ID)
    assert "User.Read.All" in claims["roles"]
    assert claims["exp"] - claims["iat"] == answer.json["expires_in"] == 3599
    client.token = answer.json["access_token"]
    assert (await client.graph("/users")).status == 200


@pytest.mark.parametrize(
    ("tenant_id", "form", "status", "error", "code"),
    [
        ("11111111-2222-3333-4444-555555555555", {}, 400, "invalid_request", 90002),
        (TENANT_ID, {"client_id": "someone"}, 400, "unauthorized_client", 700016),
        (TENANT_ID, {"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        (TENANT_ID, {"client_secret": ""}, 401, "invalid_client", 7000218),
        (TENANT_ID, {"client_id": ""}, 400, "invalid_request", 900144),
        (TENANT_ID, {"scope": ""}, 400, "invalid_request", 900144),
        (TENANT_ID, {"scope": "openid"}, 400, "invalid_scope", 70011),
        (TENANT_ID, {"scope": "https://nowhere.example/.default"}, 400, "invalid_resource", 500011),
        (TENANT_ID, {"grant_type": "magic"}, 400, "unsupported_grant_type", 70003),
        (TENANT_ID, {"client_assertion": "x"}, 400, "invalid_request", 900144),
    ],
)
async def test_entra_refuses(
    client: Client, tenant_id: str, form: dict[str, str], status: int, error: str, code: int
) -> None:
    answer = await token_answer(client, tenant_id, **form)
    assert (answer.status, answer.json["error"], answer.json["error_codes"]) == (status, error, [code])
    assert answer.json["error_description"].startswith(f"AADSTS{code}: ")
    assert {"trace_id", "correlation_id", "timestamp"} < answer.json.keys()


async def test_secrets_rotate_and_expire_while_it_serves(client: Client) -> None:
    application = client.tenant.clients[CLIENT_ID]
    application.secrets = [Secret("second"), Secret("old", expires_at=time.time() - 1)]
    assert (await token_answer(client)).json["error_codes"] == [7000215]
    assert (await token_answer(client, client_secret="old")).json["error_codes"] == [7000222]
    assert (await token_answer(client, client_secret="second")).status == 200


async def test_published_keys_verify_tokens(client: Client) -> None:
    discovery = (await client.ask(f"/{TENANT_ID}/v2.0/.well-known/openid-configuration")).json
    assert discovery["token_endpoint"] == f"{client.server.url}/{TENANT_ID}/oauth2/v2.0/token"
    keys = jwt.PyJWKSet.from_dict((await client.ask(discovery["jwks_uri"])).json)
    token = (await token_answer(client)).json["access_token"]
    key = keys[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, audience="https://graph.microsoft.com")["tid"] == TENANT_ID
    instance = await client.ask("/common/discovery/instance?api-version=1.1")
    assert instance.json["tenant_discovery_endpoint"].startswith(client.server.url)


CREDENTIALS = """
import asyncio, json, os
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CertificateCredential, ClientSecretCredential, ClientAssertionCredential
from azure.identity import ManagedIdentityCredential
from azure.identity import aio

E = os.environ
SCOPE = "https://graph.microsoft.com/.default"
ours = {"authority": E["SERVER"], "disable_instance_discovery": True}
who = (E["TENANT_ID"], E["CLIENT_ID"])
told = {}

def assertion():
    return ManagedIdentityCredential(client_id=E["IDENTITY"]).get_token("api://AzureADTokenExchange").token

def attempt(name, credential):
    with credential:
        try:
            told[name] = credential.get_token(SCOPE).token
        except ClientAuthenticationError as error:
            told[name] = str(error)

async def attempt_async(name, credential):
    async with credential:
        told[name] = (await credential.get_token(SCOPE)).token

attempt("secret", ClientSecretCredential(*who, E["CLIENT_SECRET"], **ours))
attempt("wrong secret", ClientSecretCredential(*who, "wrong", **ours))
attempt("certificate", CertificateCredential(*who, E["CERTIFICATE"], **ours))
attempt("stranger", CertificateCredential(*who, E["STRANGER"], **ours))
attempt("federated", ClientAssertionCredential(*who, assertion, **ours))
attempt("managed identity", ManagedIdentityCredential(client_id=E["IDENTITY"]))
attempt("system identity", ManagedIdentityCredential())
attempt("other identity", ManagedIdentityCredential(client_id="someone"))

async def main():
    await attempt_async("async secret", aio.ClientSecretCredential(*who, E["CLIENT_SECRET"], **ours))
    await attempt_async("async certificate", aio.CertificateCredential(*who, E["CERTIFICATE"], **ours))
    await attempt_async("async federated", aio.ClientAssertionCredential(*who, assertion, **ours))
    await attempt_async("async managed identity", aio.ManagedIdentityCredential(client_id=E["IDENTITY"]))

asyncio.run(main())
print(json.dumps(told))
"""


async def test_azure_identity_signs_in_over_tls(
    client: Client, certificates: ServerCertificates, client_certificate: Registered, tmp_path: Path
) -> None:
    application = client.tenant.clients[CLIENT_ID]
    application.certificates.append(client_certificate.certificate)
    told = await run(
        client,
        certificates,
        CREDENTIALS,
        CERTIFICATE=str(client_certificate.path),
        STRANGER=str(make_client_certificate(tmp_path)),
        IDENTITY=MANAGED_IDENTITY_CLIENT_ID,
        IDENTITY_ENDPOINT=f"{client.server.url}/msi/token",
        IDENTITY_HEADER=client.tenant.identity_header,
    )
    assert "AADSTS7000215" in told.pop("wrong secret")
    assert "AADSTS700027" in told.pop("stranger")
    assert "No User Assigned or Delegated Managed Identity found" in told.pop("other identity")
    assert len(told) == 9
    for name, token in told.items():
        claims = client.tenant.issuer.verify(token, ["https://graph.microsoft.com"])
        expected = MANAGED_IDENTITY_CLIENT_ID if "identity" in name else CLIENT_ID
        assert claims["appid"] == expected, name


async def test_a_federated_credential_is_for_one_subject(client: Client) -> None:
    tenant = client.tenant
    identity = tenant.managed_identity
    form = {
        "client_secret": "",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": tenant.token_for(identity, "api://AzureADTokenExchange").text,
    }
    assert (await token_answer(client, **form)).status == 200
    wrong_audience = {**form, "client_assertion": tenant.token_for(identity, "https://vault.azure.net").text}
    assert (await token_answer(client, **wrong_audience)).json["error_codes"] == [700211]
    tenant.clients[CLIENT_ID].federated.clear()
    assert (await token_answer(client, **form)).json["error_codes"] == [700213]
    malformed = {**form, "client_assertion": "nonsense"}
    assert (await token_answer(client, **malformed)).json["error_codes"] == [50027]


# --- the managed identity ------------------------------------------------------------------------------


async def test_the_identity_endpoint_answers_as_app_service_does(client: Client) -> None:
    header = {"X-IDENTITY-HEADER": client.tenant.identity_header}
    path = "/msi/token?api-version=2019-08-01&resource="
    answer = await client.ask(path + "https://storage.azure.com/", headers=header)
    assert answer.status == 200
    assert isinstance(answer.json["expires_on"], str)
    claims = jwt.decode(answer.json["access_token"], options={"verify_signature": False})
    assert claims["aud"] == "https://storage.azure.com"
    assert claims["iss"].startswith("https://sts.windows.net/")
    assert claims["nbf"] <= claims["iat"] < claims["exp"] == int(answer.json["expires_on"])
    assert "roles" not in claims
    assert (await client.ask(path + "https://storage.azure.com")).status == 401
    assert (await client.ask(path + "https://nowhere.example", headers=header)).status == 400
    assert (await client.ask("/msi/token?resource=x", headers=header)).status == 400


STORAGE = """
import asyncio, json, os
from azure.identity.aio import ManagedIdentityCredential
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

async def main():
    credential = ManagedIdentityCredential()
    blobs = BlobServiceClient(os.environ["BLOBS"], credential)
    queues = QueueServiceClient(os.environ["QUEUES"], credential)
    async with credential, blobs, queues:
        container = await blobs.create_container("directory")
        await container.upload_blob("current.json", b"{}")
        await queues.create_queue("slices")
        told = {"blobs": [b.name async for b in container.list_blobs()]}
        told["queues"] = [q.name async for q in queues.list_queues()]
    print(json.dumps(told))

asyncio.run(main())
"""


async def test_azurite_takes_tokens_of_the_identity(client: Client, certificates: ServerCertificates) -> None:
    async with Azurite(certificates=certificates) as azurite:
        told = await run(
            client,
            certificates,
            STORAGE,
            BLOBS=azurite.account().blob_uri,
            QUEUES=azurite.account().queue_uri,
            IDENTITY_ENDPOINT=f"{client.server.url}/msi/token",
            IDENTITY_HEADER=client.tenant.identity_header,
        )
    assert told == {"blobs": ["current.json"], "queues": ["slices"]}


# --- Key Vault -----------------------------------------------------------------------------------------

VAULT = """
import asyncio, json, os
from azure.core.exceptions import HttpResponseError
from azure.identity.aio import ManagedIdentityCredential
from azure.keyvault.secrets.aio import SecretClient

async def main():
    told = {}
    credential = ManagedIdentityCredential()
    client = SecretClient(os.environ["SERVER"], credential, verify_challenge_resource=False)
    async with credential, client:
        secret = await client.get_secret("entra-client-secret")
        told["value"], told["version"] = secret.value, secret.properties.version
        first = await client.get_secret("webhook-secret", os.environ["FIRST"])
        told["first"] = first.value
        versions = [p async for p in client.list_properties_of_secret_versions("webhook-secret")]
        told["versions"] = sorted([p.version, p.enabled, p.expires_on is not None] for p in versions)
        told["created"] = all(p.created_on and p.updated_on for p in versions)
        for name in ("missing", "disabled"):
            try:
                await client.get_secret(name)
            except HttpResponseError as error:
                told[name] = [error.status_code, error.error.code]
    print(json.dumps(told))

asyncio.run(main())
"""


async def test_the_secrets_sdk_reads_the_vault(client: Client, certificates: ServerCertificates) -> None:
    vault = client.tenant.vault
    first = vault.put("webhook-secret", "one", expires=time.time() + 60)
    for number in range(30):
        vault.put("webhook-secret", f"more {number}", enabled=number % 2 == 0)
    vault.put("disabled", "x", enabled=False)
    told = await run(
        client,
        certificates,
        VAULT,
        FIRST=first.version,
        IDENTITY_ENDPOINT=f"{client.server.url}/msi/token",
        IDENTITY_HEADER=client.tenant.identity_header,
    )
    assert told["value"] == CLIENT_SECRET
    assert told["version"] == vault.secrets["entra-client-secret"][-1].version
    assert told["first"] == "one"
    assert told["versions"] == sorted(
        [v.version, v.enabled, v.expires is not None] for v in vault.secrets["webhook-secret"]
    )
    assert told["created"]
    assert told["missing"] == [404, "SecretNotFound"]
    assert told["disabled"] == [403, "Forbidden"]


async def test_the_vault_challenges_and_refuses(client: Client) -> None:
    path = "/secrets/entra-client-secret?api-version=7.6"
    answer = await client.ask(path)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer authorization="{client.server.url}/{TENANT_ID}", resource="https://vault.azure.net"'
    )
    tenant = client.tenant
    client.token = tenant.token_for(tenant.managed_identity).text
    assert (await client.ask(path)).status == 401
    client.token = tenant.token_for(tenant.managed_identity, "https://vault.azure.net").text
    assert (await client.ask(path)).json["value"] == CLIENT_SECRET
    assert (await client.ask("/secrets/entra-client-secret")).status == 400
    assert (await client.ask(path, method="PUT")).status == 405
    tenant.vault.forbidden = True
    answer = await client.ask(path)
    assert (answer.status, answer.code) == (403, "Forbidden")
    assert answer.json["error"]["innererror"]["code"] == "ForbiddenByRbac"


async def test_versions_of_a_secret_have_an_order(client: Client) -> None:
    vault = client.tenant.vault
    created = [vault.put("rotated", str(number)).created for number in range(3)]
    assert created == sorted(set(created))
    vault.put("entra-client-secret", "rotated")
    token = client.tenant.token_for(client.tenant.managed_identity, "https://vault.azure.net").text
    client.token = token
    answer = await client.ask("/secrets/entra-client-secret/?api-version=7.6")
    assert answer.json["value"] == "rotated"


# --- the Graph SDK -------------------------------------------------------------------------------------

GRAPH_SDK = """
import asyncio, json, os
from urllib.parse import urlsplit
from azure.identity.aio import ClientSecretCredential
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_authentication_azure import azure_identity_authentication_provider as kiota_azure
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.users.delta.delta_request_builder import DeltaRequestBuilder

E = os.environ

async def main():
    told = {}
    credential = ClientSecretCredential(
        E["TENANT_ID"], E["CLIENT_ID"], E["CLIENT_SECRET"],
        authority=E["SERVER"], disable_instance_discovery=True,
    )
    async with credential:
        provider = kiota_azure.AzureIdentityAuthenticationProvider(
            credential,
            scopes=["https://graph.microsoft.com/.default"],
            allowed_hosts=[urlsplit(E["SERVER"]).hostname],
        )
        adapter = GraphRequestAdapter(provider)
        adapter.base_url = E["SERVER"] + "/v1.0"
        client = GraphServiceClient(request_adapter=adapter)
        parameters = DeltaRequestBuilder.DeltaRequestBuilderGetQueryParameters(
            select=["id", "displayName", "manager"]
        )
        request = client.users.delta.to_get_request_information(
            RequestConfiguration(query_parameters=parameters)
        )
        page = json.loads(await adapter.send_primitive_async(request, "bytes", {"XXX": ODataError}))
        told["users"] = len(page["value"])
        told["link"] = "@odata.deltaLink" in page
        request = client.users.by_user_id("nobody").to_get_request_information()
        try:
            await adapter.send_primitive_async(request, "bytes", {"XXX": ODataError})
        except ODataError as error:
            told["error"] = [error.response_status_code, error.error.code]
            told["request"] = bool(error.error.inner_error.request_id)
    print(json.dumps(told))

asyncio.run(main())
"""


async def test_the_graph_sdk_reads_users(client: Client, certificates: ServerCertificates) -> None:
    told = await run(client, certificates, GRAPH_SDK)
    assert told == {"users": 60, "link": True, "error": [404, "Request_ResourceNotFound"], "request": True}
