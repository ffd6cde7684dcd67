"""Tokens of Entra: what a token must say, and where the keys come from. Over TLS, with keys of our own."""

import asyncio
import base64
import hmac
import json
import ssl
from collections.abc import Callable
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sandbox.tenant import faults
from sandbox.tenant.configuration import CLIENT_ID
from sandbox.tenant.tenant import Tenant
from shared.config import Settings
from shared.errors import CallerRefused, SignInRefused
from shared.webhooks import Caller, webhook_scheme
from shared.webhooks.entra_token import LEEWAY_SECONDS, Claims, EntraTokenScheme, ExpectedToken, check_claims
from shared.webhooks.signing_keys import (
    KEPT_SECONDS,
    LARGEST_KEY_SET,
    LEAST_SECONDS_BETWEEN_READS,
    SigningKeys,
)
from tests.identity.conftest import Identity
from tests.identity.fakes import TENANT, settings
from tests.webhooks.support import BODY, Clock, KeyServer, SigningKey, Vault, refusal

APP = "5f0c2f63-66ab-4f3a-9a39-1d2f0c5a7b11"
CALLER = "9e8d7c6b-5a49-4382-9716-0f1e2d3c4b5a"
OTHER = "11111111-2222-3333-4444-555555555555"
ROLE = "Credentials.Validate"


SIGNING_KEY = SigningKey("key-1")
NEXT_KEY = SigningKey("key-2")


@pytest.fixture
def key() -> SigningKey:
    return SIGNING_KEY


@pytest.fixture
def next_key() -> SigningKey:
    return NEXT_KEY


def settings_for(url: str, **changes: str) -> Settings:
    return settings(
        **{
            "AZURE_AUTHORITY_HOST": url,
            "WEBHOOK_AUTH": "entra-token",
            "WEBHOOK_AUDIENCE": f"api://{APP}",
            "WEBHOOK_ALLOWED_CLIENTS": CALLER,
        }
        | changes
    )


@pytest.fixture
def make(
    key_server: KeyServer, key: SigningKey, clock: Clock, trusting: ssl.SSLContext
) -> Callable[..., EntraTokenScheme]:
    """Makes the scheme for the settings with changes; its keys are `key` alone."""
    key_server.publish(key)

    def scheme(**changes: str) -> EntraTokenScheme:
        return EntraTokenScheme.of_tenant(settings_for(key_server.url, **changes), clock, trusting)

    return scheme


@pytest.fixture
def scheme(make: Callable[..., EntraTokenScheme]) -> EntraTokenScheme:
    return make()


def v1(clock: Clock, **changes: Any) -> dict[str, Any]:
    """The claims of a v1.0 token; those changed to None are left out."""
    now = int(clock.now)
    issuer = f"https://sts.windows.net/{TENANT}/"
    claims = {
        "aud": f"api://{APP}",
        "iss": issuer,
        "iat": now - 300,
        "nbf": now - 300,
        "exp": now + 3600,
        "appid": CALLER,
        "appidacr": "1",
        "idp": issuer,
        "oid": "22222222-0000-0000-0000-000000000000",
        "sub": "22222222-0000-0000-0000-000000000000",
        "tid": TENANT,
        "roles": [ROLE],
        "ver": "1.0",
    }
    return {name: value for name, value in (claims | changes).items() if value is not None}


def v2(clock: Clock, url: str, **changes: Any) -> dict[str, Any]:
    return v1(
        clock,
        **{
            "aud": APP,
            "iss": f"{url}/{TENANT}/v2.0",
            "appid": None,
            "azp": CALLER,
            "azpacr": "2",
            "ver": "2.0",
        }
        | changes,
    )


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def bearer(token: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} | more


async def test_both_versions_of_tokens(
    scheme: EntraTokenScheme, key: SigningKey, key_server: KeyServer, clock: Clock
) -> None:
    for claims in (v1(clock), v1(clock, aud=APP), v2(clock, key_server.url), v1(clock, idtyp="app", sub="x")):
        assert await scheme.authenticate(bearer(key.sign(claims)), BODY) == Caller(CALLER, None)
    assert key_server.requests == [f"/{TENANT}/discovery/v2.0/keys"]


