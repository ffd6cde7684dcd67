"""How a generated user signs in: method objects as Graph lists them, and the report row that follows from
them."""

import random
from collections.abc import Callable

from sandbox.tenant.messages import JsonObject

type NewId = Callable[[], str]
type Moment = Callable[[int, int], str]

_REGISTERED = 0.87
_REGISTERED_GUESTS = 0.4
_STRONG = frozenset(
    {
        "mobilePhone",
        "alternateMobilePhone",
        "officePhone",
        "microsoftAuthenticatorPush",
        "microsoftAuthenticatorPasswordless",
        "softwareOneTimePasscode",
        "hardwareOneTimePasscode",
        "fido2SecurityKey",
        "passKeyDeviceBound",
        "windowsHelloForBusiness",
        "temporaryAccessPass",
    }
)
_PASSWORDLESS = frozenset(
    {
        "microsoftAuthenticatorPasswordless",
        "fido2SecurityKey",
        "passKeyDeviceBound",
        "windowsHelloForBusiness",
    }
)
_PASSWORD_METHOD_ID = "28c10230-6103-485e-b985-444c60001490"
_PHONES = {
    "mobile": ("mobilePhone", "3179e48a-750b-4051-897c-87b9720928f7"),
    "alternateMobile": ("alternateMobilePhone", "b6332ec1-7057-4abe-9331-3d72feddfe41"),
    "office": ("officePhone", "e37fc753-ff3b-4958-9484-eaa9425c82bc"),
}
_EMAIL_METHOD_ID = "3ddfcfc8-9383-446f-83cc-3ab9be4be18f"
_YUBIKEY = "ee882879-721c-4913-9775-3dfcce97072a"
_AUTHENTICATOR_PASSKEY = "de1e552d-db1d-4423-a619-566b625cdc84"
"""The attestation id of Microsoft Authenticator: a passkey bound to a phone."""


def user_methods(rng: random.Random, user: JsonObject, new_id: NewId, moment: Moment) -> list[JsonObject]:
    """Everybody has a password; about four of five enabled members have something stronger."""
    methods: list[JsonObject] = [
        {
            "@odata.type": "#microsoft.graph.passwordAuthenticationMethod",
            "id": _PASSWORD_METHOD_ID,
            "password": None,
            "createdDateTime": user.get("lastPasswordChangeDateTime"),
        }
    ]
    guest = user.get("userType") == "Guest"
    human = guest or "givenName" in user
    if not human or rng.random() > (_REGISTERED_GUESTS if guest else _REGISTERED):
        return methods
    phone = user.get("mobilePhone") or "+33 600000000"
    if rng.random() < 0.75:
        methods.append(
            {
                "@odata.type": "#microsoft.graph.microsoftAuthenticatorAuthenticationMethod",
                "id": new_id(),
                "displayName": rng.choice(("iPhone 16", "Pixel 9", "Galaxy S25")),
                "deviceTag": rng.choices(("SoftwareTokenActivated", "PasswordlessActivated"), (8, 2))[0],
                "phoneAppVersion": "6.8.21",
                "createdDateTime": moment(1, 900),
            }
        )
    kinds = rng.choices(("mobile", "alternateMobile", "office", None), (50, 3, 4, 43))[0]
    if kinds is not None or len(methods) == 1:
        phone_type = kinds or "mobile"
        methods.append(
            {
                "@odata.type": "#microsoft.graph.phoneAuthenticationMethod",
                "id": _PHONES[phone_type][1],
                "phoneNumber": phone,
                "phoneType": phone_type,
                "smsSignInState": "notAllowedByPolicy",
                "createdDateTime": moment(1, 900),
            }
        )
    if rng.random() < 0.1:
        methods.append(
            {
                "@odata.type": "#microsoft.graph.softwareOathAuthenticationMethod",
                "id": new_id(),
                "secretKey": None,
                "createdDateTime": moment(1, 900),
            }
        )
    if rng.random() < 0.01:
        methods.append(
            {
                "@odata.type": "#microsoft.graph.hardwareOathAuthenticationMethod",
                "id": new_id(),
                "createdDateTime": moment(1, 900),
                "device": {"id": new_id(), "displayName": "OATH token"},
            }
        )
    if rng.random() < 0.06:
        passkey = rng.random() < 0.5
        methods.append(
            {
                "@odata.type": "#microsoft.graph.fido2AuthenticationMethod",
                "id": f"{rng.getrandbits(128):032x}",
                "displayName": "Passkey in Authenticator" if passkey else "Blue key",
                "createdDateTime": moment(1, 900),
                "aaGuid": _AUTHENTICATOR_PASSKEY if passkey else _YUBIKEY,
                "model": "Microsoft Authenticator" if passkey else "YubiKey 5 Series",
                "attestationLevel": "attested",
                "attestationCertificates": [],
                "passkeyType": "deviceBound",
            }
        )
    if rng.random() < 0.3:
        methods.append(
            {
                "@odata.type": "#microsoft.graph.windowsHelloForBusinessAuthenticationMethod",
                "id": new_id(),
                "displayName": f"LAPTOP-{rng.getrandbits(24):06X}",
                "creationDateTime": moment(1, 900),
                "createdDateTime": moment(1, 900),
                "keyStrength": "normal",
            }
        )
    if rng.random() < 0.01:
        methods.append(
            {
                "@odata.type": "#microsoft.graph.temporaryAccessPassAuthenticationMethod",
                "id": new_id(),
                "temporaryAccessPass": None,
                "createdDateTime": moment(0, 1),
                "startDateTime": moment(0, 1),
                "lifetimeInMinutes": 60,
                "isUsableOnce": True,
                "isUsable": True,
                "methodUsabilityReason": "EnabledByPolicy",
            }
        )
    if user.get("otherMails"):
        methods.append(
            {
                "@odata.type": "#microsoft.graph.emailAuthenticationMethod",
                "id": _EMAIL_METHOD_ID,
                "emailAddress": user["otherMails"][0],
                "createdDateTime": moment(1, 900),
            }
        )
    return methods


