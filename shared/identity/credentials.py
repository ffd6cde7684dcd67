"""How the app signs in to Microsoft Graph: one wrapper over the four kinds that `ENTRA_CREDENTIAL` names."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, cast

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.core.exceptions import AzureError

from shared import events
from shared.config import Settings
from shared.errors import ConfigurationError, SignInRefused
from shared.identity.azure_options import CLIENT_OPTIONS, DEADLINE_SECONDS
from shared.identity.certificates import certificate_bytes, unusable_certificate
from shared.identity.refusals import (
    EXPIRED_SECRET,
    WRONG_CERTIFICATE,
    WRONG_SECRET,
    own_identity_refusal,
    refusal,
)
from shared.identity.secrets import SecretStore
from shared.identity.single_flight import SingleFlight

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

CLIENT_SECRET = "entra-client-secret"  # noqa: S105 - a name, not a secret
CLIENT_CERTIFICATE = "entra-client-certificate"

# Source: https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
_EXCHANGE_AUDIENCES = {
    "public": "api://AzureADTokenExchange",
    "usgov": "api://AzureADTokenExchangeUSGov",
    "usgov-dod": "api://AzureADTokenExchangeUSGov",
    "china": "api://AzureADTokenExchangeChina",
}

# A token this close to its end is not handed out again: a request with it may arrive too late.
_LEAST_SECONDS_LEFT = 300


class TokenSource(Protocol):
    """What we need of an azure-identity credential."""

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo: ...

    async def close(self) -> None: ...


class SignIn(Protocol):
    """One kind of credential."""

    rotation_codes: frozenset[int]
    """The refusals after which the secret is worth reading again."""

    async def open(self, *, fresh: bool) -> TokenSource:
        """A new source; with `fresh`, from a secret that is read now."""

    def refused(self, error: Exception) -> SignInRefused:
        """What to raise for an error of the source."""


class _Wanted(NamedTuple):
    scopes: tuple[str, ...]
    claims: str | None
    enable_cae: bool


class GraphCredential:
    """An `AsyncTokenCredential` that survives the rotation of its secret. Raises `SignInRefused`.

    Tokens are kept here as well, since the Azure CLI starts a process for each, and concurrent callers share
    one request, since azure-identity sends one for each of them.
    """

    def __init__(
        self,
        sign_in: SignIn,
        clock: Callable[[], float] = time.time,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._sign_in = sign_in
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._source: TokenSource | None = None
        self._turn = asyncio.Lock()
        self._tokens: dict[_Wanted, AccessTokenInfo] = {}
        self._requests = SingleFlight[_Wanted, AccessTokenInfo]()

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,  # noqa: ARG002 - of the protocol; the app knows one tenant
        enable_cae: bool = False,
        **_: Any,
    ) -> AccessToken:
        info = await self._get(_Wanted(scopes, claims, enable_cae))
        return AccessToken(info.token, info.expires_on)

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        options = options or {}
        return await self._get(_Wanted(scopes, options.get("claims"), options.get("enable_cae", False)))

    async def renew(self) -> None:
        """Forget all tokens, also azure-identity's: one of them was refused before its time."""
        async with self._turn:
            self._tokens.clear()
            source, self._source = self._source, None
            if source is not None:
                await source.close()

    async def close(self) -> None:
        """Close what was opened here; the app's own identity and the secret store stay open."""
        await self._requests.close()
        self._tokens.clear()
        source, self._source = self._source, None
        if source is not None:
            await source.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()

    async def _get(self, wanted: _Wanted) -> AccessTokenInfo:
        # Claims are Graph's answer that the token we have is no longer good.
        kept = None if wanted.claims else self._tokens.get(wanted)
        if kept is not None and self._clock() < min(
            kept.refresh_on or kept.expires_on, kept.expires_on - _LEAST_SECONDS_LEFT
        ):
            return kept
        return await self._requests.run(wanted, lambda: self._request(wanted))

    async def _request(self, wanted: _Wanted) -> AccessTokenInfo:
        # One at a time, so that no source is closed while another request uses it.
        async with self._turn:
            if self._source is None:
                self._source = await self._sign_in.open(fresh=False)
            outcome = await self._ask(self._source, wanted)
            if isinstance(outcome, SignInRefused) and outcome.code in self._sign_in.rotation_codes:
                events.SecretReread(used_for="graph", code=outcome.code).emit()
                refused, self._source = self._source, None
                await refused.close()
                self._source = await self._sign_in.open(fresh=True)
                outcome = await self._ask(self._source, wanted)
        if isinstance(outcome, SignInRefused):
            raise outcome
        self._tokens[wanted._replace(claims=None)] = outcome
        return outcome

    async def _ask(self, source: TokenSource, wanted: _Wanted) -> AccessTokenInfo | SignInRefused:
        """The refusal is returned, so that no SDK error, which holds the request, is chained to it."""
        options: TokenRequestOptions = {"enable_cae": wanted.enable_cae}
        if wanted.claims:
            options["claims"] = wanted.claims
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await source.get_token_info(*wanted.scopes, options=options)
        except SignInRefused as error:
            return error
        except (AzureError, TimeoutError) as error:
            return self._sign_in.refused(error)


