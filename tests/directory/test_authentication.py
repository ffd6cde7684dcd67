"""What a user can sign in with, in the words of the registration report, whatever the source."""

import msgspec
import pytest

from shared.directory.authentication import (
    from_methods,
    from_report,
    methods_in_report_words,
)
from shared.graph.objects import Method, RegistrationDetails

PASSWORD = Method("#microsoft.graph.passwordAuthenticationMethod")


def method(kind: str, phone_type: str | None = None) -> Method:
    return Method(f"#microsoft.graph.{kind}AuthenticationMethod", phone_type)


@pytest.mark.parametrize(
    ("graphs", "reports"),
    [
        (method("email"), "email"),
        (method("fido2"), "fido2SecurityKey"),
        (method("hardwareOath"), "hardwareOneTimePasscode"),
        (method("microsoftAuthenticator"), "microsoftAuthenticatorPush"),
        (method("platformCredential"), "macOsSecureEnclaveKey"),
        (method("softwareOath"), "softwareOneTimePasscode"),
        (method("temporaryAccessPass"), "temporaryAccessPass"),
        (method("windowsHelloForBusiness"), "windowsHelloForBusiness"),
        (method("phone", "mobile"), "mobilePhone"),
        (method("phone", "alternateMobile"), "alternateMobilePhone"),
        (method("phone", "office"), "officePhone"),
        (method("phone"), "mobilePhone"),
        (method("somethingNew"), "somethingNew"),
    ],
)
def test_type_of_graph_in_the_words_of_the_report(graphs: Method, reports: str) -> None:
    assert methods_in_report_words([PASSWORD, graphs]) == [reports]


def test_methods_are_sorted_and_named_once() -> None:
    methods = [method("windowsHelloForBusiness"), method("email"), method("windowsHelloForBusiness")]
    assert methods_in_report_words(methods) == ["email", "windowsHelloForBusiness"]


def test_password_alone_is_no_method() -> None:
    assert methods_in_report_words([PASSWORD]) == []
    assert methods_in_report_words([]) == []


@pytest.mark.parametrize(
    ("methods", "registered"),
    [
        ([], False),
        (["email"], False),
        (["temporaryAccessPass"], False),
        (["email", "temporaryAccessPass"], False),
        (["mobilePhone"], True),
        (["email", "fido2SecurityKey"], True),
        (["microsoftAuthenticatorPush"], True),
        (["softwareOneTimePasscode"], True),
        (["hardwareOneTimePasscode"], True),
        (["windowsHelloForBusiness"], True),
    ],
)
def test_mfa_is_derived_from_the_methods(methods: list[str], registered: bool) -> None:
    assert from_methods(methods, "2026-01-01T00:00:00Z").is_mfa_registered is registered


def test_methods_leave_out_what_they_do_not_say() -> None:
    """Whether policy allows a method, which one is the default, and who is an administrator."""
    authentication = from_methods(["fido2SecurityKey"], "2026-01-01T00:00:00Z")
    assert msgspec.to_builtins(authentication) == {
        "is_mfa_registered": True,
        "methods": ["fido2SecurityKey"],
        "source": "methods",
        "as_of": "2026-01-01T00:00:00Z",
    }


def test_row_of_the_report() -> None:
    row = RegistrationDetails(
        "a",
        is_mfa_registered=True,
        is_mfa_capable=False,
        is_passwordless_capable=False,
        is_admin=True,
        methods_registered=["windowsHelloForBusiness", "email"],
        default_mfa_method="none",
        last_updated_date_time="2026-01-01T00:00:00.1234567Z",
    )
    assert msgspec.to_builtins(from_report(row)) == {
        "is_mfa_registered": True,
        "is_mfa_capable": False,
        "is_passwordless_capable": False,
        "methods": ["email", "windowsHelloForBusiness"],
        "is_admin": True,
        "source": "report",
        "as_of": "2026-01-01T00:00:00.123456Z",
    }


def test_row_without_values_claims_nothing() -> None:
    assert msgspec.to_builtins(from_report(RegistrationDetails("a"))) == {"source": "report"}


def test_default_method_and_an_empty_list_stay() -> None:
    row = RegistrationDetails("a", methods_registered=[], default_mfa_method="mobilePhone")
    authentication = from_report(row)
    assert (authentication.methods, authentication.default_method) == ([], "mobilePhone")