async def test_the_clouds_own_issuer_beside_an_overridden_authority(
    scheme: EntraTokenScheme, key: SigningKey, clock: Clock
) -> None:
    claims = v2(clock, "https://login.microsoftonline.com")
    assert await scheme.authenticate(bearer(key.sign(claims)), BODY)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": f"https://sts.windows.net/{OTHER}/"},
        {"iss": f"https://sts.windows.net/{TENANT}"},
        {"iss": f"https://login.microsoftonline.com/{TENANT}/v2.0"},
        {"iss": f"https://sts.chinacloudapi.cn/{TENANT}/"},
        {"iss": None},
        {"iss": [f"https://sts.windows.net/{TENANT}/"]},
        {"tid": OTHER},
        {"tid": None},
        {"ver": "2.0"},
        {"ver": "3.0"},
        {"ver": None},
        {"ver": 1.0},
        {"ver": ["1.0"]},
        {"aud": "https://graph.microsoft.com"},
        {"aud": f"api://{OTHER}"},
        {"aud": f"api://{APP}/"},
        {"aud": None},
        {"aud": [f"api://{APP}"]},
        {"appid": OTHER},
        {"appid": None},
        {"appid": None, "azp": CALLER},
        {"appid": [CALLER]},
        {"appid": "not a client id"},
        {"scp": "user_impersonation"},
        {"scp": "user_impersonation", "idtyp": "app"},
        {"scp": ""},
        {"idtyp": "user"},
        {"sub": "another subject than its object"},
        {"oid": None, "sub": None},
        {"exp": None},
        {"nbf": None},
        {"exp": "1790003600"},
        {"exp": 1790003600.5},
        {"nbf": "1790000000"},
    ],
)
async def test_claims_that_are_refused(
    scheme: EntraTokenScheme, key: SigningKey, clock: Clock, changes: dict[str, Any]
) -> None:
    token = key.sign(v1(clock, **changes))
    error = await refusal(scheme, bearer(token))
    assert token.split(".")[1] not in str(error)


@pytest.mark.parametrize(
    ("claim", "away", "accepted"),
    [
        ("exp", -LEEWAY_SECONDS, False),
        ("exp", -LEEWAY_SECONDS + 1, True),
        ("exp", -3600, False),
        ("nbf", LEEWAY_SECONDS, True),
        ("nbf", LEEWAY_SECONDS + 1, False),
        ("iat", 10**6, True),
    ],
)
async def test_times(
    scheme: EntraTokenScheme, key: SigningKey, clock: Clock, claim: str, away: int, accepted: bool
) -> None:
    headers = bearer(key.sign(v1(clock, **{claim: int(clock.now) + away})))
    if accepted:
        assert await scheme.authenticate(headers, BODY)
    else:
        assert "expired, or does not hold yet" in str(await refusal(scheme, headers))


@pytest.mark.parametrize(
    ("changes", "claims", "accepted"),
    [
        ({"WEBHOOK_ROLE": ROLE}, {}, True),
        ({"WEBHOOK_ROLE": ROLE}, {"roles": ["Other", ROLE]}, True),
        ({"WEBHOOK_ROLE": ROLE}, {"roles": ["Other"]}, False),
        ({"WEBHOOK_ROLE": ROLE}, {"roles": ROLE}, False),
        ({"WEBHOOK_ROLE": ROLE}, {"roles": None}, False),
        ({"WEBHOOK_ROLE": ROLE}, {"appid": OTHER}, False),
        ({"WEBHOOK_ROLE": ROLE, "WEBHOOK_ALLOWED_CLIENTS": ""}, {"appid": OTHER}, True),
        ({"WEBHOOK_ROLE": ROLE, "WEBHOOK_ALLOWED_CLIENTS": ""}, {"appid": OTHER, "roles": []}, False),
        ({"WEBHOOK_ALLOWED_CLIENTS": f"{OTHER},{CALLER.upper()}"}, {"appid": CALLER.upper()}, True),
        ({"WEBHOOK_ALLOWED_CLIENTS": CALLER}, {"roles": None}, True),
    ],
)
async def test_client_and_role_must_both_hold(
    make: Callable[..., EntraTokenScheme],
    key: SigningKey,
    clock: Clock,
    changes: dict[str, str],
    claims: dict[str, Any],
    accepted: bool,
) -> None:
    scheme = make(**changes)
    headers = bearer(key.sign(v1(clock, **claims)))
    if accepted:
        caller = await scheme.authenticate(headers, BODY)
        assert caller.name == claims.get("appid", CALLER).lower()
    else:
        await refusal(scheme, headers)


