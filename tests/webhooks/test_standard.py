"""Standard Webhooks: what is accepted, what is refused, and how secrets are rotated."""

import asyncio
import base64
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from sandbox.tenant import faults
from sandbox.tenant.tenant import Tenant
from shared.errors import CallerRefused, SecretUnavailable
from shared.webhooks import Caller, webhook_scheme
from shared.webhooks.signing_secrets import LEAST_SECONDS_BETWEEN_READS
from shared.webhooks.standard import StandardWebhooksScheme
from tests.identity.conftest import Identity
from tests.webhooks.support import BODY, Clock, Vault, refusal

OLD = "whsec_" + base64.b64encode(b"o" * 24).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(64))).decode()
NEWEST = "whsec_" + base64.b64encode(b"\xff" * 32).decode()
CALLER = Caller("standard-webhooks", "msg_1")


def signature(secret: str, at: float, body: bytes = BODY, call_id: str = "msg_1") -> str:
    return Webhook(secret).sign(call_id, datetime.fromtimestamp(int(at), UTC), body.decode())


def call(secret: str, at: float, **changes: str) -> dict[str, str]:
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at)),
        "webhook-signature": signature(secret, at, call_id=changes.get("webhook-id", "msg_1")),
        "content-type": "application/json",
    } | changes


@pytest.fixture
def vault() -> Vault:
    return Vault(NEW, OLD)


@pytest.fixture
def scheme(vault: Vault, clock: Clock) -> StandardWebhooksScheme:
    return StandardWebhooksScheme(vault.store(), clock)


async def test_every_secret_in_force_is_accepted(scheme: StandardWebhooksScheme, clock: Clock) -> None:
    for secret in (OLD, NEW):
        assert await scheme.authenticate(call(secret, clock.now), BODY) == CALLER
    await refusal(scheme, call(NEWEST, clock.now), secrets=(OLD, NEW))


async def test_names_of_headers_are_matched_in_any_case(scheme: StandardWebhooksScheme, clock: Clock) -> None:
    headers = {name.title(): value for name, value in call(NEW, clock.now).items()}
    assert await scheme.authenticate(headers, BODY) == CALLER


@pytest.mark.parametrize(
    "others",
    [
        "v1,",
        "v1",
        ",",
        "v1,%%%",
        "v1,é",
        "v1a,AAAA",
        "v2,AAAA",
        "v1,AAAA",
        "v1," + "A" * 43 + "=",
        "\udc80",
        "  ",
    ],
)
async def test_one_bad_signature_does_not_hide_a_good_one(
    scheme: StandardWebhooksScheme, clock: Clock, others: str
) -> None:
    good = signature(NEW, clock.now)
    for signatures in (f"{others} {good}", f"{good} {others}"):
        headers = call(NEW, clock.now) | {"webhook-signature": signatures}
        assert await scheme.authenticate(headers, BODY) == CALLER
    await refusal(scheme, call(NEW, clock.now) | {"webhook-signature": others})


async def test_signature_is_over_id_time_and_body(scheme: StandardWebhooksScheme, clock: Clock) -> None:
    headers = call(NEW, clock.now)
    for change in ({"webhook-id": "msg_2"}, {"webhook-timestamp": str(int(clock.now) + 1)}):
        await refusal(scheme, headers | change)
    for body in (BODY + b" ", b"", BODY[:-1]):
        await refusal(scheme, headers, body)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
async def test_every_header_is_needed(scheme: StandardWebhooksScheme, clock: Clock, name: str) -> None:
    headers = call(NEW, clock.now)
    del headers[name]
    for given_headers in (headers, headers | {name: ""}):
        assert "absent" in str(await refusal(scheme, given_headers))


@pytest.mark.parametrize("away", [-300, -299, 0, 299, 300])
async def test_within_the_window(scheme: StandardWebhooksScheme, clock: Clock, away: int) -> None:
    assert await scheme.authenticate(call(NEW, clock.now + away), BODY) == CALLER


@pytest.mark.parametrize("away", [-86400, -301, 301, 86400])
async def test_outside_the_window(scheme: StandardWebhooksScheme, clock: Clock, away: int) -> None:
    assert "away from the app's clock" in str(await refusal(scheme, call(NEW, clock.now + away)))


