"""The wrapper's own logic: keeping tokens, sharing requests, one more try after a refusal."""

import asyncio
from collections.abc import Callable

import pytest
from azure.core.credentials import AccessTokenInfo, TokenRequestOptions
from azure.core.credentials_async import AsyncSupportsTokenInfo, AsyncTokenCredential
from azure.core.exceptions import ClientAuthenticationError

from shared.errors import ConfigurationError, SignInRefused
from shared.identity.credentials import GraphCredential, TokenSource, graph_credential
from shared.identity.own import own_credential
from tests.identity.fakes import FakeOwnIdentity, settings

SCOPE = "https://graph.microsoft.com/.default"
NOW = 1_000_000.0


class FakeSource:
    def __init__(self, sign_in: "FakeSignIn", secret: str) -> None:
        self._sign_in = sign_in
        self._secret = secret
        self.closed = False

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        self._sign_in.requests += 1
        self._sign_in.options.append(options or {})
        await asyncio.sleep(self._sign_in.pause)
        assert not self.closed
        if self._secret != self._sign_in.accepted:
            raise ClientAuthenticationError("refused")
        return self._sign_in.token(self._sign_in.requests)

    async def close(self) -> None:
        self.closed = True


class FakeSignIn:
    """A secret store and a sign-in service in one."""

    rotation_codes = frozenset({7000215})

    def __init__(self) -> None:
        self.stored = self.accepted = "old"
        self.opened: list[tuple[FakeSource, bool]] = []
        self.requests = 0
        self.options: list[TokenRequestOptions] = []
        self.pause = 0.0
        self.code = 7000215
        self.token: Callable[[int], AccessTokenInfo] = lambda n: AccessTokenInfo(
            f"token {n}", int(NOW) + 3600
        )

    async def open(self, *, fresh: bool) -> TokenSource:
        source = FakeSource(self, self.stored)
        self.opened.append((source, fresh))
        return source

    def refused(self, error: Exception) -> SignInRefused:
        return SignInRefused(type(error).__name__, self.code)


@pytest.fixture
def sign_in() -> FakeSignIn:
    return FakeSignIn()


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def credential(sign_in: FakeSignIn, clock: Clock) -> GraphCredential:
    return GraphCredential(sign_in, clock, deadline_seconds=0.2)


async def test_it_is_what_the_sdks_ask_for(credential: GraphCredential) -> None:
    assert isinstance(credential, AsyncTokenCredential)
    assert isinstance(credential, AsyncSupportsTokenInfo)
    token = await credential.get_token(SCOPE, enable_cae=True, tenant_id="x")
    assert (token.token, token.expires_on) == ("token 1", int(NOW) + 3600)


async def test_a_token_is_kept_until_five_minutes_before_its_end(
    credential: GraphCredential, clock: Clock
) -> None:
    await credential.get_token(SCOPE)
    clock.now += 3299
    assert (await credential.get_token_info(SCOPE)).token == "token 1"
    clock.now += 1
    assert (await credential.get_token(SCOPE)).token == "token 2"


async def test_a_token_is_renewed_when_entra_says_so(
    credential: GraphCredential, sign_in: FakeSignIn, clock: Clock
) -> None:
    sign_in.token = lambda n: AccessTokenInfo(f"token {n}", int(NOW) + 86400, refresh_on=int(NOW) + 43200)
    await credential.get_token(SCOPE)
    clock.now += 43199
    assert (await credential.get_token(SCOPE)).token == "token 1"
    clock.now += 1
    assert (await credential.get_token(SCOPE)).token == "token 2"


async def test_claims_replace_the_token_that_is_kept(
    credential: GraphCredential, sign_in: FakeSignIn
) -> None:
    await credential.get_token(SCOPE, enable_cae=True)
    assert (await credential.get_token(SCOPE, claims="{}", enable_cae=True)).token == "token 2"
    assert (await credential.get_token(SCOPE, enable_cae=True)).token == "token 2"
    assert sign_in.options == [{"enable_cae": True}, {"enable_cae": True, "claims": "{}"}]


async def test_tokens_with_and_without_cae_are_different(credential: GraphCredential) -> None:
    assert (await credential.get_token(SCOPE)).token == "token 1"
    assert (await credential.get_token(SCOPE, enable_cae=True)).token == "token 2"