@pytest.mark.parametrize(
    ("setting", "audience", "accepted"),
    [
        (APP, APP, True),
        (APP, f"api://{APP}", True),
        (APP.upper(), APP, True),
        ("https://contoso.com/validate", "https://contoso.com/validate", True),
        ("https://contoso.com/validate", APP, False),
        ("api://validate", "validate", False),
        ("validate", "api://validate", False),
    ],
)
async def test_audiences(
    make: Callable[..., EntraTokenScheme],
    key: SigningKey,
    clock: Clock,
    setting: str,
    audience: str,
    accepted: bool,
) -> None:
    scheme = make(WEBHOOK_AUDIENCE=setting)
    headers = bearer(key.sign(v1(clock, aud=audience)))
    if accepted:
        assert await scheme.authenticate(headers, BODY)
    else:
        assert "WEBHOOK_AUDIENCE" in str(await refusal(scheme, headers))


@pytest.mark.parametrize(
    ("cloud", "first", "second"),
    [
        ("public", "https://sts.windows.net", "https://login.microsoftonline.com"),
        ("usgov", "https://sts.windows.net", "https://login.microsoftonline.us"),
        ("usgov-dod", "https://sts.windows.net", "https://login.microsoftonline.us"),
        ("china", "https://sts.chinacloudapi.cn", "https://login.partner.microsoftonline.cn"),
    ],
)
def test_issuers_of_each_cloud(cloud: str, first: str, second: str) -> None:
    changes = {"ENTRA_CLOUD": cloud, "AZURE_AUTHORITY_HOST": ""}
    expected = ExpectedToken.from_settings(settings_for("", **changes))
    assert expected.issuers["1.0"] == {f"{first}/{TENANT}/"}
    assert expected.issuers["2.0"] == {f"{second}/{TENANT}/v2.0"}
    claims = msgspec.convert(v2(Clock(), second), Claims)
    assert check_claims(claims, expected) == CALLER
    for issuer in (f"https://login.example/{TENANT}/v2.0", f"{second}/{OTHER}/v2.0", f"{first}/{TENANT}/"):
        with pytest.raises(CallerRefused, match="not issued by the tenant"):
            check_claims(msgspec.structs.replace(claims, iss=issuer), expected)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic abc", "abc", "Bearer a b", "Bearer é", "Bearer " + "a" * 16385]
)
async def test_headers_without_a_token(scheme: EntraTokenScheme, key_server: KeyServer, header: str) -> None:
    await refusal(scheme, {"authorization": header} if header else {})
    assert key_server.requests == []


def signed_with_the_public_key(key: SigningKey, claims: dict[str, Any]) -> str:
    """By HMAC, for a verifier that lets the token choose the algorithm."""
    public = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = ({"alg": "HS256", "typ": "JWT", "kid": key.key_id}, claims)
    signed = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{encoded(hmac.digest(public, signed.encode(), 'sha256'))}"


async def test_tokens_that_are_signed_otherwise(
    scheme: EntraTokenScheme, key: SigningKey, next_key: SigningKey, key_server: KeyServer, clock: Clock
) -> None:
    claims = v1(clock)
    good = key.sign(claims)
    head, payload, signature = good.split(".")
    other_claims = encoded(json.dumps(v1(clock, roles=["x"])).encode())
    for token in (
        jwt.encode(claims, "", algorithm="none", headers={"kid": "key-1"}),
        signed_with_the_public_key(key, claims),
        key.sign(claims, "PS256"),
        key.sign(claims, "RS512"),
        next_key.sign(claims, kid="key-1"),
        f"{head}.{other_claims}.{signature}",
        f"{head}.{payload}.",
        f"{head}.{payload}",
        f"{head}.{payload}.{signature[:-4]}",
        jwt.encode(claims, key.private, algorithm="RS256", headers={"jwk": key.public}),
    ):
        await refusal(scheme, bearer(token))
    assert await scheme.authenticate(bearer(good), BODY)


