"""A company made from a seed: people, guests, service accounts, groups, edges, authentication, sign-ins.

The same arguments give the same directory, ids included. The oddities that Graph sends are there in small
numbers: empty and missing values, emoji and right-to-left names, dates of year 1, members of unknown type,
a nesting cycle.
"""

import gc
import math
import random
import struct
import unicodedata
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sandbox.tenant.authentication import registration_row, sign_in_activity, user_methods
from sandbox.tenant.directory import Directory
from sandbox.tenant.identities import give_identities
from sandbox.tenant.messages import JsonObject
from sandbox.tenant.vocabulary import (
    COUNTRIES,
    DEPARTMENTS,
    PARTNERS,
    PROJECT_KINDS,
    PROJECTS,
    ROOMS,
    SERVICES,
    Country,
    Department,
)

DOMAIN = "contoso.com"
EPOCH = datetime(2026, 10, 1, 8, 0, tzinfo=UTC)
"""The day on which the generated company stands; a fixed one, so that a seed means the same bytes on any
day."""

_GUESTS = 0.08
_SERVICES = 0.02
_ROOMS = 0.02
_LEAVERS = 0.02
_DELETED = 0.005
_SYNCED = 0.6
_GROUPS_PER_USER = 0.3
_SPAN_OF_CONTROL = 7
_MAILBOX_LICENCE = "06ebc4ee-1bb5-47dd-8120-11324bc54e06"


def generate(users: int = 2000, seed: int = 7) -> Directory:
    """A directory with exactly so many live users, and no history: delta links can point from now on."""
    maker = CompanyMaker(users, seed)
    with _without_garbage_collection():
        maker.make_people()
        maker.make_groups()
        maker.make_authentication()
        give_identities(maker.directory, seed)
        maker.directory.forget_history()
    return maker.directory


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Nothing made here is garbage, and looking through millions of new objects takes 40 % of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(slots=True)
class Person:
    """What the generator remembers of a member of staff."""

    id: str
    department: Department
    country: Country


def security_identifier(object_id: str) -> str:
    """The SID of a cloud object, which is its id in another notation."""
    parts = struct.unpack("<4I", uuid.UUID(object_id).bytes_le)
    return "S-1-12-1-" + "-".join(map(str, parts))


