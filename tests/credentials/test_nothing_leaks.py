"""No secret leaves the app by a log, an error, an answer or storage, and no user's name where it must not.

Secrets that are like no other text are planted, everything is made to happen and to go wrong, and then all
that is left behind is searched for each of them: as it is, encoded, escaped, and as a digest without a key.
Logs are taken at DEBUG from every logger, with all fields of their records.
"""

import asyncio
import base64
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from azure.data.tables.aio import TableServiceClient

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates
from sandbox.tenant import (
    CLIENT_ID,
    MANAGED_IDENTITY_CLIENT_ID,
    TENANT_ID,
    VALIDATION_CLIENT_ID,
    Tenant,
    TenantServer,
    faults,
    generate,
)
from sandbox.tenant.configuration import Secret
from sandbox.tenant.messages import JsonObject
from shared.credentials.audit import AUDIT_CONTAINER
from shared.credentials.calls import CredentialCalls
from shared.credentials.ledger import BUDGET_TABLE, USERS_TABLE
from shared.credentials.verdicts import STATUSES
from shared.errors import CallerRefused, InvalidRequest
from shared.webhooks.entra_token import EntraTokenScheme
from shared.webhooks.flare import FlareScheme
from shared.webhooks.replay import TABLE as REQUESTS_TABLE
from tests.credentials.evidence import ANSWERS, Evidence, forms
from tests.credentials.lives import Life, ProcessKilled
from tests.support.tls import serving, trusting
from tests.support.validation import Clock, ValidationWorld, encode, validation_world
from tests.worker.run import run_app

AUDIENCE = "api://7b3f0b8e-1d5c-4b7e-9a51-3c2e88f0d6aa"
MEMORY_KEY = bytes(range(100, 140))
WEBHOOK_KEY = bytes(range(60, 100))
FLARE_SECRET = "flare-secret-&-Zf81+é-that-nobody-may-see"
PROBE_SECRET = "probe~secret~8Q~Xy7.marker-of-the-probe_0001"
GRAPH_SECRET = "graph~secret~8Q~Xy7.marker-of-the-graph_0002"
FUNCTION_KEY = "function-key-Marker==AzFu-0003"
PLAIN = ("plain", "JSON", "repr", "ascii", "bytes")
"""Forms that are the same for a plain text."""
DAY = 24 * 3600.0


@dataclass
class Planted:
    """The secrets of one run, by what they are. More are added as they come up."""

    secrets: dict[str, str | bytes] = field(
        default_factory=lambda: {
            "memory key": MEMORY_KEY,
            "memory key's text": base64.b64encode(MEMORY_KEY).decode(),
            "webhook key": WEBHOOK_KEY,
            "webhook key's text": base64.b64encode(WEBHOOK_KEY).decode(),
            "Flare's secret": FLARE_SECRET,
            "probe's secret": PROBE_SECRET,
            "Graph's secret": GRAPH_SECRET,
            "function key": FUNCTION_KEY,
        }
    )
    names: dict[str, str | bytes] = field(default_factory=dict)
    """Users' names and other addresses."""

    def password(self, why: str) -> str:
        text = f"Märker+&='\"\\{len(self.secrets):03}-{why}"
        self.secrets[f"password for {why}"] = text
        return text

    def plant(self, tenant: Tenant) -> None:
        tenant.vault.put("credential-memory-key", base64.b64encode(MEMORY_KEY).decode())
        tenant.vault.put("webhook-secret", f"whsec_{base64.b64encode(WEBHOOK_KEY).decode()}")
        for client, name, secret in (
            (VALIDATION_CLIENT_ID, "validation-client-secret", PROBE_SECRET),
            (CLIENT_ID, "entra-client-secret", GRAPH_SECRET),
        ):
            tenant.clients[client].secrets[:] = [Secret(secret)]
            tenant.vault.put(name, secret)
        issue = tenant.issuer.sign

        def sign(claims: JsonObject, lifetime: float) -> Any:
            """Every token that the simulated tenant hands out is a secret."""
            token = issue(claims, lifetime)
            self.secrets[f"token {len(self.secrets)}"] = token.text
            return token

        tenant.issuer.sign = sign  # type: ignore[method-assign]

    def name(self, user: dict[str, Any]) -> str:
        name = str(user["userPrincipalName"])
        self.names[f"name of {name}"] = name
        for proxy in user.get("proxyAddresses") or ():
            self.names[f"address {proxy}"] = proxy[5:]
        return name


