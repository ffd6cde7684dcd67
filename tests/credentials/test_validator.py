"""The whole way of a credential: from a signed call to an audited answer."""

import asyncio
import json
import logging
from typing import Any

import pytest

from sandbox.tenant import VALIDATION_CLIENT_ID, VALIDATION_CLIENT_SECRET, faults
from sandbox.tenant.configuration import Secret
from shared.clouds import CLOUDS
from shared.errors import (
    CallAltered,
    CallerRefused,
    CallInWork,
    ConfigurationError,
    GraphRefused,
    InvalidRequest,
    SecretUnavailable,
    StorageUnavailable,
    TooManyCalls,
    ValidationAppRefused,
)
from tests.support.validation import ValidationWorld, encode

HOUR = 3600.0
DAY = 24 * HOUR


def state(result: dict[str, Any]) -> tuple[str, str | None, bool]:
    return result["status"], result["account_state"], result["attempt_made"]


async def test_a_right_password(world: ValidationWorld) -> None:
    user = world.staff()
    world.tenant.accounts[user["id"]].after_password = (50076,)
    [result] = await world.ask(
        {
            "id": "leak-1",
            "username": user["userPrincipalName"].upper(),
            "password": world.password_of(user),
            "first_seen_at": "2026-11-24T00:00:00Z",
        }
    )
    assert result == {
        "id": "leak-1",
        "status": "valid",
        "flare_status": "Valid",
        "account_state": "mfa_required",
        "attempt_made": True,
        "confidence": "high",
        "evidence": ["AADSTS50076"],
        "detail": "The password is right. A second factor is asked for next.",
        "checked_at": "2026-11-25T09:00:00Z",
        "retry_after_seconds": None,
        "user": {
            "id": user["id"],
            "user_principal_name": user["userPrincipalName"],
            "account_enabled": True,
            "portal_url": "https://entra.microsoft.com/#view/Microsoft_AAD_UsersAndTenants/"
            f"UserProfileMenuBlade/~/overview/userId/{user['id']}",
        },
    }


async def test_what_is_audited(world: ValidationWorld) -> None:
    user = world.staff()
    await world.said(user, "wrong", id="leak-7")
    await world.ask({"id": "leak-8", "username": "nobody@contoso.com", "password": "wrong"})
    tried, absent = await world.audited()
    assert tried.pop("trace_id")
    assert tried.pop("correlation_id")
    assert len(tried.pop("call")) == 64
    assert tried == {
        "at": "2026-11-25T09:00:00Z",
        "caller": "standard-webhooks",
        "credential": "leak-7",
        "user": user["id"],
        "status": "invalid",
        "attempt_made": True,
        "evidence": ["AADSTS50126"],
    }
    assert (absent["credential"], absent["status"]) == ("leak-8", "not_found")
    assert "user" not in absent


# --- without an attempt -----------------------------------------------------------------------------------


async def test_an_alias_is_tried_by_the_principal_name(world: ValidationWorld) -> None:
    user = next(
        user
        for user in world.tenant.directory.users.values()
        if user["accountEnabled"]
        and user["userType"] == "Member"
        and user["userPrincipalName"].endswith("@contoso.com")
        and any(
            proxy.lower().removeprefix("smtp:") != user["userPrincipalName"].lower()
            for proxy in user.get("proxyAddresses") or ()
        )
    )
    alias = next(
        proxy[5:]
        for proxy in user["proxyAddresses"]
        if proxy[5:].lower() != user["userPrincipalName"].lower()
    )
    [result] = await world.ask({"id": "a", "username": alias, "password": world.password_of(user)})
    assert result["status"] == "valid"
    assert result["user"]["id"] == user["id"]
    assert world.tenant.sign_ins[-1].username == user["userPrincipalName"]


async def test_a_user_without_a_mailbox_is_found_by_the_principal_name(world: ValidationWorld) -> None:
    user = world.staff()
    nothing: dict[str, Any] = {"mail": None, "proxyAddresses": [], "otherMails": []}
    world.tenant.directory.update_user(user["id"], nothing)
    assert (await world.said(user, "wrong"))["status"] == "invalid"


