"""From Entra's answer to the code and the sentence; and certificates in their two forms."""

import base64
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import SecretUnavailable
from shared.identity.certificates import certificate_bytes
from shared.identity.refusals import own_identity_refusal, refusal, refused_code
from tests.identity.fakes import CLIENT, TENANT, settings

TRACE = (
    " Trace ID: 5f1c0b7e-1111-4222-8333-944455556666 Correlation ID: 5f1c0b7e-1111-4222-8333-944455556667 "
    "Timestamp: 2026-10-01 12:00:00Z"
)


def answer(body: Any, status: int = 401) -> ClientAuthenticationError:
    text = body if isinstance(body, str) else json.dumps(body)
    error = ClientAuthenticationError("refused")
    error.response = cast(None, SimpleNamespace(text=lambda: text, status_code=status, reason="x"))
    error.status_code = status
    return error


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error_codes": [7000215]}, 7000215),
        ({"error_codes": [7000222], "error_description": "AADSTS7000215: not this one"}, 7000222),
        ({"error_description": "AADSTS90002: Tenant not found."}, 90002),
        ({"error_codes": [], "error_description": "AADSTS90002: Tenant not found."}, 90002),
        ({"error_codes": ["7000215"]}, None),
        ({"error_codes": [True]}, None),
        ({"error_codes": 7000215}, None),
        ({"error_description": "See the page on AADSTS90002: no"}, None),
        ({"error_description": ["AADSTS90002"]}, None),
        ([7000215], None),
        ("AADSTS90002: not JSON", None),
        ("", None),
    ],
)
def test_the_code_is_read_with_care(body: Any, code: int | None) -> None:
    assert refused_code(answer(body)) == code


def test_an_error_without_an_answer_has_no_code() -> None:
    assert refused_code(ServiceRequestError("no route")) is None
    assert refused_code(TimeoutError()) is None


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (90002, "ENTRA_CLOUD"),
        (700016, "ENTRA_CLIENT_ID"),
        (7000215, "not its id"),
        (7000222, "expired"),
        (7000112, "disabled"),
        (700027, "certificate"),
        (53003, "Conditional Access"),
        (700213, "federated credential"),
    ],
)
def test_known_codes_say_what_to_do(code: int, word: str) -> None:
    error = refusal(answer({"error_codes": [code]}), settings())

    assert error.code == code
    assert word in str(error)
    assert str(code) in str(error)
    assert TENANT in str(error) or CLIENT in str(error)
    assert "{" not in str(error)


def test_other_codes_come_in_entras_words_without_ids_and_secrets() -> None:
    secret = "Ab8Q~" + "x1Y2" * 9
    token = f"eyJ0eXAi.{'a' * 60}.{'b' * 60}"
    description = f"AADSTS900144: The body of app {CLIENT} lacks 'scope' near {secret} and {token}.{TRACE}"

    error = refusal(answer({"error_codes": [900144], "error_description": description}), settings())

    assert str(error) == (
        "Entra refused the app's sign-in with AADSTS900144: "
        f"The body of app {CLIENT} lacks 'scope' near … and …"
    )


def test_lines_after_the_sentence_are_left_out() -> None:
    description = "AADSTS50196: A loop was found.\r\nTrace ID: 1\r\nCorrelation ID: 2\r\nTimestamp: 3"

    error = refusal(answer({"error_codes": [50196], "error_description": description}), settings())

    assert str(error).endswith("AADSTS50196: A loop was found.")


@given(secret=st.text("abcXYZ0189~._-", min_size=34, max_size=60))
def test_no_client_secret_gets_into_a_message(secret: str) -> None:
    description = f"AADSTS99999: secret '{secret}' is bad."
    error = refusal(answer({"error_codes": [99999], "error_description": description}), settings())

    assert secret not in str(error)


def test_an_unreachable_service_is_named() -> None:
    error = refusal(ServiceRequestError("no route"), settings())

    assert error.code is None
    assert str(error).startswith("The sign-in service at login.microsoftonline.com is unreachable.")


def test_an_unreachable_managed_identity() -> None:
    assert "endpoint is unreachable" in str(own_identity_refusal(ServiceRequestError("no route")))
    assert "az login" in str(own_identity_refusal(ClientAuthenticationError("no identity")))


def test_certificates_in_their_two_forms() -> None:
    assert certificate_bytes("c", "\n-----BEGIN PRIVATE KEY-----\nx\n") == b"-----BEGIN PRIVATE KEY-----\nx"
    assert certificate_bytes("c", base64.encodebytes(b"pkcs12" * 30).decode()) == b"pkcs12" * 30


@pytest.mark.parametrize("text", ["my certificate!", "mein schl\u00fcssel"])
def test_something_else_is_no_certificate(text: str) -> None:
    with pytest.raises(SecretUnavailable, match="c holds no usable certificate") as raised:
        certificate_bytes("c", text)

    assert raised.value.__context__ is None
