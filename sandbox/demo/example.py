"""One user that shows much: with a manager, groups, several methods, and an account on premises."""

from typing import Any

import msgspec

from sandbox.demo.snapshot import Snapshot

USERS = "users"
OCSF_USERS = "ocsf-users"


class _OnPremises(msgspec.Struct, frozen=True):
    sync_enabled: bool = False


class _Authentication(msgspec.Struct, frozen=True):
    is_mfa_registered: bool = False
    is_admin: bool = False
    methods: tuple[str, ...] = ()


class _Candidate(msgspec.Struct, frozen=True):
    id: str
    account_enabled: bool = False
    manager_id: str | None = None
    groups: tuple[str, ...] = ()
    authentication: _Authentication = _Authentication()
    on_premises: _OnPremises = _OnPremises()

    @property
    def rank(self) -> tuple[bool, ...]:
        """What matters most comes first."""
        return (
            self.account_enabled,
            self.manager_id is not None,
            self.authentication.is_mfa_registered,
            2 <= len(self.authentication.methods) <= 3,
            self.on_premises.sync_enabled,
            2 <= len(self.groups) <= 4,
            self.authentication.is_admin,
        )


def example_user(snapshot: Snapshot) -> tuple[Any, Any]:
    """A user as published, and the same as OCSF. The same snapshot gives the same user."""
    best = max(snapshot.rows(USERS, _Candidate), key=lambda user: (user.rank, user.id))
    user = next(row for row in snapshot.find(USERS, best.id) if row["id"] == best.id)
    event = next(row for row in snapshot.find(OCSF_USERS, best.id) if row["user"]["uid"] == best.id)
    return user, event