async def test_answers_that_cost_no_attempt(world: ValidationWorld) -> None:
    directory = world.tenant.directory
    disabled, deleted, changed, plain = (world.staff(number) for number in range(4))
    directory.update_user(disabled["id"], {"accountEnabled": False})
    directory.delete_user(deleted["id"])
    world.tenant.set_password(changed["id"], "New-one-1")
    users = directory.users.values()
    guest = next(user for user in users if user["userType"] == "Guest" and user["accountEnabled"])
    federated = next(
        user
        for user in directory.users.values()
        if user["userPrincipalName"].endswith("@legacy.contoso.com")
        or world.tenant.domains[user["userPrincipalName"].rpartition("@")[2].lower()].authentication_type
        == "Federated"
    )
    expected = {
        "missing": ("nobody@contoso.com", "x", ("not_found", None)),
        "no-address": ("ada", "x", ("not_found", None)),
        "odd": ("o'brien+x&y=z/#?%@contoso.com", "x", ("not_found", None)),
        "deleted": (deleted["userPrincipalName"], "x", ("not_found", "deleted")),
        "disabled": (disabled["userPrincipalName"], "x", ("disabled", "disabled")),
        "guest": (guest["mail"], "x", ("unsupported", "guest")),
        "federated": (federated["userPrincipalName"], "x", ("unsupported", "federated")),
        "changed": (changed["userPrincipalName"], "x", ("superseded", "password_changed")),
        "space": (plain["userPrincipalName"], " x", ("unsupported", "whitespace")),
        "hash": (plain["userPrincipalName"], "5f4dcc3b5aa765d61d8327deb882cf99", ("unsupported", "hash")),
    }
    results = await world.ask(
        *(
            {"id": name, "username": address, "password": text, "first_seen_at": "2026-11-25T08:00:00Z"}
            for name, (address, text, _) in expected.items()
        )
    )
    assert [result["id"] for result in results] == list(expected)
    for result in results:
        assert (result["status"], result["account_state"]) == expected[result["id"]][2], result
        assert not result["attempt_made"]
    assert world.attempts == 0
    flare = {result["id"]: result.get("flare_status") for result in results}
    assert flare["missing"] == "Not found"
    assert flare["changed"] == "Invalid"
    assert flare["guest"] is None
    assert "flare_status" not in results[4]


async def test_excluded_accounts_are_never_tried(world: ValidationWorld) -> None:
    inside, outside = world.staff(0), world.staff(1)
    directory = world.tenant.directory
    outer = directory.add_group({"displayName": "Break glass"})
    inner = directory.add_group({"displayName": "Nested"})
    directory.add_member(outer, inner, "group")
    directory.add_member(inner, inside["id"], "user")
    world.use(validation_excluded_group=outer)
    assert state(await world.said(inside, "x")) == ("unsupported", "excluded", False)
    assert state(await world.said(outside, "x")) == ("invalid", None, True)


async def test_switched_off_still_answers_what_is_known(world: ValidationWorld) -> None:
    known, new = world.staff(0), world.staff(1)
    await world.said(known, "wrong")
    world.use(validation_enabled=False)
    assert state(await world.said(known, "wrong")) == ("invalid", None, False)
    assert state(await world.said(new, "wrong")) == ("unknown", "validation_disabled", False)
    assert world.attempts == 1


# --- memory and budgets -----------------------------------------------------------------------------------


async def test_the_same_password_is_never_tried_again(world: ValidationWorld) -> None:
    user = world.staff()
    assert state(await world.said(user, "wrong")) == ("invalid", None, True)
    world.clock.forward(DAY * 40)
    assert state(await world.said(user, "wrong")) == ("invalid", None, False)
    world.use()
    assert state(await world.said(user, "wrong")) == ("invalid", None, False)
    assert world.attempts == 1


async def test_memory_knows_a_password_in_another_spelling_of_unicode(world: ValidationWorld) -> None:
    user = world.staff()
    await world.said(user, "caf\u00e9-2026")
    assert not (await world.said(user, "cafe\u0301-2026"))["attempt_made"]


async def test_siblings_of_a_valid_password(world: ValidationWorld) -> None:
    user = world.staff()
    assert (await world.said(user, world.password_of(user)))["status"] == "valid"
    sibling = await world.said(user, "another")
    assert state(sibling) == ("superseded", None, False)
    assert sibling["flare_status"] == "Invalid"
    assert state(await world.said(user, world.password_of(user))) == ("valid", "not_assigned_to_app", False)
    world.clock.forward(DAY * 2)
    world.tenant.set_password(user["id"], "another")
    assert state(await world.said(user, "another")) == ("valid", "not_assigned_to_app", True)


async def test_a_late_lookup_does_not_make_the_app_forget(world: ValidationWorld) -> None:
    """One call looks the user up, then the password changes, then another call tries one; and the first call
    comes to its own attempt."""
    world.use(validation_spacing_seconds=0)
    user = world.staff()
    world.clock.forward(60)
    late = world.tenant.faults.add(faults.hang(1.0), r"/\$batch")
    other = world.instance(validation_spacing_seconds=0)
    first = asyncio.create_task(world.said(user, "w1"))
    while not late.hits:  # noqa: ASYNC110 - the tenant sets no event
        await asyncio.sleep(0.01)
    world.tenant.set_password(user["id"], "new")
    [second] = await world.ask(
        {"id": "a", "username": user["userPrincipalName"], "password": "w2"}, calls=other
    )
    assert state(second) == ("invalid", None, True)
    assert state(await first) == ("invalid", None, True)
    for password in ("w1", "w2"):
        assert state(await world.said(user, password)) == ("invalid", None, False)
    assert world.attempts == 2


async def test_a_password_whose_date_goes_back_is_looked_at_anew(world: ValidationWorld) -> None:
    """As that of a user who was restored, on premises."""
    user = world.staff()
    before = user["lastPasswordChangeDateTime"]
    world.tenant.set_password(user["id"], "new")
    assert (await world.said(user, "new"))["status"] == "valid"
    world.clock.forward(2 * HOUR)
    world.tenant.set_password(user["id"], "old")
    world.tenant.directory.update_user(user["id"], {"lastPasswordChangeDateTime": before})
    assert state(await world.said(user, "old")) == ("valid", "not_assigned_to_app", True)


async def test_one_user_has_few_attempts(world: ValidationWorld) -> None:
    user = world.staff()
    assert (await world.said(user, "w1"))["status"] == "invalid"
    spaced = await world.said(user, "w2")
    assert (spaced["status"], spaced["flare_status"]) == ("throttled", "Throttled")
    assert 0 < spaced["retry_after_seconds"] <= 1000
    world.clock.forward(spaced["retry_after_seconds"])
    assert (await world.said(user, "w2"))["status"] == "invalid"
    world.clock.forward(2 * HOUR)
    spent = await world.said(user, "w3")
    assert spent["status"] == "throttled"
    assert spent["retry_after_seconds"] > 20 * HOUR
    world.clock.forward(spent["retry_after_seconds"])
    assert (await world.said(user, "w3"))["status"] == "invalid"
    assert world.attempts == 3
    assert world.tenant.lockout.ever_locked == []


async def test_few_users_may_fail_at_a_time(world: ValidationWorld) -> None:
    results = await world.ask(
        *(
            {"id": str(number), "username": world.staff(number)["userPrincipalName"], "password": "wrong"}
            for number in range(7)
        )
    )
    assert [result["status"] for result in results] == ["invalid"] * 4 + ["throttled"] * 3
    world.clock.forward(max(result["retry_after_seconds"] or 0 for result in results))
    assert (await world.said(world.staff(6), "wrong"))["status"] == "invalid"


async def test_a_batch_gives_each_user_a_turn(world: ValidationWorld) -> None:
    """Four users fail and the budget is spent: not on four passwords of the first one."""
    world.use(validation_spacing_seconds=0)
    users = [world.staff(number) for number in range(4)]
    results = await world.ask(
        *(
            {"id": f"{u}-{p}", "username": user["userPrincipalName"], "password": f"wrong-{p}"}
            for u, user in enumerate(users)
            for p in range(5)
        )
    )
    tried = [result["id"] for result in results if result["attempt_made"]]
    assert {name.partition("-")[0] for name in tried} == {"0", "1", "2", "3"}
    assert [attempt.user_id for attempt in world.tenant.sign_ins[:4]] == [user["id"] for user in users]


async def test_a_locked_account_is_left_alone(world: ValidationWorld) -> None:
    user = world.staff()
    world.tenant.lockout.lock(user["id"])
    result = await world.said(user, world.password_of(user))
    assert state(result) == ("unknown", "locked_or_ip_blocked", True)
    world.clock.forward(2 * HOUR)
    paused = await world.said(user, world.password_of(user))
    assert paused["status"] == "throttled"
    world.clock.forward(paused["retry_after_seconds"])
    assert (await world.said(user, world.password_of(user)))["status"] == "valid"


