"""Sign-in and secrets with the real azure-identity and Key Vault SDKs, over TLS, in the simulated tenant."""

import asyncio
import base64
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from sandbox.tenant import faults
from sandbox.tenant.configuration import CLIENT_ID, CLIENT_SECRET, MANAGED_IDENTITY_CLIENT_ID, Secret
from sandbox.tenant.server import TenantServer
from sandbox.tenant.tenant import Tenant
from shared.errors import SecretUnavailable, SignInRefused
from tests.identity.conftest import SCOPE, Identity

NEW_SECRET = "new~client-secret~0123456789abcdefghijkl"
TOKEN_ENDPOINT = "/oauth2/v2.0/token"
VAULT = "/secrets/entra-client-secret"

type MakeIdentity = Callable[..., Identity]
type Logged = Callable[[], str]


def client_of(token: str) -> str:
    claims = jwt.decode(token, options={"verify_signature": False})
    return str(claims["appid"])


def rotate(tenant: Tenant) -> None:
    tenant.clients[CLIENT_ID].secrets[:] = [Secret(NEW_SECRET)]
    tenant.vault.put("entra-client-secret", NEW_SECRET)


async def refusal_of(identity: Identity) -> SignInRefused:
    with pytest.raises(SignInRefused) as raised:
        await identity.graph.get_token(SCOPE)
    return raised.value


async def test_client_secret(identity_of: MakeIdentity, logged: Logged) -> None:
    identity = identity_of()

    token = await identity.graph.get_token(SCOPE, enable_cae=True)
    info = await identity.graph.get_token_info(SCOPE, options={"enable_cae": True})

    assert client_of(token.token) == CLIENT_ID
    assert info.token == token.token
    assert token.token not in logged()
    assert CLIENT_SECRET not in logged()
    assert "token" in logged()


async def test_concurrent_callers_share_one_secret_and_one_token(
    identity_of: MakeIdentity, tenant: Tenant
) -> None:
    identity = identity_of()

    tokens = await asyncio.gather(*(identity.graph.get_token(SCOPE) for _ in range(50)))

    assert len({token.token for token in tokens}) == 1
    assert len(tenant.requests_to(TOKEN_ENDPOINT)) == 1
    assert len(tenant.requests_to(VAULT)) == 2  # Key Vault asks for a token first


async def test_a_rotated_secret_is_read_again_once(
    identity_of: MakeIdentity, tenant: Tenant, logged: Logged
) -> None:
    identity = identity_of()
    before = await identity.graph.get_token(SCOPE)
    rotate(tenant)
    tenant.requests.clear()

    claims = '{"access_token":{"nbf":{"essential":true}}}'
    tokens = await asyncio.gather(
        *(identity.graph.get_token(SCOPE, claims=claims, enable_cae=True) for _ in range(50))
    )

    assert len({token.token for token in tokens} - {before.token}) == 1
    assert len(tenant.requests_to(VAULT)) == 1
    assert [record.status for record in tenant.requests_to(TOKEN_ENDPOINT)] == [401, 200]
    assert 'event secret.reread {"used_for":"graph","code":7000215}' in logged()
    assert NEW_SECRET not in logged()


async def test_an_expired_secret_is_read_again(identity_of: MakeIdentity, tenant: Tenant) -> None:
    tenant.clients[CLIENT_ID].secrets[:] = [Secret(CLIENT_SECRET, expires_at=time.time() - 1)]
    identity = identity_of()

    expired = await refusal_of(identity)
    assert expired.code == 7000222
    assert "has expired" in str(expired)

    tenant.clients[CLIENT_ID].secrets.append(Secret(NEW_SECRET))
    tenant.vault.put("entra-client-secret", NEW_SECRET)
    assert client_of((await identity.graph.get_token(SCOPE)).token) == CLIENT_ID