def account_name(text: str) -> str:
    """ASCII letters of a name, for addresses; empty for a name in another script."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss").replace("ł", "l").replace("Ł", "L"))
    return "".join(c for c in plain.lower() if c.isascii() and (c.isalnum() or c == "-"))


class CompanyMaker:
    """Builds a directory step by step from one random stream."""

    def __init__(self, users: int, seed: int | str) -> None:
        self.directory = Directory(seed)
        self._random = random.Random(f"company-{seed}")
        self._wanted = users
        self._taken: set[str] = set()
        self._numbers = 0
        self.staff: list[Person] = []
        self.guests: list[str] = []

    # --- people -----------------------------------------------------------------------------------

    def make_people(self) -> None:
        """Staff with its tree of managers, guests, service accounts, rooms, leavers and soft-deleted
        users."""
        services, rooms = int(self._wanted * _SERVICES), int(self._wanted * _ROOMS)
        guests, leavers = int(self._wanted * _GUESTS), int(self._wanted * _LEAVERS)
        staff = self._wanted - services - rooms - guests - leavers
        for number in range(staff):
            self.staff.append(self._add_person(number, enabled=True))
        self._add_managers()
        for number in range(leavers):
            leaver = self._add_person(number + 1, enabled=False)
            if self.staff:
                self.directory.set_manager(leaver.id, self._random.choice(self.staff).id)
        for _ in range(guests):
            self.guests.append(self._add_guest())
        for number in range(services):
            self._add_service(number)
        for number in range(rooms):
            self._add_room(number)
        self._deleted = [self._add_person(1, enabled=False) for _ in range(int(self._wanted * _DELETED))]
        if self._wanted >= 50:
            self._add_oddities()

    def add_joiner(self) -> Person:
        """One more member of staff, as on any later day."""
        return self._add_person(1, enabled=True)

    def new_id(self) -> str:
        """A random UUID from the stream."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _add_person(self, number: int, *, enabled: bool) -> Person:
        rng = self._random
        country = rng.choices(COUNTRIES, [c.weight for c in COUNTRIES])[0]
        department = rng.choices(DEPARTMENTS, [d.weight for d in DEPARTMENTS])[0]
        given, surname = rng.choice(country.given_names), rng.choice(country.surnames)
        local = self._local_part(given, surname)
        upn = f"{local}@{DOMAIN}"
        user_id = self.new_id()
        created = self._moment(10, 3000)
        user: JsonObject = {
            "id": user_id,
            "userPrincipalName": upn,
            "displayName": f"{given} {surname}",
            "givenName": given,
            "surname": surname,
            "mail": upn,
            "mailNickname": local,
            "proxyAddresses": [f"SMTP:{upn}", f"smtp:{local}@contoso.onmicrosoft.com"],
            "imAddresses": [upn],
            "otherMails": [],
            "userType": "Member",
            "accountEnabled": enabled,
            "createdDateTime": created,
            "lastPasswordChangeDateTime": self._moment(1, 300),
            "signInSessionsValidFromDateTime": created,
            "employeeId": f"{100000 + self._next_number()}",
            "employeeType": rng.choices(("Employee", "Contractor", "Intern"), (88, 9, 3))[0],
            "employeeHireDate": created[:10] + "T00:00:00Z",
            "employeeOrgData": {
                "costCenter": department.cost_center,
                "division": department.name.split(" ")[0],
            },
            "jobTitle": "Chief Executive Officer"
            if number == 0
            else rng.choices(department.titles, range(1, len(department.titles) + 1))[0],
            "department": "Executive" if number == 0 else department.name,
            "companyName": f"Contoso {country.name}",
            "officeLocation": country.office,
            "streetAddress": country.street,
            "city": country.city,
            "postalCode": country.postal_code,
            "country": country.name,
            "usageLocation": country.code,
            "preferredLanguage": country.language,
            "businessPhones": [f"{country.phone} {rng.randrange(10**8, 10**9)}"]
            if rng.random() < 0.7
            else [],
            "securityIdentifier": security_identifier(user_id),
            "identities": [
                {
                    "signInType": "userPrincipalName",
                    "issuer": "contoso.onmicrosoft.com",
                    "issuerAssignedId": upn,
                }
            ],
            "assignedLicenses": [{"disabledPlans": [], "skuId": _MAILBOX_LICENCE}],
            "onPremisesExtensionAttributes": dict.fromkeys(f"extensionAttribute{n}" for n in range(1, 16)),
        }
        if country.state is not None:
            user["state"] = country.state
        if rng.random() < 0.55:
            user["mobilePhone"] = f"{country.phone} {rng.randrange(10**8, 10**9)}"
        if rng.random() < 0.04:
            user["mobilePhone"] = None  # was set once, and cleared
        if rng.random() < 0.1:
            user["otherMails"] = [f"{local}@example.net"]
        if not enabled:
            user["employeeLeaveDateTime"] = self._moment(1, 60)
        if rng.random() < _SYNCED:
            user |= self._on_premises(surname, local, department)
        self.directory.add_user(user)
        return Person(user_id, department, country)

    def _on_premises(self, surname: str, local: str, department: Department) -> JsonObject:
        rng = self._random
        sid = "-".join(str(rng.randrange(10**8, 4 * 10**9)) for _ in range(3))
        return {
            "onPremisesSyncEnabled": True,
            "onPremisesSamAccountName": local[:20],
            "onPremisesSecurityIdentifier": f"S-1-5-21-{sid}-{rng.randrange(1100, 99999)}",
            "onPremisesDistinguishedName": f"CN={surname},OU={department.name},DC=corp,DC=contoso,DC=com",
            "onPremisesDomainName": "corp.contoso.com",
            "onPremisesUserPrincipalName": f"{local}@corp.contoso.com",
            "onPremisesImmutableId": f"{rng.getrandbits(96):024x}",
            "onPremisesLastSyncDateTime": self._moment(0, 1),
        }

    def _add_managers(self) -> None:
        """Below the CEO a head for each department, and below the head a tree of teams."""
        if not self.staff:
            return
        teams: dict[str, list[Person]] = defaultdict(list)
        for person in self.staff[1:]:
            teams[person.department.name].append(person)
        for team in teams.values():
            for rank, person in enumerate(team):
                boss = self.staff[0] if rank == 0 else team[(rank - 1) // _SPAN_OF_CONTROL]
                self.directory.set_manager(person.id, boss.id)
            self.directory.update_user(team[0].id, {"jobTitle": team[0].department.titles[0]})

    def _add_guest(self) -> str:
        rng = self._random
        country = rng.choice(COUNTRIES)
        given, surname = rng.choice(country.given_names), rng.choice(country.surnames)
        partner = rng.choice(PARTNERS)
        local = self._local_part(given, surname)
        mail = f"{local}@{partner}"
        user_id = self.new_id()
        return self.directory.add_user(
            {
                "id": user_id,
                "userPrincipalName": f"{local}_{partner}#EXT#@contoso.onmicrosoft.com",
                "displayName": f"{given} {surname} ({partner.split('.')[0].title()})",
                "mail": mail,
                "mailNickname": f"{local}_{partner}#EXT#",
                "otherMails": [mail],
                "proxyAddresses": [f"SMTP:{mail}"],
                "userType": "Guest",
                "creationType": "Invitation",
                "externalUserState": rng.choices(("Accepted", "PendingAcceptance"), (85, 15))[0],
                "accountEnabled": True,
                "createdDateTime": self._moment(10, 1200),
                "securityIdentifier": security_identifier(user_id),
            }
        )

    def _add_service(self, number: int) -> None:
        local = f"svc-{SERVICES[number % len(SERVICES)]}-{number:03d}"
        user_id = self.new_id()
        self.directory.add_user(
            {
                "id": user_id,
                "userPrincipalName": f"{local}@{DOMAIN}",
                "displayName": local,
                "mailNickname": local,
                "accountEnabled": self._random.random() < 0.9,
                "createdDateTime": self._moment(500, 3000),
                "passwordPolicies": "DisablePasswordExpiration",
                "lastPasswordChangeDateTime": self._moment(400, 2000),
                "securityIdentifier": security_identifier(user_id),
            }
        )

    def _add_room(self, number: int) -> None:
        shared = number % 2 == 0
        label = ROOMS[number // 2 % len(ROOMS)]
        local = f"{'contact' if shared else 'room'}-{account_name(label)}-{number:03d}"
        user_id = self.new_id()
        self.directory.add_user(
            {
                "id": user_id,
                "userPrincipalName": f"{local}@{DOMAIN}",
                "displayName": f"{'Shared mailbox' if shared else 'Meeting room'} {label} {number}",
                "mail": f"{local}@{DOMAIN}",
                "mailNickname": local,
                "proxyAddresses": [f"SMTP:{local}@{DOMAIN}"],
                "accountEnabled": False,
                "isResourceAccount": True,
                "createdDateTime": self._moment(100, 2500),
                "securityIdentifier": security_identifier(user_id),
            }
        )

    def _add_oddities(self) -> None:
        """What a reader of Graph must survive, on a few members of staff."""
        oddities: list[JsonObject] = [
            {"displayName": "Zoë 🚀 Müller", "givenName": "Zoë 🚀"},
            {"displayName": "عبد الرحمن الخوري", "givenName": "عبد الرحمن"},
            {"displayName": "Line\u2028Separator", "surname": "e\u0301 combining"},
            {"mail": "", "proxyAddresses": []},
            {"mail": None},
            {"businessPhones": None},
            {"employeeLeaveDateTime": "0001-01-01T00:00:00Z"},
            {"createdDateTime": "2019-04-02T10:11:12.1234567Z"},
            {"displayName": 'O\'Brien "The" <script>alert(1)</script>'},
            {"displayName": None},
            {"proxyAddresses": [f"smtp:alias{n}@{DOMAIN}" for n in range(120)]},
            {"department": "", "officeLocation": ""},
            {"employeeOrgData": None},
        ]
        for person, oddity in zip(self._random.sample(self.staff, len(oddities)), oddities, strict=True):
            self.directory.update_user(person.id, oddity)

    # --- groups -----------------------------------------------------------------------------------

    def make_groups(self) -> None:
        """Everybody, departments, offices, projects, and one of each special kind; then the deleted ones
        leave."""
        if self._wanted == 0:
            return
        everyone = self._add_group(
            "All Staff", "Everybody at Contoso", dynamic='(user.userType -eq "Member")'
        )
        for person in self.staff:
            self.directory.add_member(everyone, person.id)
        departments = self._add_departments()
        self._add_offices()
        self._add_special_groups(departments)
        budget = max(0, int(self._wanted * _GROUPS_PER_USER) - len(self.directory.groups))
        for number in range(budget):
            self._add_project(number)
        for person in self._deleted:
            self.directory.add_member(everyone, person.id)
            self.directory.delete_user(person.id)

    def _add_departments(self) -> dict[str, str]:
        ids: dict[str, str] = {}
        for department in DEPARTMENTS:
            team = [person for person in self.staff if person.department is department]
            if not team:
                continue
            rule = f'(user.department -eq "{department.name}")'
            group_id = self._add_group(f"Dept {department.name}", f"All of {department.name}", dynamic=rule)
            for person in team:
                self.directory.add_member(group_id, person.id)
            self.directory.add_owner(group_id, team[0].id)
            ids[department.name] = group_id
        return ids

    def _add_offices(self) -> None:
        for country in COUNTRIES:
            team = [person for person in self.staff if person.country is country]
            if team:
                group_id = self._add_group(f"Office {country.office}", None, unified=True)
                for person in team:
                    self.directory.add_member(group_id, person.id)
                self.directory.add_owner(group_id, team[0].id)

    def _add_special_groups(self, departments: dict[str, str]) -> None:
        rng, directory = self._random, self.directory
        if len(self.staff) < 8:
            return
        nested = self._add_group("Business functions", "Nests the departments")
        for group_id in departments.values():
            directory.add_member(nested, group_id, "group")
        self._add_group("Empty on purpose", "Nobody yet")
        hidden = self._add_group(
            "Confidential: reorganisation", "Hidden members", unified=True, visibility="HiddenMembership"
        )
        for person in rng.sample(self.staff, 6):
            directory.add_member(hidden, person.id)
        admins = self._add_group("Role: Security Administrators", "Holders of a role", role=True)
        for person in rng.sample(self.staff, min(len(self.staff), 5)):
            directory.add_member(admins, person.id)
            directory.add_owner(admins, person.id)
        left, right = self._add_group("Cycle left", None), self._add_group("Cycle right", None)
        directory.add_member(left, right, "group")
        directory.add_member(right, left, "group")
        directory.add_member(left, left, "group")
        self._add_mixed_group()
        mail = self._add_group("Announcements", "Distribution list", mail_only=True)
        for person in rng.sample(self.staff, len(self.staff) // 2):
            directory.add_member(mail, person.id)

    def _add_mixed_group(self) -> None:
        """Members of every type that Graph knows, of one that a reader does not know, and of none."""
        directory = self.directory
        mixed = self._add_group("Printers and partners", "Members of many types")
        directory.add_member(mixed, self.staff[0].id)
        for object_type, label in (
            ("device", "DESKTOP-4F2A"),
            ("device", "LAPTOP-Ünal"),
            ("servicePrincipal", "Backup connector"),
            ("orgContact", "Fabrikam front desk"),
        ):
            other = directory.add_other(object_type, {"id": self.new_id(), "displayName": label})
            directory.add_member(mixed, other, object_type)
        directory.add_member(mixed, self.new_id(), "agentIdentity")
        directory.add_member(mixed, self.new_id(), None)
        principal = directory.add_other(
            "servicePrincipal", {"id": self.new_id(), "displayName": "Provisioning"}
        )
        directory.add_owner(mixed, principal, "servicePrincipal")

    def _add_project(self, number: int) -> None:
        rng = self._random
        name = f"{PROJECTS[number % len(PROJECTS)]} {rng.choice(PROJECT_KINDS)} {number // len(PROJECTS) + 1}"
        group_id = self._add_group(name, f"Project {name}", unified=rng.random() < 0.5)
        if not self.staff:
            return
        size = min(len(self.staff), max(1, round(math.exp(rng.gauss(1.35, 0.9)))))
        for person in rng.sample(self.staff, size):
            self.directory.add_member(group_id, person.id)
        for person in rng.sample(self.staff, min(len(self.staff), rng.choices((0, 1, 2), (1, 5, 4))[0])):
            self.directory.add_owner(group_id, person.id)
        if self.guests and rng.random() < 0.25:
            self.directory.add_member(group_id, rng.choice(self.guests))

    def _add_group(
        self,
        name: str,
        description: str | None,
        *,
        dynamic: str | None = None,
        unified: bool = False,
        role: bool = False,
        mail_only: bool = False,
        visibility: str | None = None,
    ) -> str:
        group_id = self.new_id()
        local = f"{account_name(name.replace(' ', '-').replace(':', ''))}-{group_id[:4]}"
        types = [*(["Unified"] if unified else []), *(["DynamicMembership"] if dynamic else [])]
        group: JsonObject = {
            "id": group_id,
            "displayName": name,
            "mailNickname": local,
            "mailEnabled": unified or mail_only,
            "securityEnabled": not unified and not mail_only,
            "groupTypes": types,
            "createdDateTime": self._moment(10, 2500),
            "renewedDateTime": self._moment(1, 9),
            "securityIdentifier": security_identifier(group_id),
            "proxyAddresses": [],
            "creationOptions": [],
            "resourceBehaviorOptions": [],
            "resourceProvisioningOptions": ["Team"] if unified else [],
            "onPremisesProvisioningErrors": [],
            "serviceProvisioningErrors": [],
        }
        if description is not None:
            group["description"] = description
        if unified or mail_only:
            group["mail"] = f"{local}@{DOMAIN}"
            group["proxyAddresses"] = [f"SMTP:{local}@{DOMAIN}"]
        if dynamic is not None:
            group |= {"membershipRule": dynamic, "membershipRuleProcessingState": "On"}
        if role:
            group["isAssignableToRole"] = True
        if visibility is not None or unified:
            group["visibility"] = visibility or "Private"
        if mail_only:
            group |= {
                "onPremisesSyncEnabled": True,
                "onPremisesSamAccountName": local[:20],
                "onPremisesDomainName": "corp.contoso.com",
                "onPremisesLastSyncDateTime": self._moment(0, 1),
            }
        return self.directory.add_group(group)

    # --- authentication ---------------------------------------------------------------------------

    def make_authentication(self) -> None:
        """Methods and sign-ins of everybody, and a row in the report for those who are enabled."""
        for user in list(self.directory.users.values()):
            self.make_authentication_of(user)

    def make_authentication_of(self, user: JsonObject) -> None:
        """Methods, report row and sign-in activity of one user."""
        rng, user_id = self._random, user["id"]
        title = user.get("jobTitle") or ""
        admin = "Administrator" in title or "Security" in title or rng.random() < 0.005
        methods = user_methods(rng, user, self.new_id, self._moment)
        self.directory.methods[user_id] = methods
        if user["accountEnabled"]:
            moment = self._moment(0, 30)
            self.directory.registrations[user_id] = registration_row(rng, user, methods, admin, moment)
        activity = sign_in_activity(rng, user, self.new_id, self._moment)
        if activity is not None:
            self.directory.sign_ins[user_id] = activity

    # --- shared -----------------------------------------------------------------------------------

    def _moment(self, earliest_days: int, latest_days: int) -> str:
        """A time between so many days before the company's day, in Graph's notation."""
        seconds = self._random.randrange(earliest_days * 86400, latest_days * 86400)
        return (EPOCH - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _local_part(self, given: str, surname: str) -> str:
        plain = f"{account_name(given)}.{account_name(surname)}".strip(".")
        base = plain if len(plain) > 2 else f"user{self._next_number()}"
        local, number = base, 2
        while local in self._taken:
            local = (
                f"{base}{self._random.randrange(2, 100 + len(self._taken))}"
                if number > 3
                else f"{base}{number}"
            )
            number += 1
        self._taken.add(local)
        return local

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers
