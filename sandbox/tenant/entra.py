"""Entra's endpoints: tokens for applications, discovery, and the managed identity endpoint of App Service.

Grants are a table, so that another one is added beside `client_credentials`. Errors have Entra's body:
`error_codes` is what a client should read, `error_description` is for people.
"""

import hmac
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.tenant.configuration import Client
from sandbox.tenant.messages import Call, JsonObject, Reply, json_reply
from sandbox.tenant.tokens import InvalidTokenError

if TYPE_CHECKING:
    from sandbox.tenant.tenant import Tenant

type Form = Mapping[str, str]

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

RESOURCES = frozenset(
    {
        "https://graph.microsoft.com",
        "https://graph.microsoft.us",
        "https://dod-graph.microsoft.us",
        "https://microsoftgraph.chinacloudapi.cn",
        "https://vault.azure.net",
        "https://vault.usgovcloudapi.net",
        "https://vault.azure.cn",
        "https://storage.azure.com",
    }
)
TOKEN_EXCHANGE_RESOURCES = frozenset({"api://AzureADTokenExchange"})


class EntraError(Exception):
    """An AADSTS error and the HTTP answer that carries it."""

    def __init__(self, code: int, error: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.error = error
        self.status = status


class Entra:
    """The sign-in service of one tenant."""

    def __init__(self, tenant: "Tenant") -> None:
        self._tenant = tenant
        self._grants = {"client_credentials": self._client_credentials}

    def answers(self, path: str) -> bool:
        """Whether this path belongs to the sign-in service."""
        return path.endswith(
            (
                "/oauth2/v2.0/token",
                "/.well-known/openid-configuration",
                "/discovery/v2.0/keys",
                "/discovery/instance",
            )
        )

    async def answer(self, call: Call) -> Reply:
        """Tokens and discovery documents."""
        try:
            if call.path.endswith("/discovery/instance"):
                return self._instance(call)
            tenant_id = call.path.split("/")[1]
            self._check_tenant(tenant_id)
            if call.path.endswith("/keys"):
                return json_reply(self._tenant.issuer.key_set())
            if call.path.endswith("/openid-configuration"):
                return self._discovery(call, tenant_id)
            if call.method != "POST":
                raise EntraError(900561, "invalid_request", "The endpoint only accepts POST requests.", 400)
            form = dict(parse_qsl(call.body.decode(), keep_blank_values=True))
            grant = self._grants.get(form.get("grant_type", ""))
            if grant is None:
                raise EntraError(
                    70003,
                    "unsupported_grant_type",
                    f"The app requested an unsupported grant type '{form.get('grant_type')}'.",
                )
            return grant(call, form)
        except EntraError as error:
            return self._refusal(error, call)

    def _check_tenant(self, tenant_id: str) -> None:
        if tenant_id.lower() not in {self._tenant.tenant_id, self._tenant.domain}:
            raise EntraError(
                90002,
                "invalid_request",
                f"Tenant '{tenant_id}' not found. Check to make sure you have the correct tenant ID "
                "and are signing "
                "into the correct cloud.",
            )

    def _discovery(self, call: Call, tenant_id: str) -> Reply:
        base = f"{call.origin}/{tenant_id}"
        return json_reply(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post",
                    "private_key_jwt",
                    "client_secret_basic",
                ],
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_modes_supported": ["query", "fragment", "form_post"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "tenant_region_scope": "EU",
                "cloud_instance_name": "microsoftonline.com",
            }
        )

    def _instance(self, call: Call) -> Reply:
        host = call.origin.split("://", 1)[1]
        document = f"{self._tenant.tenant_id}/v2.0/.well-known/openid-configuration"
        return json_reply(
            {
                "tenant_discovery_endpoint": f"{call.origin}/{document}",
                "api-version": "1.1",
                "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
            }
        )

    # --- grants -----------------------------------------------------------------------------------

    def _client_credentials(self, call: Call, form: Form) -> Reply:
        client = self._authenticated_client(call, form)
        resource = self._resource(form)
        token = self._tenant.token_for(client, resource)
        return json_reply(
            {
                "token_type": "Bearer",
                "expires_in": token.expires_in,
                "ext_expires_in": token.expires_in,
                "access_token": token.text,
            }
        )

    def _resource(self, form: Form) -> str:
        scope = form.get("scope")
        if not scope:
            raise EntraError(
                900144,
                "invalid_request",
                "The request body must contain the following parameter: 'scope'.",
            )
        resource, suffix = scope.removesuffix("/.default").rstrip("/"), scope.endswith("/.default")
        if not suffix or " " in scope:
            raise EntraError(
                70011,
                "invalid_scope",
                "The provided request must include a 'scope' input parameter. The provided value for "
                "the input "
                f"parameter 'scope' is not valid. The scope {scope} is not valid.",
            )
        if resource not in RESOURCES:
            raise EntraError(
                500011,
                "invalid_resource",
                f"The resource principal named {resource} was not found in the tenant named Contoso.",
            )
        return resource

    def _authenticated_client(self, call: Call, form: Form) -> Client:
        client_id = form.get("client_id", "")
        if not client_id:
            raise EntraError(
                900144,
                "invalid_request",
                "The request body must contain the following parameter: 'client_id'.",
            )
        client = self._tenant.clients.get(client_id)
        if client is None:
            raise EntraError(
                700016,
                "unauthorized_client",
                f"Application with identifier '{client_id}' was not found in the directory 'Contoso'. "
                "This can happen "
                "if the application has not been installed by the administrator of the tenant.",
            )
        if "client_assertion" in form:
            self._check_assertion(call, client, form)
        elif form.get("client_secret"):
            self._check_secret(client, form["client_secret"])
        else:
            raise EntraError(
                7000218,
                "invalid_client",
                "The request body must contain the following parameter: 'client_assertion' or "
                "'client_secret'.",
                401,
            )
        return client

    def _check_secret(self, client: Client, given: str) -> None:
        for secret in client.secrets:
            if hmac.compare_digest(secret.value.encode(), given.encode()):
                if secret.expires_at is not None and secret.expires_at <= self._tenant.clock():
                    raise EntraError(
                        7000222,
                        "invalid_client",
                        f"The provided client secret keys for app '{client.client_id}' are expired. "
                        "Visit the Azure "
                        "portal to create new keys for your app.",
                        401,
                    )
                return
        raise EntraError(
            7000215,
            "invalid_client",
            "Invalid client secret provided. Ensure the secret being sent in the request is the "
            "client secret value, "
            f"not the client secret ID, for a secret added to app '{client.client_id}'.",
            401,
        )

    def _check_assertion(self, call: Call, client: Client, form: Form) -> None:
        if form.get("client_assertion_type") != JWT_BEARER:
            raise EntraError(
                900144,
                "invalid_request",
                "The request body must contain the following parameter: 'client_assertion_type'.",
            )
        assertion = form["client_assertion"]
        try:
            claims = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise EntraError(50027, "invalid_request", "JWT token is invalid or malformed.", 401) from error
        if claims.get("iss") == client.client_id:
            self._check_certificate_assertion(call, client, assertion)
        else:
            self._check_federated_assertion(client, assertion)

    def _check_certificate_assertion(self, call: Call, client: Client, assertion: str) -> None:
        header = jwt.get_unverified_header(assertion)
        for certificate in client.certificates:
            thumbprints = {
                "x5t": jwt.utils.base64url_encode(certificate.fingerprint(hashes.SHA1())).decode(),
                "x5t#S256": jwt.utils.base64url_encode(certificate.fingerprint(hashes.SHA256())).decode(),
            }
            if not any(header.get(name, "").rstrip("=") == value for name, value in thumbprints.items()):
                continue
            key = certificate.public_key()
            if not isinstance(key, rsa.RSAPublicKey):
                continue
            try:
                jwt.decode(
                    assertion,
                    key,
                    algorithms=["RS256", "PS256"],
                    audience=[f"{call.origin}{call.path}", f"{call.origin}/{self._tenant.tenant_id}/v2.0"],
                    options={"require": ["aud", "exp", "iss", "sub"]},
                )
            except jwt.InvalidAudienceError as error:
                raise EntraError(
                    700023, "invalid_client", "Client assertion audience claim does not match.", 401
                ) from error
            except jwt.ExpiredSignatureError as error:
                raise EntraError(
                    700024,
                    "invalid_client",
                    "Client assertion is not within its valid time range.",
                    401,
                ) from error
            except jwt.PyJWTError as error:
                raise EntraError(
                    700027, "invalid_client", "Client assertion failed signature validation.", 401
                ) from error
            return
        raise EntraError(
            700027,
            "invalid_client",
            "The certificate with identifier used to sign the client assertion is not registered on "
            "application. "
            "[Reason - The key was not found.]",
            401,
        )

    def _check_federated_assertion(self, client: Client, assertion: str) -> None:
        audiences = {credential.audience for credential in client.federated}
        try:
            claims = self._tenant.issuer.verify(assertion, audiences or TOKEN_EXCHANGE_RESOURCES)
        except InvalidTokenError as error:
            raise EntraError(
                700211,
                "invalid_client",
                "No matching federated identity record found for presented assertion issuer or "
                f"audience: {error}",
                401,
            ) from error
        if not any(credential.subject == claims["sub"] for credential in client.federated):
            raise EntraError(
                700213,
                "invalid_client",
                "No matching federated identity record found for presented assertion subject "
                f"'{claims['sub']}'.",
                401,
            )

    def _refusal(self, error: EntraError, call: Call) -> Reply:
        trace_id = str(uuid.uuid4())
        correlation_id = call.headers.get("client-request-id", str(uuid.uuid4()))
        moment = self._tenant.now().strftime("%Y-%m-%d %H:%M:%SZ")
        body: JsonObject = {
            "error": error.error,
            "error_description": (
                f"AADSTS{error.code}: {error} Trace ID: {trace_id} Correlation ID: {correlation_id} "
                f"Timestamp: {moment}"
            ),
            "error_codes": [error.code],
            "timestamp": moment,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": f"{call.origin}/error?code={error.code}",
        }
        return json_reply(body, error.status, {"x-ms-request-id": trace_id})