async def test_a_wrong_secret_is_refused_after_one_more_read(
    identity_of: MakeIdentity, tenant: Tenant, logged: Logged
) -> None:
    tenant.vault.put("entra-client-secret", NEW_SECRET)
    identity = identity_of()

    refusals = await asyncio.gather(
        *(identity.graph.get_token(SCOPE) for _ in range(20)), return_exceptions=True
    )

    assert len(tenant.requests_to(TOKEN_ENDPOINT)) == 2
    assert len(tenant.requests_to(VAULT)) == 3
    for error in refusals:
        assert isinstance(error, SignInRefused)
        assert error.code == 7000215
        assert "entra-client-secret" in str(error)
        assert NEW_SECRET not in "".join(traceback.format_exception(error))
        assert error.__cause__ is None
        assert error.__context__ is None
    assert NEW_SECRET not in logged()


async def test_a_wrong_tenant(identity_of: MakeIdentity) -> None:
    error = await refusal_of(identity_of(ENTRA_TENANT_ID="11111111-2222-3333-4444-555555555555"))

    assert error.code == 90002
    assert "11111111-2222-3333-4444-555555555555" in str(error)
    assert "ENTRA_TENANT_ID" in str(error)


async def test_a_wrong_client(identity_of: MakeIdentity) -> None:
    error = await refusal_of(identity_of(ENTRA_CLIENT_ID="11111111-2222-3333-4444-555555555555"))

    assert error.code == 700016
    assert "ENTRA_CLIENT_ID" in str(error)


async def test_a_code_without_a_sentence_of_ours(identity_of: MakeIdentity, tenant: Tenant) -> None:
    identity = identity_of()

    with pytest.raises(SignInRefused) as raised:
        await identity.graph.get_token("https://unknown.example/.default")

    assert str(raised.value) == (
        "Entra refused the app's sign-in with AADSTS500011: The resource principal named "
        "https://unknown.example was not found in the tenant named Contoso."
    )


async def test_the_sign_in_service_is_unreachable(identity_of: MakeIdentity, tenant: Tenant) -> None:
    identity = identity_of()
    tenant.faults.add(faults.close(), TOKEN_ENDPOINT, times=None)

    error = await refusal_of(identity)

    assert error.code is None
    assert "unreachable" in str(error)
    assert identity.settings.authority.removeprefix("https://") in str(error)


@pytest.mark.parametrize("fault", [faults.html(503), faults.html(200), faults.respond(502)])
async def test_the_sign_in_service_answers_nonsense(
    identity_of: MakeIdentity, tenant: Tenant, fault: faults.Action
) -> None:
    tenant.faults.add(fault, TOKEN_ENDPOINT, times=None)

    error = await refusal_of(identity_of())

    assert error.code is None
    assert "answered with" in str(error)
    assert "busy" not in str(error)


async def test_a_passing_fault_is_retried(identity_of: MakeIdentity, tenant: Tenant) -> None:
    tenant.faults.add(faults.respond(503), TOKEN_ENDPOINT, times=2)

    assert (await identity_of().graph.get_token(SCOPE)).token


async def test_a_certificate_in_pem(
    identity_of: MakeIdentity, tenant: Tenant, client_certificate: bytes, logged: Logged
) -> None:
    pem = client_certificate.decode()
    tenant.vault.put("entra-client-certificate", pem, content_type="application/x-pem-file")
    tenant.clients[CLIENT_ID].certificates[:] = [x509.load_pem_x509_certificate(pem.encode())]

    token = await identity_of(ENTRA_CREDENTIAL="certificate").graph.get_token(SCOPE)

    assert client_of(token.token) == CLIENT_ID
    assert pem.splitlines()[3] not in logged()


async def test_a_certificate_in_pkcs12_with_a_rotation(
    identity_of: MakeIdentity, tenant: Tenant, client_certificate: bytes
) -> None:
    pem = client_certificate
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    certificate = x509.load_pem_x509_certificate(pem)
    bundle = pkcs12.serialize_key_and_certificates(None, key, certificate, None, serialization.NoEncryption())
    tenant.vault.put("entra-client-certificate", pem.decode())
    identity = identity_of(ENTRA_CREDENTIAL="certificate")

    refused = await refusal_of(identity)
    assert refused.code == 700027
    assert "entra-client-certificate" in str(refused)

    tenant.vault.put(
        "entra-client-certificate", base64.b64encode(bundle).decode(), content_type="application/x-pkcs12"
    )
    tenant.clients[CLIENT_ID].certificates[:] = [certificate]
    assert client_of((await identity.graph.get_token(SCOPE)).token) == CLIENT_ID


