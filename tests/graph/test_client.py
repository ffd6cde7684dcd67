"""One request: what is tried again and after which wait, what is counted, and what is never told."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import format_datetime

import pytest

import shared.graph.client as client_module
from sandbox.tenant import Tenant, TenantServer, faults
from sandbox.tenant.faults import Action
from shared.errors import (
    DeltaStateLost,
    EntraConnectorError,
    GraphError,
    GraphRefused,
    GraphRequestRejected,
    GraphThrottled,
    GraphUnreachable,
    InvalidPage,
)
from shared.graph.client import GraphClient
from shared.graph.policy import RetryPolicy, Usage
from shared.graph.queries import follow
from tests.graph.conftest import ALICE_NAME, SCOPE, USERS, KeptToken, Line, told
from tests.support.events import events_in
from tests.support.world import Clock

THREE_SECONDS_LATER = format_datetime(Clock.moment + timedelta(seconds=3), usegmt=True)
AN_HOUR_AGO = format_datetime(Clock.moment - timedelta(hours=1), usegmt=True)
IN_SIX_HOURS = format_datetime(Clock.moment + timedelta(hours=6), usegmt=True)


# --- what is tried again --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "waits", "throttled"),
    [
        pytest.param(faults.throttle(3), [3.0], 1, id="429, seconds"),
        pytest.param(faults.throttle("2.128"), [2.128], 1, id="429, a fraction as in Graph's documentation"),
        pytest.param(faults.throttle(THREE_SECONDS_LATER), [3.0], 1, id="429, a date"),
        pytest.param(
            faults.throttle(AN_HOUR_AGO), [], 1, id="429, a date that is past, as by a skewed clock"
        ),
        pytest.param(faults.throttle(0), [], 1, id="429, zero"),
        pytest.param(faults.throttle(-5), [], 1, id="429, negative"),
        pytest.param(faults.throttle("soon"), [0.5], 1, id="429, garbage"),
        pytest.param(faults.throttle("nan"), [0.5], 1, id="429, not a number"),
        pytest.param(faults.throttle(), [0.5], 1, id="429, no word of a wait"),
        pytest.param(faults.throttle(30), [30.0], 1, id="429, as long as is ever slept"),
        pytest.param(faults.throttle(4, status=503), [4.0], 0, id="503 that names a wait"),
        pytest.param(faults.respond(500), [0.5], 0, id="500"),
        pytest.param(faults.html(502), [0.5], 0, id="502 of a gateway"),
        pytest.param(faults.respond(503, code="serviceNotAvailable"), [0.5], 0, id="503"),
        pytest.param(faults.respond(504), [0.5], 0, id="504"),
        pytest.param(faults.respond(509), [0.5], 0, id="509, bandwidth"),
        pytest.param(faults.reset(), [0.5], 0, id="reset in the middle of the body"),
    ],
)
async def test_a_passing_fault_is_tried_again(
    line: Line, fault: Action, waits: list[float], throttled: int
) -> None:
    line.tenant.faults.add(fault)

    answer = await line.get()

    assert b"value" in answer.body
    assert line.clock.slept == pytest.approx(waits)
    assert len(line.requests) == 2
    assert line.usage == Usage(requests=2, resource_units=1, throttled=throttled, retried=1)


@pytest.mark.parametrize(
    ("fault", "error", "slept"),
    [
        pytest.param(faults.throttle(2), GraphThrottled, 4 * 2.0, id="429"),
        pytest.param(faults.throttle(), GraphThrottled, 0.5 + 1 + 2 + 4, id="429, no word of a wait"),
        pytest.param(faults.throttle(1, status=503), GraphThrottled, 4 * 1.0, id="503 that names a wait"),
        pytest.param(faults.respond(500), GraphUnreachable, 0.5 + 1 + 2 + 4, id="500"),
        pytest.param(faults.html(502), GraphUnreachable, 0.5 + 1 + 2 + 4, id="502"),
        pytest.param(faults.respond(504), GraphUnreachable, 0.5 + 1 + 2 + 4, id="504"),
        pytest.param(faults.reset(), GraphUnreachable, 0.5 + 1 + 2 + 4, id="reset"),
    ],
)
async def test_a_lasting_fault_is_given_up_after_five_tries(
    line: Line, fault: Action, error: type[GraphError], slept: float
) -> None:
    line.tenant.faults.add(fault, times=None)

    with pytest.raises(error, match="users"):
        await line.get()

    assert len(line.requests) == line.usage.requests == 5, "neither Kiota nor anybody else tries on its own"
    assert line.usage.retried == 4
    assert sum(line.clock.slept) == slept


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        pytest.param(faults.throttle(300), 300.0, id="429, five minutes"),
        pytest.param(faults.throttle("30.5"), 30.5, id="429, just too long"),
        pytest.param(faults.throttle(IN_SIX_HOURS), 6 * 3600.0, id="429, a date"),
        pytest.param(faults.throttle(300, status=503), 300.0, id="503, five minutes"),
    ],
)
async def test_a_long_wait_ends_the_slice_without_sleeping(line: Line, fault: Action, seconds: float) -> None:
    line.tenant.faults.add(fault)

    with pytest.raises(GraphThrottled, match="users") as raised:
        await line.get()

    assert raised.value.retry_after == seconds
    assert line.clock.slept == []
    assert len(line.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 405, 408, 409, 412, 413, 501])
async def test_what_another_try_would_not_help_is_tried_once(line: Line, status: int) -> None:
    line.tenant.faults.add(faults.respond(status, code="Odd", message="Because."), times=None)

    with pytest.raises(GraphRequestRejected, match=rf"users \({status} Odd\): Because\.") as raised:
        await line.get()

    assert (raised.value.status, raised.value.code) == (status, "Odd")
    assert len(line.requests) == 1


async def test_the_caller_may_ask_for_fewer_tries(line: Line) -> None:
    line.tenant.faults.add(faults.respond(503), times=None)

    with pytest.raises(GraphUnreachable):
        await line.get(attempts=1)

    assert len(line.requests) == 1
    assert line.clock.slept == []


# --- connections ----------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: 12\r\n\r\n" + b'{"value":[]}'


@asynccontextmanager
async def serving(*answers: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that sends these bytes, one answer a connection, and closes. Its origin, and what it was
    sent."""
    left, received = list(answers), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(left.pop(0))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", received


