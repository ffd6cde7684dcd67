"""The sign-in to Graph, and the validation app: what Entra refuses, and what is no refusal."""

import pytest

from sandbox.certificates import make_client_certificate
from sandbox.tenant import MANAGED_IDENTITY_CLIENT_ID, faults
from sandbox.tenant.configuration import CLIENT_ID, VALIDATION_CLIENT_ID, Secret
from shared.connection.sign_in import Granted
from tests.connection.conftest import Connection, troubles

TOKEN = "/oauth2/v2.0/token"


async def test_wrong_client_secret(connection: Connection) -> None:
    connection.app.secrets[:] = [Secret("another one")]
    rows = await connection.test()
    assert rows["graph-sign-in"].status == "misconfigured"
    assert "AADSTS7000215" in rows["graph-sign-in"].detail
    assert f"az ad app credential reset --id {CLIENT_ID} " in (rows["graph-sign-in"].fix or "")
    assert rows["users"].detail.startswith("Not checked since `graph-sign-in` is misconfigured.")
    assert rows["users"].status == "misconfigured"
    # Neither the vault nor the other app is to blame.
    assert rows["secret:entra-client-secret"].status == rows["validation-app"].status == "ok"


async def test_expired_client_secret(connection: Connection) -> None:
    connection.app.secrets[0].expires_at = 1.0
    row = (await connection.test())["graph-sign-in"]
    assert (row.status, "AADSTS7000222" in row.detail) == ("misconfigured", True)


async def test_certificate_that_is_not_registered(connection: Connection) -> None:
    connection.tenant.vault.put("entra-client-certificate", "no certificate")
    row = (await connection.test(ENTRA_CREDENTIAL="certificate"))["graph-sign-in"]
    assert (row.status, "no usable certificate" in row.detail) == ("misconfigured", True)


async def test_app_that_does_not_trust_the_identity(connection: Connection) -> None:
    connection.app.federated.clear()
    rows = await connection.test(
        ENTRA_CREDENTIAL="federated", AZURE_CLIENT_ID=MANAGED_IDENTITY_CLIENT_ID, VALIDATION_ENABLED="false"
    )
    assert rows["graph-sign-in"].status == "misconfigured"
    assert "federated credential" in rows["graph-sign-in"].detail
    assert "--principal-id" in (rows["graph-sign-in"].fix or "")


async def test_certificate_of_another_app(
    connection: Connection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pem = make_client_certificate(tmp_path_factory.mktemp("client")).read_text()
    connection.tenant.vault.put("entra-client-certificate", pem)
    row = (await connection.test(ENTRA_CREDENTIAL="certificate"))["graph-sign-in"]
    assert (row.status, "AADSTS700027" in row.detail) == ("misconfigured", True)
    assert "az keyvault certificate download" in (row.fix or "")


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (700016, f"az ad sp create --id {CLIENT_ID}"),
        (7000112, "accountEnabled=true"),
        (90002, "ENTRA_CLOUD"),
        (53003, "Conditional Access"),
        (50011, "docs/identity.md"),
    ],
)
async def test_app_registration_that_entra_refuses(connection: Connection, code: int, fix: str) -> None:
    connection.tenant.faults.add(
        faults.entra_error([code], status=400), TOKEN, body=f"client_id={CLIENT_ID}", times=None
    )
    row = (await connection.test())["graph-sign-in"]
    assert (row.status, f"AADSTS{code}" in row.detail) == ("misconfigured", True)
    assert fix in (row.fix or "")


async def test_no_managed_identity(connection: Connection) -> None:
    connection.tenant.faults.add(faults.respond(400, body="{}"), "/msi/token", times=None)
    rows = await connection.test(ENTRA_CREDENTIAL="managed-identity", VALIDATION_ENABLED="false")
    assert rows["graph-sign-in"].status == "misconfigured"
    assert "managed identity" in rows["graph-sign-in"].detail


@pytest.mark.parametrize("fault", [faults.close(), faults.respond(503), faults.html(502)])
async def test_sign_in_service_out_of_reach(connection: Connection, fault: faults.Action) -> None:
    connection.tenant.faults.add(fault, TOKEN, body=CLIENT_ID, times=None)
    rows = await connection.test()
    assert rows["graph-sign-in"].status == rows["users"].status == "unreachable"
    assert rows["validation-app"].status == "ok"


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (700016, "az ad sp create"),
        (7000229, "az ad sp create"),
        (7000112, "accountEnabled=true"),
        (7000215, "az ad app credential reset"),
        (7000222, "az ad app credential reset"),
        (90002, "ENTRA_TENANT_ID"),
        (90038, "ENTRA_CLOUD"),
        (7000218, "docs/credential-validation.md"),
        # None of the table's.
        (123456789, "https://login.microsoftonline.com/error"),
    ],
)
async def test_validation_app_that_entra_refuses(connection: Connection, code: int, fix: str) -> None:
    connection.tenant.faults.add(
        faults.entra_error([code], status=400), TOKEN, body=VALIDATION_CLIENT_ID, times=None
    )
    rows = await connection.test()
    assert troubles(rows) == {"validation-app": "misconfigured"}
    assert f"AADSTS{code}" in rows["validation-app"].detail
    assert fix in (rows["validation-app"].fix or "")


@pytest.mark.parametrize(
    "fault",
    [
        faults.close(),
        faults.respond(503),
        faults.html(200),
        faults.html(403),
        faults.entra_error([90055], status=429),
        faults.entra_error([50196], status=503),
        faults.truncate(),
    ],
)
async def test_silence_is_no_refusal_of_the_validation_app(
    connection: Connection, fault: faults.Action
) -> None:
    connection.tenant.faults.add(fault, TOKEN, body=VALIDATION_CLIENT_ID, times=None)
    assert troubles(await connection.test()) == {"validation-app": "unreachable"}


async def test_validation_app_that_is_disabled(connection: Connection) -> None:
    connection.validation_app.enabled = False
    assert troubles(await connection.test()) == {"validation-app": "misconfigured"}


async def test_managed_identity_cannot_try_a_password(connection: Connection) -> None:
    rows = await connection.test(
        ENTRA_CREDENTIAL="managed-identity", ENTRA_CLIENT_ID="", VALIDATION_CLIENT_ID=""
    )
    assert troubles(rows) == {"validation-app": "misconfigured"}
    assert "infra/grant-permissions.sh validation-app" in (rows["validation-app"].fix or "")


@pytest.mark.parametrize("token", ["", "opaque", "a.b.c", "a.e30.c.d", "a.W10.c", "é.é.é"])
def test_token_that_cannot_be_read_tells_nothing(token: str) -> None:
    granted = Granted()
    granted.read(token)
    assert granted.has(("User.Read.All",)) in (None, False)


def test_delegated_token_of_a_laptop() -> None:
    granted = Granted()
    granted.read("a.eyJzY3AiOiJVc2VyLlJlYWQuQWxsIEdyb3VwLlJlYWQuQWxsIiwib2lkIjoieCJ9.c")
    assert granted.has(("User.Read.All",))
    assert not granted.has(("AuditLog.Read.All",))
    assert granted.principal_id == "x"
