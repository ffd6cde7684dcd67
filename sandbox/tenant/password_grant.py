"""The password grant: one user, one password, and the first of Entra's checks that fails.

In Entra's order: the application, the request, the user, the lockout, the password, what the user's state and
the policies say, the assignment to the application. A token is the rarest end.
"""

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from sandbox.tenant.accounts import SignInMethod
from sandbox.tenant.client_authentication import ClientAuthentication, Form
from sandbox.tenant.configuration import RESOURCES, Client
from sandbox.tenant.entra_errors import EntraError, missing_parameter
from sandbox.tenant.messages import Call, JsonObject, Reply, json_reply
from sandbox.tenant.sign_in_errors import MALICIOUS_ADDRESS, refused_sign_in

if TYPE_CHECKING:
    from sandbox.tenant.tenant import Tenant

PERSONAL_DOMAINS = frozenset({"outlook.com", "hotmail.com", "live.com", "msn.com"})
LONGEST_PASSWORD = 256
_OPENID_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})
_DOMAIN = re.compile(r"[0-9A-Za-z.-]+")


@dataclass(frozen=True, slots=True)
class SignIn:
    """One line of the sign-in log. `user_id` is None for a name that nobody has; `codes` is empty for a
    token."""

    time: float
    username: str
    user_id: str | None
    client_id: str
    codes: tuple[int, ...]

    @property
    def code(self) -> int:
        """The AADSTS code, 0 for a token."""
        return self.codes[0] if self.codes else 0


