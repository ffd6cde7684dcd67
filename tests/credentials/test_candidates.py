"""The body of a call: what is taken, what is refused, and that no refusal quotes it."""

import copy
import json
import logging
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.credentials.candidates import Password, decode_candidates
from shared.errors import InvalidRequest

MARKER = "Marker-4711-plain"
GOOD: dict[str, Any] = {
    "id": "leak-1",
    "username": "ada@contoso.com",
    "password": MARKER,
    "first_seen_at": "2026-10-01T02:00:00+02:00",
}


def body(*credentials: Any) -> bytes:
    return json.dumps({"credentials": credentials}).encode()


def test_a_credential() -> None:
    [candidate] = decode_candidates(body(GOOD))
    assert (candidate.id, candidate.username) == ("leak-1", "ada@contoso.com")
    assert candidate.password.reveal() == MARKER
    assert candidate.first_seen_at == datetime(2026, 10, 1, tzinfo=UTC)


def test_what_may_be_left_out_or_odd() -> None:
    [candidate] = decode_candidates(body({"id": "a", "username": " ada@contoso.com ", "password": ""}))
    assert candidate.username == "ada@contoso.com"
    assert candidate.password.reveal() == ""
    assert candidate.first_seen_at is None
    [spaced] = decode_candidates(body({**GOOD, "password": " p ", "first_seen_at": None}))
    assert spaced.password.reveal() == " p "


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "Expected `object`"),
        (b'{"credentials": ' + b"[" * 100_000, "Expected `object`"),
        (b"null", "Expected `object`"),
        (b"{}", "missing required field `credentials`"),
        (body(), "length >= 1"),
        (body(*({**GOOD, "id": str(number)} for number in range(21))), "length <= 20"),
        (body(GOOD, GOOD), "the same `id`"),
        (body({**GOOD, MARKER: 1}), "unknown field"),
        (body({**GOOD, "id": "ada@contoso.com"}), "$.credentials[0].id"),
        (body({**GOOD, "id": "a\n"}), "$.credentials[0].id"),
        (body({**GOOD, "id": ""}), "$.credentials[0].id"),
        (body({**GOOD, "id": 7}), "$.credentials[0].id"),
        (body({**GOOD, "username": ""}), "$.credentials[0].username"),
        (body({**GOOD, "username": "a" * 400}), "$.credentials[0].username"),
        (body({**GOOD, "password": None}), "$.credentials[0].password"),
        (body({**GOOD, "password": {MARKER: MARKER}}), "$.credentials[0].password"),
        (body({**GOOD, "first_seen_at": MARKER}), "$.credentials[0].first_seen_at"),
        (body({**GOOD, "first_seen_at": "2026-10-01T00:00:00"}), "timezone"),
        (body({**GOOD, "first_seen_at": 1759276800}), "$.credentials[0].first_seen_at"),
        (body({**GOOD, "first_seen_at": "0001-01-01T00:00:00+10:00"}), "beyond the years"),
        (b'{"credentials": [{"id": "a", "username": "u", "password": "\\ud800"}]}', "not JSON"),
    ],
)
def test_what_is_refused(sent: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_candidates(sent)
    assert says in str(refused.value)
    assert MARKER not in str(refused.value)
    assert refused.value.problems


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON.filter(lambda value: not isinstance(value, str)))
def test_whatever_json_comes_is_refused_without_being_quoted(value: Any) -> None:
    holder = {"credentials": [{**GOOD, "id": value}]}
    for sent in (value, {"credentials": value}, {"credentials": [value]}, holder):
        with pytest.raises(InvalidRequest) as refused:
            decode_candidates(json.dumps(sent).encode())
        assert MARKER not in str(refused.value)


@given(st.binary())
def test_whatever_bytes_come_are_refused(sent: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_candidates(sent)


def test_a_password_shows_itself_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    password = Password(MARKER)
    logging.getLogger("test").warning("%s %r", password, [password], extra={"password": password})
    shown = f"{password} {password!r} {[password]} {decode_candidates(body(GOOD))}" + caplog.text
    assert MARKER not in shown
    for write in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not written"):
            write(password)
