"""One sign-in attempt with a leaked password: one POST to the tenant's token endpoint, and what it says.

No library for sign-in is used: MSAL would look the user's realm up by a URL with the name in it, hand the
password of a federated user to their own server, keep tokens and repeat answers. Here the password goes to
Entra alone, once: no redirect, no retry, no cache. A token in an answer is skipped by the decoder.
https://learn.microsoft.com/entra/identity-platform/v2-oauth-ropc
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import msgspec

from shared import events
from shared.config import Settings
from shared.credentials.budgets import Outcome
from shared.credentials.candidates import Password
from shared.credentials.codes import CONFIGURATION, LOCKED, THROTTLED, Code, decisive
from shared.credentials.verdicts import Status, Verdict
from shared.errors import ConfigurationError, SecretUnavailable, ValidationAppRefused
from shared.graph.policy import retry_after_seconds
from shared.identity.credentials import CLIENT_SECRET
from shared.identity.refusals import EXPIRED_SECRET, WRONG_SECRET
from shared.identity.secrets import SecretStore

if TYPE_CHECKING:
    import aiohttp


VALIDATION_SECRET = "validation-client-secret"  # noqa: S105 - a name, not a secret
TIMEOUT_SECONDS = 10.0
LARGEST_ANSWER = 64 * 1024
"""An answer of Entra has a few kilobytes."""
NO_CLOUD_PASSWORD = 50056
EXPIRED_PASSWORD = 50055


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """What became of one attempt."""

    verdict: Verdict
    outcome: Outcome
    """What the budgets make of it."""
    retry_after: float = 0.0
    """Seconds that Entra asks to wait, with `service_throttled`; 0 if it does not say."""
    trace_id: str | None = None
    correlation_id: str | None = None


class _Issued(msgspec.Struct):
    """A token was issued. Its text is not among the fields, so the decoder skips it."""

    token_type: str


class _Refusal(msgspec.Struct):
    """Entra's error body. The description is not read: it is for people, and names the user."""

    error_codes: Annotated[list[int], msgspec.Meta(max_length=16)] = []
    trace_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    correlation_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None

    @property
    def evidence(self) -> tuple[str, ...]:
        return tuple(f"AADSTS{number}" for number in self.error_codes)


@dataclass(slots=True)
class SignInProbe:
    """Tries one password at the settings' tenant. `session` is injected, and closed by whoever made it."""

    settings: Settings
    secrets: SecretStore
    session: "aiohttp.ClientSession"
    now: Callable[[], float] = time.time
    timeout_seconds: float = TIMEOUT_SECONDS
    _secret_name: str | None = field(default=None, init=False)

    async def ready(self) -> None:
        """Raise `ConfigurationError` or `SecretUnavailable` for what an attempt would lack."""
        if self.settings.validation_client_id is None:
            raise ConfigurationError(
                ["VALIDATION_CLIENT_ID is missing: name the app registration that tries passwords."]
            )
        await self.secret()

    async def secret(self, *, fresh: bool = False) -> str:
        """The validation app's secret. It has one of its own, or shares that of the app registration."""
        read = self.secrets.refresh if fresh else self.secrets.get
        if self._secret_name is None or fresh:
            try:
                value = await read(VALIDATION_SECRET)
                self._secret_name = VALIDATION_SECRET
                return value.strip()
            except SecretUnavailable as error:
                if not error.missing:
                    raise
                self._secret_name = CLIENT_SECRET
        return (await read(self._secret_name)).strip()

    async def attempt(self, principal_name: str, password: Password, *, synchronized: bool) -> SignIn:
        """Sign in once. `synchronized` tells that the user comes from an on-premises directory.

        Raises `ValidationAppRefused` when Entra refuses the app before it looks at the user; a refused
        secret is read again once, and then tried with again.
        """
        secret = await self.secret()
        try:
            return await self._attempt(principal_name, password, secret, synchronized)
        except ValidationAppRefused as refused:
            if refused.code not in (WRONG_SECRET, EXPIRED_SECRET):
                raise
            events.SecretReread(used_for="validation", code=refused.code).emit()
        return await self._attempt(principal_name, password, await self.secret(fresh=True), synchronized)

    async def _attempt(
        self, principal_name: str, password: Password, secret: str, synchronized: bool
    ) -> SignIn:
        import aiohttp

        form = {
            "client_id": self.settings.validation_client_id or "",
            "client_secret": secret,
            "grant_type": "password",
            "username": principal_name,
            "password": password.reveal(),
            "scope": "openid",
        }
        url = f"{self.settings.authority}/{self.settings.tenant_id}/oauth2/v2.0/token"
        try:
            async with (
                asyncio.timeout(self.timeout_seconds),
                self.session.post(
                    url, data=form, headers={"Accept": "application/json"}, allow_redirects=False
                ) as answer,
            ):
                body = await bounded_body(answer)
                status, waiting = answer.status, answer.headers.get("Retry-After")
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            # The error itself holds the request; its kind says enough.
            return _no_verdict(
                f"no answer ({type(error).__name__})",
                "The sign-in service did not answer. Entra may have counted the attempt.",
                "transient",
            )
        return self._read(status, body, retry_after_seconds(waiting, self.now()), synchronized)

    def _read(self, status: int, body: bytes, wait: float | None, synchronized: bool) -> SignIn:
        if status == 200:
            return _issued(body)
        try:
            refusal = msgspec.json.decode(body, type=_Refusal)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            refusal = _Refusal()
        code = decisive(refusal.error_codes)
        if code is not None and code.account_state == CONFIGURATION:
            raise ValidationAppRefused(
                f"Entra refuses the validation app {self.settings.validation_client_id}: {code.meaning} "
                f"({code.evidence}, {code.name}). No user was tried. docs/credential-validation.md says how "
                "to set it up.",
                code.number,
            )
        if status == 429 or (code is not None and code.account_state == THROTTLED):
            return _no_verdict(
                code.evidence if code else "HTTP 429",
                "The sign-in service throttles the app.",
                "throttled",
                refusal=refusal,
                wait=wait,
            )
        if code is None:
            if refusal.error_codes:
                events.UnknownCode(codes=refusal.error_codes, status=status).emit()
            return _no_verdict(
                f"HTTP {status}",
                "The sign-in service gave an answer that says nothing about the password.",
                "transient" if status >= 500 else None,
                refusal=refusal,
            )
        return _refused(code, refusal, synchronized)