class PasswordGrant:
    """`grant_type=password` of one tenant."""

    def __init__(self, tenant: "Tenant", clients: ClientAuthentication) -> None:
        self._tenant = tenant
        self._clients = clients

    def answer(self, call: Call, form: Form) -> Reply:
        """Tokens, or EntraError. Every request that names a user is in the sign-in log."""
        client = self._clients.authenticated(call, form)
        username, password = _required(form, "username"), _required(form, "password")
        scopes = _scopes(form)
        user = self._tenant.directory.find_user(username) if "@" in username else None
        user_id = None if user is None else user["id"]
        if user_id is not None:
            self._tenant.lockout.statistics[user_id].attempts += 1
        codes: tuple[int, ...] = ()
        try:
            if user is None:
                self._refuse_stranger(client, username)
            else:
                self._check_user(client, user)
                self._check_password(client, user, password)
                self._check_state(client, user)
        except EntraError as error:
            codes = tuple(error.codes)
            raise
        finally:
            self._tenant.sign_ins.append(
                SignIn(self._tenant.clock(), username, user_id, client.client_id, codes)
            )
        assert user is not None
        return self._tokens(client, user, scopes)

    def _refuse_stranger(self, client: Client, username: str) -> None:
        """Nobody here has this user principal name; another address of a user does not count."""
        domain = username.rpartition("@")[2].casefold()
        if "@" in username and not _DOMAIN.fullmatch(domain):
            raise EntraError(
                50029, "invalid_request", "Invalid URI - domain name contains invalid characters."
            )
        if domain in PERSONAL_DOMAINS:
            self._refuse(client, (500208,))
        wanted = username.casefold()
        for user in self._tenant.directory.users.values():
            if (user.get("mail") or "").casefold() == wanted and _home_is_elsewhere(user):
                self._check_user(client, user)
        self._refuse(client, (50034,))

    def _check_user(self, client: Client, user: JsonObject) -> None:
        """Guests and external members have their password in another directory."""
        if user.get("externalUserState") == "PendingAcceptance":
            self._refuse(client, (50014,))
        if user.get("userType") == "Guest":
            self._refuse(client, (50020,))
        if _home_is_elsewhere(user):
            self._refuse(client, (90072,))

    def _check_password(self, client: Client, user: JsonObject, password: str) -> None:
        tenant, user_id = self._tenant, user["id"]
        account, method = tenant.accounts[user_id], self.method_of(user)
        if method == "federated" and not tenant.cloud_password_validation:
            self._refuse(client, (50126,))
        if tenant.malicious_address:
            raise refused_sign_in((50053,), text=MALICIOUS_ADDRESS)
        if tenant.lockout.is_locked(user_id):
            self._refuse(client, (50053,))
        if account.instead_of_password:
            self._refuse(client, account.instead_of_password)
        if account.password is None:
            self._refuse(client, (50056,))
        if len(password) > LONGEST_PASSWORD:
            self._refuse(client, (50052,))
        # Entra does not take a password with white space around it, even where it is the user's.
        is_right = hmac.compare_digest(password.encode(), account.password.encode())
        if not is_right or password != password.strip():
            tenant.lockout.failed(user_id, password, repeats_count=method == "pass-through")
            self._refuse(client, (50126,))

    def _check_state(self, client: Client, user: JsonObject) -> None:
        """What comes after the right password."""
        account = self._tenant.accounts[user["id"]]
        if not user["accountEnabled"]:
            self._refuse(client, (50057,))
        if account.expired:
            self._refuse(client, (50144 if self.method_of(user) == "pass-through" else 50055,))
        if account.after_password:
            self._refuse(client, account.after_password)
        if client.assignment_required and user["id"] not in client.assigned:
            self._refuse(client, (50105,))

    def method_of(self, user: JsonObject) -> SignInMethod:
        """Where the user's password is checked."""
        method = self._tenant.accounts[user["id"]].method
        if method is not None:
            return method
        domain = self._tenant.domains.get(user["userPrincipalName"].rpartition("@")[2].casefold())
        is_federated = domain is not None and domain.authentication_type == "Federated"
        return "federated" if is_federated else "cloud"

    def _refuse(self, client: Client, codes: Iterable[int]) -> NoReturn:
        raise refused_sign_in(codes, client_id=client.client_id, tenant_id=self._tenant.tenant_id)

    def _tokens(self, client: Client, user: JsonObject, scopes: list[str]) -> Reply:
        tenant = self._tenant
        resource, granted = tenant.graph_resource, sorted({*scopes, *_OPENID_SCOPES} - {"offline_access"})
        issuer = tenant.issuer
        who: JsonObject = {
            "oid": user["id"],
            "sub": user["id"],
            "name": user["displayName"],
        }
        access = issuer.sign(
            who
            | {
                "aud": resource,
                "iss": issuer.issuer,
                "appid": client.client_id,
                "appidacr": "1",
                "amr": ["pwd"],
                "idtyp": "user",
                "scp": " ".join(granted),
                "upn": user["userPrincipalName"],
                "unique_name": user["userPrincipalName"],
                "ver": "1.0",
            },
            tenant.token_lifetime,
        )
        body: JsonObject = {
            "token_type": "Bearer",
            "scope": " ".join(granted),
            "expires_in": access.expires_in,
            "ext_expires_in": access.expires_in,
            "access_token": access.text,
        }
        if "openid" in scopes:
            identity: dict[str, Any] = {
                "aud": client.client_id,
                "iss": issuer.issuer_v2,
                "preferred_username": user["userPrincipalName"],
                "ver": "2.0",
            }
            body["id_token"] = issuer.sign(who | identity, tenant.token_lifetime).text
        return json_reply(body)


def _required(form: Form, name: str) -> str:
    if name not in form:
        raise missing_parameter(name)
    if not form[name]:
        raise EntraError(
            90014,
            "invalid_request",
            f"The required field '{name}' is missing from the credential. Ensure that you have all the "
            "necessary parameters for the login request.",
        )
    return form[name]


def _scopes(form: Form) -> list[str]:
    """The scopes asked for: OpenID's, delegated permissions of Graph, or one resource's default."""
    scopes = form.get("scope", "").split()
    if not scopes:
        raise missing_parameter("scope")
    for scope in scopes:
        resource, slash, _ = scope.rpartition("/")
        if slash and resource not in RESOURCES:
            raise EntraError(
                500011,
                "invalid_resource",
                f"The resource principal named {resource} was not found in the tenant named Contoso.",
            )
        if not slash and scope not in _OPENID_SCOPES and "." not in scope:
            raise EntraError(
                70011,
                "invalid_scope",
                f"The provided value for the input parameter 'scope' is not valid. The scope {scope} is not "
                "valid.",
            )
    return scopes


def _home_is_elsewhere(user: JsonObject) -> bool:
    return user.get("userType") == "Guest" or user.get("creationType") == "Invitation"