async def test_a_payload_that_is_no_object(scheme: EntraTokenScheme, key: SigningKey) -> None:
    for payload in (b"[]", b"1", b"\xff", b"[" * 9000):
        token = jwt.api_jws.encode(payload, key.private, algorithm="RS256", headers={"kid": key.key_id})
        await refusal(scheme, bearer(token))


async def test_a_new_key_is_read_at_once_and_a_made_up_one_rarely(
    scheme: EntraTokenScheme, key: SigningKey, next_key: SigningKey, key_server: KeyServer, clock: Clock
) -> None:
    assert await scheme.authenticate(bearer(key.sign(v1(clock))), BODY)
    key_server.publish(key, next_key)
    clock.now += LEAST_SECONDS_BETWEEN_READS
    token = bearer(next_key.sign(v1(clock)))
    assert await asyncio.gather(*(scheme.authenticate(token, BODY) for _ in range(10)))
    assert len(key_server.requests) == 2

    made_up = [bearer(key.sign(v1(clock), kid=f"made-up-{number}")) for number in range(20)]
    for headers in made_up:
        await refusal(scheme, headers)
    assert len(key_server.requests) == 2
    clock.now += LEAST_SECONDS_BETWEEN_READS
    await asyncio.gather(*(refusal(scheme, headers) for headers in made_up))
    assert len(key_server.requests) == 3


async def test_who_needs_a_new_key_waits_while_another_call_looks_for_it(
    scheme: EntraTokenScheme, key: SigningKey, next_key: SigningKey, key_server: KeyServer, clock: Clock
) -> None:
    assert await scheme.authenticate(bearer(key.sign(v1(clock))), BODY)
    key_server.publish(key, next_key)
    clock.now += LEAST_SECONDS_BETWEEN_READS
    key_server.go.clear()
    key_server.asked.clear()
    token = bearer(next_key.sign(v1(clock)))
    first = asyncio.create_task(scheme.authenticate(token, BODY))
    await key_server.asked.wait()
    second = asyncio.create_task(scheme.authenticate(token, BODY))
    await asyncio.sleep(0)
    key_server.go.set()
    assert await first == await second == Caller(CALLER, None)
    assert len(key_server.requests) == 2


async def test_a_withdrawn_key_is_forgotten(
    scheme: EntraTokenScheme, key: SigningKey, next_key: SigningKey, key_server: KeyServer, clock: Clock
) -> None:
    assert await scheme.authenticate(bearer(key.sign(v1(clock))), BODY)
    key_server.publish(next_key)
    clock.now += KEPT_SECONDS - 1
    assert await scheme.authenticate(bearer(key.sign(v1(clock))), BODY)
    clock.now += 1
    await refusal(scheme, bearer(key.sign(v1(clock))))


@pytest.mark.parametrize(
    ("status", "content", "headers", "said"),
    [
        (503, b"", {}, "answered 503"),
        (404, b"{}", {}, "answered 404"),
        (302, b"", {"Location": "/elsewhere"}, "answered 302"),
        (200, b"<html>", {}, "no set of keys"),
        (200, b'{"keys": 1}', {}, "no set of keys"),
        (200, b"\xff", {}, "no set of keys"),
        (200, b" " * (LARGEST_KEY_SET + 1), {}, "more than"),
    ],
)
async def test_keys_that_cannot_be_read_are_never_open(
    scheme: EntraTokenScheme,
    key: SigningKey,
    key_server: KeyServer,
    clock: Clock,
    status: int,
    content: bytes,
    headers: dict[str, str],
    said: str,
) -> None:
    good = key_server.content
    key_server.status, key_server.content, key_server.headers = status, content, headers
    call = bearer(key.sign(v1(clock)))
    for _ in range(2):
        error = await refusal(scheme, call, kind=SignInRefused)
        assert said in str(error)
        assert key_server.url.removeprefix("https://") in str(error)
    assert set(key_server.requests) == {f"/{TENANT}/discovery/v2.0/keys"}

    key_server.status, key_server.content, key_server.headers = 200, good, {}
    assert await scheme.authenticate(call, BODY)