class Everything(logging.Handler):
    """All that is logged, with all fields, as it is logged."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(logging.DEBUG)
        self._evidence = evidence

    def emit(self, record: logging.LogRecord) -> None:
        self._evidence.add_record(record, logging.Formatter())


@pytest.fixture
def evidence() -> Iterator[Evidence]:
    """Takes every log at DEBUG."""
    gathered = Evidence()
    handler = Everything(gathered)
    root = logging.getLogger()
    levels = {root: root.level} | {
        logger: logger.level
        for logger in logging.Logger.manager.loggerDict.values()
        if isinstance(logger, logging.Logger)
    }
    for logger in levels:
        logger.setLevel(logging.NOTSET)
    root.setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield gathered
    root.removeHandler(handler)
    for logger, level in levels.items():
        logger.setLevel(level)


@dataclass
class Run:
    """The app in one process of the test, everything that it says kept."""

    world: ValidationWorld
    planted: Planted
    evidence: Evidence
    certificates: ServerCertificates
    errors: list[BaseException] = field(default_factory=list)

    async def answer(
        self, body: bytes, headers: dict[str, str] | None = None, calls: CredentialCalls | None = None
    ) -> bytes:
        """Send a call and keep its end, whatever that is."""
        if headers is None:
            headers = self.signed(body)
        headers = {**headers, "x-functions-key": FUNCTION_KEY}
        for name in ("webhook-signature", "X-Flare-Signature"):
            for number, signature in enumerate(headers.get(name, "").replace("v1,", "v1=").split("v1=")[1:]):
                self.planted.secrets[f"{name} {len(self.planted.secrets)}.{number}"] = signature.strip(" ,")
        try:
            answer = await (calls or self.world.calls).answer(headers, body)
        except (Exception, asyncio.CancelledError, ProcessKilled) as error:
            self.evidence.add_error("error", error)
            self.errors.append(error)
            return b""
        self.evidence.add("answer", answer)
        return answer

    def signed(self, body: bytes) -> dict[str, str]:
        """The headers of a new call. Bodies need not be text."""
        call_id, now = f"msg_{next(self.world.numbers)}", int(self.world.clock())
        digest = hmac.digest(WEBHOOK_KEY, f"{call_id}.{now}.".encode() + body, "sha256")
        return {
            "webhook-id": call_id,
            "webhook-timestamp": str(now),
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }

    async def ask(self, user: dict[str, Any], password: str, calls: CredentialCalls | None = None) -> str:
        """The status, or nothing after an error."""
        body = encode({"id": "leak", "username": self.planted.name(user), "password": password})
        answer = await self.answer(body, calls=calls)
        return str(json.loads(answer)["results"][0]["status"]) if answer else ""


@pytest.fixture
async def run(
    account: StorageAccount, certificates: ServerCertificates, evidence: Evidence
) -> AsyncIterator[Run]:
    clock = Clock()
    tenant = Tenant(generate(120, seed=3), clock=clock)
    planted = Planted()
    planted.plant(tenant)
    planted.secrets["storage key"] = account.key
    async with validation_world(tenant, clock, account, certificates, SECRET_TTL_SECONDS="0") as world:
        world.use(validation_failing_users_per_20_min=1000, validation_attempts_per_day=100_000)
        yield Run(world, planted, evidence, certificates)


async def test_nothing_leaks_whatever_the_verdict(run: Run, account: StorageAccount) -> None:
    world, tenant, password = run.world, run.world.tenant, run.planted.password
    users = iter(range(100))
    statuses: set[str] = set()

    async def ask(why: str, *, is_right: bool = False, **account_state: Any) -> None:
        user, text = world.staff(next(users)), password(why)
        if is_right:
            tenant.set_password(user["id"], text)
        for name, value in account_state.items():
            setattr(tenant.accounts[user["id"]], name, value)
        for _ in range(2):
            statuses.add(await run.ask(user, text))
        world.clock.forward(DAY + 100)

    await ask("wrong")
    await ask("right", is_right=True)
    await ask("expired", is_right=True, expired=True)
    for code in (50053, 50076, 50057, 53003, 50196, 90033, 999999):
        await ask(f"code {code}", is_right=True, after_password=(code,))
    tenant.clients[VALIDATION_CLIENT_ID].assignment_required = False
    await ask("token", is_right=True)

    disabled = world.staff(next(users))
    tenant.directory.update_user(disabled["id"], {"accountEnabled": False})
    deleted = world.staff(next(users))
    name_of_deleted = run.planted.name(deleted)
    tenant.directory.delete_user(deleted["id"])
    everybody = tenant.directory.users.values()
    guest = next(user for user in everybody if user["userType"] == "Guest" and user["accountEnabled"])
    run.planted.names["stranger"] = "stranger.nobody.knows@contoso.com"
    hashed = "5f4dcc3b5aa765d61d8327deb882cf99"
    run.planted.secrets["hash"] = hashed
    answer = await run.answer(
        encode(
            *(
                {"id": str(number), "username": username, "password": text}
                for number, (username, text) in enumerate(
                    [
                        ("stranger.nobody.knows@contoso.com", password("stranger")),
                        (run.planted.name(disabled), password("disabled")),
                        (name_of_deleted, password("deleted")),
                        (run.planted.name(guest), password("guest")),
                        (run.planted.name(world.staff(next(users))), hashed),
                        (run.planted.name(world.staff(next(users))), f" {password('whitespace')}"),
                        (run.planted.name(world.staff(next(users))), password("long") * 20),
                        *((run.planted.name(world.staff(0)), password(f"sibling {n}")) for n in range(5)),
                    ]
                )
            )
        )
    )
    statuses |= {result["status"] for result in json.loads(answer)["results"]}
    user, text = world.staff(next(users)), password("first")
    tenant.set_password(user["id"], text)
    statuses |= {await run.ask(user, text), await run.ask(user, password("second"))}
    assert statuses == set(STATUSES)
    assert run.errors == []
    await _nothing_leaks(run, account)
    named = {place.partition(":")[0] for place in run.evidence.places_of(run.planted.names)}
    assert named == {"answer", ANSWERS}, "where the contract wants the user's name"


async def test_nothing_leaks_from_bodies_that_are_not_understood(run: Run, account: StorageAccount) -> None:
    text = run.planted.password("body")
    name = run.planted.name(run.world.staff())
    good = {"id": "a", "username": name, "password": text}
    quoted = json.dumps(text, ensure_ascii=False).encode()
    bodies = [
        quoted,
        b'{"credentials": [' + quoted,
        b'{"credentials": [{"id": "a", "username": "'
        + name.encode()
        + b'", "password": \xff'
        + quoted
        + b"}]}",
        b'{"credentials": [{"id": "a", "username": "x", "password": "\xff\xfe' + text.encode() + b'"}]}',
        quoted + b"[" * 60_000,
        encode(good, good),
        encode({**good, "password": f"\ud83d{text}"}),  # half a pair of surrogates
        encode({**good, "username": f"{name}\ud83d"}),
        encode({**good, text: "x"}),
        encode({**good, "id": text}),
        encode({**good, "username": text * 20}),
        encode({**good, "first_seen_at": text}),
        encode({**good, "first_seen_at": "0001-01-01T00:00:00+23:00"}),
        encode({**good, "password": [text]}),
        encode({**good, "password": None, text: name}),
        json.dumps({text: [good]}).encode(),
        json.dumps([good]).encode(),
    ]
    for body in bodies:
        assert await run.answer(body) == b""
    assert {type(error) for error in run.errors} == {InvalidRequest, CallerRefused}
    await _nothing_leaks(run, account)


async def test_nothing_leaks_from_callers_who_are_refused(run: Run, account: StorageAccount) -> None:
    world, text = run.world, run.planted.password("refused")
    world.tenant.vault.put("webhook-secret", FLARE_SECRET)
    body = encode({"id": "a", "username": run.planted.name(world.staff()), "password": text})
    now = int(world.clock())
    token_settings = replace(
        world.settings,
        webhook_auth="entra-token",
        webhook_audience=AUDIENCE,
        webhook_allowed_clients=(CLIENT_ID,),
    )
    schemes = {
        "flare": FlareScheme(world.secrets, world.clock),
        "entra-token": EntraTokenScheme.of_tenant(token_settings, world.clock, trusting(run.certificates)),
    }
    wrong = "a1b2" * 16
    run.planted.secrets["wrong signature"] = wrong
    strange = ".".join(map(_encoded, (b'{"alg": "RS256", "kid": "marker"}', b"a marker", b"a signature")))
    run.planted.secrets["wrong token"] = strange
    issuer, client = world.tenant.issuer, world.tenant.clients[CLIENT_ID]
    tokens = [
        issuer.issue(audience, client.client_id, client.object_id, (), lifetime).text
        for audience, lifetime in ((AUDIENCE, 3600), ("https://graph.microsoft.com", 3600), (AUDIENCE, -3600))
    ]
    good = run.signed(body)
    headers: dict[str, list[dict[str, str]]] = {
        "standard-webhooks": [
            {},
            {**good, "webhook-signature": f"v1,{base64.b64encode(wrong.encode()).decode()}"},
            {**good, "webhook-signature": f"v1,{wrong}é"},
            {**good, "webhook-id": text},
            {**good, "webhook-timestamp": text},
        ],
        "flare": [
            {"X-Flare-Signature": f"t={now},v1={wrong}"},
            {"X-Flare-Signature": f"t={text},v1={wrong}"},
            {"X-Flare-Signature": wrong},
        ],
        "entra-token": [
            {"Authorization": f"Bearer {strange}"},
            {"Authorization": f"Basic {wrong}"},
            *({"Authorization": f"Bearer {token}"} for token in tokens),
            {"Authorization": f"Bearer {tokens[0][:-8]}AAAAAAAA"},
        ],
    }
    for name, given in headers.items():
        calls = world.instance()
        calls.scheme = schemes.get(name, calls.scheme)
        for one in given:
            await run.answer(body, one, calls)
    assert world.attempts <= 1, "at most the good token's"
    await _nothing_leaks(run, account)


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


async def test_nothing_leaks_when_the_services_fail(run: Run, account: StorageAccount) -> None:
    world, tenant = run.world, run.world.tenant
    world.probe_timeout_seconds = 0.2
    users = iter(range(100))
    echo = "{0} is not {1}"
    for service, action in [
        *(
            (r"/oauth2/v2.0/token", action)
            for action in (
                faults.close(),
                faults.reset(),
                faults.hang(0.4),
                faults.truncate(),
                faults.html(),
                faults.html(502),
                faults.throttle("5"),
                faults.respond(302, headers={"Location": "https://127.0.0.1:1/elsewhere"}),
                faults.entra_error([7000215]),
                faults.entra_error([7000222]),
                faults.entra_error([700016]),
                faults.change_fields({"error_codes": "50126"}),
                faults.edit(_quote_the_request),
            )
        ),
        *(
            (r"/\$batch", action)
            for action in (
                faults.close(),
                faults.respond(503),
                faults.throttle("500"),
                faults.html(),
                faults.respond(403, code="Authorization_RequestDenied"),
                faults.respond(400, code="Request_BadRequest", message=echo),
                faults.edit(_quote_the_request),
            )
        ),
        (r"/secrets/credential-memory-key", faults.respond(403, code="Forbidden")),
        (r"/secrets/webhook-secret", faults.close()),
    ]:
        rule = tenant.faults.add(action, service, times=None)
        world.clock.forward(DAY + 100)
        world.use(validation_failing_users_per_20_min=1000, validation_attempts_per_day=100_000)
        await run.ask(world.staff(next(users)), run.planted.password(f"fault {len(tenant.faults.rules)}"))
        assert rule.hits, service
        rule.times = 0
    for name in ("credential-memory-key", "webhook-secret"):
        tenant.vault.put(name, run.planted.password(name))
        body = encode({"id": "a", "username": run.planted.name(world.staff()), "password": "x"})
        await run.answer(body)
        tenant.vault.secrets[name].pop()
    assert len(run.errors) >= 8
    await _nothing_leaks(run, account)


def _quote_the_request(content: JsonObject, call: Any) -> None:
    """A service that says again what it was told."""
    content["error_description"] = content["@odata.context"] = call.body.decode()
    content["message"] = {"request": call.body.decode(), "authorization": call.headers.get("Authorization")}


async def test_nothing_leaks_when_storage_fails(run: Run, account: StorageAccount) -> None:
    world = run.world
    away = replace(
        account,
        blob_uri="http://127.0.0.1:9/a",
        table_uri="http://127.0.0.1:9/a",
        queue_uri="http://127.0.0.1:9/a",
    )
    async with TableServiceClient.from_connection_string(away.connection_string, retry_total=0) as nowhere:
        here, world.tables = world.tables, nowhere
        await run.ask(world.staff(0), run.planted.password("no storage"), world.instance())
        world.tables = here
    for number, table in enumerate((BUDGET_TABLE, USERS_TABLE, REQUESTS_TABLE)):
        await world.tables.delete_table(table)
        await run.ask(world.staff(number), run.planted.password(f"no {table}"), world.instance())
        await world.tables.create_table(table)
    await world.blobs.delete_container(AUDIT_CONTAINER)
    await run.ask(world.staff(3), run.planted.password("no audit"), world.instance())
    await world.blobs.create_container(AUDIT_CONTAINER)
    assert len(run.errors) == 5
    await _nothing_leaks(run, account)


async def test_nothing_leaks_when_a_call_is_cut_off(run: Run, account: StorageAccount) -> None:
    """Cancelled by the host, or by a fault of our own, at each step; told as a host would log it."""
    world = run.world
    for step in range(1, 25):
        life = Life()
        world.clock.forward(DAY + 100)
        calls = world.instance(through=life, validation_failing_users_per_20_min=1000)
        task = asyncio.create_task(run.ask(world.staff(step), run.planted.password(f"step {step}"), calls))
        life.ends_at(step, "killed" if step % 2 else "cancelled", task)
        await asyncio.gather(task, return_exceptions=True)
    for error in run.errors:
        logging.getLogger("host").error("function failed", exc_info=error)
    assert {type(error) for error in run.errors} >= {asyncio.CancelledError, ProcessKilled}
    await _nothing_leaks(run, account)


async def _nothing_leaks(run: Run, account: StorageAccount) -> None:
    evidence, planted = run.evidence, run.planted
    await evidence.add_storage(account)
    for one in (run.world.calls, run.world.settings, run.world.secrets, run.world.graph):
        evidence.add(f"repr of {type(one).__name__}", repr(one))
    assert_nothing_leaks(evidence, planted)


def assert_nothing_leaks(evidence: Evidence, planted: Planted) -> None:
    assert len(evidence.texts) > 100
    assert evidence.places_of(planted.secrets) == set()
    assert evidence.places_of(planted.names, but=frozenset({"answer", ANSWERS})) == set()


# --- in Microsoft's worker, whose own logs count as well --------------------------------------------------


@pytest.mark.parametrize("scheme", ["standard-webhooks", "flare", "entra-token"])
async def test_nothing_leaks_in_the_worker(
    account: StorageAccount, certificates: ServerCertificates, scheme: str
) -> None:
    """The whole app with all its SDKs in a process of its own; once with asyncio in debug mode."""
    tenant, planted, evidence = Tenant(generate(60, seed=3)), Planted(), Evidence()
    planted.plant(tenant)
    planted.secrets |= {"storage key": account.key, "identity header": tenant.identity_header}
    if scheme == "flare":
        tenant.vault.put("webhook-secret", FLARE_SECRET)
    users = [user for user in tenant.directory.users.values() if user["accountEnabled"]][:6]
    tenant.clients[VALIDATION_CLIENT_ID].assignment_required = False
    passwords = [planted.password(f"user {number}") for number in range(len(users))]
    tenant.set_password(users[0]["id"], passwords[0])
    sign_in, attempt = r"/oauth2/v2.0/token", "grant_type=password"
    tenant.faults.add(faults.edit(_quote_the_request), sign_in, body=attempt, skip=1)
    tenant.faults.add(faults.close(), sign_in, body=attempt, skip=2)
    tenant.faults.add(faults.respond(503), r"/\$batch", skip=3)
    sent = [
        *(
            encode({"id": "a", "username": planted.name(user), "password": text})
            for user, text in zip(users, passwords, strict=True)
        ),
        encode({"id": "a", "username": planted.name(users[1]), planted.password("field"): "x"}),
        planted.password("no JSON").encode(),
    ]
    calls = [_call(body, _proof(tenant, planted, scheme, body, number)) for number, body in enumerate(sent)]
    calls += [_call(sent[0], _proof(tenant, planted, scheme, b"another body", 100))]
    calls += [{"function": "directory_timer"}, {"function": "credentials_sweep", "after": True}]
    async with TenantServer(tenant, serving(certificates)) as server:
        environment = {
            "ENTRA_TENANT_ID": TENANT_ID,
            "ENTRA_CLIENT_ID": CLIENT_ID,
            "ENTRA_CREDENTIAL": "client-secret",
            "VALIDATION_CLIENT_ID": VALIDATION_CLIENT_ID,
            "AZURE_CLIENT_ID": MANAGED_IDENTITY_CLIENT_ID,
            "AZURE_AUTHORITY_HOST": server.url,
            "GRAPH_ENDPOINT": server.url,
            "KEY_VAULT_URL": server.url,
            "IDENTITY_ENDPOINT": f"{server.url}/msi/token",
            "IDENTITY_HEADER": tenant.identity_header,
            "DIRECTORY_STORAGE": account.connection_string,
            "SYNC_SCHEDULE": "0 0 * * * *",
            "WEBHOOK_AUTH": scheme,
            "WEBHOOK_AUDIENCE": AUDIENCE,
            "WEBHOOK_ALLOWED_CLIENTS": CLIENT_ID,
            "DRIVER_LOGS_ALL": "1",
            **certificates.environment,
        }
        if scheme == "standard-webhooks":
            environment["PYTHONASYNCIODEBUG"] = "1"
        report = await run_app(calls, environment)
    assert [outcome.get("status") for outcome in report.outcomes[:6]] == [200] * 6
    for logger in ("azure.core.pipeline", "azure.identity", "msal", "httpx", "asyncio", "shared."):
        assert f" {logger}" in report.log, "not everybody was heard"
    for line in report.log.splitlines():
        evidence.add("log of the worker", line)
    for outcome in report.outcomes:
        evidence.add("answer", json.dumps(outcome))
    await evidence.add_storage(account)
    assert_nothing_leaks(evidence, planted)


def _proof(tenant: Tenant, planted: Planted, scheme: str, body: bytes, number: int) -> dict[str, str]:
    """The headers by which the caller proves who it is."""
    now = int(time.time())
    if scheme == "entra-token":
        client = tenant.clients[CLIENT_ID]
        token = tenant.issuer.issue(AUDIENCE, client.client_id, client.object_id, (), 3600).text
        return {"authorization": f"Bearer {token}", "webhook-id": f"msg_{number}"}
    if scheme == "flare":
        signature = hmac.digest(FLARE_SECRET.encode(), f"{now}.".encode() + body, "sha256").hex()
        planted.secrets[f"signature {number}"] = signature
        return {"x-flare-signature": f"t={now},v1={signature}"}
    digest = hmac.digest(WEBHOOK_KEY, f"msg_{number}.{now}.".encode() + body, "sha256")
    signature = base64.b64encode(digest).decode()
    planted.secrets[f"signature {number}"] = signature
    return {
        "webhook-id": f"msg_{number}",
        "webhook-timestamp": str(now),
        "webhook-signature": f"v1,{signature}",
    }


def _call(body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    http = {
        "method": "POST",
        "url": "https://app.example/api/credentials/validate",
        "headers": {**headers, "x-functions-key": FUNCTION_KEY},
        "body": body.decode("latin-1"),
    }
    return {"function": "credentials_validate", "http": http, "after": True}


# --- the search itself ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", forms("a secret"))
def test_a_secret_is_found_in_each_form(form: str) -> None:
    secret = "Zf+/ \u00fc\"'\\&=~ and so on"
    found = Evidence()
    found.add("somewhere", f"before {forms(secret)[form].upper()} after")
    assert f"somewhere: it ({form})" in found.places_of({"it": secret})
    assert found.places_of({"it": "something else"}) == set()


@pytest.mark.parametrize("before", ["", "1", "12", "123", "1234"])
def test_a_secret_is_found_in_what_is_encoded_as_a_whole(before: str) -> None:
    found = Evidence()
    found.add("basic", base64.b64encode(f"{before}a secret that is long enough!".encode()))
    assert found.places_of({"it": "a secret that is long enough!"})


def test_a_secret_is_found_in_what_led_to_an_error() -> None:
    found = Evidence()
    try:
        try:
            int("a secret")
        except ValueError:
            raise KeyError("quiet") from None
    except KeyError as error:
        found.add_error("error", error)
    assert found.places_of({"it": "a secret"}) == {f"error: ValueError: it ({form})" for form in PLAIN}
