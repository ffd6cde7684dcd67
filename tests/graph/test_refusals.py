"""What each refusal of Graph means for us."""

import json

import pytest

from shared.errors import (
    DeltaStateLost,
    GraphError,
    GraphRefused,
    GraphRequestRejected,
    PageTokenExpired,
)
from shared.graph.refusals import error_code, refusal

NO_LICENCE = "Neither tenant is B2C or tenant doesn't have premium license"


def body(code: str, message: str = "Because.") -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "innerError": {}}}).encode()


@pytest.mark.parametrize(
    ("status", "answer", "kind", "words"),
    [
        pytest.param(410, body("resyncRequired"), DeltaStateLost, "forgotten", id="410"),
        pytest.param(410, b"", DeltaStateLost, "forgotten", id="410 without a body"),
        pytest.param(400, body("syncStateNotFound"), DeltaStateLost, "forgotten", id="no sync state"),
        pytest.param(400, body("syncStateInvalid"), DeltaStateLost, "forgotten", id="bad sync state"),
        pytest.param(400, body("BadRequest"), GraphRequestRejected, "BadRequest.: Because", id="other 400"),
        pytest.param(
            400,
            body("Request_BadRequest", "syncStateNotFound"),
            GraphRequestRejected,
            "rejected",
            id="a message is no code",
        ),
        pytest.param(
            400, body("Directory_ExpiredPageToken"), PageTokenExpired, "page token for users", id="page token"
        ),
        pytest.param(401, body("InvalidAuthenticationToken"), GraphRefused, "token for users", id="401"),
        pytest.param(
            403, body("Authorization_RequestDenied"), GraphRefused, "User.Read.All is not granted", id="403"
        ),
        pytest.param(403, b"<html>", GraphRefused, "User.Read.All is not granted", id="403 of a proxy"),
        pytest.param(404, body("Request_ResourceNotFound"), GraphRequestRejected, "404", id="404"),
        pytest.param(302, b"", GraphRequestRejected, "no reason given", id="a redirect"),
    ],
)
def test_meaning(status: int, answer: bytes, kind: type[GraphError], words: str) -> None:
    error = refusal(status, answer, "users", "User.Read.All")
    assert type(error) is kind
    assert "users" in str(error)
    assert words in str(error).replace(")", ".")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(body("Authorization_RequestDenied"), "permission", id="no permission"),
        pytest.param(body("Authentication_MSGraphPermissionMissing"), "permission", id="none, reports"),
        pytest.param(
            body("Authentication_RequestFromNonPremiumTenantOrB2CTenant", NO_LICENCE),
            "licence",
            id="no licence",
        ),
        pytest.param(body("Forbidden", NO_LICENCE + "."), "licence", id="no licence by its message alone"),
        pytest.param(b"", "permission", id="nothing said"),
    ],
)
def test_a_missing_licence_is_told_from_a_missing_permission(answer: bytes, reason: str) -> None:
    error = refusal(403, answer, "authentication", "AuditLog.Read.All")
    assert isinstance(error, GraphRefused)
    assert error.reason == reason
    assert ("AuditLog.Read.All" in str(error)) == (reason == "permission")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>", id="HTML"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"error": null}', id="null"),
        pytest.param(b'{"error": {"code": 7}}', id="a number for a code"),
        pytest.param(b'{"error": {"message": "\xff"}}', id="no UTF-8"),
    ],
)
def test_a_body_that_is_no_error_says_nothing(answer: bytes) -> None:
    assert error_code(answer) == ("", "")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        pytest.param("No property named 'x'.", "No property named 'x'.", id="plain"),
        pytest.param("at https://g/users?$skiptoken=abc now", "at https://g/users… now", id="a query"),
        pytest.param("Resource 'bob@contoso.com' is gone", "Resource … is gone", id="an address"),
        pytest.param("Token " + 60 * "x", "Token …", id="a token"),
        pytest.param("two\r\n  lines", "two lines", id="lines"),
        pytest.param(300 * "x ", (100 * "x ").rstrip() + " ", id="a long one"),
    ],
)
def test_a_message_is_quoted_without_what_is_not_ours_to_quote(message: str, shown: str) -> None:
    assert error_code(body("c", message)) == ("c", shown)