async def test_keys_that_do_not_come_in_time(
    key_server: KeyServer, clock: Clock, trusting: ssl.SSLContext
) -> None:
    key_server.go.clear()
    keys = SigningKeys(key_server.url, clock, trusting, deadline_seconds=0.1)
    with pytest.raises(SignInRefused, match="did not answer in time"):
        await keys.get("key-1")
    key_server.go.set()


async def test_keys_out_of_reach(key: SigningKey, clock: Clock, key_server: KeyServer) -> None:
    """Nobody listens there; and a server whose certificate is not trusted."""
    call = bearer(key.sign(v1(clock)))
    nobody = EntraTokenScheme.of_tenant(settings_for("https://127.0.0.1:1"), clock)
    assert "unreachable" in str(await refusal(nobody, call, kind=SignInRefused))
    stranger = EntraTokenScheme.of_tenant(settings_for(key_server.url), clock)
    assert "Certificate" in str(await refusal(stranger, call, kind=SignInRefused))
    assert key_server.requests == []


async def test_a_known_key_holds_while_the_service_is_away_for_a_moment(
    scheme: EntraTokenScheme, key: SigningKey, next_key: SigningKey, key_server: KeyServer, clock: Clock
) -> None:
    known, unknown = bearer(key.sign(v1(clock))), bearer(next_key.sign(v1(clock)))
    assert await scheme.authenticate(known, BODY)
    key_server.status = 500
    clock.now += LEAST_SECONDS_BETWEEN_READS
    for _ in range(3):
        await refusal(scheme, unknown, kind=SignInRefused)
        assert await scheme.authenticate(known, BODY)
    assert len(key_server.requests) == 2
    clock.now += KEPT_SECONDS
    await refusal(scheme, bearer(key.sign(v1(clock))), kind=SignInRefused)


async def test_keys_of_other_kinds_are_passed_over(
    scheme: EntraTokenScheme, key: SigningKey, key_server: KeyServer, clock: Clock
) -> None:
    weak = SigningKey("weak", bits=1024)
    odd: list[dict[str, Any]] = [
        {"kty": "EC", "kid": "key-1", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "oct", "kid": "key-1", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "broken", "n": 5, "e": "AQAB"},
        {"kty": "RSA", "kid": "broken-too"},
        key.public | {"kid": "for encryption", "use": "enc"},
        key.public | {"kid": "for another algorithm", "alg": "PS256"},
        {"kty": "RSA", "kid": ["key-1"]},
        {},
        weak.public,
    ]
    key_server.content = json.dumps({"keys": [*odd, key.public], "more": 1}).encode()
    assert await scheme.authenticate(bearer(key.sign(v1(clock))), BODY)
    for key_id in ("broken", "broken-too", "for encryption", "for another algorithm"):
        await refusal(scheme, bearer(key.sign(v1(clock), kid=key_id)))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = weak.sign(v1(clock))
    await refusal(scheme, bearer(token))


@pytest.mark.parametrize(
    ("headers", "call_id"),
    [
        ({}, None),
        ({"webhook-id": ""}, None),
        ({"Webhook-Id": "msg_1"}, "msg_1"),
        ({"Idempotency-Key": '"8e03978e-40d5"'}, '"8e03978e-40d5"'),
        ({"Idempotency-Key": "a", "webhook-id": "b.c"}, "b.c"),
    ],
)
async def test_ids_of_calls(
    scheme: EntraTokenScheme, key: SigningKey, clock: Clock, headers: dict[str, str], call_id: str | None
) -> None:
    call = bearer(key.sign(v1(clock)), **headers)
    assert await scheme.authenticate(call, BODY) == Caller(CALLER, call_id)


async def test_an_id_without_bounds_is_refused(
    scheme: EntraTokenScheme, key: SigningKey, clock: Clock
) -> None:
    for call_id in ("a" * 257, "a b", "é"):
        await refusal(scheme, bearer(key.sign(v1(clock)), **{"webhook-id": call_id}))


