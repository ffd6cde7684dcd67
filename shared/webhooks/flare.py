"""Flare's signature: `X-Flare-Signature: t=<unix seconds>,v1=<hex>`, where several `v1` may stand.

Flare's documentation shows the header's shape. That the signed string is `<t>.<body>`, the signature
HMAC-SHA256 and the key the secret's text is **unverified**: so signs Stripe, whose header has the same shape.
Try it with one real call before you rely on it.

Source: https://docs.flare.io/webhook-integration
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, override

from shared.config import WebhookAuth
from shared.errors import CallerRefused
from shared.webhooks.headers import checked_timestamp, lowered
from shared.webhooks.interface import Caller, WebhookScheme
from shared.webhooks.signing_secrets import SigningSecrets

if TYPE_CHECKING:
    from shared.identity.secrets import SecretStore

HEADER = "X-Flare-Signature"
LEAST_SECRET_CHARACTERS = 16
LONGEST_HEADER = 4096

_SIGNATURE = re.compile(r"[0-9a-fA-F]{64}")


class FlareScheme(WebhookScheme):
    """Calls signed as Flare signs them. `clock` gives seconds since the epoch."""

    name: ClassVar[WebhookAuth] = "flare"

    def __init__(self, secrets: "SecretStore", clock: Callable[[], float] = time.time) -> None:
        self._secrets = SigningSecrets(secrets, key_of_secret, clock)
        self._clock = clock

    @override
    async def authenticate(self, headers: Mapping[str, str], body: bytes) -> Caller:
        timestamp, signatures = _parts(lowered(headers).get(HEADER.lower(), ""))
        checked_timestamp(timestamp, self._clock())
        signed = timestamp.encode() + b"." + body

        def fits(key: bytes) -> bool:
            return any(hmac.compare_digest(_mac(key, signed), signature) for signature in signatures)

        keys = await self._secrets.keys_if_one_fits(fits)
        if keys is None:
            raise CallerRefused(f"No signature in {HEADER} fits a secret in force.")
        # Of the newest key, whichever fitted: who leaves one of several signatures out has the same call.
        return Caller(self.name, hashlib.sha256(_mac(keys[0], signed)).hexdigest())


def key_of_secret(text: str) -> bytes:
    """The key in a secret: its text. Raises ValueError with what it should be."""
    if len(text) < LEAST_SECRET_CHARACTERS:
        raise ValueError(f"a text of at least {LEAST_SECRET_CHARACTERS} characters")
    return text.encode()


def _parts(header: str) -> tuple[str, list[bytes]]:
    """The timestamp and the signatures. Other items of the list are passed over."""
    if not header:
        raise CallerRefused(f"The header {HEADER} is absent.")
    if len(header) > LONGEST_HEADER:
        raise CallerRefused(f"The header {HEADER} is longer than {LONGEST_HEADER} characters.")
    items = [item.strip(" ").partition("=") for item in header.split(",")]
    timestamps = [value for name, _, value in items if name == "t"]
    signatures = [
        bytes.fromhex(value) for name, _, value in items if name == "v1" and _SIGNATURE.fullmatch(value)
    ]
    if len(timestamps) != 1 or not signatures:
        raise CallerRefused(f"The header {HEADER} is not of the form t=<seconds>,v1=<64 hex digits>.")
    return timestamps[0], signatures


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, "sha256")
