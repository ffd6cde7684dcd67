"""Standard Webhooks 1.0, by HMAC-SHA256 (`v1`): the headers `webhook-id`, `webhook-timestamp` and
`webhook-signature`.

The package signs, and we compare: its own `verify` knows one secret and the real clock only, takes padded and
broken timestamps, and raises all kinds of errors on a header that is malformed.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hmac
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, override

from shared.config import WebhookAuth
from shared.errors import CallerRefused
from shared.webhooks.headers import checked_call_id, checked_timestamp, lowered
from shared.webhooks.interface import Caller, WebhookScheme
from shared.webhooks.signing_secrets import SigningSecrets

if TYPE_CHECKING:
    from shared.identity.secrets import SecretStore

PREFIX = "whsec_"
LEAST_KEY_BYTES = 24
LONGEST_SIGNATURES = 4096
"""Characters of the whole header: dozens of signatures, where a rotation needs two."""


class StandardWebhooksScheme(WebhookScheme):
    """Signed calls, as most senders of webhooks make them. `clock` gives seconds since the epoch."""

    name: ClassVar[WebhookAuth] = "standard-webhooks"

    def __init__(self, secrets: "SecretStore", clock: Callable[[], float] = time.time) -> None:
        self._secrets = SigningSecrets(secrets, key_of_secret, clock)
        self._clock = clock

    @override
    async def authenticate(self, headers: Mapping[str, str], body: bytes) -> Caller:
        given = lowered(headers)
        call_id, timestamp, signatures = (
            given.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature")
        )
        if not (call_id and timestamp and signatures):
            raise CallerRefused(
                "A header of Standard Webhooks is absent: webhook-id, -timestamp, -signature."
            )
        sent = datetime.fromtimestamp(checked_timestamp(timestamp, self._clock()), UTC)
        if "." in checked_call_id(call_id):
            # It separates what is signed: the id could end where another sender's timestamp begins.
            raise CallerRefused("The call's webhook-id has a full stop, which Standard Webhooks forbids.")
        if len(signatures) > LONGEST_SIGNATURES:
            raise CallerRefused(
                f"The header webhook-signature is longer than {LONGEST_SIGNATURES} characters."
            )
        text = _text_of(body)

        def fits(key: bytes) -> bool:
            return _is_among(_signature(key, call_id, sent, text), signatures)

        if await self._secrets.keys_if_one_fits(fits) is None:
            raise CallerRefused("No signature in webhook-signature fits a secret in force.")
        return Caller(self.name, call_id)


def key_of_secret(text: str) -> bytes:
    """The key in a secret, with its prefix or without. Raises ValueError with what it should be."""
    encoded = text.removeprefix(PREFIX).rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:  # the error of base64 among them; it may quote what it was given
        key = b""
    if len(key) < LEAST_KEY_BYTES:
        raise ValueError(f"`{PREFIX}` and the base64 of at least {LEAST_KEY_BYTES} random bytes")
    return key


def _text_of(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        pass
    # Raised here, not above: the decoder's error holds the body.
    raise CallerRefused("The body is not UTF-8, which Standard Webhooks signs.")


def _signature(key: bytes, call_id: str, sent: datetime, text: str) -> bytes:
    from standardwebhooks import Webhook

    return Webhook(key).sign(call_id, sent, text).encode()


def _is_among(expected: bytes, signatures: str) -> bool:
    """Whether one item of the list is the signature. Those of other versions and kinds are passed over."""
    return any(
        hmac.compare_digest(expected, item.encode("ascii", "replace")) for item in signatures.split(" ")
    )