@given(
    st.text()
    | st.text().map("Bearer {}".format)
    | st.lists(
        st.binary().map(encoded) | st.just(encoded(b'{"alg":"RS256","kid":"k"}')) | st.text(),
        min_size=2,
        max_size=4,
    ).map(lambda parts: "Bearer " + ".".join(parts))
)
def test_no_header_is_anything_but_refused(header: str) -> None:
    class NoKeys:
        async def get(self, key_id: str) -> None:
            return None

    expected = ExpectedToken.from_settings(settings_for("https://127.0.0.1:1"))
    scheme = EntraTokenScheme(expected, NoKeys(), Clock())  # type: ignore[arg-type]
    with pytest.raises(CallerRefused):
        asyncio.run(scheme.authenticate({"authorization": header}, BODY))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(v2(Clock(), "x"))), json_values, min_size=1))
def test_no_claim_is_anything_but_checked(changes: dict[str, Any]) -> None:
    """Whatever a token says instead, it is refused, or says the same where it matters."""
    key = SIGNING_KEY

    class Keys:
        async def get(self, key_id: str) -> jwt.PyJWK:
            return jwt.PyJWK(key.public, "RS256")

    expected = ExpectedToken.from_settings(settings_for("https://127.0.0.1:1"))
    scheme = EntraTokenScheme(expected, Keys(), Clock())  # type: ignore[arg-type]
    good = v2(Clock(), "https://127.0.0.1:1")
    payload = json.dumps(good | changes).encode()
    token = jwt.api_jws.encode(payload, key.private, algorithm="RS256", headers={"kid": key.key_id})
    try:
        assert asyncio.run(scheme.authenticate(bearer(token), BODY)) == Caller(CALLER, None)
    except CallerRefused:
        return
    for name in ("aud", "iss", "tid", "azp", "ver"):
        assert (good | changes)[name] == good[name]


async def test_a_token_of_the_simulated_tenant(
    identity_of: Callable[..., Identity],
    tenant: Tenant,
    trusting: ssl.SSLContext,
    logged: Callable[[], str],
) -> None:
    identity = identity_of(
        WEBHOOK_AUTH="entra-token", WEBHOOK_AUDIENCE=f"api://{APP}", WEBHOOK_ALLOWED_CLIENTS=CLIENT_ID
    )
    clock = Clock()
    clock.now = tenant.clock()
    scheme = EntraTokenScheme.of_tenant(identity.settings, clock, trusting)

    def issued(audience: str = f"api://{APP}", lifetime: float = 3600) -> str:
        return tenant.issuer.issue(audience, CLIENT_ID, "an object", [ROLE], lifetime).text

    token = issued()
    assert await scheme.authenticate(bearer(token), BODY) == Caller(CLIENT_ID, None)
    expired = issued(lifetime=-120)
    await refusal(scheme, bearer(expired))
    await refusal(scheme, bearer(issued("https://graph.microsoft.com")))

    clock.now += LEAST_SECONDS_BETWEEN_READS
    tenant.issuer.rotate_keys()
    assert await scheme.authenticate(bearer(issued()), BODY)
    assert await scheme.authenticate(bearer(token), BODY)
    assert len(tenant.requests_to("/discovery/v2.0/keys")) == 2

    clock.now += LEAST_SECONDS_BETWEEN_READS
    tenant.issuer.rotate_keys(keep_old=False)
    assert await scheme.authenticate(bearer(issued()), BODY)
    await refusal(scheme, bearer(token))
    token = issued()

    tenant.faults.add(faults.close(), "/discovery/", times=None)
    fresh = EntraTokenScheme.of_tenant(identity.settings, clock, trusting)
    await refusal(fresh, bearer(token), kind=SignInRefused)
    for private in (token, token.split(".")[2], expired, "hunter2"):
        assert private not in logged()


def test_the_settings_choose_the_scheme() -> None:
    scheme = webhook_scheme(settings_for("https://127.0.0.1:1"), Vault().store())
    assert scheme.name == "entra-token"