async def ask(origin: str, tenant: Tenant, clock: Clock, usage: Usage) -> bytes:
    policy = RetryPolicy(now=clock.timestamp, sleep=clock.sleep, jitter=lambda: 0.0)
    async with GraphClient(KeptToken(tenant), origin, SCOPE, policy) as client:  # type: ignore[arg-type]
        request = follow(f"{origin}{USERS}")
        return (await client.send(request, usage, subject="users", permission="User.Read.All")).body


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(HEAD + b'Content-Length: 12\r\n\r\n{"val', id="a body shorter than it promised"),
        pytest.param(HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"val\r\n', id="chunks without an end"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", id="a chunk of no size"),
        pytest.param(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", id="no gzip"),
        pytest.param(b"\x15\x03\x03\x00\x02\x02\x28", id="no HTTP"),
    ],
)
async def test_a_broken_answer_is_asked_for_again(tenant: Tenant, clock: Clock, broken: bytes) -> None:
    usage = Usage()

    async with serving(broken, WHOLE) as (origin, received):
        body = await ask(origin, tenant, clock, usage)

    assert body == b'{"value":[]}'
    assert len(received) == 2
    assert usage == Usage(requests=2, retried=1)
    assert clock.slept == [0.5]


@pytest.mark.parametrize("broken", [pytest.param(b"", id="nothing"), pytest.param(HEAD, id="half a head")])
async def test_a_connection_that_closes_at_once_is_asked_again(
    tenant: Tenant, clock: Clock, broken: bytes
) -> None:
    """aiohttp repeats a GET once by itself where not even the headers came; that one is not counted."""
    usage = Usage()

    async with serving(broken, broken, WHOLE) as (origin, received):
        body = await ask(origin, tenant, clock, usage)

    assert body == b'{"value":[]}'
    assert len(received) == 3
    assert usage == Usage(requests=2, retried=1)


async def test_a_compressed_answer_is_asked_for_and_read(tenant: Tenant, clock: Clock) -> None:
    packed = gzip.compress(b'{"value":[]}')
    answer = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed

    async with serving(answer) as (origin, received):
        assert await ask(origin, tenant, clock, Usage()) == b'{"value":[]}'

    assert b"gzip" in received[0].lower().split(b"accept-encoding:")[1].split(b"\r\n")[0]


async def test_a_closed_port_is_named(tenant: Tenant, clock: Clock) -> None:
    async with serving() as (origin, _):
        pass

    with pytest.raises(GraphUnreachable, match=f"for users.*{origin}"):
        await ask(origin, tenant, clock, Usage())


async def test_a_silent_server_is_not_waited_for(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "READ_TIMEOUT_SECONDS", 0.05)
    line.tenant.faults.add(faults.delay(0.5))
    policy = line.client.policy

    async with GraphClient(line.credential, line.origin, SCOPE, policy) as hurried:  # type: ignore[arg-type]
        request = follow(line.origin + USERS)
        await hurried.send(request, line.usage, subject="users", permission="User.Read.All")

    assert line.usage.retried == 1


