"""The sign-in to Microsoft Graph: one new token, so that what was granted a moment ago counts."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, override

import msgspec

from shared.connection.commands import Commands
from shared.connection.faults import sign_in_finding
from shared.connection.interface import Check, Finding, Row, ok
from shared.errors import SignInRefused
from shared.identity.credentials import CLIENT_SECRET

if TYPE_CHECKING:
    from shared.identity.credentials import GraphCredential

SIGN_IN = "graph-sign-in"


class _Claims(msgspec.Struct):
    roles: list[str] = []
    scp: str = ""
    oid: str | None = None


@dataclass(slots=True)
class Granted:
    """What a token says of the app: a second witness beside Graph's answers. The token itself is not kept."""

    permissions: frozenset[str] | None = None
    """None while nothing is known: Graph's tokens have no documented form."""
    principal_id: str | None = None

    def read(self, token: str) -> None:
        """Take the claims of an access token. Its signature is for Graph to check."""
        try:
            payload = token.split(".")[1]
            text = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
            claims = msgspec.json.decode(text, type=_Claims)
        except (IndexError, ValueError, msgspec.DecodeError):
            return
        self.permissions = frozenset((*claims.roles, *claims.scp.split()))
        self.principal_id = claims.oid

    def has(self, permissions: tuple[str, ...]) -> bool | None:
        """Whether one of them is granted; None if that is not known."""
        return None if self.permissions is None else not self.permissions.isdisjoint(permissions)


@dataclass(kw_only=True)
class SignInCheck(Check):
    """Get a token for Graph, by the credential that `ENTRA_CREDENTIAL` names."""

    capability: str = SIGN_IN
    permission: str | None = None
    share: float = 0.7
    commands: Commands
    credential: Callable[[], "GraphCredential"]
    granted: Granted = field(default_factory=Granted)

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        settings = self.commands.settings
        try:
            # As the SDK asks for it, so that its requests go with the same token.
            token = await self.credential().get_token(settings.cloud.graph_scope, enable_cae=True)
        except SignInRefused as error:
            fix = self.commands.after_refusal(error.code, settings.client_id, CLIENT_SECRET)
            return sign_in_finding(error, fix)
        self.granted.read(token.token)
        if settings.credential == "managed-identity":
            return ok("Entra gives the managed identity a token for Graph.")
        return ok(f"Entra gives {settings.client_id} a token for Graph, by {settings.credential}.")
