"""Users as `/users` lists them, and their rows of the registration report. JSON text, from templates.

Members carry every property that the app selects; guests carry the few that guests have. What differs
between people differs here too (ids, SIDs, numbers, dates, addresses), so that pages compress as real ones.
"""

import random
from dataclasses import dataclass

from sandbox.tenant.generator import account_name
from sandbox.tenant.vocabulary import COUNTRIES, DEPARTMENTS, PARTNERS, Country, Department

DOMAIN = "contoso.com"
GUEST_SHARE = 0.08
DISABLED_SHARE = 0.04
SYNCED_SHARE = 0.8

_METHODS = (
    '"microsoftAuthenticatorPush","mobilePhone","softwareOneTimePasscode"',
    '"microsoftAuthenticatorPush","softwareOneTimePasscode"',
    '"mobilePhone"',
    '"fido2SecurityKey","microsoftAuthenticatorPasswordless","microsoftAuthenticatorPush"',
    '"windowsHelloForBusiness","mobilePhone"',
    "",
)
_DEFAULTS = ("microsoftAuthenticatorPush", "mobilePhone", "none", "softwareOneTimePasscode")


def object_id(rng: random.Random) -> str:
    """A random UUID, without the cost of `uuid.UUID`."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


@dataclass(frozen=True, slots=True)
class Person:
    """The texts of one user."""

    properties: str
    """The JSON object without its closing brace, so that a manager can follow."""
    report_row: str


@dataclass(frozen=True, slots=True)
class _Names:
    """A name with the address that it becomes."""

    text: str
    local: str


class PeopleMaker:
    """Makes users one after the other, from one random stream."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._given = {c.code: _names(c.given_names) for c in COUNTRIES}
        self._surnames = {c.code: _names(c.surnames) for c in COUNTRIES}
        self._places = {c.code: _place(c) for c in COUNTRIES}
        self._country_weights = [c.weight for c in COUNTRIES]

    def person(self, number: int, user_id: str) -> Person:
        rng = self._rng
        country = rng.choices(COUNTRIES, self._country_weights)[0]
        given, surname = rng.choice(self._given[country.code]), rng.choice(self._surnames[country.code])
        local = f"{given.local}.{surname.local}{number}"
        display = f"{given.text} {surname.text}"
        if rng.random() < GUEST_SHARE:
            properties, upn = self._guest(user_id, display, local)
            user_type = "guest"
        else:
            properties, upn = self._member(user_id, number, country, given, surname, local)
            user_type = "member"
        return Person(properties, self._report_row(user_id, upn, display, user_type))

    def _member(
        self, user_id: str, number: int, country: Country, given: _Names, surname: _Names, local: str
    ) -> tuple[str, str]:
        rng = self._rng
        department = rng.choice(DEPARTMENTS)
        created, changed = self._moment(3000), self._moment(300)
        upn = f"{local}@{DOMAIN}"
        phone = f"{country.phone} {rng.randrange(10**8, 10**9)}"
        leave = ""
        enabled = "true"
        if rng.random() < DISABLED_SHARE:
            enabled = "false"
            leave = f'"employeeLeaveDateTime":"{self._moment(60)}",'
        other = f'"{local}@example.net"' if rng.random() < 0.1 else ""
        business = f'"{phone}"' if rng.random() < 0.7 else ""
        synced = self._synced(given, surname, local, department) if rng.random() < SYNCED_SHARE else ""
        return (
            f'{{"id":"{user_id}","userPrincipalName":"{upn}","displayName":"{given.text} {surname.text}",'
            f'"givenName":"{given.text}","surname":"{surname.text}","mail":"{upn}","otherMails":[{other}],'
            f'"proxyAddresses":["SMTP:{upn}","smtp:{local}@contoso.onmicrosoft.com",'
            f'"smtp:{number}@{DOMAIN}"],"userType":"Member","accountEnabled":{enabled},'
            f'"createdDateTime":"{created}","lastPasswordChangeDateTime":"{changed}",'
            f'"employeeId":"{100_000 + number}","employeeType":"Employee",'
            f'"employeeHireDate":"{created[:10]}T00:00:00Z",{leave}'
            f'"jobTitle":"{rng.choice(department.titles)}","department":"{department.name}",'
            f'"employeeOrgData":{{"costCenter":"{department.cost_center}","division":"{department.name}"}},'
            f"{self._places[country.code]}"
            f'"mobilePhone":"{country.phone} {rng.randrange(10**8, 10**9)}","businessPhones":[{business}],'
            f'{synced}"securityIdentifier":"{self._identifier()}"',
            upn,
        )

    def _synced(self, given: _Names, surname: _Names, local: str, department: Department) -> str:
        rng = self._rng
        return (
            f'"onPremisesSyncEnabled":true,"onPremisesSamAccountName":"{local[-20:]}",'
            f'"onPremisesSecurityIdentifier":"S-1-5-21-{rng.randrange(10**8, 4 * 10**9)}-1957994488-'
            f'725345543-{rng.randrange(1100, 999_999)}",'
            f'"onPremisesDistinguishedName":"CN={given.text} {surname.text},OU={department.name},'
            f'OU=Staff,DC=corp,DC=contoso,DC=com","onPremisesDomainName":"corp.contoso.com",'
            f'"onPremisesLastSyncDateTime":"{self._moment(1)}",'
        )

    def _guest(self, user_id: str, display: str, local: str) -> tuple[str, str]:
        partner = self._rng.choice(PARTNERS)
        mail = f"{local}@{partner}"
        upn = f"{local}_{partner}#EXT#@contoso.onmicrosoft.com"
        return (
            f'{{"id":"{user_id}","userPrincipalName":"{upn}","displayName":"{display}","mail":"{mail}",'
            f'"otherMails":["{mail}"],"proxyAddresses":["SMTP:{mail}"],"userType":"Guest",'
            f'"accountEnabled":true,"createdDateTime":"{self._moment(1200)}","businessPhones":[],'
            f'"securityIdentifier":"{self._identifier()}"',
            upn,
        )

    def _report_row(self, user_id: str, upn: str, display: str, user_type: str) -> str:
        rng = self._rng
        methods = rng.choice(_METHODS)
        registered = "true" if methods else "false"
        default = rng.choice(_DEFAULTS) if methods else "none"
        return (
            f'{{"id":"{user_id}","userPrincipalName":"{upn}","userDisplayName":"{display}",'
            f'"userType":"{user_type}","isAdmin":{"true" if rng.random() < 0.01 else "false"},'
            f'"isSsprRegistered":{registered},"isSsprEnabled":true,"isSsprCapable":{registered},'
            f'"isMfaRegistered":{registered},"isMfaCapable":{registered},"isPasswordlessCapable":false,'
            f'"methodsRegistered":[{methods}],"isSystemPreferredAuthenticationMethodEnabled":true,'
            f'"systemPreferredAuthenticationMethods":["PhoneAppNotification"],'
            f'"userPreferredMethodForSecondaryAuthentication":"push","defaultMfaMethod":"{default}",'
            f'"lastUpdatedDateTime":"{self._moment(30)}"}}'
        )

    def _moment(self, days: int) -> str:
        """A second within so many days before the day on which the directory stands."""
        second = self._rng.randrange(days * 86_400)
        day, clock = divmod(second, 86_400)
        year, rest = divmod(day, 336)
        month, day = divmod(rest, 28)
        return (
            f"{2026 - year}-{12 - month:02}-{28 - day:02}T"
            f"{clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02}Z"
        )

    def _identifier(self) -> str:
        bits = self._rng.getrandbits(128)
        return "S-1-12-1-" + "-".join(str(bits >> shift & 0xFFFF_FFFF) for shift in (0, 32, 64, 96))


def _names(words: tuple[str, ...]) -> list[_Names]:
    return [_Names(word, account_name(word.replace(" ", "-"))) for word in words]


def _place(country: Country) -> str:
    state = f'"state":"{country.state}",' if country.state else ""
    return (
        f'"companyName":"Contoso {country.name}","officeLocation":"{country.office}",'
        f'"city":"{country.city}",{state}"postalCode":"{country.postal_code}",'
        f'"country":"{country.name}","usageLocation":"{country.code}",'
    )
