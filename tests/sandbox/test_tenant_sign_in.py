"""The password grant of the simulated tenant: every check, in Entra's order, over TLS."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jwt
import pytest

from sandbox.certificates import ServerCertificates
from sandbox.tenant import (
    CLIENT_ID,
    FEDERATED_DOMAIN,
    TENANT_ID,
    VALIDATION_CLIENT_ID,
    VALIDATION_CLIENT_SECRET,
    Secret,
    SignIn,
    Tenant,
    faults,
    generate,
)
from tests.sandbox.tenant_client import Answer, Client
from tests.sandbox.tls import tls_client

WRONG = "not the password"
TOKEN_PATH = r"/oauth2/v2.0/token"


class Clock:
    """The tenant's clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


class Probe:
    """Signs in as the validation application does."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.client = client
        self.tenant = client.tenant
        self.clock = clock
        self.user = _staff(self.tenant)
        self.id: str = self.user["id"]
        password = self.tenant.password_of(self.id)
        assert password is not None
        self.password = password

    async def ask(self, password: str | None = None, *, tenant_id: str = TENANT_ID, **form: str) -> Answer:
        body = {
            "grant_type": "password",
            "client_id": VALIDATION_CLIENT_ID,
            "client_secret": VALIDATION_CLIENT_SECRET,
            "username": self.user["userPrincipalName"],
            "password": self.password if password is None else password,
            "scope": "openid",
            **form,
        }
        sent = {name: value for name, value in body.items() if value != "ABSENT"}
        url = f"{self.client.server.url}/{tenant_id}/oauth2/v2.0/token"
        async with self.client.session.post(url, data=sent) as response:
            text = await response.text()
            return Answer(response.status, response.headers, json.loads(text), text)

    async def codes(self, password: str | None = None, **form: str) -> list[int]:
        answer = await self.ask(password, **form)
        codes: list[int] = answer.json["error_codes"]
        return codes


def _staff(tenant: Tenant) -> dict[str, Any]:
    return next(
        user
        for user in tenant.directory.users.values()
        if user["accountEnabled"] and user["userPrincipalName"].endswith("@contoso.com")
    )


@asynccontextmanager
async def probing(certificates: ServerCertificates, **options: Any) -> AsyncIterator[Probe]:
    clock = Clock()
    tenant = Tenant(generate(120, seed=1), clock=clock, **options)
    async with tls_client(tenant, certificates) as client:
        yield Probe(client, clock)


@pytest.fixture
async def probe(certificates: ServerCertificates) -> AsyncIterator[Probe]:
    async with probing(certificates) as probe:
        yield probe


# --- the application and the request -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "status", "error", "code"),
    [
        ({"client_id": "someone"}, 400, "unauthorized_client", 700016),
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": "ABSENT"}, 401, "invalid_client", 7000218),
        ({"tenant_id": "11111111-2222-3333-4444-555555555555"}, 400, "invalid_request", 90002),
        ({"tenant_id": "common"}, 400, "invalid_request", 9001023),
        ({"tenant_id": "consumers"}, 400, "invalid_request", 9001023),
        ({"tenant_id": "organizations"}, 400, "invalid_request", 50194),
        ({"grant_type": "ABSENT"}, 400, "invalid_request", 900144),
        ({"username": "ABSENT"}, 400, "invalid_request", 900144),
        ({"password": "ABSENT"}, 400, "invalid_request", 900144),
        ({"password": ""}, 400, "invalid_request", 90014),
        ({"username": ""}, 400, "invalid_request", 90014),
        ({"scope": "ABSENT"}, 400, "invalid_request", 900144),
        ({"scope": "nonsense"}, 400, "invalid_scope", 70011),
        ({"scope": "https://nowhere.example/.default"}, 400, "invalid_resource", 500011),
    ],
)
async def test_a_wrong_request_is_no_attempt(
    probe: Probe, form: dict[str, str], status: int, error: str, code: int
) -> None:
    answer = await probe.ask(**form)
    assert (answer.status, answer.json["error"], answer.json["error_codes"]) == (status, error, [code])
    assert probe.tenant.sign_ins == []
    assert probe.tenant.lockout.statistics[probe.id].attempts == 0


async def test_the_secret_expires_and_the_application_is_disabled(probe: Probe) -> None:
    application = probe.tenant.clients[VALIDATION_CLIENT_ID]
    application.secrets = [Secret("old", expires_at=probe.clock.now - 1), Secret("new")]
    assert await probe.codes(client_secret="old") == [7000222]
    application.enabled = False
    assert await probe.codes(client_secret="old") == [7000222]
    assert await probe.codes(client_secret="new") == [7000112]


async def test_a_body_that_is_not_text_is_malformed(probe: Probe) -> None:
    url = f"{probe.client.server.url}/{TENANT_ID}/oauth2/v2.0/token"
    async with probe.client.session.post(url, data=b"grant_type=password&password=\xff") as response:
        assert (await response.json())["error_codes"] == [9002313]


async def test_entras_body(probe: Probe) -> None:
    answer = await probe.ask(WRONG)
    body = answer.json
    assert answer.status == 400
    assert body["error"] == "invalid_grant"
    assert body["error_description"] == (
        "AADSTS50126: Error validating credentials due to invalid username or password. "
        f"Trace ID: {body['trace_id']} Correlation ID: {body['correlation_id']} "
        f"Timestamp: {body['timestamp']}"
    )
    assert body["error_codes"] == [50126]
    assert body["error_uri"] == f"{probe.client.server.url}/error?code=50126"
    assert answer.headers["x-ms-request-id"] == body["trace_id"]
    assert body.keys().isdisjoint({"suberror", "claims"})
    assert WRONG not in answer.text
    assert probe.user["userPrincipalName"] not in answer.text


# --- the user ------------------------------------------------------------------------------------------


async def test_a_user_is_found_by_principal_name_alone(probe: Probe) -> None:
    upn, user_id = probe.user["userPrincipalName"], probe.id
    probe.tenant.directory.update_user(user_id, {"proxyAddresses": ["smtp:alias@contoso.com"]})
    for stranger in ("alias@contoso.com", "nobody@contoso.com", user_id, upn.partition("@")[0]):
        assert await probe.codes(username=stranger) == [50034], stranger
    assert await probe.codes(username=upn.upper()) == [50105]
    assert await probe.codes(username="x@contoso com!") == [50029]
    assert await probe.codes(username="someone@outlook.com") == [500208]
    assert [one.user_id for one in probe.tenant.sign_ins] == [None] * 4 + [user_id, None, None]


async def test_guests_have_their_password_elsewhere(probe: Probe) -> None:
    directory = probe.tenant.directory
    guest = next(u for u in directory.users.values() if u["userType"] == "Guest")
    for username in (guest["userPrincipalName"], guest["mail"]):
        directory.update_user(guest["id"], {"externalUserState": "Accepted", "userType": "Guest"})
        assert await probe.codes(username=username) == [50020]
        directory.update_user(guest["id"], {"externalUserState": "PendingAcceptance"})
        assert await probe.codes(username=username) == [50014]
        directory.update_user(guest["id"], {"externalUserState": "Accepted", "userType": "Member"})
        assert await probe.codes(username=username) == [90072]


async def test_a_federated_domain_says_no_to_every_password(probe: Probe) -> None:
    tenant = probe.tenant
    tenant.directory.update_user(probe.id, {"userPrincipalName": f"ada@{FEDERATED_DOMAIN}"})
    for password in (probe.password, WRONG):
        assert await probe.codes(password, username=f"ada@{FEDERATED_DOMAIN}") == [50126]
    assert tenant.lockout.statistics[probe.id].counted_failures == 0
    tenant.cloud_password_validation = True
    assert await probe.codes(username=f"ada@{FEDERATED_DOMAIN}") == [50105]
    tenant.cloud_password_validation = False
    tenant.accounts[probe.id].method = "cloud"  # staged rollout
    assert await probe.codes(username=f"ada@{FEDERATED_DOMAIN}") == [50105]


# --- the password --------------------------------------------------------------------------------------


async def test_passwords_are_known_and_can_be_set(probe: Probe) -> None:
    assert Tenant(generate(120, seed=1)).password_of(probe.id) == probe.password
    assert Tenant(generate(120, seed=2)).password_of(probe.id) != probe.password
    assert await probe.codes() == [50105]
    probe.tenant.set_password(probe.id, "q&a + 100% ünï")
    assert await probe.codes() == [50126]
    assert await probe.codes("q&a + 100% ünï") == [50105]
    changed = probe.tenant.directory.users[probe.id]["lastPasswordChangeDateTime"]
    assert changed == "2026-09-21T14:13:20Z"


async def test_white_space_around_a_password_never_matches(probe: Probe) -> None:
    probe.tenant.set_password(probe.id, " secret ")
    for password in (" secret ", "secret", "secret "):
        assert await probe.codes(password) == [50126]


async def test_no_password_or_too_long_a_one(probe: Probe) -> None:
    assert await probe.codes("x" * 257) == [50052]
    probe.tenant.set_password(probe.id, None)
    assert await probe.codes() == [50056]


# --- what comes after the password ---------------------------------------------------------------------


async def test_the_state_shows_only_to_the_right_password(probe: Probe) -> None:
    tenant, account = probe.tenant, probe.tenant.accounts[probe.id]
    account.after_password = (50076,)
    account.expired = True
    tenant.directory.update_user(probe.id, {"accountEnabled": False})
    assert await probe.codes(WRONG) == [50126]
    assert await probe.codes() == [50057]
    tenant.directory.update_user(probe.id, {"accountEnabled": True})
    answer = await probe.ask()
    assert (answer.json["error_codes"], answer.json["suberror"]) == ([50055], "user_password_expired")
    account.method = "pass-through"
    assert await probe.codes() == [50144]
    account.expired = False
    assert await probe.codes() == [50076]
    account.after_password = ()
    assert await probe.codes() == [50105]


@pytest.mark.parametrize(
    ("codes", "suberror"),
    [
        ((50076,), "basic_action"),
        ((50079,), "basic_action"),
        ((50072,), "basic_action"),
        ((50158,), "basic_action"),
        ((53003,), "message_only"),
        ((50126, 50076), None),
        ((123456,), None),
    ],
)
async def test_any_code_can_be_a_users_answer(
    probe: Probe, codes: tuple[int, ...], suberror: str | None
) -> None:
    probe.tenant.accounts[probe.id].after_password = codes
    answer = await probe.ask()
    assert answer.status == 400
    assert answer.json["error"] == "invalid_grant"
    assert answer.json["error_codes"] == list(codes)
    assert answer.json["error_description"].startswith(f"AADSTS{codes[0]}: ")
    assert answer.json.get("suberror") == suberror
    if codes == (53003,):
        claims = json.loads(answer.json["claims"])
        assert claims["access_token"]["capolids"]["essential"] is True


async def test_codes_may_come_in_place_of_a_look_at_the_password(probe: Probe) -> None:
    for code in (50000, 50033, 80001, 80002, 80014, 90006, 90033, 90055, 50196, 65001, 53000):
        probe.tenant.accounts[probe.id].instead_of_password = (code,)
        answer = await probe.ask()
        assert answer.json["error_codes"] == [code]
        assert "{" not in answer.json["error_description"]
    assert probe.tenant.lockout.statistics[probe.id].counted_failures == 0


async def test_a_token_is_the_rarest_end(probe: Probe) -> None:
    application = probe.tenant.clients[VALIDATION_CLIENT_ID]
    application.assigned.add(probe.id)
    answer = await probe.ask()
    assert answer.status == 200
    claims = probe.tenant.issuer.verify(answer.json["access_token"], ["https://graph.microsoft.com"])
    assert (claims["upn"], claims["scp"]) == (probe.user["userPrincipalName"], "email openid profile")
    identity = jwt.decode(answer.json["id_token"], options={"verify_signature": False})
    assert (identity["aud"], identity["oid"]) == (VALIDATION_CLIENT_ID, probe.id)
    probe.client.token = answer.json["access_token"]
    assert (await probe.client.graph("/users")).status == 403
    application.assigned.clear()
    application.assignment_required = False
    assert (await probe.ask()).status == 200
    assert [one.code for one in probe.tenant.sign_ins] == [0, 0]


async def test_the_log_says_who_when_and_how_it_ended(probe: Probe) -> None:
    upn = probe.user["userPrincipalName"]
    await probe.ask(WRONG)
    probe.clock.now += 5
    await probe.ask()
    start = probe.clock.now - 5
    assert probe.tenant.sign_ins == [
        SignIn(start, upn, probe.id, VALIDATION_CLIENT_ID, (50126,)),
        SignIn(start + 5, upn, probe.id, VALIDATION_CLIENT_ID, (50105,)),
    ]
    assert WRONG not in repr(probe.tenant.sign_ins) + repr(probe.tenant.requests)


async def test_the_directory_application_is_not_the_probe(probe: Probe) -> None:
    """The one has permissions, the other none: a mix-up is found out."""
    assert probe.tenant.clients[VALIDATION_CLIENT_ID].permissions == set()
    answer = await probe.ask(
        client_id=CLIENT_ID, client_secret=probe.tenant.vault.secrets["entra-client-secret"][-1].value
    )
    assert answer.status == 200


# --- smart lockout -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cloud", "threshold"), [("public", 10), ("china", 10), ("usgov", 3)])
async def test_the_threshold_follows_the_cloud(
    certificates: ServerCertificates, cloud: str, threshold: int
) -> None:
    async with probing(certificates, cloud=cloud) as probe:
        for number in range(threshold):
            assert await probe.codes(f"{WRONG} {number}") == [50126]
        assert await probe.codes() == [50053]
        assert probe.tenant.lockout.ever_locked == [probe.id]
        told = probe.tenant.lockout.statistics[probe.id]
        assert (told.attempts, told.counted_failures, told.times_locked) == (threshold + 1, threshold, 1)


async def test_a_lock_ends_and_the_next_failure_locks_for_longer(probe: Probe) -> None:
    for number in range(10):
        await probe.ask(f"{WRONG} {number}")
    for seconds in (60, 120, 240):
        probe.clock.now += seconds - 0.1
        assert await probe.codes() == [50053]
        probe.clock.now += 0.1
        assert await probe.codes() == [50105]
        assert await probe.codes(f"{WRONG} after {seconds}") == [50126]
    assert probe.tenant.lockout.statistics[probe.id].times_locked == 4
    probe.tenant.lockout.unlock(probe.id)
    assert await probe.codes() == [50105]


async def test_a_repeated_password_is_counted_once(probe: Probe) -> None:
    told = probe.tenant.lockout.statistics[probe.id]
    for _ in range(30):
        for password in ("a", "b", "c"):
            assert await probe.codes(password) == [50126]
    assert told.counted_failures == 3
    await probe.ask("d")  # pushes the oldest out
    await probe.ask("a")
    assert told.counted_failures == 5


async def test_with_pass_through_authentication_each_one_counts(probe: Probe) -> None:
    probe.tenant.accounts[probe.id].method = "pass-through"
    for _ in range(10):
        assert await probe.codes(WRONG) == [50126]
    assert await probe.codes(WRONG) == [50053]


async def test_a_tenant_may_set_its_own_numbers(probe: Probe) -> None:
    probe.tenant.lockout.threshold_set = 2
    probe.tenant.lockout.duration_seconds = 600
    await probe.ask("a")
    await probe.ask("b")
    probe.clock.now += 599
    assert await probe.codes() == [50053]
    probe.clock.now += 1
    assert await probe.codes() == [50105]


async def test_a_malicious_address_looks_like_a_lock(probe: Probe) -> None:
    probe.tenant.malicious_address = True
    answer = await probe.ask()
    assert answer.json["error_codes"] == [50053]
    assert "malicious activity" in answer.json["error_description"]
    assert probe.tenant.lockout.ever_locked == []


async def test_attempts_at_once_are_counted_each(probe: Probe) -> None:
    await asyncio.gather(*(probe.ask(f"{WRONG} {number}") for number in range(9)))
    assert probe.tenant.lockout.statistics[probe.id].counted_failures == 9
    assert not probe.tenant.lockout.is_locked(probe.id)


# --- faults --------------------------------------------------------------------------------------------


async def test_entra_throttles(probe: Probe) -> None:
    probe.tenant.faults.add(faults.entra_error([90055], headers={"Retry-After": "7"}), TOKEN_PATH)
    answer = await probe.ask()
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json["error_codes"] == [90055]
    probe.tenant.faults.add(faults.entra_error([50196], status=400, error="invalid_request"), TOKEN_PATH)
    assert (await probe.ask()).json["error"] == "invalid_request"
    assert probe.tenant.sign_ins == []


@pytest.mark.parametrize("codes", ["50126", ["50126"], {"code": 50126}, None, [50126.5], [True], []])
async def test_error_codes_may_be_strange(probe: Probe, codes: Any) -> None:
    probe.tenant.faults.add(faults.change_fields({"error_codes": codes}), TOKEN_PATH)
    assert (await probe.ask(WRONG)).json["error_codes"] == codes
    probe.tenant.faults.add(faults.change_fields(remove=["error_codes"]), TOKEN_PATH)
    assert "error_codes" not in (await probe.ask(WRONG)).json


async def test_a_hanging_answer_counts(probe: Probe) -> None:
    probe.tenant.faults.add(faults.hang(), TOKEN_PATH)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await probe.ask(WRONG)
    assert [one.code for one in probe.tenant.sign_ins] == [50126]


async def test_a_reset_counts_and_a_closed_door_does_not(probe: Probe) -> None:
    for action, counted in ((faults.close(), 0), (faults.reset(), 1)):
        probe.tenant.faults.add(action, TOKEN_PATH)
        with pytest.raises(aiohttp.ClientError):
            await probe.ask(WRONG)
        assert len(probe.tenant.sign_ins) == counted


async def test_a_fault_may_be_for_one_user(probe: Probe) -> None:
    upn = probe.user["userPrincipalName"]
    rule = probe.tenant.faults.add(
        faults.entra_error([90033]), TOKEN_PATH, body=f"username={upn}", times=None
    )
    assert await probe.codes() == [90033]
    assert await probe.codes(username="nobody@contoso.com") == [50034]
    assert rule.hits == 1


# --- from another process ------------------------------------------------------------------------------


async def test_the_control_shows_and_changes_a_user(probe: Probe) -> None:
    client, upn = probe.client, probe.user["userPrincipalName"]
    shown = (await client.ask(f"/_sandbox/users?user={upn}")).json
    assert shown == {
        "id": probe.id,
        "user_principal_name": upn,
        "enabled": True,
        "password": probe.password,
        "expired": False,
        "method": None,
        "instead_of_password": [],
        "after_password": [],
        "locked": False,
        "attempts": 0,
        "counted_failures": 0,
        "times_locked": 0,
        "locked_until": 0.0,
    }
    body = {"user": probe.id, "password": "new one", "after_password": [50076, 50079], "enabled": False}
    changed = await client.ask("/_sandbox/users", "POST", json=body)
    assert (changed.json["password"], changed.json["enabled"]) == ("new one", False)
    assert await probe.codes("new one") == [50057]
    body = {"user": upn, "enabled": True, "locked": True, "method": "pass-through"}
    assert (await client.ask("/_sandbox/users", "POST", json=body)).json["locked"] is True
    assert await probe.codes("new one") == [50053]
    await client.ask("/_sandbox/users", "POST", json={"user": upn, "locked": False, "expired": True})
    assert await probe.codes("new one") == [50144]
    await client.ask("/_sandbox/users", "POST", json={"user": upn, "instead_of_password": [80001]})
    assert await probe.codes("new one") == [80001]
    for wrong in ({"user": "nobody"}, {}, {"user": upn, "x": 1}, {"user": upn, "after_password": "50076"}):
        assert (await client.ask("/_sandbox/users", "POST", json=wrong)).status == 400


async def test_the_control_tells_the_attempts(probe: Probe) -> None:
    await probe.ask(WRONG)
    probe.tenant.lockout.lock(probe.id)
    told = (await probe.client.ask("/_sandbox/sign-ins")).json
    assert told["ever_locked"] == [probe.id]
    assert told["sign_ins"] == [
        {
            "time": probe.clock.now,
            "username": probe.user["userPrincipalName"],
            "user_id": probe.id,
            "client_id": VALIDATION_CLIENT_ID,
            "code": 50126,
        }
    ]
