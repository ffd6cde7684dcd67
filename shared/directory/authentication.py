"""What a user can sign in with: from a row of the registration report, or from the user's own methods.

The report is the rule: one paged list for everybody, but only with a P1 licence and AuditLog.Read.All.
Without it, each user's methods are read in turn, within a budget, and put into the report's vocabulary.
"""

import msgspec

from shared.directory.records import Authentication
from shared.directory.values import text, time
from shared.graph.objects import Method, RegistrationDetails

PHONE_TYPES = {"mobile": "mobilePhone", "alternateMobile": "alternateMobilePhone", "office": "officePhone"}

METHOD_NAMES = {
    "#microsoft.graph.emailAuthenticationMethod": "email",
    "#microsoft.graph.fido2AuthenticationMethod": "fido2SecurityKey",
    "#microsoft.graph.hardwareOathAuthenticationMethod": "hardwareOneTimePasscode",
    "#microsoft.graph.microsoftAuthenticatorAuthenticationMethod": "microsoftAuthenticatorPush",
    "#microsoft.graph.platformCredentialAuthenticationMethod": "macOsSecureEnclaveKey",
    "#microsoft.graph.softwareOathAuthenticationMethod": "softwareOneTimePasscode",
    "#microsoft.graph.temporaryAccessPassAuthenticationMethod": "temporaryAccessPass",
    "#microsoft.graph.windowsHelloForBusinessAuthenticationMethod": "windowsHelloForBusiness",
}
"""Graph's types in the vocabulary of the report. A password is no entry there."""

SECOND_FACTORS = (frozenset(METHOD_NAMES.values()) | frozenset(PHONE_TYPES.values())) - {
    "email",
    "temporaryAccessPass",
}
"""What counts as registered for MFA. E-mail only resets a password; a temporary pass ends by itself."""


class AuthenticationRow(msgspec.Struct, array_like=True, gc=False):
    """What is known of one user, on its way to the build."""

    id: str
    authentication: Authentication


def methods_in_report_words(methods: list[Method]) -> list[str]:
    """Sorted names without duplicates. A type that we do not know keeps Graph's name for it."""
    names = set()
    for method in methods:
        kind = method.odata_type
        if kind == "#microsoft.graph.passwordAuthenticationMethod":
            continue
        if kind == "#microsoft.graph.phoneAuthenticationMethod":
            names.add(PHONE_TYPES.get(method.phone_type or "", "mobilePhone"))
        else:
            plain = kind.removeprefix("#microsoft.graph.").removesuffix("AuthenticationMethod")
            names.add(METHOD_NAMES.get(kind, plain))
    return sorted(names)


def from_report(row: RegistrationDetails) -> Authentication:
    default = text(row.default_mfa_method)
    return Authentication(
        row.is_mfa_registered,
        row.is_mfa_capable,
        row.is_passwordless_capable,
        sorted(row.methods_registered) if row.methods_registered is not None else None,
        # "none" is the report's word for no default.
        default if default != "none" else None,
        row.is_admin,
        "report",
        time(row.last_updated_date_time),
    )


def report_row(row: RegistrationDetails) -> AuthenticationRow:
    return AuthenticationRow(row.id, from_report(row))


def from_methods(methods: list[str], read_at: str) -> Authentication:
    """What the methods say by themselves. Whether policy allows them (`…_capable`) they do not say."""
    return Authentication(
        is_mfa_registered=not SECOND_FACTORS.isdisjoint(methods),
        methods=methods,
        source="methods",
        as_of=read_at,
    )