async def bounded_body(answer: "aiohttp.ClientResponse") -> bytes:
    """The body, or what fits of it: a longer one is no answer of Entra's, and will not decode."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            break
    return bytes(body)


def _issued(body: bytes) -> SignIn:
    """A token was issued, unless something else than Entra answered 200."""
    try:
        msgspec.json.decode(body, type=_Issued)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _no_verdict(
            "HTTP 200 without a token",
            "Something other than the sign-in service answered. Check whether a proxy stands in between.",
            None,
        )
    return SignIn(
        verdict=Verdict(
            status="valid",
            account_state="active",
            confidence="high",
            evidence=("HTTP 200",),
            detail="The password is right, and nothing else is asked for: whoever knows it is in.",
            attempt_made=True,
        ),
        outcome="valid",
    )


def _refused(code: Code, refusal: _Refusal, synchronized: bool) -> SignIn:
    status, state = code.status, code.shown_state
    if code.number == NO_CLOUD_PASSWORD and synchronized:
        # The password lives on premises, where nobody asked.
        status = "unknown"
    verdict = Verdict(
        status=status,
        account_state=state,
        confidence=code.confidence,
        evidence=refusal.evidence,
        detail=code.meaning,
        attempt_made=True,
    )
    return SignIn(
        verdict=verdict,
        outcome=_outcome(code, status),
        trace_id=refusal.trace_id,
        correlation_id=refusal.correlation_id,
    )


def _outcome(code: Code, status: Status) -> Outcome:
    if code.account_state == LOCKED:
        return "locked"
    if code.number == EXPIRED_PASSWORD:
        return "valid_but_expired"
    if status in ("invalid", "not_found"):
        return "failed"
    return "valid" if status == "valid" else "no_verdict"


def _no_verdict(
    evidence: str,
    detail: str,
    state: str | None,
    *,
    refusal: _Refusal | None = None,
    wait: float | None = None,
) -> SignIn:
    """Nothing is known of the password. `evidence` is what there is if Entra named no code."""
    refusal = refusal or _Refusal()
    verdict = Verdict(
        status="unknown",
        account_state=state,
        confidence="low",
        evidence=refusal.evidence or (evidence,),
        detail=detail,
        attempt_made=True,
    )
    return SignIn(
        verdict=verdict,
        outcome="service_throttled" if state == THROTTLED else "no_verdict",
        retry_after=wait or 0.0,
        trace_id=refusal.trace_id,
        correlation_id=refusal.correlation_id,
    )
