"""The keys that the tenant's tokens are signed with, as its sign-in service publishes them."""

import logging
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from shared.errors import SignInRefused
from shared.identity.single_flight import SingleFlight

if TYPE_CHECKING:
    from jwt import PyJWK

KEPT_SECONDS = 3600.0
"""A key that Entra withdrew is trusted no longer than this."""
LEAST_SECONDS_BETWEEN_READS = 60.0
"""A flood of tokens with made-up key ids must not become a flood on the sign-in service."""
DEADLINE_SECONDS = 10.0
LARGEST_KEY_SET = 256 * 1024

_log = logging.getLogger(__name__)


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


class SigningKeys:
    """Keys by their id; read when first needed, when they are old, and once more when an id is unknown."""

    def __init__(
        self,
        url: str,
        clock: Callable[[], float],
        tls: ssl.SSLContext | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._url = url
        self._clock = clock
        self._tls = tls
        self._deadline_seconds = deadline_seconds
        self._keys: dict[str, PyJWK] = {}
        self._trouble: str | None = None
        """Why the last look for the keys failed."""
        self._read_at = self._asked_at = float("-inf")
        self._looks = SingleFlight[str, None]()

    async def get(self, key_id: str) -> "PyJWK | None":
        """The key; None if the tenant has none of this id. Raises `SignInRefused` if they cannot be read."""
        now = self._clock()
        is_old = now - self._read_at >= KEPT_SECONDS
        if is_old or (key_id not in self._keys and now - self._asked_at >= LEAST_SECONDS_BETWEEN_READS):
            await self._looks.run(self._url, self._look)
        if self._trouble is not None and (is_old or key_id not in self._keys):
            raise SignInRefused(self._trouble)
        return self._keys.get(key_id)

    async def _look(self) -> None:
        answer = await self._fetch()
        # Only now: until then, others that need an unknown key wait for this look instead of giving up.
        self._asked_at = self._clock()
        if isinstance(answer, str):
            self._trouble = (
                f"The sign-in service at {urlsplit(self._url).netloc} {answer} when asked for the keys "
                "that sign tokens, so no caller can be checked. Check ENTRA_TENANT_ID, ENTRA_CLOUD and the "
                "network."
            )
        else:
            self._keys, self._read_at, self._trouble = _usable(answer), self._asked_at, None
            _log.info("webhook.keys_read", extra={"keys": len(self._keys)})

    async def _fetch(self) -> list[dict[str, Any]] | str:
        """The key set, or what went wrong."""
        import aiohttp

        options: dict[str, Any] = {} if self._tls is None else {"ssl": self._tls}
        timeout = aiohttp.ClientTimeout(total=self._deadline_seconds)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self._url, allow_redirects=False, **options) as response,
            ):
                if response.status != 200:
                    return f"answered {response.status}"
                content = bytearray()
                async for some in response.content.iter_any():
                    content += some
                    if len(content) > LARGEST_KEY_SET:
                        return f"answered with more than {LARGEST_KEY_SET} bytes"
            return msgspec.json.decode(content, type=_KeySet).keys
        except TimeoutError:
            return "did not answer in time"
        except aiohttp.ClientError as error:
            return f"is unreachable ({type(error).__name__})"
        except msgspec.DecodeError:
            return "answered with something that is no set of keys"


def _usable(keys: list[dict[str, Any]]) -> dict[str, "PyJWK"]:
    """The RSA keys for signatures. Of other kinds there may be more in the set; they are passed over."""
    from jwt import PyJWK, PyJWTError

    usable = {}
    for key in keys:
        key_id = key.get("kid")
        kind = key.get("kty"), key.get("use", "sig"), key.get("alg", "RS256")
        if not isinstance(key_id, str) or kind != ("RSA", "sig", "RS256"):
            continue
        try:
            usable[key_id] = PyJWK(key, "RS256")
        except (PyJWTError, ValueError, TypeError):
            _log.warning("webhook.key_unreadable")
    return usable