async def test_a_slow_answer_is_waited_for(line: Line) -> None:
    line.tenant.faults.add(faults.drip(0.002))

    assert b"value" in (await line.get()).body

    assert line.usage.requests == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed(line: Line, status: int) -> None:
    async with TenantServer(other := Tenant()) as elsewhere:
        line.tenant.faults.add(faults.respond(status, headers={"Location": elsewhere.url + USERS}))

        with pytest.raises(GraphRequestRejected, match=str(status)):
            await line.get()

    assert other.requests == []


# --- pacing and counting --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "brake"),
    [
        pytest.param("0.8", 0.0, id="at the mark"),
        pytest.param("0.9", 0.5, id="above"),
        pytest.param("1.0", 1.0, id="all of it"),
        pytest.param("1.8", 2.0, id="far above: never more than two seconds"),
        pytest.param("lots", 0.0, id="no number"),
        pytest.param("nan", 0.0, id="not a number"),
        pytest.param("", 0.0, id="empty"),
    ],
)
async def test_it_slows_down_above_80_percent_of_the_limit(line: Line, share: str, brake: float) -> None:
    line.tenant.faults.add(faults.add_headers({"x-ms-throttle-limit-percentage": share}))

    await line.get()
    assert line.clock.slept == [], "the answer itself is not held back"
    await line.get()

    assert sum(line.clock.slept) == pytest.approx(brake)


async def test_a_throttled_request_holds_back_all_others(line: Line) -> None:
    line.tenant.faults.add(faults.throttle(9))
    with pytest.raises(GraphThrottled):
        await line.get(attempts=1)
    line.client.pacer.hold(9)

    await line.get()

    assert line.clock.slept == [9.0]


async def test_nothing_is_sent_while_a_long_wait_is_asked_for(line: Line) -> None:
    line.client.pacer.hold(120)

    with pytest.raises(GraphThrottled) as raised:
        await line.get()

    assert raised.value.retry_after == 120
    assert line.requests == []
    assert line.usage == Usage()


async def test_resource_units_and_requests_are_counted(line: Line) -> None:
    await line.get("/v1.0/users?$top=999")
    await line.get("/v1.0/users?$select=id&$top=999")
    line.tenant.faults.add(faults.respond(404, code="x", headers={"x-ms-resource-unit": "3"}))
    with pytest.raises(GraphRequestRejected):
        await line.get()
    line.tenant.faults.add(faults.add_headers({"x-ms-resource-unit": "many"}))
    await line.get()

    assert line.usage == Usage(requests=4, resource_units=2 + 1 + 3)


# --- tokens ---------------------------------------------------------------------------------------


async def test_a_refused_token_is_renewed_once(line: Line) -> None:
    line.tenant.faults.add(faults.respond(401, code="InvalidAuthenticationToken"))

    await line.get()

    assert line.credential.renewals == 1
    assert len(set(line.credential.issued)) == 2
    assert line.usage == Usage(requests=2, resource_units=1, retried=1)


async def test_a_token_that_is_refused_again_ends_it(line: Line) -> None:
    line.tenant.faults.add(faults.respond(401, code="InvalidAuthenticationToken"), times=None)

    with pytest.raises(GraphRefused, match=r"token for users .401 InvalidAuth.*ENTRA_CLOUD") as raised:
        await line.get()

    assert raised.value.reason == "permission"
    assert len(line.requests) == 2
    assert line.credential.renewals == 1


async def test_each_request_may_renew(line: Line) -> None:
    line.tenant.faults.add(faults.respond(401, code="InvalidAuthenticationToken"), every=2, times=2)

    await line.get()
    await line.get()

    assert line.credential.renewals == 2


