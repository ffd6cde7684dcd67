"""Tokens of the simulated tenant: RS256, with the claims of Entra's access tokens of version 1.0 and 2.0.

The keys can be rotated, as Entra does without notice: a new one signs, the old one is still published or not.
"""

import base64
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.tenant.messages import JsonObject


class InvalidTokenError(Exception):
    """A token is absent, malformed, not ours, expired, or for another audience; the text is what Graph
    would say."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that was issued. `expires_in` is in seconds."""

    text: str
    expires_in: int
    expires_on: int
    not_before: int


class TokenIssuer:
    """Signs and checks tokens for one tenant. `clock` gives seconds since the epoch."""

    def __init__(self, tenant_id: str, clock: Callable[[], float] = time.time) -> None:
        self.tenant_id = tenant_id
        self.clock = clock
        self.authority = "https://login.microsoftonline.com"
        """The origin in the issuer of version 2.0; a server puts its own, as its discovery does."""
        self._keys = [_SigningKey()]

    @property
    def issuer(self) -> str:
        """The `iss` of version 1.0; Azurite checks its prefix."""
        return f"https://sts.windows.net/{self.tenant_id}/"

    @property
    def issuer_v2(self) -> str:
        """The `iss` of version 2.0."""
        return f"{self.authority}/{self.tenant_id}/v2.0"

    def rotate_keys(self, *, keep_old: bool = True) -> None:
        """Sign with a new key from now on; without `keep_old` the others are not published any more."""
        self._keys = [_SigningKey(), *(self._keys if keep_old else ())]

    def issue(
        self,
        audience: str,
        client_id: str,
        object_id: str,
        roles: Iterable[str],
        lifetime: float,
        version: Literal[1, 2] = 1,
    ) -> AccessToken:
        """A token for an application; `nbf` lies a second back, as a client's clock may."""
        common: JsonObject = {
            "aud": audience,
            "idp": self.issuer,
            "idtyp": "app",
            "oid": object_id,
            "sub": object_id,
        }
        if granted := sorted(roles):
            common["roles"] = granted  # Entra leaves the claim out when there is none
        own = (
            {"iss": self.issuer, "appid": client_id, "appidacr": "1", "ver": "1.0"}
            if version == 1
            else {"iss": self.issuer_v2, "azp": client_id, "azpacr": "1", "ver": "2.0"}
        )
        return self.sign(common | own, lifetime)

    def sign(self, claims: JsonObject, lifetime: float) -> AccessToken:
        """A token with these claims over those that every token has: a test may set any to what it likes."""
        now = int(self.clock())
        expires = int(now + lifetime)
        common = {
            "iat": now,
            "nbf": now - 1,
            "exp": expires,
            "tid": self.tenant_id,
            "uti": base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode(),
        }
        key = self._keys[0]
        text = jwt.encode(common | claims, key.private, algorithm="RS256", headers={"kid": key.id})
        return AccessToken(text, int(lifetime), expires, now - 1)

    def verify(self, token: str, audiences: Iterable[str]) -> dict[str, Any]:
        """The claims of a token of ours for one of the audiences; InvalidTokenError otherwise."""
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            claims: dict[str, Any] = jwt.decode(
                token,
                next((key.private.public_key() for key in self._keys if key.id == key_id), ""),
                algorithms=["RS256"],
                issuer=self.issuer,
                options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.PyJWTError as error:
            raise InvalidTokenError("Access token validation failure.") from error
        if claims["aud"].rstrip("/") not in {audience.rstrip("/") for audience in audiences}:
            raise InvalidTokenError("Access token validation failure. Invalid audience.")
        if claims["exp"] <= self.clock():
            raise InvalidTokenError("Lifetime validation failed, the token is expired.")
        return claims

    def key_set(self) -> JsonObject:
        """The JSON Web Key Set that the discovery endpoint publishes, the newest key first."""
        return {"keys": [{**key.published(), "issuer": self.issuer_v2} for key in self._keys]}


class _SigningKey:
    def __init__(self) -> None:
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()

    def published(self) -> JsonObject:
        numbers = self.private.public_key().public_numbers()
        return {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.id,
            "x5t": self.id,
            "n": _encoded(numbers.n),
            "e": _encoded(numbers.e),
        }


def _encoded(number: int) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