class _EntraSignIn:
    """What the kinds that sign in as the app registration have in common."""

    rotation_codes: frozenset[int] = frozenset()

    def __init__(self, settings: Settings, client_options: dict[str, Any]) -> None:
        self._settings = settings
        self._tenant_and_client = (settings.tenant_id, settings.client_id or "")
        self._options: dict[str, Any] = {
            "authority": settings.authority,
            "disable_instance_discovery": settings.authority_overridden,
            **CLIENT_OPTIONS,
            **client_options,
        }

    def refused(self, error: Exception) -> SignInRefused:
        return refusal(error, self._settings)


class _ClientSecret(_EntraSignIn):
    rotation_codes = frozenset({WRONG_SECRET, EXPIRED_SECRET})

    def __init__(self, settings: Settings, secrets: SecretStore, client_options: dict[str, Any]) -> None:
        super().__init__(settings, client_options)
        self._secrets = secrets

    async def open(self, *, fresh: bool) -> TokenSource:
        from azure.identity.aio import ClientSecretCredential

        secret = await (self._secrets.refresh if fresh else self._secrets.get)(CLIENT_SECRET)
        return ClientSecretCredential(*self._tenant_and_client, secret.strip(), **self._options)


class _Certificate(_EntraSignIn):
    rotation_codes = frozenset({WRONG_CERTIFICATE})

    def __init__(self, settings: Settings, secrets: SecretStore, client_options: dict[str, Any]) -> None:
        super().__init__(settings, client_options)
        self._secrets = secrets

    async def open(self, *, fresh: bool) -> TokenSource:
        from azure.identity.aio import CertificateCredential

        text = await (self._secrets.refresh if fresh else self._secrets.get)(CLIENT_CERTIFICATE)
        certificate = certificate_bytes(CLIENT_CERTIFICATE, text)
        try:
            return CertificateCredential(
                *self._tenant_and_client, certificate_data=certificate, **self._options
            )
        except (ValueError, TypeError):  # TypeError: the key is encrypted
            pass
        raise unusable_certificate(CLIENT_CERTIFICATE)


class _Federated(_EntraSignIn):
    """The app registration, vouched for by the app's managed identity."""

    def __init__(
        self, settings: Settings, own: "AsyncTokenCredential", client_options: dict[str, Any]
    ) -> None:
        super().__init__(settings, client_options)
        self._own = own

    async def open(self, *, fresh: bool) -> TokenSource:  # noqa: ARG002 - there is no secret
        from azure.identity.aio import ClientAssertionCredential

        assertion = _Assertion(self._own, f"{_EXCHANGE_AUDIENCES[self._settings.cloud.name]}/.default")
        inner = ClientAssertionCredential(*self._tenant_and_client, assertion.current, **self._options)
        return _FederatedSource(assertion, inner)


class _Assertion:
    """azure-identity asks for the assertion synchronously, so it is fetched before it can ask."""

    def __init__(self, own: "AsyncTokenCredential", scope: str) -> None:
        self._own = own
        self._scope = scope
        self._value = ""

    async def fetch(self) -> None:
        self._value = (await self._own.get_token(self._scope)).token

    def current(self) -> str:
        return self._value


class _FederatedSource:
    def __init__(self, assertion: _Assertion, inner: TokenSource) -> None:
        self._assertion = assertion
        self._inner = inner

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        refused: SignInRefused | None = None
        try:
            await self._assertion.fetch()
        except AzureError as error:
            refused = own_identity_refusal(error)
        if refused is not None:
            raise refused
        return await self._inner.get_token_info(*scopes, options=options)

    async def close(self) -> None:
        await self._inner.close()


class _OwnIdentity:
    """The managed identity itself; also `az login` on a laptop."""

    rotation_codes: frozenset[int] = frozenset()

    def __init__(self, own: "AsyncTokenCredential") -> None:
        self._own = own

    async def open(self, *, fresh: bool) -> TokenSource:  # noqa: ARG002 - there is no secret
        return _Borrowed(self._own)

    def refused(self, error: Exception) -> SignInRefused:
        return own_identity_refusal(error)


class _Borrowed:
    """The app's own identity is not ours to close."""

    def __init__(self, own: "AsyncTokenCredential") -> None:
        self._own = own

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        # Every credential of azure-identity has this method; its protocol splits it off.
        return await cast(TokenSource, self._own).get_token_info(*scopes, options=options)

    async def close(self) -> None:
        return None


def graph_credential(
    settings: Settings,
    secrets: SecretStore | None,
    own: "AsyncTokenCredential",
    **client_options: Any,
) -> GraphCredential:
    """The credential that `ENTRA_CREDENTIAL` names. `secrets` may be None for those that need none."""
    match settings.credential:
        case "managed-identity":
            return GraphCredential(_OwnIdentity(own))
        case "federated":
            return GraphCredential(_Federated(settings, own, client_options))
        case "client-secret" | "certificate" as kind:
            if secrets is None:
                raise ConfigurationError(
                    ["KEY_VAULT_URL is missing: the app's secret is read from the vault."]
                )
            if kind == "client-secret":
                return GraphCredential(_ClientSecret(settings, secrets, client_options))
            return GraphCredential(_Certificate(settings, secrets, client_options))
