"""Tokens of the simulated tenant: one RSA key made at start, RS256, the claims of a v1.0 access token of
Entra."""

import base64
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

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
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()

    @property
    def issuer(self) -> str:
        """The `iss` of every token; Azurite checks its prefix."""
        return f"https://sts.windows.net/{self.tenant_id}/"

    def issue(
        self, audience: str, client_id: str, object_id: str, roles: Iterable[str], lifetime: float
    ) -> AccessToken:
        """A token for an application; `nbf` lies a second back, as a client's clock may."""
        return self.sign(
            {
                "aud": audience,
                "iss": self.issuer,
                "appid": client_id,
                "appidacr": "1",
                "idp": self.issuer,
                "idtyp": "app",
                "oid": object_id,
                "sub": object_id,
                "roles": sorted(roles),
                "ver": "1.0",
            },
            lifetime,
        )

    def sign(self, claims: JsonObject, lifetime: float) -> AccessToken:
        """A token with these claims and those that every token has."""
        now = int(self.clock())
        expires = int(now + lifetime)
        common = {
            "iat": now,
            "nbf": now - 1,
            "exp": expires,
            "tid": self.tenant_id,
            "uti": base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode(),
        }
        text = jwt.encode(common | claims, self._key, algorithm="RS256", headers={"kid": self._key_id})
        return AccessToken(text, int(lifetime), expires, now - 1)

    def verify(self, token: str, audiences: Iterable[str]) -> dict[str, Any]:
        """The claims of a token of ours for one of the audiences; InvalidTokenError otherwise."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key.public_key(),
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
        """The JSON Web Key Set that the discovery endpoint publishes."""
        numbers = self._key.public_key().public_numbers()

        def encoded(number: int) -> str:
            raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
            return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

        return {
            "keys": [
                {
                    "kty": "RSA",
                    "use": "sig",
                    "alg": "RS256",
                    "kid": self._key_id,
                    "x5t": self._key_id,
                    "n": encoded(numbers.n),
                    "e": encoded(numbers.e),
                    "issuer": f"https://login.microsoftonline.com/{self.tenant_id}/v2.0",
                }
            ]
        }
