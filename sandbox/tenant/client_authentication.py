"""Which application asks for a token: its secret, its certificate, or a federated credential."""

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.tenant.configuration import TOKEN_EXCHANGE_AUDIENCES, Client
from sandbox.tenant.entra_errors import EntraError, missing_parameter
from sandbox.tenant.messages import Call
from sandbox.tenant.tokens import InvalidTokenError

if TYPE_CHECKING:
    from sandbox.tenant.tenant import Tenant

type Form = Mapping[str, str]

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class ClientAuthentication:
    """Checks the credentials of app registrations."""

    def __init__(self, tenant: "Tenant") -> None:
        self._tenant = tenant

    def authenticated(self, call: Call, form: Form) -> Client:
        """The application behind a token request; EntraError when it does not prove who it is."""
        client_id = form.get("client_id", "")
        if not client_id:
            raise missing_parameter("client_id")
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
        if not client.enabled:
            raise EntraError(
                7000112,
                "unauthorized_client",
                f"Application '{client.client_id}'({client.display_name}) is disabled.",
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
            raise missing_parameter("client_assertion_type")
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
            claims = self._tenant.issuer.verify(assertion, audiences or TOKEN_EXCHANGE_AUDIENCES)
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