async def test_lockouts_in_a_row_stop_everything(
    world: ValidationWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.tenant.malicious_address = True
    for number in range(3):
        assert (await world.said(world.staff(number), "x"))["status"] == "unknown"
    assert any(record.levelno == logging.ERROR for record in caplog.records)
    world.tenant.malicious_address = False
    stopped = await world.said(world.staff(4), world.password_of(world.staff(4)))
    assert (stopped["status"], stopped["retry_after_seconds"]) == ("throttled", 86400)
    world.clock.forward(DAY)
    assert (await world.said(world.staff(4), world.password_of(world.staff(4))))["status"] == "valid"


async def test_a_throttled_sign_in_service_is_left_alone(world: ValidationWorld) -> None:
    world.tenant.faults.add(faults.throttle("120"), r"/oauth2/v2.0/token")
    assert state(await world.said(world.staff(), "x")) == ("unknown", "throttled", True)
    waits = await world.said(world.staff(1), "x")
    assert (waits["status"], waits["retry_after_seconds"]) == ("throttled", 120)


async def test_a_timeout_stays_charged(world: ValidationWorld) -> None:
    user = world.staff()
    world.tenant.faults.add(faults.close(), r"/oauth2/v2.0/token")
    assert state(await world.said(user, "w1")) == ("unknown", "transient", True)
    assert (await world.said(user, "w1"))["status"] == "throttled"
    world.clock.forward(HOUR)
    assert (await world.said(user, "w1"))["status"] == "invalid"


async def test_the_tenants_own_threshold_cuts_the_budget(world: ValidationWorld) -> None:
    world.tenant.clients[world.settings.client_id or ""].permissions.add("GroupSettings.Read.All")
    world.tenant.lockout.threshold_set = 4
    user = world.staff()
    assert (await world.said(user, "w1"))["status"] == "invalid"
    world.clock.forward(2 * HOUR)
    assert (await world.said(user, "w2"))["status"] == "throttled"


async def test_without_the_permission_the_default_threshold_counts(world: ValidationWorld) -> None:
    world.tenant.lockout.threshold_set = 4
    user = world.staff()
    await world.said(user, "w1")
    world.clock.forward(2 * HOUR)
    assert (await world.said(user, "w2"))["status"] == "invalid"


# --- the app's own faults ---------------------------------------------------------------------------------


async def test_a_wrong_secret_of_the_app_spends_nothing(world: ValidationWorld) -> None:
    user = world.staff()
    application = world.tenant.clients[VALIDATION_CLIENT_ID]
    good, application.secrets = application.secrets, [Secret("another")]
    for _ in range(6):
        with pytest.raises(ValidationAppRefused, match="7000215"):
            await world.said(user, "w1")
    application.secrets = good
    assert (await world.said(user, "w1"))["status"] == "invalid"


async def test_what_was_decided_before_a_fault_is_audited(world: ValidationWorld) -> None:
    world.tenant.clients[VALIDATION_CLIENT_ID].enabled = False
    with pytest.raises(ValidationAppRefused, match="7000112"):
        await world.ask(
            {"id": "first", "username": "nobody@contoso.com", "password": "x"},
            {"id": "second", "username": world.staff()["userPrincipalName"], "password": "x"},
        )
    assert [line["credential"] for line in await world.audited()] == ["first"]


@pytest.mark.parametrize("permission", ["User.Read.All", "Domain.Read.All"])
async def test_a_missing_permission_is_the_operators(world: ValidationWorld, permission: str) -> None:
    client = world.tenant.clients[world.settings.client_id or ""]
    client.permissions -= {permission, "Directory.Read.All"}
    with pytest.raises(GraphRefused, match=permission):
        await world.said(world.staff(), "x")
    assert world.attempts == 0


async def test_graph_out_of_reach_is_no_verdict(world: ValidationWorld) -> None:
    rule = world.tenant.faults.add(faults.respond(503), r"/\$batch", times=None)
    result = await world.said(world.staff(), "x")
    assert state(result) == ("unknown", "directory_unavailable", False)
    assert result["retry_after_seconds"] == 60
    rule.times = 0
    world.tenant.faults.add(faults.throttle("300"), r"/\$batch")
    assert (await world.said(world.staff(), "x"))["retry_after_seconds"] == 300
    assert (await world.said(world.staff(), "x"))["status"] == "invalid"


@pytest.mark.parametrize("name", ["credential-memory-key", "webhook-secret"])
async def test_without_its_secrets_it_is_closed(world: ValidationWorld, name: str) -> None:
    body = encode({"id": "a", "username": world.staff()["userPrincipalName"], "password": "x"})
    headers = world.headers(body, "msg_1")
    del world.tenant.vault.secrets[name]
    with pytest.raises(SecretUnavailable, match=name):
        await world.calls.answer(headers, body)
    assert world.attempts == 0


@pytest.mark.parametrize("text", ["c2hvcnQ=", "no base64", "schl\u00fcssel"])
async def test_a_memory_key_that_is_none_is_refused(world: ValidationWorld, text: str) -> None:
    world.tenant.vault.put("credential-memory-key", text)
    with pytest.raises(SecretUnavailable, match="32 or more random bytes"):
        await world.said(world.staff(), "x")


async def test_a_missing_secret_of_the_app_spends_nothing(world: ValidationWorld) -> None:
    for name in ("validation-client-secret", "entra-client-secret"):
        world.tenant.vault.remove(name)
    with pytest.raises(SecretUnavailable, match="entra-client-secret"):
        await world.said(world.staff(), "x")
    world.tenant.vault.put("validation-client-secret", VALIDATION_CLIENT_SECRET)
    assert (await world.said(world.staff(), "x"))["status"] == "invalid"


async def test_no_app_to_try_with(world: ValidationWorld) -> None:
    world.use(validation_client_id=None)
    with pytest.raises(ConfigurationError, match="VALIDATION_CLIENT_ID"):
        await world.said(world.staff(), "x")


async def test_storage_out_of_reach_means_no_attempt(world: ValidationWorld) -> None:
    await world.tables.delete_table("validationbudget")
    with pytest.raises(StorageUnavailable, match="validationbudget"):
        await world.said(world.staff(), "x")
    assert world.attempts == 0


# --- the same call again ----------------------------------------------------------------------------------


async def test_the_same_call_has_the_same_answer(world: ValidationWorld) -> None:
    body = encode({"id": "a", "username": world.staff()["userPrincipalName"], "password": "wrong"})
    first = await world.send(body, "msg_1")
    world.clock.forward(HOUR)
    world.use()
    assert await world.send(body, "msg_1") == first
    assert world.attempts == 1
    assert len(await world.audited()) == 1
    with pytest.raises(CallAltered):
        await world.send(body.replace(b"wrong", b"other"), "msg_1")
    assert json.loads(await world.send(body, "msg_2"))["results"][0]["attempt_made"] is False


async def test_a_call_in_work_is_not_worked_twice(world: ValidationWorld) -> None:
    rule = world.tenant.faults.add(faults.delay(1.0), r"/oauth2/v2.0/token")
    body = encode({"id": "a", "username": world.staff()["userPrincipalName"], "password": "wrong"})
    first = asyncio.create_task(world.send(body, "msg_1"))
    other = world.instance()
    while not rule.hits:  # noqa: ASYNC110 - the tenant sets no event
        await asyncio.sleep(0.01)
    with pytest.raises(CallInWork):
        await world.send(body, "msg_1", other)
    answer = await first
    assert await world.send(body, "msg_1", other) == answer
    assert world.attempts == 1


async def test_a_call_that_failed_is_worked_anew(world: ValidationWorld) -> None:
    body = encode({"id": "a", "username": world.staff()["userPrincipalName"], "password": "wrong"})
    world.tenant.clients[VALIDATION_CLIENT_ID].enabled = False
    with pytest.raises(ValidationAppRefused):
        await world.send(body, "msg_1")
    world.tenant.clients[VALIDATION_CLIENT_ID].enabled = True
    assert json.loads(await world.send(body, "msg_1"))["results"][0]["status"] == "invalid"
    with pytest.raises(InvalidRequest):
        await world.send(b"{}", "msg_2")
    with pytest.raises(InvalidRequest):
        await world.send(b"{}", "msg_2")


async def test_a_stranger_learns_and_spends_nothing(world: ValidationWorld) -> None:
    body = encode({"id": "a", "username": world.staff()["userPrincipalName"], "password": "wrong"})
    headers = world.headers(body, "msg_1")
    with pytest.raises(CallerRefused):
        await world.calls.answer({}, body)
    with pytest.raises(CallerRefused):
        await world.calls.answer(headers, body + b" ")
    assert world.tenant.requests_to(r"/\$batch") == []
    assert await world.audited() == []


async def test_too_many_calls_at_once(world: ValidationWorld) -> None:
    world.tenant.faults.add(faults.delay(2.0), r"/\$batch", times=None)
    body = encode({"id": "a", "username": "nobody@contoso.com", "password": "x"})
    outcomes = await asyncio.gather(
        *(world.send(body, f"msg_{number}") for number in range(40)), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, TooManyCalls)]
    assert len(refused) == 8
    assert len(outcomes) - len(refused) == sum(isinstance(outcome, bytes) for outcome in outcomes)


async def test_a_long_batch_ends_in_time(world: ValidationWorld) -> None:
    """What no time is left for is said so, and can be sent again."""
    ticks = iter([0.0, 10.0, 151.0, 152.0])
    world.calls.validator.clock = lambda: next(ticks)
    results = await world.ask(
        *(
            {"id": str(number), "username": world.staff(number)["userPrincipalName"], "password": "wrong"}
            for number in range(3)
        )
    )
    assert [result["account_state"] for result in results] == [None, "out_of_time", "out_of_time"]
    assert world.attempts == 1


@pytest.mark.parametrize(
    ("cloud", "host"), [("usgov", "entra.microsoft.us"), ("china", "entra.microsoftonline.cn")]
)
async def test_links_of_other_clouds(world: ValidationWorld, cloud: str, host: str) -> None:
    world.use(cloud=CLOUDS[cloud])
    result = await world.said(world.staff(), "wrong")
    assert result["user"]["portal_url"].startswith(f"https://{host}/#view/")


async def test_the_sweep_forgets_in_time(world: ValidationWorld) -> None:
    await world.said(world.staff(), "wrong")
    assert await world.calls.sweep() == 0
    assert await world.calls.validator.ledger.sweep() == 0
