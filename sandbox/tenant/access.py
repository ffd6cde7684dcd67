"""Who calls Graph and what it may: the token, the permission, the licence; and the error body that
refuses."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sandbox.tenant.messages import Call, Reply, json_reply
from sandbox.tenant.tokens import InvalidTokenError

if TYPE_CHECKING:
    from sandbox.tenant.tenant import Tenant

READ_USERS = ("User.Read.All", "Directory.Read.All")
READ_GROUPS = ("Group.Read.All", "GroupMember.Read.All", "Directory.Read.All")
READ_METHODS = ("UserAuthenticationMethod.Read.All",)
READ_ORGANIZATION = ("Organization.Read.All", "Directory.Read.All", "User.Read.All")
READ_DOMAINS = ("Domain.Read.All", "Directory.Read.All")
READ_GROUP_SETTINGS = ("GroupSettings.Read.All", "Directory.Read.All")


class GraphError(Exception):
    """A refusal: HTTP status, Graph's code and message, and headers such as Location."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}

    def reply(self, call: Call, request_id: str) -> Reply:
        """Graph's error body."""
        inner = {
            "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "request-id": request_id,
            "client-request-id": call.headers.get("client-request-id", request_id),
        }
        body = {"error": {"code": self.code, "message": str(self), "innerError": inner}}
        return json_reply(body, self.status, self.headers, "application/json")


def bad_request(message: str, code: str = "BadRequest") -> GraphError:
    """400 for a request that Graph cannot parse."""
    return GraphError(400, code, message)


def unsupported(message: str) -> GraphError:
    """400 for a query option that this resource does not have."""
    return GraphError(400, "Request_UnsupportedQuery", message)


def not_found(object_id: str) -> GraphError:
    """404 for an object that is not in the directory."""
    return GraphError(
        404,
        "Request_ResourceNotFound",
        f"Resource '{object_id}' does not exist or one of its queried reference-property objects are "
        "not present.",
    )


@dataclass(frozen=True, slots=True)
class Caller:
    """The application behind a request, with the permissions that it holds right now."""

    client_id: str
    roles: frozenset[str]
    tenant: "Tenant" = field(repr=False)

    def has(self, permissions: tuple[str, ...]) -> bool:
        """Whether one of the permissions is granted."""
        return not self.roles.isdisjoint(permissions)

    def require(self, permissions: tuple[str, ...]) -> None:
        """403 unless one of the permissions is granted."""
        if not self.has(permissions):
            raise GraphError(
                403,
                "Authorization_RequestDenied",
                "Insufficient privileges to complete the operation.",
            )

    def require_audit_log(self) -> None:
        """403 unless the caller may read reports and sign-in activity, and the tenant has the licence for
        them."""
        if "AuditLog.Read.All" not in self.roles:
            raise GraphError(
                403,
                "Authentication_MSGraphPermissionMissing",
                "Calling principal does not have required MSGraph permissions AuditLog.Read.All",
            )
        if not self.tenant.premium:
            raise GraphError(
                403,
                "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
                "Neither tenant is B2C or tenant doesn't have premium license",
            )


def authenticate(tenant: "Tenant", call: Call) -> Caller:
    """The caller, or 401."""
    token = call.bearer()
    if token is None:
        raise _unauthorized("Access token is empty.")
    try:
        claims = tenant.issuer.verify(token, [tenant.graph_resource])
    except InvalidTokenError as error:
        raise _unauthorized(str(error)) from error
    client = tenant.client(claims.get("appid", ""))
    if client is None:
        raise _unauthorized("The application of this token was removed.")
    return Caller(
        client.client_id, frozenset(claims.get("roles", ())) & frozenset(client.permissions), tenant
    )


def _unauthorized(message: str) -> GraphError:
    challenge = (
        'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
        'client_id="00000003-0000-0000-c000-000000000000"'
    )
    return GraphError(401, "InvalidAuthenticationToken", message, {"WWW-Authenticate": challenge})


def new_request_id() -> str:
    """An id as Graph gives to each request."""
    return str(uuid.uuid4())
