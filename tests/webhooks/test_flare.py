"""Flare's signature, as far as its documentation shows it."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.tenant.tenant import Tenant
from shared.errors import CallerRefused, SecretUnavailable
from shared.webhooks import webhook_scheme
from shared.webhooks.flare import FlareScheme
from tests.identity.conftest import Identity
from tests.webhooks.support import BODY, Clock, Vault, refusal

OLD = "an old secret, é"
NEW = "whsec_bm90IGJhc2U2NCBoZXJl"
OTHER = "some other secret of that length"


def mac(secret: str, at: float, body: bytes = BODY) -> str:
    return hmac.new(secret.encode(), f"{int(at)}.".encode() + body, hashlib.sha256).hexdigest()


def call(secret: str, at: float) -> dict[str, str]:
    return {"X-Flare-Signature": f"t={int(at)},v1={mac(secret, at)}"}


@pytest.fixture
def vault() -> Vault:
    return Vault(NEW, OLD)


@pytest.fixture
def scheme(vault: Vault, clock: Clock) -> FlareScheme:
    return FlareScheme(vault.store(), clock)


async def test_every_secret_in_force_is_accepted(scheme: FlareScheme, clock: Clock) -> None:
    for secret in (OLD, NEW):
        assert (await scheme.authenticate(call(secret, clock.now), BODY)).name == "flare"
    await refusal(scheme, call(OTHER, clock.now), secrets=(OLD, NEW))


def test_the_signed_string_is_time_full_stop_body() -> None:
    """A value from elsewhere: `printf %s '1.{}' | openssl dgst -sha256 -hmac ABCDEFGHIJKLMNOP`."""
    clock = Clock()
    clock.now = 1.0
    headers = {"x-flare-signature": "t=1,v1=a46e8b36dc1524a9deb02f0edc2b657482b4496cec555b56456017efa0610aa6"}
    scheme = FlareScheme(Vault("ABCDEFGHIJKLMNOP").store(), clock)
    assert asyncio.run(scheme.authenticate(headers, b"{}"))


async def test_calls_differ_by_what_is_signed(scheme: FlareScheme, clock: Clock) -> None:
    headers = call(NEW, clock.now)
    first = await scheme.authenticate(headers, BODY)
    assert await scheme.authenticate(headers, BODY) == first
    assert first.call_id
    assert mac(NEW, clock.now) not in first.call_id
    later = await scheme.authenticate(call(NEW, clock.now + 1), BODY)
    other = await scheme.authenticate(
        {"x-flare-signature": f"t={int(clock.now)},v1={mac(NEW, clock.now, b'{}')}"}, b"{}"
    )
    assert len({first.call_id, later.call_id, other.call_id}) == 3


async def test_who_leaves_a_signature_out_has_the_same_call(scheme: FlareScheme, clock: Clock) -> None:
    sent, old, new = f"t={int(clock.now)}", f"v1={mac(OLD, clock.now)}", f"v1={mac(NEW, clock.now)}"
    headers = (
        f"{sent},{old},{new}",
        f"{sent},{new}",
        f"{old}, {sent}",
        f"{sent},{new.upper().replace('V1', 'v1')}",
        f"{sent},v0=abc,v1=nonsense,,x,v1={'0' * 64},{old}",
    )
    callers = {await scheme.authenticate({"X-Flare-Signature": each}, BODY) for each in headers}
    assert len(callers) == 1


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{v1}",
        "t={t}",
        "t={t},v1=",
        "t={t},v0={v1}",
        "t={t},t={t},v1={v1}",
        "t={t},v1={v1}0",
        "t={t},v1=0{v1}",
        "t={t};v1={v1}",
        "t={t}.0,v1={v1}",
        "t= {t},v1={v1}",
        "t=+{t},v1={v1}",
        "t=0{t},v1={v1}",
        "t=,v1={v1}",
        "t=9{t},v1={v1}",
        "t={t},v1={v1}" + ",v1=0" * 1000,
    ],
)
async def test_headers_that_are_refused(scheme: FlareScheme, clock: Clock, header: str) -> None:
    text = header.format(t=int(clock.now), v1=mac(NEW, clock.now))
    await refusal(scheme, {"X-Flare-Signature": text})


async def test_an_absent_header_is_refused(scheme: FlareScheme, vault: Vault) -> None:
    assert "X-Flare-Signature is absent" in str(await refusal(scheme, {"webhook-id": "1"}))
    assert vault.listings == 0


@pytest.mark.parametrize(("away", "accepted"), [(-301, False), (-300, True), (300, True), (301, False)])
async def test_the_window(scheme: FlareScheme, clock: Clock, away: int, accepted: bool) -> None:
    headers = call(NEW, clock.now + away)
    if accepted:
        assert await scheme.authenticate(headers, BODY)
    else:
        await refusal(scheme, headers)


async def test_another_body_is_refused(scheme: FlareScheme, clock: Clock) -> None:
    await refusal(scheme, call(NEW, clock.now), BODY + b"\n")


async def test_a_body_of_any_bytes(scheme: FlareScheme, clock: Clock) -> None:
    headers = {"X-Flare-Signature": f"t={int(clock.now)},v1={mac(NEW, clock.now, b'\xff\x00')}"}
    assert await scheme.authenticate(headers, b"\xff\x00")


async def test_a_new_secret_is_read_at_once_and_not_for_each_bad_call(
    scheme: FlareScheme, vault: Vault, clock: Clock
) -> None:
    for _ in range(3):
        await refusal(scheme, call(OTHER, clock.now))
    assert vault.listings == 2
    clock.now += 30
    vault.values.insert(0, OTHER)
    assert await scheme.authenticate(call(OTHER, clock.now), BODY)
    assert vault.listings == 3


async def test_a_short_secret_is_not_the_callers_fault(clock: Clock) -> None:
    scheme = FlareScheme(Vault("fifteen chars..").store(), clock)
    error = await refusal(
        scheme, call("fifteen chars..", clock.now), kind=SecretUnavailable, secrets=("fifteen chars..",)
    )
    assert "at least 16 characters" in str(error)


async def test_no_secret_is_never_open(clock: Clock) -> None:
    await refusal(FlareScheme(Vault().store(), clock), call("", clock.now), kind=SecretUnavailable)


@given(
    st.text()
    | st.lists(st.sampled_from(["t=1790000000", "t=", "v1=", "v1=" + "0" * 64, "é", "="]) | st.text()).map(
        ",".join
    ),
    st.binary(),
)
def test_no_header_is_anything_but_refused(header: str, body: bytes) -> None:
    scheme = FlareScheme(Vault(NEW).store(), Clock())
    with pytest.raises(CallerRefused):
        asyncio.run(scheme.authenticate({"X-Flare-Signature": header}, body))


async def test_with_a_real_vault(
    identity_of: Callable[..., Identity], tenant: Tenant, logged: Callable[[], str]
) -> None:
    identity = identity_of(WEBHOOK_AUTH="flare")
    tenant.vault.put("webhook-secret", OLD)
    scheme = webhook_scheme(identity.settings, identity.secrets)
    now = time.time()
    assert (await scheme.authenticate(call(OLD, now), BODY)).name == "flare"
    await refusal(scheme, call(OTHER, now))
    for private in (OLD, mac(OLD, now), mac(OTHER, now), "hunter2"):
        assert private not in logged()
