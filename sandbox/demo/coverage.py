"""What the published users say about authentication, counted."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec


class Authentication(msgspec.Struct):
    is_mfa_registered: bool = False
    is_mfa_capable: bool = False
    is_passwordless_capable: bool = False
    is_admin: bool = False


class User(msgspec.Struct):
    """The fields of a published user that are counted. Absent is not false: see `docs/formats.md`."""

    id: str
    user_type: str | None = None
    account_enabled: bool | None = None
    authentication: Authentication | None = None


@dataclass(slots=True)
class Coverage:
    """Numbers of users. The four kinds of coverage are of those that have `authentication`."""

    users: int = 0
    guests: int = 0
    disabled: int = 0
    known: int = 0
    registered: int = 0
    capable: int = 0
    passwordless: int = 0
    admins: int = 0
    admins_without_mfa: int = 0

    @property
    def not_covered(self) -> int:
        return self.users - self.known


def count_coverage(users: Iterable[User]) -> Coverage:
    counted = Coverage()
    for user in users:
        counted.users += 1
        counted.guests += user.user_type == "Guest"
        counted.disabled += user.account_enabled is False
        known = user.authentication
        if known is None:
            continue
        counted.known += 1
        counted.registered += known.is_mfa_registered
        counted.capable += known.is_mfa_capable
        counted.passwordless += known.is_passwordless_capable
        counted.admins += known.is_admin
        counted.admins_without_mfa += known.is_admin and not known.is_mfa_registered
    return counted