async def test_a_rotation_replaces_and_closes_the_refused_source(
    credential: GraphCredential, sign_in: FakeSignIn
) -> None:
    await credential.get_token(SCOPE)
    sign_in.stored = sign_in.accepted = "new"

    # Different claims, so that the requests are not one and the same.
    await asyncio.gather(*(credential.get_token(SCOPE, claims=str(n)) for n in range(10)))

    assert [fresh for _, fresh in sign_in.opened] == [False, True]
    assert [source.closed for source, _ in sign_in.opened] == [True, False]


async def test_refused_twice_is_refused(credential: GraphCredential, sign_in: FakeSignIn) -> None:
    sign_in.accepted = "another"

    outcomes = await asyncio.gather(*(credential.get_token(SCOPE) for _ in range(10)), return_exceptions=True)

    assert all(isinstance(outcome, SignInRefused) and outcome.code == 7000215 for outcome in outcomes)
    assert [fresh for _, fresh in sign_in.opened] == [False, True]
    sign_in.accepted = "old"
    assert (await credential.get_token(SCOPE)).token


async def test_other_refusals_do_not_read_the_secret_again(
    credential: GraphCredential, sign_in: FakeSignIn
) -> None:
    sign_in.accepted, sign_in.code = "another", 700016

    with pytest.raises(SignInRefused):
        await credential.get_token(SCOPE)

    assert sign_in.requests == 1
    assert [fresh for _, fresh in sign_in.opened] == [False]


async def test_a_service_that_does_not_answer_in_time(
    credential: GraphCredential, sign_in: FakeSignIn
) -> None:
    sign_in.pause, sign_in.code = 10, 0

    with pytest.raises(SignInRefused, match="TimeoutError"):
        await credential.get_token(SCOPE)


async def test_close_closes_the_source_and_stops_requests(
    credential: GraphCredential, sign_in: FakeSignIn
) -> None:
    async with credential:
        await credential.get_token(SCOPE)
        sign_in.pause = 10
        waiting = asyncio.create_task(credential.get_token(SCOPE, claims="{}"))
        await asyncio.sleep(0.01)

    assert sign_in.opened[0][0].closed
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_the_own_identity_stays_open() -> None:
    own = FakeOwnIdentity()
    credential = graph_credential(settings(ENTRA_CREDENTIAL="managed-identity"), None, own)

    assert (await credential.get_token(SCOPE)).token == f"token for {SCOPE}"
    await credential.close()

    assert not own.closed


@pytest.mark.parametrize("kind", ["client-secret", "certificate"])
def test_a_stored_credential_needs_a_store(kind: str) -> None:
    with pytest.raises(ConfigurationError, match="KEY_VAULT_URL"):
        graph_credential(settings(ENTRA_CREDENTIAL=kind), None, FakeOwnIdentity())


def test_an_authority_without_tls_is_a_matter_of_settings() -> None:
    with pytest.raises(ConfigurationError, match="AZURE_AUTHORITY_HOST"):
        settings(AZURE_AUTHORITY_HOST="http://127.0.0.1:9000")


async def test_the_own_identity_is_the_managed_one_in_azure_and_the_cli_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:41000/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "x")
    async with own_credential(settings()) as own:
        assert type(own).__name__ == "ManagedIdentityCredential"
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    async with own_credential(settings()) as own:
        assert type(own).__name__ == "AzureCliCredential"


@pytest.mark.parametrize(
    ("cloud", "audience"),
    [
        ("public", "api://AzureADTokenExchange"),
        ("usgov", "api://AzureADTokenExchangeUSGov"),
        ("usgov-dod", "api://AzureADTokenExchangeUSGov"),
        ("china", "api://AzureADTokenExchangeChina"),
    ],
)
async def test_each_cloud_has_its_own_audience_for_federation(cloud: str, audience: str) -> None:
    own = FakeOwnIdentity()
    federated = settings(
        ENTRA_CREDENTIAL="federated", ENTRA_CLOUD=cloud, AZURE_AUTHORITY_HOST="https://127.0.0.1:1"
    )

    async with graph_credential(federated, None, own, retry_total=0) as credential:
        with pytest.raises(SignInRefused, match="is unreachable"):
            await credential.get_token(SCOPE)

    assert own.scopes == [f"{audience}/.default"]