def reported(method: JsonObject) -> tuple[str, ...]:
    """A method object in the words of the registration report; a password is not in it."""
    match method["@odata.type"].removeprefix("#microsoft.graph."):
        case "microsoftAuthenticatorAuthenticationMethod":
            if method["deviceTag"] == "PasswordlessActivated":
                return ("microsoftAuthenticatorPush", "microsoftAuthenticatorPasswordless")
            return ("microsoftAuthenticatorPush",)
        case "phoneAuthenticationMethod":
            return (_PHONES[method["phoneType"]][0],)
        case "softwareOathAuthenticationMethod":
            return ("softwareOneTimePasscode",)
        case "hardwareOathAuthenticationMethod":
            return ("hardwareOneTimePasscode",)
        case "fido2AuthenticationMethod":
            device_bound = method["aaGuid"] == _AUTHENTICATOR_PASSKEY
            return ("passKeyDeviceBoundAuthenticator" if device_bound else "fido2SecurityKey",)
        case "windowsHelloForBusinessAuthenticationMethod":
            return ("windowsHelloForBusiness",)
        case "temporaryAccessPassAuthenticationMethod":
            return ("temporaryAccessPass",)
        case "emailAuthenticationMethod":
            return ("email",)
        case _:
            return ()


def registration_row(
    rng: random.Random, user: JsonObject, methods: list[JsonObject], admin: bool, updated: str
) -> JsonObject:
    """The row of `userRegistrationDetails` for a user with these methods."""
    names = list(dict.fromkeys(name for method in methods for name in reported(method)))
    strong = [name for name in names if name in _STRONG or name.startswith("passKey")]
    default = "none"
    if "microsoftAuthenticatorPush" in strong:
        default = "microsoftAuthenticatorPush"
    elif strong:
        default = strong[0]
    guest = user.get("userType") == "Guest"
    return {
        "id": user["id"],
        "userPrincipalName": user["userPrincipalName"],
        "userDisplayName": user.get("displayName"),
        "userType": "guest" if guest else "member",
        "isAdmin": admin,
        "isSsprRegistered": bool(names),
        "isSsprEnabled": not guest,
        "isSsprCapable": bool(names) and not guest,
        "isMfaRegistered": bool(strong),
        "isMfaCapable": bool(strong),
        "isPasswordlessCapable": any(name in _PASSWORDLESS or name.startswith("passKey") for name in strong),
        "methodsRegistered": names,
        "isSystemPreferredAuthenticationMethodEnabled": True,
        "systemPreferredAuthenticationMethods": strong[:1],
        "userPreferredMethodForSecondaryAuthentication": rng.choice(("push", "sms")) if strong else "none",
        "defaultMfaMethod": default,
        "lastUpdatedDateTime": updated.replace("Z", ".1234567Z"),
    }


def sign_in_activity(
    rng: random.Random, user: JsonObject, new_id: NewId, moment: Moment
) -> JsonObject | None:
    """`signInActivity`, or None for one who never signed in."""
    if rng.random() < 0.06 or user.get("externalUserState") == "PendingAcceptance":
        return None
    days = 30 if user["accountEnabled"] else 400
    interactive, silent = moment(0, days), moment(0, days)
    return {
        "lastSignInDateTime": interactive,
        "lastSignInRequestId": new_id(),
        "lastNonInteractiveSignInDateTime": silent,
        "lastNonInteractiveSignInRequestId": new_id(),
        "lastSuccessfulSignInDateTime": max(interactive, silent),
        "lastSuccessfulSignInRequestId": new_id(),
    }
