"""The sign-in attempt over real TLS against the simulated Entra: what is sent, what each answer means."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sandbox.certificates import ServerCertificates, make_server_certificates
from sandbox.tenant import VALIDATION_CLIENT_ID, Tenant, TenantServer, faults, generate
from sandbox.tenant.configuration import Secret
from shared.credentials.candidates import Password
from shared.credentials.codes import CONFIGURATION, LOCKED, THROTTLED, table
from shared.credentials.probe import SignIn, SignInProbe
from shared.errors import ConfigurationError, SecretUnavailable, ValidationAppRefused
from shared.identity.own import own_credential
from shared.identity.secrets import secret_store
from tests.support.events import events_in
from tests.support.tls import serving, trusting
from tests.support.world import settings

TOKEN_PATH = r"/oauth2/v2.0/token"


@dataclass
class Bench:
    tenant: Tenant
    probe: SignInProbe
    user: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.user["id"])

    @property
    def password(self) -> str:
        return self.tenant.password_of(self.id) or ""

    async def attempt(self, password: str | None = None, *, synchronized: bool = False) -> SignIn:
        text = self.password if password is None else password
        return await self.probe.attempt(
            self.user["userPrincipalName"], Password(text), synchronized=synchronized
        )

    def reads(self, secret: str) -> int:
        """How often the vault gave this secret."""
        read = self.tenant.requests_to(f"/secrets/{secret}")
        return sum(1 for record in read if record.status in (200, 404))

    async def said(self, password: str | None = None) -> tuple[str, str | None, str]:
        sign_in = await self.attempt(password)
        assert sign_in.verdict.attempt_made
        return sign_in.verdict.status, sign_in.verdict.account_state, sign_in.outcome


@pytest.fixture
async def bench(certificates: ServerCertificates, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    tenant = Tenant(generate(60, seed=5))
    user = next(
        user
        for user in tenant.directory.users.values()
        if user["accountEnabled"] and user["userPrincipalName"].endswith("@contoso.com")
    )
    # Waiting between the SDK's retries is not what is tested.
    options = {"connection_verify": str(certificates.authority), "retry_backoff_factor": 0}
    async with TenantServer(tenant, serving(certificates)) as server, AsyncExitStack() as opened:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", tenant.identity_header)
        chosen = settings(
            AZURE_AUTHORITY_HOST=server.url,
            KEY_VAULT_URL=server.url,
            VALIDATION_CLIENT_ID=VALIDATION_CLIENT_ID,
        )
        own = own_credential(chosen, **options)
        secrets = secret_store(chosen, own, **options)
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting(certificates)))
        for each in (own, secrets, session):
            opened.push_async_callback(each.close)
        yield Bench(tenant, SignInProbe(chosen, secrets, session), user)


async def test_right_and_wrong(bench: Bench) -> None:
    assert await bench.said() == ("valid", "not_assigned_to_app", "valid")
    assert await bench.said("wrong") == ("invalid", None, "failed")
    assert [attempt.code for attempt in bench.tenant.sign_ins] == [50105, 50126]


async def test_a_token_is_dropped_unread(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bench.tenant.clients[VALIDATION_CLIENT_ID].assigned.add(bench.id)
    sign_in = await bench.attempt()
    assert (sign_in.verdict.status, sign_in.verdict.account_state) == ("valid", "active")
    assert sign_in.verdict.evidence == ("HTTP 200",)
    assert "eyJ" not in f"{sign_in}{caplog.text}"


async def test_the_form_is_encoded(bench: Bench) -> None:
    password = "a+b&c=d %25 é\u0301 'quote\" \\ ;"
    bench.tenant.set_password(bench.id, password)
    assert (await bench.said(password))[0] == "valid"


async def test_ids_of_the_answer_are_kept(bench: Bench) -> None:
    sign_in = await bench.attempt("wrong")
    assert sign_in.trace_id
    assert sign_in.correlation_id


CODES = [code for code in table().values() if code.account_state not in (CONFIGURATION, THROTTLED)]


@pytest.mark.parametrize("code", CODES, ids=lambda code: str(code.number))
async def test_every_code_of_the_table(bench: Bench, code: Any) -> None:
    bench.tenant.accounts[bench.id].instead_of_password = (code.number,)
    sign_in = await bench.attempt()
    assert sign_in.verdict.status == code.status
    assert sign_in.verdict.account_state == code.shown_state
    assert sign_in.verdict.evidence == (code.evidence,)
    assert sign_in.verdict.confidence == code.confidence
    expected = {"valid": "valid", "invalid": "failed", "not_found": "failed"}.get(code.status, "no_verdict")
    if code.account_state == LOCKED:
        expected = "locked"
    elif code.number == 50055:
        expected = "valid_but_expired"
    assert sign_in.outcome == expected


async def test_several_codes(bench: Bench) -> None:
    bench.tenant.accounts[bench.id].after_password = (50076, 530035)
    sign_in = await bench.attempt()
    assert sign_in.verdict.status == "valid"
    assert sign_in.verdict.evidence == ("AADSTS50076", "AADSTS530035")


async def test_a_password_that_lives_on_premises_is_not_called_wrong(bench: Bench) -> None:
    bench.tenant.accounts[bench.id].instead_of_password = (50056,)
    assert (await bench.attempt()).verdict.status == "invalid"
    sign_in = await bench.attempt(synchronized=True)
    assert (sign_in.verdict.status, sign_in.outcome) == ("unknown", "no_verdict")


@pytest.mark.parametrize("number", [999999, -1, 0, 2**70])
async def test_an_unknown_code_is_unknown_and_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    bench.tenant.accounts[bench.id].instead_of_password = (number,)
    sign_in = await bench.attempt()
    assert (sign_in.verdict.status, sign_in.outcome) == ("unknown", "no_verdict")
    told = events_in(caplog.records, "credentials.unknown_code")
    assert [event["codes"] for event in told] == [[number]]


@pytest.mark.parametrize(
    ("fault", "state", "outcome", "retry_after"),
    [
        (faults.throttle("7"), "throttled", "service_throttled", 7.0),
        (faults.throttle(None), "throttled", "service_throttled", 0.0),
        (faults.entra_error([90055], headers={"Retry-After": "30"}), "throttled", "service_throttled", 30.0),
        (faults.entra_error([50196]), "throttled", "service_throttled", 0.0),
        (faults.respond(503), "transient", "no_verdict", 0.0),
        (faults.html(502), "transient", "no_verdict", 0.0),
        (faults.html(200), None, "no_verdict", 0.0),
        (faults.html(400), None, "no_verdict", 0.0),
        (faults.respond(302, headers={"Location": "https://elsewhere.example/"}), None, "no_verdict", 0.0),
        (faults.truncate(), None, "no_verdict", 0.0),
        (faults.reset(), "transient", "no_verdict", 0.0),
        (faults.close(), "transient", "no_verdict", 0.0),
        (faults.change_fields({"error_codes": "50126"}), None, "no_verdict", 0.0),
        (faults.change_fields({}, remove=["error_codes"]), None, "no_verdict", 0.0),
        (faults.change_fields({"error_codes": []}), None, "no_verdict", 0.0),
        (faults.change_fields({"error_codes": [50126] * 40}), None, "no_verdict", 0.0),
        (faults.change_fields({"trace_id": "x" * 1000}), None, "no_verdict", 0.0),
    ],
)
async def test_what_is_no_verdict(
    bench: Bench, fault: Any, state: str | None, outcome: str, retry_after: float
) -> None:
    """Never a verdict, never a second request."""
    rule = bench.tenant.faults.add(fault, TOKEN_PATH, times=None)
    sign_in = await bench.attempt("wrong")
    assert sign_in.verdict.status == "unknown"
    assert (sign_in.verdict.account_state, sign_in.outcome) == (state, outcome)
    assert sign_in.retry_after == retry_after
    assert rule.hits == 1


async def test_an_answer_is_not_waited_for_without_end(bench: Bench) -> None:
    await bench.probe.secret()
    bench.probe.timeout_seconds = 0.2
    rule = bench.tenant.faults.add(faults.hang(), TOKEN_PATH, times=None)
    assert await bench.said() == ("unknown", "transient", "no_verdict")
    assert rule.hits <= 1


async def test_nobody_listens(bench: Bench, unused_tcp_port: int) -> None:
    await bench.probe.secret()
    bench.probe.settings = replace(bench.probe.settings, authority=f"https://127.0.0.1:{unused_tcp_port}")
    assert await bench.said() == ("unknown", "transient", "no_verdict")


async def test_a_server_with_another_certificate_gets_no_password(bench: Bench, tmp_path: Path) -> None:
    received: list[str] = []

    async def swallow(request: web.Request) -> web.Response:
        received.append(await request.text())
        return web.json_response({"token_type": "Bearer"})

    application = web.Application()
    application.router.add_post("/{path:.*}", swallow)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=serving(make_server_certificates(tmp_path))).start()
    bench.probe.settings = replace(
        bench.probe.settings, authority=f"https://127.0.0.1:{runner.addresses[0][1]}"
    )
    assert await bench.said() == ("unknown", "transient", "no_verdict")
    await runner.cleanup()
    assert received == []


# --- the app itself --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [code.number for code in table().values() if code.account_state == CONFIGURATION]
)
async def test_a_configuration_code_is_the_operators(bench: Bench, number: int) -> None:
    bench.tenant.accounts[bench.id].instead_of_password = (number,)
    with pytest.raises(ValidationAppRefused) as refused:
        await bench.attempt()
    assert refused.value.code == number
    assert f"AADSTS{number}" in str(refused.value)
    for secret in (bench.password, bench.user["userPrincipalName"], await bench.probe.secret()):
        assert secret not in str(refused.value)


async def test_a_rotated_secret_is_read_again_once(bench: Bench) -> None:
    await bench.attempt("wrong")
    bench.tenant.clients[VALIDATION_CLIENT_ID].secrets = [Secret("the-new-one")]
    bench.tenant.vault.put("validation-client-secret", "the-new-one\n")
    assert (await bench.said())[0] == "valid"
    assert bench.reads("validation-client-secret") == 2


async def test_a_wrong_secret_stays_wrong(bench: Bench) -> None:
    bench.tenant.clients[VALIDATION_CLIENT_ID].secrets = [Secret("another")]
    with pytest.raises(ValidationAppRefused, match="7000215"):
        await bench.attempt()
    assert len(bench.tenant.requests_to(TOKEN_PATH)) == 2
    assert bench.tenant.sign_ins == []


async def test_the_app_may_share_the_secret_of_the_registration(bench: Bench) -> None:
    del bench.tenant.vault.secrets["validation-client-secret"]
    shared = bench.tenant.vault.secrets["entra-client-secret"][-1].value
    assert await bench.probe.secret() == shared
    assert await bench.probe.secret() == shared
    assert bench.reads("validation-client-secret") == 1
    assert bench.reads("entra-client-secret") == 1


async def test_a_vault_that_refuses_is_no_missing_secret(bench: Bench) -> None:
    bench.tenant.vault.forbidden = True
    with pytest.raises(SecretUnavailable, match="validation-client-secret"):
        await bench.attempt()
    assert bench.tenant.requests_to("/secrets/entra-client-secret") == []
    assert bench.tenant.sign_ins == []


async def test_no_app_to_try_with(bench: Bench) -> None:
    bench.probe.settings = replace(bench.probe.settings, validation_client_id=None)
    with pytest.raises(ConfigurationError, match="VALIDATION_CLIENT_ID"):
        await bench.probe.ready()
