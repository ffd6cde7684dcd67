"""The app registration that tries passwords, tried by itself: a request with the client's own credentials.

No user is named, so nobody's counter moves. A token in the answer is skipped by the decoder.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, override

import msgspec

from shared.connection.commands import Commands
from shared.connection.faults import ASK_AGAIN
from shared.connection.interface import Check, Finding, Row, ok
from shared.credentials.codes import CONFIGURATION, Code, decisive
from shared.credentials.probe import VALIDATION_SECRET, bounded_body

if TYPE_CHECKING:
    from shared.credentials.probe import SignInProbe


class _Answer(msgspec.Struct):
    token_type: str | None = None
    error_codes: Annotated[list[int], msgspec.Meta(max_length=16)] = []


@dataclass(kw_only=True)
class ValidationAppCheck(Check):
    """Ask Entra for a token of the app registration itself."""

    capability: str = "validation-app"
    permission: str | None = None
    probe: Callable[[], Awaitable["SignInProbe"]]
    commands: Commands

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        import aiohttp

        settings = self.commands.settings
        if settings.validation_client_id is None:
            return Finding(
                "misconfigured",
                "Neither VALIDATION_CLIENT_ID nor ENTRA_CLIENT_ID is set, and a managed identity cannot try "
                "a password.",
                f"infra/grant-permissions.sh validation-app --tenant {settings.tenant_id} "
                f"--vault {self.commands.vault}",
            )
        probe = await self.probe()
        form = {
            "client_id": settings.validation_client_id,
            "client_secret": await probe.secret(),
            "grant_type": "client_credentials",
            "scope": settings.cloud.graph_scope,
        }
        url = f"{settings.authority}/{settings.tenant_id}/oauth2/v2.0/token"
        try:
            async with probe.session.post(url, data=form, allow_redirects=False) as answer:
                return self._read(answer.status, await bounded_body(answer))
        except (aiohttp.ClientError, OSError) as error:
            # The error itself holds the request; its kind says enough.
            return Finding(
                "unreachable", f"The sign-in service does not answer ({type(error).__name__}).", ASK_AGAIN
            )

    def _read(self, status: int, body: bytes) -> Finding:
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answer = _Answer()
        if status == 200 and answer.token_type:
            return ok(self._accepted())
        code = decisive(answer.error_codes)
        if code is not None and code.account_state == CONFIGURATION:
            return Finding("misconfigured", f"{code.meaning} ({code.evidence}, {code.name})", self._fix(code))
        if answer.error_codes and status < 500 and status != 429:
            said = ", ".join(f"AADSTS{number}" for number in answer.error_codes)
            return Finding(
                "misconfigured",
                f"Entra refuses the validation app ({said}).",
                "Look the code up: https://login.microsoftonline.com/error",
            )
        if status == 429:
            return Finding("unreachable", "The sign-in service throttles the app.", ASK_AGAIN)
        return Finding(
            "unreachable",
            f"The sign-in service answers {status}, and nothing that it would say itself.",
            "Ask again in some minutes; if it stays so, look for a proxy that answers in its place.",
        )

    def _accepted(self) -> str:
        settings = self.commands.settings
        if settings.validation_client_id != settings.client_id:
            return "Entra accepts the app registration and its secret."
        return (
            "Entra accepts the app registration and its secret. It is the one that reads the directory, too: "
            "give the validation one of its own, with no permission, which "
            "`infra/grant-permissions.sh validation-app` makes."
        )

    def _fix(self, code: Code) -> str:
        client_id = self.commands.settings.validation_client_id
        return (
            self.commands.after_refusal(code.number, client_id, VALIDATION_SECRET)
            or "docs/credential-validation.md says how to set the app registration up."
        )
