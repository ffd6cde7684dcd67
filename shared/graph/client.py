"""Sends requests through the official SDK and hands out the answers as bytes.

The SDK builds, signs and sends; its typed models are never loaded. They read 100 to 190 users a second on
one core and drop what they do not know; the same adapter with bytes and msgspec reads about 50,000.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shared import events
from shared.errors import GraphError, GraphThrottled, GraphUnreachable, InvalidPage
from shared.graph.policy import RETRIED_STATUSES, Pacer, RetryPolicy, Usage, retry_after_seconds
from shared.graph.refusals import refusal

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from kiota_abstractions.request_information import RequestInformation


READ_TIMEOUT_SECONDS = 60.0
CONNECT_TIMEOUT_SECONDS = 10.0
MAX_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """One successful answer."""

    body: bytes
    headers: Mapping[str, str]


class GraphClient:
    """Graph for one tenant, on one event loop. Close it, or use it as an async context manager."""

    def __init__(
        self,
        credential: "AsyncTokenCredential",
        origin: str,
        scope: str,
        policy: RetryPolicy | None = None,
    ) -> None:
        """`origin` is where requests go (without `/v1.0`); `scope` is what tokens are for."""
        # Loaded here and not above: the SDK costs a third of a second, and most functions never call Graph.
        import aiohttp
        import httpx
        from httpx_aiohttp import AiohttpTransport
        from kiota_abstractions.native_response_handler import NativeResponseHandler
        from kiota_authentication_azure.azure_identity_authentication_provider import (
            AzureIdentityAuthenticationProvider,
        )
        from kiota_http.middleware import ParametersNameDecodingHandler, UserAgentHandler
        from kiota_http.middleware.options import ResponseHandlerOption
        from msgraph import GraphRequestAdapter, GraphServiceClient
        from msgraph_core import GraphClientFactory
        from msgraph_core.middleware import GraphTelemetryHandler

        self.origin = origin
        self.policy = policy or RetryPolicy()
        self.pacer = Pacer(self.policy)
        self._credential = credential
        # The transport hands some of aiohttp's own errors on as they are, that for broken HTTP among them.
        self._transport_errors = (httpx.TransportError, httpx.DecodingError, aiohttp.ClientError)
        self._parse_url, self._invalid_url = httpx.URL, httpx.InvalidURL
        self._native = ResponseHandlerOption(NativeResponseHandler())
        self._transport = AiohttpTransport(
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=60)
        )
        self._http = httpx.AsyncClient(
            transport=self._transport,
            timeout=httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
        )
        # No retry handler: the policy is ours. No redirect handler: a token goes only where we sent it.
        self._http = GraphClientFactory.create_with_custom_middleware(
            [ParametersNameDecodingHandler(), UserAgentHandler(), GraphTelemetryHandler()], client=self._http
        )
        host = urlsplit(origin).hostname or ""
        adapter = GraphRequestAdapter(
            AzureIdentityAuthenticationProvider(credential, scopes=[scope], allowed_hosts=[host]),
            client=self._http,
        )
        adapter.base_url = f"{origin}/v1.0"
        self._adapter: Any = adapter
        self.builders: GraphServiceClient = GraphServiceClient(request_adapter=adapter)
        """The SDK's request builders."""

    async def __aenter__(self) -> "GraphClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()
        # Kiota wraps the transport and does not hand the closing on.
        await self._transport.aclose()

    async def send(
        self,
        request: "RequestInformation",
        usage: Usage,
        *,
        subject: str,
        permission: str,
        attempts: int | None = None,
    ) -> Answer:
        """Send one request, again where the policy says so, and count what it cost.

        Raises a `GraphError` that names `subject`, or `SignInRefused`. `GraphThrottled` if Graph asks for a
        longer wait than the policy sleeps; the caller delays its next message by that time.
        """
        request.add_request_options([self._native])
        attempts = attempts or self.policy.attempts
        renewed = False
        attempt = 0
        while True:
            attempt += 1
            if self.pacer.wait > self.policy.longest_wait:
                raise _throttled(subject, self.pacer.wait)
            await self.pacer.turn()
            # The SDK keeps the token of the first try; a long wait may outlive it.
            request.headers.remove("Authorization")
            usage.requests += 1
            try:
                response = await self._adapter.send_primitive_async(request, "bytes", {})
            except self._transport_errors as error:
                if attempt >= attempts:
                    raise GraphUnreachable(
                        f"Graph could not be reached for {subject}: {type(error).__name__} after "
                        f"{attempt} tries. Check the network and the name resolution of {self.origin}."
                    ) from None
                usage.retried += 1
                await self.policy.sleep(self.policy.backoff(attempt))
                continue
            status: int = response.status_code
            headers = response.headers
            self.observe(headers, usage)
            if 200 <= status < 300:
                body = response.content
                # A response and its stream refer to each other: a page of a megabyte would wait for the
                # garbage collector, and thirty of them at a time did.
                del response.stream
                return Answer(body, headers)
            if status == 401 and not renewed and hasattr(self._credential, "renew"):
                # A token may be revoked before it ends. A new one is asked for once.
                renewed = True
                usage.retried += 1
                await self._credential.renew()
                continue
            if status not in RETRIED_STATUSES:
                refused = refusal(status, response.content, subject, permission)
                if status == 403:
                    await self.after_refusal(refused)
                raise refused
            await self._wait_for_another_try(status, headers, attempt, attempts, usage, subject)

    async def after_refusal(self, refused: GraphError) -> None:
        """Forget the token if a permission is missing: what is granted now stands only in new ones."""
        if refused.reason == "permission" and hasattr(self._credential, "renew"):
            await self._credential.renew()

    async def _wait_for_another_try(
        self,
        status: int,
        headers: Mapping[str, str],
        attempt: int,
        attempts: int,
        usage: Usage,
        subject: str,
    ) -> None:
        asked = retry_after_seconds(headers.get("Retry-After"), self.policy.now())
        if status == 429:
            usage.throttled += 1
            events.GraphThrottled(
                subject=subject, retry_after_seconds=asked, scope=headers.get("x-ms-throttle-scope")
            ).emit()
        wait = self.policy.backoff(attempt) if asked is None else asked
        if wait > self.policy.longest_wait or attempt >= attempts:
            if status == 429 or asked is not None:
                raise _throttled(subject, wait)
            raise GraphUnreachable(
                f"Graph answered {status} for {subject} {attempt} times; the run goes on later."
            )
        usage.retried += 1
        if status == 429:
            self.pacer.hold(wait)
        else:
            await self.policy.sleep(wait)

    def observe(self, headers: Mapping[str, str], usage: Usage) -> None:
        """Count what an answer cost, and slow down where it says that we ask too much."""
        usage.resource_units += _whole_number(headers.get("x-ms-resource-unit"))
        self.pacer.observe(headers.get("x-ms-throttle-limit-percentage"))

    def own_link(self, link: str, subject: str) -> str:
        """The link, if it leads to the host that we ask; the token must not travel anywhere else."""
        asked = urlsplit(self.origin)
        try:
            given = urlsplit(link)
            # What httpx would not send must fail here, as an answer of Graph's and not as a fault of ours.
            self._parse_url(link)
        except (ValueError, self._invalid_url):
            raise InvalidPage(f"{subject}: Graph sent a link that is no URL. It was not followed.") from None
        if (given.scheme, given.netloc) != (asked.scheme, asked.netloc):
            raise InvalidPage(
                f"{subject}: the next page is said to be on {given.hostname or 'no host'}, "
                f"not on {asked.netloc}. It was not followed."
            )
        return link


def _throttled(subject: str, seconds: float) -> GraphThrottled:
    return GraphThrottled(
        f"Graph throttles {subject} and asks to wait {seconds:.0f} s; the run goes on then.", seconds
    )


def _whole_number(value: str | None) -> int:
    return int(value) if value and value.isdecimal() else 0
