"""Why Entra gave no token, in a sentence that says what to do. Pure: from the SDK's error to `SignInRefused`.

Source of the codes: https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

import json
import re
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, HttpResponseError

from shared.config import Settings
from shared.errors import SignInRefused

WRONG_SECRET = 7000215
EXPIRED_SECRET = 7000222
WRONG_CERTIFICATE = 700027

_NOT_IN_TENANT = (
    "The app registration {client} is not in the tenant {tenant}. Check ENTRA_CLIENT_ID and ENTRA_TENANT_ID, "
    "and that an administrator of this tenant has consented to the app."
)
_NO_TENANT = (
    "The sign-in service at {host} knows no tenant {tenant}. Check ENTRA_TENANT_ID, and that ENTRA_CLOUD is "
    "the tenant's cloud."
)
_NOT_FEDERATED = (
    "The app registration {client} does not trust the app's managed identity. Add a federated credential "
    "whose issuer, subject (the identity's object id) and audience match."
)
_SENTENCES = {
    WRONG_SECRET: (
        "The client secret of the app registration {client} is wrong, also after it was read again. Store "
        "the secret's value (not its id) as a new version of the Key Vault secret entra-client-secret."
    ),
    EXPIRED_SECRET: (
        "The client secret of the app registration {client} has expired. Create one, and store its "
        "value as a new version of the Key Vault secret entra-client-secret."
    ),
    WRONG_CERTIFICATE: (
        "The app registration {client} does not accept the certificate, also after it was read again. "
        "Upload the certificate that the Key Vault secret entra-client-certificate holds, and check that it "
        "has not expired."
    ),
    90002: _NO_TENANT,
    900023: _NO_TENANT,
    700016: _NOT_IN_TENANT,
    7000229: _NOT_IN_TENANT,
    7000112: (
        "The app registration {client} is disabled in the tenant {tenant}. Enable sign-in for it under "
        "Enterprise applications."
    ),
    53003: (
        "A Conditional Access policy of the tenant {tenant} blocks the app {client}. Exclude the app's "
        "service principal, or allow the network that the app calls from."
    ),
    70021: _NOT_FEDERATED,
    700211: _NOT_FEDERATED,
    700212: _NOT_FEDERATED,
    700213: _NOT_FEDERATED,
}

_CODE_AT_START = re.compile(r"\s*AADSTS(\d{4,8})\b[:\s]*")
_IDS_AT_END = re.compile(r"\s*(Trace ID|Correlation ID|Timestamp)\b", re.IGNORECASE)
_OPAQUE = re.compile(r"[\w~.+/=-]{30,}")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}[.,]?", re.IGNORECASE)


def refused_code(error: Exception) -> int | None:
    """The AADSTS number: the first of `error_codes`, else the one that the description begins with."""
    answer = _answer(error)
    codes = answer.get("error_codes")
    if isinstance(codes, list) and codes and type(codes[0]) is int:
        return codes[0]
    match = _CODE_AT_START.match(_description(answer))
    return int(match[1]) if match else None


def refusal(error: Exception, settings: Settings) -> SignInRefused:
    """What to raise instead of the SDK's error, whose request and text may hold what must not be shown."""
    code = refused_code(error)
    host = urlsplit(settings.authority).netloc
    if code in _SENTENCES:
        words = _SENTENCES[code].format(client=settings.client_id, tenant=settings.tenant_id, host=host)
        return SignInRefused(f"{words} (AADSTS{code})", code)
    if code is not None:
        return SignInRefused(f"Entra refused the app's sign-in with AADSTS{code}: {_own_words(error)}", code)
    if isinstance(error, HttpResponseError):
        status = f"HTTP {error.status_code}" if error.status_code is not None else "no token"
        return SignInRefused(
            f"The sign-in service at {host} answered with {status} and gave no reason. Try again later; "
            "if it stays so, check whether a proxy answers in its place.",
            unreachable=True,
        )
    return SignInRefused(
        f"The sign-in service at {host} is unreachable. Check the app's outbound network, ENTRA_CLOUD and "
        "AZURE_AUTHORITY_HOST.",
        unreachable=True,
    )


def own_identity_refusal(error: Exception) -> SignInRefused:
    """The managed identity, or `az login` on a laptop, gave no token."""
    status = error.status_code if isinstance(error, HttpResponseError) else None
    answered = f" (HTTP {status})" if status is not None else ""
    if isinstance(error, AzureError | TimeoutError) and not isinstance(error, HttpResponseError):
        return SignInRefused(
            "The managed identity's endpoint is unreachable. Restart the app, or try again later.",
            unreachable=True,
        )
    return SignInRefused(
        f"The app's own identity gave no token{answered}. Assign a managed identity to the app, and set "
        "AZURE_CLIENT_ID to the client id of a user-assigned one; on a laptop, run `az login`."
    )


def _answer(error: Exception) -> dict[str, object]:
    response = getattr(error, "response", None)
    try:
        answer = json.loads(response.text()) if response is not None else None
    except (ValueError, TypeError, AttributeError, AzureError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _description(answer: dict[str, object]) -> str:
    description = answer.get("error_description")
    return description if isinstance(description, str) else ""


def _own_words(error: Exception) -> str:
    """Entra's sentence without the code, the ids of the request, and anything that looks like a secret."""
    words = _CODE_AT_START.sub("", _description(_answer(error)), count=1)
    words = _IDS_AT_END.split(words, maxsplit=1)[0]
    words = _OPAQUE.sub(lambda match: match[0] if _GUID.fullmatch(match[0]) else "…", words)
    return " ".join(words.split())[:300] or "it gave no reason."