@pytest.mark.parametrize(
    "form",
    ["{}.7", "{}.0", " {}", "{} ", "+{}", "-{}", "0{}", "{}\n", "{}e0", "0x{}", "1{}000", "{}_", "1_{}", "x"],
)
async def test_timestamps_have_one_form(scheme: StandardWebhooksScheme, clock: Clock, form: str) -> None:
    timestamp = form.format(int(clock.now))
    error = await refusal(scheme, call(NEW, clock.now) | {"webhook-timestamp": timestamp})
    assert "no whole number" in str(error)


async def test_digits_of_other_scripts_are_no_timestamp(scheme: StandardWebhooksScheme, clock: Clock) -> None:
    wide = str(int(clock.now)).translate({ord("0") + n: 0xFF10 + n for n in range(10)})
    assert int(wide) == int(clock.now)
    await refusal(scheme, call(NEW, clock.now) | {"webhook-timestamp": wide})


@pytest.mark.parametrize("call_id", ["a" * 257, "a b", "a\n", "é", "a\x00", "\x7f", "a.1"])
async def test_ids_that_are_refused(scheme: StandardWebhooksScheme, clock: Clock, call_id: str) -> None:
    assert "id" in str(await refusal(scheme, call(NEW, clock.now, **{"webhook-id": call_id})))


async def test_a_long_id(scheme: StandardWebhooksScheme, clock: Clock) -> None:
    headers = call(NEW, clock.now, **{"webhook-id": "~" * 256})
    assert (await scheme.authenticate(headers, BODY)).call_id == "~" * 256


async def test_a_body_that_is_no_text(scheme: StandardWebhooksScheme, clock: Clock) -> None:
    assert "UTF-8" in str(await refusal(scheme, call(NEW, clock.now), b"\xff hunter2"))


async def test_a_header_without_end(scheme: StandardWebhooksScheme, clock: Clock) -> None:
    headers = call(NEW, clock.now)
    headers["webhook-signature"] += " v1,AAAA" * 1000
    assert "longer than" in str(await refusal(scheme, headers))


@pytest.mark.parametrize("form", ["{}", "{}\n", " {} "])
@pytest.mark.parametrize("secret", [OLD, NEWEST, NEWEST.rstrip("="), NEWEST.removeprefix("whsec_")])
async def test_forms_of_a_secret(clock: Clock, secret: str, form: str) -> None:
    scheme = StandardWebhooksScheme(Vault(form.format(secret)).store(), clock)
    assert await scheme.authenticate(call(secret, clock.now), BODY) == CALLER


@pytest.mark.parametrize(
    "secret",
    [
        "correct horse battery staple",
        "whsec_",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_é",
        "=" * 40,
    ],
)
async def test_a_secret_that_cannot_be_used_is_not_the_callers_fault(clock: Clock, secret: str) -> None:
    headers = call(NEW, clock.now)
    alone = StandardWebhooksScheme(Vault(secret).store(), clock)
    error = await refusal(alone, headers, kind=SecretUnavailable, secrets=(secret,))
    assert "webhook-secret cannot be used: it is not `whsec_` and the base64 of at least 24" in str(error)

    beside = StandardWebhooksScheme(Vault(secret, NEW).store(), clock)
    assert await beside.authenticate(headers, BODY) == CALLER
    await refusal(beside, call(OLD, clock.now), kind=SecretUnavailable, secrets=(secret, NEW))


async def test_no_secret_is_never_open(clock: Clock) -> None:
    error = await refusal(
        StandardWebhooksScheme(Vault().store(), clock), call(NEW, clock.now), kind=SecretUnavailable
    )
    assert error.missing


async def test_a_new_secret_is_read_at_once(
    scheme: StandardWebhooksScheme, vault: Vault, clock: Clock
) -> None:
    assert await scheme.authenticate(call(NEW, clock.now), BODY)
    vault.values.insert(0, NEWEST)
    headers = call(NEWEST, clock.now)
    callers = await asyncio.gather(*(scheme.authenticate(headers, BODY) for _ in range(10)))
    assert callers == [CALLER] * 10
    assert vault.listings == 2


