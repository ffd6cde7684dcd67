"""A day in the company: who joins, leaves, moves, is renamed, deleted, restored; how groups change."""

import random
from collections import Counter
from collections.abc import Callable

from sandbox.tenant.directory import Directory
from sandbox.tenant.generator import DOMAIN, CompanyMaker
from sandbox.tenant.vocabulary import COUNTRIES, DEPARTMENTS, PROJECTS


def churn(directory: Directory, seed: int, count: int) -> dict[str, int]:
    """Let so many things happen, the same ones for the same seed and directory.

    How many of each kind happened.
    """
    day = _Day(directory, seed)
    happened: Counter[str] = Counter()
    for _ in range(count):
        happened[day.something()] += 1
    return dict(happened)


class _Day:
    def __init__(self, directory: Directory, seed: int) -> None:
        self._directory = directory
        day = f"day-{seed}-{directory.position}"  # the same seed on another day is another day
        self._random = random.Random(day)
        self._maker = CompanyMaker(0, day)
        self._maker.directory = directory
        self._events: list[tuple[int, Callable[[], bool]]] = [
            (12, self.join),
            (6, self.leave),
            (8, self.rename),
            (10, self.move),
            (4, self.change_manager),
            (26, self.add_to_group),
            (16, self.remove_from_group),
            (4, self.add_and_remove),
            (5, self.change_owner),
            (6, self.delete_user),
            (3, self.restore_user),
            (3, self.purge_user),
            (4, self.make_group),
            (3, self.edit_group),
            (2, self.delete_group),
            (1, self.restore_group),
            (1, self.clear_property),
        ]

    def something(self) -> str:
        """One event that can happen; its name."""
        weights = [weight for weight, _ in self._events]
        while True:
            _, event = self._random.choices(self._events, weights)[0]
            if event():
                return event.__name__

    def _user(self) -> str | None:
        return self._any(self._directory.users)

    def _group(self) -> str | None:
        return self._any(self._directory.groups)

    def _any(self, objects: dict[str, dict[str, object]]) -> str | None:
        return self._random.choice(list(objects)) if objects else None

    def join(self) -> bool:
        """A new colleague with a manager and a few groups."""
        manager = self._user()
        joiner = self._maker.add_joiner()
        self._maker.make_authentication_of(self._directory.users[joiner.id])
        self._directory.set_manager(joiner.id, manager)
        for _ in range(3):
            if (group := self._group()) is not None:
                self._directory.add_member(group, joiner.id)
        return True

    def leave(self) -> bool:
        """Disabled, not yet deleted; the report stops to cover the account."""
        user = self._user()
        if user is None:
            return False
        self._directory.update_user(
            user, {"accountEnabled": False, "employeeLeaveDateTime": "2026-10-02T00:00:00Z"}
        )
        self._directory.registrations.pop(user, None)
        return True

    def rename(self) -> bool:
        """A new surname, with the principal name that follows."""
        user = self._user()
        if user is None:
            return False
        surname = self._random.choice(self._random.choice(COUNTRIES).surnames)
        given = self._directory.users[user].get("givenName") or "Sam"
        upn = f"renamed{self._directory.position}@{DOMAIN}"
        self._directory.update_user(
            user,
            {
                "surname": surname,
                "displayName": f"{given} {surname}",
                "userPrincipalName": upn,
                "mail": upn,
            },
        )
        return True

    def move(self) -> bool:
        """Another department, title and office."""
        user = self._user()
        if user is None:
            return False
        department, country = self._random.choice(DEPARTMENTS), self._random.choice(COUNTRIES)
        self._directory.update_user(
            user,
            {
                "department": department.name,
                "jobTitle": self._random.choice(department.titles[1:]),
                "officeLocation": country.office,
                "city": country.city,
                "country": country.name,
                "usageLocation": country.code,
            },
        )
        return True

    def change_manager(self) -> bool:
        """Another manager, or none."""
        user, manager = self._user(), self._user()
        if user is None or user == manager:
            return False
        self._directory.set_manager(user, None if self._random.random() < 0.2 else manager)
        return True

    def add_to_group(self) -> bool:
        """A member more."""
        group, user = self._group(), self._user()
        if group is None or user is None or user in self._directory.members[group]:
            return False
        self._directory.add_member(group, user)
        return True

    def remove_from_group(self) -> bool:
        """A member less."""
        group = self._group()
        members = list(self._directory.members[group]) if group is not None else []
        if group is None or not members:
            return False
        self._directory.remove_member(group, self._random.choice(members))
        return True

    def add_and_remove(self) -> bool:
        """An edge that comes and goes between two rounds."""
        group, user = self._group(), self._user()
        if group is None or user is None or user in self._directory.members[group]:
            return False
        self._directory.add_member(group, user)
        self._directory.remove_member(group, user)
        return True

    def change_owner(self) -> bool:
        """An owner more, or one less."""
        group, user = self._group(), self._user()
        if group is None or user is None:
            return False
        owners = list(self._directory.owners[group])
        if owners and self._random.random() < 0.5:
            self._directory.remove_owner(group, self._random.choice(owners))
        elif user not in owners:
            self._directory.add_owner(group, user)
        else:
            return False
        return True

    def delete_user(self) -> bool:
        """Into the recycle bin."""
        user = self._user()
        if user is None:
            return False
        self._directory.delete_user(user)
        return True

    def restore_user(self) -> bool:
        """Back from the recycle bin."""
        user = self._any(self._directory.deleted_users)
        if user is None:
            return False
        self._directory.restore_user(user)
        return True

    def purge_user(self) -> bool:
        """Gone for good, mostly from the recycle bin."""
        user = self._any(self._directory.deleted_users) or self._user()
        if user is None:
            return False
        self._directory.purge_user(user)
        return True

    def make_group(self) -> bool:
        """A project starts."""
        project = f"{self._random.choice(PROJECTS)} {self._directory.position}"
        unified = self._random.random() < 0.5
        group = self._directory.add_group(
            {
                "id": self._maker.new_id(),
                "displayName": project,
                "groupTypes": ["Unified"] if unified else [],
                "mailEnabled": unified,
                "securityEnabled": not unified,
            }
        )
        for _ in range(self._random.randrange(6)):
            if (user := self._user()) is not None:
                self._directory.add_member(group, user)
        return True

    def edit_group(self) -> bool:
        """A new description."""
        group = self._group()
        if group is None:
            return False
        self._directory.update_group(group, {"description": f"Edited at {self._directory.position}"})
        return True

    def delete_group(self) -> bool:
        """A project ends."""
        group = self._group()
        if group is None:
            return False
        self._directory.delete_group(group)
        return True

    def restore_group(self) -> bool:
        """It was not over."""
        group = self._any(self._directory.deleted_groups)
        if group is None:
            return False
        self._directory.restore_group(group)
        return True

    def clear_property(self) -> bool:
        """A value that was set becomes null."""
        user = self._user()
        if user is None:
            return False
        self._directory.update_user(user, {"mobilePhone": None, "businessPhones": []})
        return True
