"""The managed identity endpoint that App Service gives to an app: `IDENTITY_ENDPOINT` and
`IDENTITY_HEADER`."""

import hmac
import uuid
from typing import TYPE_CHECKING

from sandbox.tenant.configuration import RESOURCES, TOKEN_EXCHANGE_AUDIENCES
from sandbox.tenant.messages import Call, Reply, json_reply

if TYPE_CHECKING:
    from sandbox.tenant.tenant import Tenant


class ManagedIdentity:
    """Tokens for the app's own identity, without a secret."""

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
        if resource not in RESOURCES | TOKEN_EXCHANGE_AUDIENCES:
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