class ManagedIdentity:
    """The token endpoint that App Service gives to an app: `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`."""

    PATH = "/msi/token"

    def __init__(self, tenant: "Tenant") -> None:
        self._tenant = tenant

    async def answer(self, call: Call) -> Reply:
        """A token for the app's own identity; a request without a client id asks for the system-assigned
        one."""
        given = call.headers.get("X-IDENTITY-HEADER", "")
        if not hmac.compare_digest(given.encode(), self._tenant.identity_header.encode()):
            return self._refusal(401, "The request is missing X-IDENTITY-HEADER, or its value is wrong.")
        if call.query.get("api-version") != "2019-08-01":
            return self._refusal(400, f"Unsupported api-version {call.query.get('api-version')!r}.")
        resource = call.query.get("resource", "").rstrip("/")
        if resource not in RESOURCES | TOKEN_EXCHANGE_RESOURCES:
            return self._refusal(
                400,
                "AADSTS500011: The resource principal named "
                f"{resource} was not found in the tenant named Contoso.",
            )
        identity = self._tenant.managed_identity
        if call.query.get("client_id", identity.client_id) != identity.client_id:
            return self._refusal(
                400,
                "No User Assigned or Delegated Managed Identity found for specified "
                "ClientId/ResourceId/PrincipalId.",
            )
        token = self._tenant.token_for(identity, resource)
        return json_reply(
            {
                "access_token": token.text,
                "client_id": identity.client_id,
                "expires_on": str(token.expires_on),
                "not_before": str(token.not_before),
                "resource": call.query["resource"],
                "token_type": "Bearer",
            }
        )

    def _refusal(self, status: int, message: str) -> Reply:
        return json_reply(
            {"statusCode": status, "message": message, "correlationId": str(uuid.uuid4())}, status
        )
