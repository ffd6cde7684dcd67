"""What Entra says when a user's sign-in does not end in a token, by AADSTS code.

Any other code can be answered as well: with a text that says nothing, as Microsoft may add one on any day.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sandbox.tenant.entra_errors import EntraError
from sandbox.tenant.messages import JsonObject


@dataclass(frozen=True, slots=True)
class _Refusal:
    text: str
    suberror: str | None = None
    error: str = "invalid_grant"
    status: int = 400


_MFA = (
    "Due to a configuration change made by your administrator, or because you moved to a new location, you "
    "must {what} to access '{client_id}'."
)
_DEVICE = "Device is not in required device state: {what}. Conditional Access policy requires it."
_TRANSIENT = "temporarily_unavailable"

_REFUSALS = {
    # before the password
    50014: _Refusal("The guest user account has not completed its redemption: its invitation is pending."),
    50020: _Refusal(
        "User account '{{EmailHidden}}' from an external identity provider does not exist in tenant "
        "'Contoso' and cannot access the application '{client_id}' in that tenant. The account needs "
        "to be added as an external user in the tenant first."
    ),
    50034: _Refusal(
        "The user account {{EmailHidden}} does not exist in the {tenant_id} directory. To sign into this "
        "application, the account must be added to the directory."
    ),
    500208: _Refusal("The domain is not a valid login domain for the account type."),
    90072: _Refusal(
        "User account '{{EmailHidden}}' from an external identity provider does not exist in tenant "
        "'Contoso' and cannot access the application '{client_id}' in that tenant. Sign out and sign in "
        "again with a different Azure Active Directory user account."
    ),
    # instead of an answer about the password
    50052: _Refusal("The password entered exceeds the maximum length of 256."),
    50053: _Refusal(
        "The account is locked, you've tried to sign in too many times with an incorrect user ID or password."
    ),
    50056: _Refusal("Invalid or null password: password does not exist in the directory for this user."),
    50126: _Refusal("Error validating credentials due to invalid username or password."),
    50196: _Refusal(
        "The server terminated an operation because it encountered a client request loop. Please contact "
        "your app vendor."
    ),
    80001: _Refusal("The Authentication Agent is unable to connect to Active Directory."),
    80002: _Refusal("The Authentication Agent's password validation request timed out."),
    80003: _Refusal("Invalid response received by Authentication Agent."),
    80004: _Refusal("Incorrect User Principal Name (UPN) used in sign-in request."),
    80005: _Refusal("Authentication Agent: an unpredictable WebException was encountered."),
    80007: _Refusal("The Authentication Agent is unable to validate user's password."),
    80010: _Refusal("Authentication Agent unable to decrypt password."),
    80011: _Refusal("Authentication Agent unable to retrieve decryption key."),
    80012: _Refusal("The users attempted to log on outside of the allowed hours."),
    80013: _Refusal("The authentication attempt could not be completed due to time skew."),
    80014: _Refusal("Authentication Agent validation request responded after the maximum elapsed time."),
    # after the password
    50055: _Refusal("The password is expired.", "user_password_expired"),
    50057: _Refusal("The user account is disabled."),
    50072: _Refusal(_MFA.replace("{what}", "enroll in multi-factor authentication"), "basic_action"),
    50074: _Refusal("Strong Authentication is required.", "basic_action"),
    50076: _Refusal(_MFA.replace("{what}", "use multi-factor authentication"), "basic_action"),
    50079: _Refusal(_MFA.replace("{what}", "enroll in multi-factor authentication"), "basic_action"),
    50105: _Refusal(
        "Your administrator has configured the application '{client_id}' to block users unless they are "
        "specifically granted ('assigned') access to the application. The signed in user "
        "'{{EmailHidden}}' is blocked because they are not a direct member of a group with access, nor had "
        "access directly assigned by an administrator."
    ),
    50144: _Refusal("User's Active Directory password has expired.", "user_password_expired"),
    50158: _Refusal("External security challenge not satisfied.", "basic_action"),
    53000: _Refusal(_DEVICE.replace("{what}", "compliant"), "device_authentication_failed"),
    53001: _Refusal(_DEVICE.replace("{what}", "domain joined"), "device_authentication_failed"),
    53003: _Refusal(
        "Access has been blocked by Conditional Access policies. The access policy does not allow token "
        "issuance.",
        "message_only",
    ),
    65001: _Refusal(
        "The user or administrator has not consented to use the application with ID '{client_id}' named "
        "'Credential probe'. Send an interactive authorization request for this user and resource.",
        "consent_required",
    ),
    # the service itself
    50000: _Refusal("There was an error issuing a token.", None, _TRANSIENT, 500),
    50033: _Refusal("A transient error has occurred. Please try again.", None, _TRANSIENT, 503),
    90006: _Refusal("The service is temporarily unavailable.", None, _TRANSIENT, 503),
    90012: _Refusal("The request timed out.", None, _TRANSIENT, 504),
    90024: _Refusal("A transient error has occurred: request budget exceeded.", None, _TRANSIENT, 503),
    90033: _Refusal("A transient error has occurred. Please try again.", None, _TRANSIENT, 503),
    90055: _Refusal("There are too many incoming requests for the tenant.", None, _TRANSIENT, 429),
}

MALICIOUS_ADDRESS = "Sign-in was blocked because it came from an IP address with malicious activity."
"""The other text of 50053."""

_BLOCKING_POLICY = "6f2d6a1c-8d0e-4b7a-9a53-0e3c1f4b7d20"


def refused_sign_in(
    codes: Iterable[int], *, client_id: str = "", tenant_id: str = "", text: str | None = None
) -> EntraError:
    """The error for one or several codes, the first of which speaks."""
    first, *others = codes
    refusal = _REFUSALS.get(first, _Refusal("The sign-in did not succeed."))
    claims: JsonObject | None = None
    if first == 53003:
        claims = {"access_token": {"capolids": {"essential": True, "values": [_BLOCKING_POLICY]}}}
    return EntraError(
        first,
        refusal.error,
        text or refusal.text.format(client_id=client_id, tenant_id=tenant_id),
        refusal.status,
        more_codes=others,
        suberror=refusal.suberror,
        claims=claims,
    )