async def test_a_credential_that_cannot_renew_is_asked_once(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(KeptToken, "renew")
    line.tenant.faults.add(faults.respond(401, code="InvalidAuthenticationToken"), times=None)

    with pytest.raises(GraphRefused):
        await line.get()

    assert len(line.requests) == 1


async def test_a_token_that_ended_during_a_wait_is_replaced(line: Line) -> None:
    line.tenant.token_lifetime = 20
    await line.get()
    line.tenant.faults.add(faults.throttle(25))

    await line.get()

    assert [request.status for request in line.requests] == [200, 429, 200]
    assert len(set(line.credential.issued)) == 2
    assert line.credential.renewals == 0


async def test_claims_that_graph_demands_reach_the_credential(line: Line) -> None:
    challenge = 'Bearer realm="", error="insufficient_claims", claims="eyJub3QiOiJiZWZvcmUifQ=="'
    line.tenant.faults.add(
        faults.respond(401, code="InvalidAuthenticationToken", headers={"WWW-Authenticate": challenge})
    )

    await line.get()

    assert line.credential.claims == ['{"not":"before"}']
    assert len(line.requests) == 2


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "link",
    [
        pytest.param("https://graph.evil.example/v1.0/users?$skiptoken=x", id="another host"),
        pytest.param("{origin}.evil.example/v1.0/users", id="our host as a beginning"),
        pytest.param("http://127.0.0.1:1/v1.0/users", id="another port"),
        pytest.param("http://127.0.0.1/v1.0/users", id="no port"),
        pytest.param("https://{host}/v1.0/users", id="another scheme"),
        pytest.param("http://{host}@evil.example/v1.0/users", id="our host as a user name"),
        pytest.param("http://evil@{host}/v1.0/users", id="a user name"),
        pytest.param("//{host}/v1.0/users", id="no scheme"),
        pytest.param("/v1.0/users?$skiptoken=x", id="relative"),
        pytest.param("", id="empty"),
        pytest.param("http://[::1", id="no URL"),
        pytest.param("{origin}/v1.0/users?\x7f", id="a control character"),
        pytest.param("{origin}/v1.0/users?$skiptoken=" + 70_000 * "x", id="longer than a client sends"),
    ],
)
async def test_only_a_link_to_the_host_that_was_asked_is_taken(line: Line, link: str) -> None:
    host = line.origin.removeprefix("http://")

    with pytest.raises(InvalidPage, match=r"users: .*not followed") as raised:
        line.client.own_link(link.format(origin=line.origin, host=host), "users")

    assert "skiptoken" not in told(raised.value)


async def test_a_link_of_our_host_is_taken_as_it_is(line: Line) -> None:
    link = f"{line.origin}/v1.0/users?%24skiptoken=a%2Fb%20c&x='"
    assert line.client.own_link(link, "users") == link


# --- what is told ---------------------------------------------------------------------------------

SECRET_LINK = "/v1.0/users/delta?$skiptoken=s3cr3t-p4ge-t0ken"
HIDDEN = ("s3cr3t-p4ge-t0ken", ALICE_NAME, "Confidential Person")


def quoting(status: int) -> Action:
    """Graph quotes in its messages what it was sent."""
    message = (
        f"Badly formed https://graph.microsoft.com{SECRET_LINK} for {ALICE_NAME} " + "s3cr3t-p4ge-t0ken" * 4
    )
    return faults.respond(status, code="BadRequest", message=message)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(quoting(400), id="400"),
        pytest.param(quoting(401), id="401"),
        pytest.param(quoting(403), id="403"),
        pytest.param(quoting(410), id="410"),
        pytest.param(quoting(429), id="429"),
        pytest.param(quoting(503), id="503"),
        pytest.param(faults.throttle(300), id="a long wait"),
        pytest.param(faults.close(), id="closed"),
        pytest.param(faults.reset(), id="reset"),
        pytest.param(faults.html(400), id="HTML"),
        pytest.param(
            faults.respond(400, body='{"error": {"message": ["Confidential Person"]}}'), id="odd error"
        ),
    ],
)
async def test_no_error_and_no_log_tells_a_query_a_token_or_a_name(
    line: Line, fault: Action, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="shared")
    line.tenant.faults.add(fault, times=None)

    with pytest.raises(EntraConnectorError) as raised:
        await line.get(SECRET_LINK)

    records = [repr(vars(record)) for record in caplog.records if record.name.startswith("shared")]
    shown = told(raised.value) + "".join(records)
    for hidden in (*HIDDEN, *line.credential.issued):
        assert hidden not in shown


async def test_throttling_is_logged_with_its_dataset(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="shared.events")
    line.tenant.faults.add(
        faults.respond(429, headers={"Retry-After": "2", "x-ms-throttle-scope": "Tenant_App"})
    )

    await line.get()

    (event,) = events_in(caplog.records, "graph.throttled")
    assert event == {"subject": "users", "retry_after_seconds": 2.0, "scope": "Tenant_App"}


async def test_a_lost_delta_link_is_its_own_error(line: Line) -> None:
    line.tenant.faults.add(faults.gone())

    with pytest.raises(DeltaStateLost, match="users"):
        await line.get("/v1.0/users/delta?$deltatoken=x")

    assert len(line.requests) == 1, "its Location is not followed"