async def test_a_withdrawn_secret_is_refused_once_it_was_read_again(
    scheme: StandardWebhooksScheme, vault: Vault, clock: Clock
) -> None:
    assert await scheme.authenticate(call(OLD, clock.now), BODY)
    vault.values[:] = [NEWEST]
    assert await scheme.authenticate(call(NEWEST, clock.now), BODY)
    await refusal(scheme, call(OLD, clock.now))


async def test_a_flood_of_bad_signatures_is_none_on_the_vault(
    scheme: StandardWebhooksScheme, vault: Vault, clock: Clock
) -> None:
    flood = [call(NEWEST, clock.now, **{"webhook-id": f"msg_{number}"}) for number in range(50)]
    await asyncio.gather(*(refusal(scheme, headers) for headers in flood))
    assert vault.listings == 2
    clock.now += LEAST_SECONDS_BETWEEN_READS - 1
    await refusal(scheme, call(NEWEST, clock.now))
    assert vault.listings == 2
    clock.now += 1
    await refusal(scheme, call(NEWEST, clock.now))
    assert vault.listings == 3


async def test_malformed_calls_do_not_reach_the_vault(
    scheme: StandardWebhooksScheme, vault: Vault, clock: Clock
) -> None:
    await refusal(scheme, {})
    await refusal(scheme, call(NEW, clock.now - 301))
    assert vault.listings == 0


headers_of_any_kind = st.fixed_dictionaries(
    {},
    optional={
        "Webhook-Id": st.just("msg_1") | st.text(),
        "webhook-timestamp": st.just(str(int(Clock().now))) | st.text() | st.integers().map(str),
        "WEBHOOK-SIGNATURE": st.text() | st.text(alphabet="v1a, =+/AZé").map(lambda text: f"v1,{text}"),
    },
)


@given(headers_of_any_kind, st.binary() | st.text().map(str.encode))
def test_no_request_is_anything_but_refused(headers: dict[str, str], body: bytes) -> None:
    scheme = StandardWebhooksScheme(Vault(NEW).store(), Clock())
    with pytest.raises(CallerRefused):
        asyncio.run(scheme.authenticate(headers, body))


@given(st.text(min_size=1), st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_what_a_sender_signs_is_accepted(body: str, call_id: str) -> None:
    clock = Clock()
    call_id = call_id.replace(".", "_")
    headers = call(NEW, clock.now, **{"webhook-id": call_id})
    headers["webhook-signature"] = signature(NEW, clock.now, body.encode(), call_id)
    scheme = StandardWebhooksScheme(Vault(NEW).store(), clock)
    assert asyncio.run(scheme.authenticate(headers, body.encode())).call_id == call_id


async def test_rotation_in_a_real_vault(
    identity_of: Callable[..., Identity], tenant: Tenant, logged: Callable[[], str]
) -> None:
    """By the real SDK over TLS, with the real clock and nothing injected."""
    tenant.vault.remove("webhook-secret")
    identity = identity_of()
    scheme = webhook_scheme(identity.settings, identity.secrets)
    now = datetime.now(UTC).timestamp()
    await refusal(scheme, call(OLD, now), kind=SecretUnavailable)

    tenant.vault.put("webhook-secret", OLD)
    assert await scheme.authenticate(call(OLD, now), BODY) == CALLER
    tenant.vault.put("webhook-secret", NEW)
    assert await scheme.authenticate(call(NEW, now), BODY) == CALLER
    assert await scheme.authenticate(call(OLD, now), BODY) == CALLER
    await refusal(scheme, call(NEWEST, now))

    text = logged()
    assert 'secret.reread {"used_for":"webhook"' in text
    for private in (OLD, NEW, signature(OLD, now), signature(NEW, now), "hunter2", "msg_1"):
        assert private not in text


async def test_a_vault_out_of_reach_is_never_open(
    identity_of: Callable[..., Identity], tenant: Tenant
) -> None:
    identity = identity_of(SECRET_TTL_SECONDS="0")
    tenant.vault.put("webhook-secret", OLD)
    scheme = webhook_scheme(identity.settings, identity.secrets)
    now = datetime.now(UTC).timestamp()
    assert await scheme.authenticate(call(OLD, now), BODY) == CALLER
    tenant.faults.add(faults.close(), "/secrets/", times=None)
    error = await refusal(scheme, call(OLD, now), kind=SecretUnavailable)
    assert "unreachable" in str(error)
