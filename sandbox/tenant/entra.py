"""Entra's endpoints: tokens, by a table of grants, and discovery."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from sandbox.tenant.client_authentication import ClientAuthentication, Form
from sandbox.tenant.configuration import RESOURCES, Client
from sandbox.tenant.entra_errors import EntraError, missing_parameter
from sandbox.tenant.messages import Call, Reply, json_reply
from sandbox.tenant.password_grant import PasswordGrant

if TYPE_CHECKING:
    from sandbox.tenant.tenant import Tenant

type Grant = Callable[[Call, Form], Reply]


class Entra:
    """The sign-in service of one tenant."""

    def __init__(self, tenant: "Tenant") -> None:
        self._tenant = tenant
        self._clients = ClientAuthentication(tenant)
        self._grants: dict[str, Grant] = {
            "client_credentials": self._client_credentials,
            "password": PasswordGrant(tenant, self._clients).answer,
        }

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
            form = _form(call) if call.method == "POST" else {}
            self._check_tenant(tenant_id, form.get("grant_type"))
            if call.path.endswith("/keys"):
                return json_reply(self._tenant.issuer.key_set())
            if call.path.endswith("/openid-configuration"):
                return self._discovery(call, tenant_id)
            if call.method != "POST":
                raise EntraError(900561, "invalid_request", "The endpoint only accepts POST requests.", 400)
            return self._grant(form)(call, form)
        except EntraError as error:
            return error.reply(call, self._tenant.now())

    def _grant(self, form: Form) -> Grant:
        name = form.get("grant_type")
        if not name:
            raise missing_parameter("grant_type")
        if name not in self._grants:
            raise EntraError(
                70003, "unsupported_grant_type", f"The app requested an unsupported grant type '{name}'."
            )
        return self._grants[name]

    def _check_tenant(self, tenant_id: str, grant_type: str | None) -> None:
        if grant_type == "password":
            _refuse_shared_endpoint(tenant_id.lower())
        domain = self._tenant.domains.get(tenant_id.lower())
        if tenant_id.lower() != self._tenant.tenant_id and (domain is None or not domain.is_verified):
            raise EntraError(
                90002,
                "invalid_request",
                f"Tenant '{tenant_id}' not found. Check to make sure you have the correct tenant ID "
                "and are signing into the correct cloud.",
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
        client = self._clients.authenticated(call, form)
        resource = self._resource(form)
        self._check_assignment(client, resource)
        token = self._tenant.token_for(client, resource)
        return json_reply(
            {
                "token_type": "Bearer",
                "expires_in": token.expires_in,
                "ext_expires_in": token.expires_in,
                "access_token": token.text,
            }
        )

    def _check_assignment(self, client: Client, resource: str) -> None:
        """Without assignment required, Entra gives a token to any application of the tenant, with no role."""
        api = self._tenant.api(resource)
        if api is not None and api.assignment_required and not client.app_roles.get(api.client_id):
            raise EntraError(
                501051,
                "invalid_grant",
                f"Application '{client.client_id}'({client.display_name}) is not assigned to a role for the "
                f"application '{resource}'({api.display_name}).",
            )

    def _resource(self, form: Form) -> str:
        scope = form.get("scope")
        if not scope:
            raise missing_parameter("scope")
        resource, suffix = scope.removesuffix("/.default").rstrip("/"), scope.endswith("/.default")
        if not suffix or " " in scope:
            raise EntraError(
                70011,
                "invalid_scope",
                "The provided request must include a 'scope' input parameter. The provided value for "
                "the input "
                f"parameter 'scope' is not valid. The scope {scope} is not valid.",
            )
        if resource not in RESOURCES and self._tenant.api(resource) is None:
            raise EntraError(
                500011,
                "invalid_resource",
                f"The resource principal named {resource} was not found in the tenant named Contoso.",
            )
        return resource


def _form(call: Call) -> Form:
    try:
        return dict(parse_qsl(call.body.decode(), keep_blank_values=True))
    except UnicodeDecodeError as error:
        raise EntraError(
            9002313, "invalid_request", "Invalid request. Request is malformed or invalid."
        ) from error


def _refuse_shared_endpoint(segment: str) -> None:
    """A password needs the user's own tenant."""
    if segment in {"common", "consumers"}:
        raise EntraError(
            9001023,
            "invalid_request",
            "The grant type is not supported over the /common or /consumers endpoints. Please use the "
            "/organizations or tenant-specific endpoint.",
        )
    if segment == "organizations":
        raise EntraError(
            50194,
            "invalid_request",
            "Application is not configured as a multi-tenant application. Usage of the /common endpoint is "
            "not supported for such apps created after '10/15/2018'. Use a tenant-specific endpoint.",
        )