@pytest.mark.parametrize("form", ["elliptic", "locked", "without a key", "noise"])
async def test_a_certificate_that_cannot_be_used(
    identity_of: MakeIdentity, tenant: Tenant, client_certificate: bytes, form: str
) -> None:
    _, begin, certificate = client_certificate.partition(b"-----BEGIN CERTIFICATE-----")
    locked = serialization.load_pem_private_key(client_certificate, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    elliptic = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = {"elliptic": elliptic, "locked": locked}.get(form, b"")
    text = "bm9pc2U=" if form == "noise" else (key + begin + certificate).decode()
    tenant.vault.put("entra-client-certificate", text)

    with pytest.raises(SecretUnavailable, match="entra-client-certificate holds no usable") as raised:
        await identity_of(ENTRA_CREDENTIAL="certificate").graph.get_token(SCOPE)

    assert raised.value.__context__ is None


async def test_the_managed_identity(identity_of: MakeIdentity, tenant: Tenant, logged: Logged) -> None:
    token = await identity_of(ENTRA_CREDENTIAL="managed-identity").graph.get_token(SCOPE)

    assert client_of(token.token) == MANAGED_IDENTITY_CLIENT_ID
    assert not tenant.requests_to("/secrets/")
    assert token.token not in logged()


async def test_a_managed_identity_that_the_app_does_not_have(identity_of: MakeIdentity) -> None:
    error = await refusal_of(identity_of(ENTRA_CREDENTIAL="managed-identity", AZURE_CLIENT_ID=CLIENT_ID))

    assert "HTTP 400" in str(error)
    assert "AZURE_CLIENT_ID" in str(error)


async def test_federated(identity_of: MakeIdentity, tenant: Tenant, logged: Logged) -> None:
    identity = identity_of(ENTRA_CREDENTIAL="federated")

    token = await identity.graph.get_token(SCOPE)

    assert client_of(token.token) == CLIENT_ID
    assert len(tenant.requests_to("/msi/token.*AzureADTokenExchange")) == 1
    assert "eyJ" not in logged()


async def test_federated_without_trust(identity_of: MakeIdentity, tenant: Tenant) -> None:
    tenant.clients[CLIENT_ID].federated.clear()

    error = await refusal_of(identity_of(ENTRA_CREDENTIAL="federated"))

    assert error.code in (700211, 700213)
    assert "federated credential" in str(error)


async def test_federated_without_a_managed_identity(identity_of: MakeIdentity, tenant: Tenant) -> None:
    identity = identity_of(ENTRA_CREDENTIAL="federated", AZURE_CLIENT_ID=CLIENT_ID)

    assert "Assign a managed identity" in str(await refusal_of(identity))


async def secret_trouble(identity: Identity, name: str = "entra-client-secret") -> str:
    with pytest.raises(SecretUnavailable) as raised:
        await identity.secrets.get(name)
    assert raised.value.__context__ is None
    assert name in str(raised.value)
    return str(raised.value)


async def test_a_missing_secret(identity_of: MakeIdentity, tenant: Tenant) -> None:
    tenant.vault.remove("webhook-secret")

    assert "does not exist" in await secret_trouble(identity_of(), "webhook-secret")


async def test_a_missing_role(identity_of: MakeIdentity, tenant: Tenant) -> None:
    tenant.vault.forbidden = True

    assert "Key Vault Secrets User" in await secret_trouble(identity_of())


async def test_a_disabled_secret(identity_of: MakeIdentity, tenant: Tenant) -> None:
    tenant.vault.put("entra-client-secret", NEW_SECRET, enabled=False)

    assert "is disabled" in await secret_trouble(identity_of())


async def test_an_empty_secret(identity_of: MakeIdentity, tenant: Tenant) -> None:
    tenant.vault.put("entra-client-secret", " ")

    assert "is empty" in await secret_trouble(identity_of())


async def test_a_vault_out_of_reach(identity_of: MakeIdentity, tenant: Tenant) -> None:
    tenant.faults.add(faults.close(), "/secrets/", times=None)

    assert "unreachable" in await secret_trouble(identity_of())


async def test_a_vault_in_trouble(identity_of: MakeIdentity, tenant: Tenant) -> None:
    tenant.faults.add(faults.respond(503), "/secrets/", times=None)

    assert "HTTP 503" in await secret_trouble(identity_of())


async def test_a_vault_without_an_identity_to_read_it(identity_of: MakeIdentity, tenant: Tenant) -> None:
    assert "own identity gave no token" in await secret_trouble(identity_of(AZURE_CLIENT_ID=CLIENT_ID))


async def test_a_vault_that_goes_down_does_not_stop_a_working_sign_in(
    identity_of: MakeIdentity, tenant: Tenant
) -> None:
    identity = identity_of()
    await identity.graph.get_token(SCOPE)
    tenant.faults.add(faults.close(), "/secrets/", times=None)

    assert (await identity.graph.get_token(SCOPE, claims='{"access_token":{}}')).token


async def test_sign_in_while_the_vault_is_down(identity_of: MakeIdentity, tenant: Tenant) -> None:
    fault = tenant.faults.add(faults.close(), "/secrets/", times=None)
    identity = identity_of()

    with pytest.raises(SecretUnavailable):
        await identity.graph.get_token(SCOPE)

    tenant.faults.rules.remove(fault)
    assert (await identity.graph.get_token(SCOPE)).token


async def test_all_versions_in_force(identity_of: MakeIdentity, tenant: Tenant) -> None:
    tenant.vault.remove("webhook-secret")
    tenant.vault.put("webhook-secret", "oldest", expires=time.time() - 60)
    tenant.vault.put("webhook-secret", "old")
    tenant.vault.put("webhook-secret", "withdrawn", enabled=False)
    tenant.vault.put("webhook-secret", "new")
    identity = identity_of()

    assert await identity.secrets.versions("webhook-secret") == ("new", "old")

    tenant.vault.put("webhook-secret", "newest")
    assert await identity.secrets.versions("webhook-secret") == ("new", "old")
    assert await identity.secrets.refresh_versions("webhook-secret") == ("newest", "new", "old")


async def test_when_secrets_end(identity_of: MakeIdentity, tenant: Tenant) -> None:
    """The latest version tells, in one request however many secrets there are; no value is read."""
    soon, later = int(time.time()) + 86_400, int(time.time()) + 864_000
    tenant.vault.secrets.clear()
    tenant.vault.put("entra-client-secret", "old", expires=soon)
    tenant.vault.put("entra-client-secret", "new", expires=later)
    tenant.vault.put("webhook-secret", "kept", expires=soon)
    tenant.vault.put("credential-memory-key", "for ever")
    tenant.vault.put("validation-client-secret", "withdrawn", expires=soon, enabled=False)
    identity = identity_of()
    tenant.requests.clear()

    assert await identity.secrets.expiries() == {
        "entra-client-secret": datetime.fromtimestamp(later, UTC),
        "webhook-secret": datetime.fromtimestamp(soon, UTC),
    }
    reads = [one for one in tenant.requests_to("/secrets") if one.status == 200]
    assert len(reads) == 1


async def test_when_secrets_end_without_the_role(identity_of: MakeIdentity, tenant: Tenant) -> None:
    tenant.vault.forbidden = True
    with pytest.raises(SecretUnavailable, match="Key Vault Secrets User"):
        await identity_of().secrets.expiries()


async def test_a_secret_without_any_version_in_force(identity_of: MakeIdentity, tenant: Tenant) -> None:
    tenant.vault.remove("webhook-secret")
    tenant.vault.put("webhook-secret", "withdrawn", enabled=False)
    identity = identity_of()

    for name in ("webhook-secret", "never-stored"):
        with pytest.raises(SecretUnavailable, match=name):
            await identity.secrets.versions(name)


async def test_an_untrusted_certificate_is_not_accepted(
    identity_of: MakeIdentity, server: TenantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.identity.own import own_credential

    settings = identity_of().settings
    async with own_credential(settings) as own:
        with pytest.raises(Exception, match=r"(?i)certificate"):
            await own.get_token("https://vault.azure.net/.default")
