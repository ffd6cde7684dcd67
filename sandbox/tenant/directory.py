"""The objects of the tenant and the log of their changes: what Graph reads, and what delta links point
into.

Users, groups and the rest are dictionaries in Graph's JSON shape. They are replaced, never changed in
place, so a page may keep a reference to one. A property that was never set is absent; one that was set and
then cleared is None: Graph tells the two apart in the first answer of a delta query.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from sandbox.tenant.messages import JsonObject

type Kind = Literal["user", "group"]
type MemberType = str | None
"""`user`, `group`, `device`, `servicePrincipal`, `orgContact`, any other word for a type that a reader
does not know, or None for an edge that Graph answers without `@odata.type`."""


class Event(StrEnum):
    """What happened to an object."""

    ADDED = "added"
    UPDATED = "updated"
    DELETED = "deleted"  # soft: it can be restored for 30 days
    PURGED = "purged"
    RESTORED = "restored"
    MANAGER = "manager"
    MEMBERS = "members"
    OWNERS = "owners"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the log.

    `other` and `other_type` name the far end of an edge; for a manager, the former one.
    """

    sequence: int
    kind: Kind
    id: str
    event: Event
    properties: frozenset[str] = frozenset()
    other: str | None = None
    other_type: MemberType = None


class UnknownObjectError(KeyError):
    """A mutation names an object that is not there."""


def timestamp(moment: datetime | None = None) -> str:
    """A time as Graph writes it: UTC, whole seconds."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Directory:
    """Everything in the tenant.

    Read the public mappings freely; change them through the methods, which keep the log.
    """

    def __init__(self, seed: int | str = 0) -> None:
        self.seed = seed
        """What it was generated from; passwords come from it as well."""
        self.users: dict[str, JsonObject] = {}
        self.groups: dict[str, JsonObject] = {}
        self.deleted_users: dict[str, JsonObject] = {}
        self.deleted_groups: dict[str, JsonObject] = {}
        self.managers: dict[str, str] = {}
        self.members: dict[str, dict[str, MemberType]] = {}
        self.owners: dict[str, dict[str, MemberType]] = {}
        self.others: dict[str, JsonObject] = {}
        """Devices, service principals and contacts, with their `@odata.type`."""
        self.methods: dict[str, list[JsonObject]] = {}
        """Authentication methods by user, as `/users/{id}/authentication/methods` lists them."""
        self.registrations: dict[str, JsonObject] = {}
        """Rows of the registration report by user; enabled users only, as in Graph."""
        self.sign_ins: dict[str, JsonObject] = {}
        """`signInActivity` by user; absent for one who never signed in."""
        self._log: list[Change] = []
        self._base = 0

    # --- the log ----------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """The sequence number after the last change: a delta link made now points here."""
        return self._base + len(self._log)

    def changes_since(self, position: int) -> Iterable[Change]:
        """The changes from a position on, oldest first."""
        return self._log[max(0, position - self._base) :]

    def forget_history(self) -> None:
        """Drop the log, as after the initial load: no delta link can point before this moment."""
        self._base = self.position
        self._log = []

    def remembers(self, position: int) -> bool:
        """Whether every change from this position on is still in the log."""
        return self._base <= position <= self.position

    def _record(
        self,
        kind: Kind,
        object_id: str,
        event: Event,
        properties: Iterable[str] = (),
        other: str | None = None,
        other_type: MemberType = None,
    ) -> None:
        self._log.append(
            Change(self.position, kind, object_id, event, frozenset(properties), other, other_type)
        )

    # --- users ------------------------------------------------------------------------------------

    def add_user(self, properties: Mapping[str, Any]) -> str:
        """Add a user from Graph properties; id, name and the other facts that no user lacks are filled in.

        The id.
        """
        user_id = properties.get("id") or str(uuid.uuid4())
        _unknown(user_id, self.users, self.deleted_users)
        user: JsonObject = {
            "id": user_id,
            "userPrincipalName": f"{user_id[:8]}@contoso.com",
            "displayName": user_id[:8],
            "accountEnabled": True,
            "userType": "Member",
            "createdDateTime": timestamp(),
            "businessPhones": [],
            **properties,
        }
        user["id"] = user_id
        self.users[user_id] = user
        self._record("user", user_id, Event.ADDED)
        return user_id

    def update_user(self, user_id: str, properties: Mapping[str, Any]) -> None:
        """Set properties; None clears one."""
        self.users[user_id] = {**_known(self.users, user_id), **properties}
        self._record("user", user_id, Event.UPDATED, properties)

    def set_manager(self, user_id: str, manager_id: str | None) -> None:
        """Set or, with None, remove the manager."""
        _known(self.users, user_id)
        former = self.managers.pop(user_id, None)
        if manager_id is not None:
            self.managers[user_id] = manager_id
        if former != manager_id:
            self._record("user", user_id, Event.MANAGER, other=former, other_type="user")

    def delete_user(self, user_id: str) -> None:
        """Soft deletion: the user leaves the lists and the report, and stays in its groups until it is
        purged.

        Its principal name gets its id as a prefix, until it is restored.
        """
        user = _known(self.users, user_id)
        del self.users[user_id]
        self.deleted_users[user_id] = {
            **user,
            "deletedDateTime": timestamp(),
            "userPrincipalName": _freed_name_prefix(user_id) + user["userPrincipalName"],
        }
        self._record("user", user_id, Event.DELETED)

    def restore_user(self, user_id: str) -> None:
        """Bring a soft-deleted user back, with its edges."""
        user = dict(_known(self.deleted_users, user_id))
        del self.deleted_users[user_id]
        user.pop("deletedDateTime", None)
        user["userPrincipalName"] = user["userPrincipalName"].removeprefix(_freed_name_prefix(user_id))
        self.users[user_id] = user
        self._record("user", user_id, Event.RESTORED)

    def purge_user(self, user_id: str) -> None:
        """Remove a user for good, from the recycle bin or at once; only now do its edges go."""
        if self.users.pop(user_id, None) is None and self.deleted_users.pop(user_id, None) is None:
            raise UnknownObjectError(user_id)
        for group_id in [g for g, members in self.members.items() if user_id in members]:
            self.remove_member(group_id, user_id)
        for group_id in [g for g, owners in self.owners.items() if user_id in owners]:
            self.remove_owner(group_id, user_id)
        for report in [r for r, manager in self.managers.items() if manager == user_id]:
            if report in self.users:
                self.set_manager(report, None)
            else:
                del self.managers[report]
        self.managers.pop(user_id, None)
        self.methods.pop(user_id, None)
        self.registrations.pop(user_id, None)
        self.sign_ins.pop(user_id, None)
        self._record("user", user_id, Event.PURGED)

    # --- groups -----------------------------------------------------------------------------------

    def add_group(self, properties: Mapping[str, Any]) -> str:
        """Add a group from Graph properties; what no group lacks is filled in. The id."""
        group_id = properties.get("id") or str(uuid.uuid4())
        _unknown(group_id, self.groups, self.deleted_groups)
        group: JsonObject = {
            "id": group_id,
            "displayName": group_id[:8],
            "mailEnabled": False,
            "mailNickname": group_id[:8],
            "securityEnabled": True,
            "groupTypes": [],
            "createdDateTime": timestamp(),
            **properties,
        }
        group["id"] = group_id
        self.groups[group_id] = group
        self.members[group_id] = {}
        self.owners[group_id] = {}
        self._record("group", group_id, Event.ADDED)
        return group_id

    def update_group(self, group_id: str, properties: Mapping[str, Any]) -> None:
        """Set properties; None clears one."""
        self.groups[group_id] = {**_known(self.groups, group_id), **properties}
        self._record("group", group_id, Event.UPDATED, properties)

    def delete_group(self, group_id: str) -> None:
        """Remove a group: a Microsoft 365 group goes to the recycle bin, any other is gone for good."""
        group = _known(self.groups, group_id)
        if "Unified" in group["groupTypes"]:
            del self.groups[group_id]
            self.deleted_groups[group_id] = {**group, "deletedDateTime": timestamp()}
            self._record("group", group_id, Event.DELETED)
        else:
            self.purge_group(group_id)

    def restore_group(self, group_id: str) -> None:
        """Bring a Microsoft 365 group back, with its members and owners."""
        group = dict(_known(self.deleted_groups, group_id))
        del self.deleted_groups[group_id]
        group.pop("deletedDateTime", None)
        self.groups[group_id] = group
        self._record("group", group_id, Event.RESTORED)

    def purge_group(self, group_id: str) -> None:
        """Remove a group for good, with its edges and its memberships in other groups."""
        if self.groups.pop(group_id, None) is None and self.deleted_groups.pop(group_id, None) is None:
            raise UnknownObjectError(group_id)
        del self.members[group_id], self.owners[group_id]
        for parent_id in [g for g, members in self.members.items() if group_id in members]:
            self.remove_member(parent_id, group_id)
        self._record("group", group_id, Event.PURGED)

    def add_member(self, group_id: str, object_id: str, object_type: MemberType = "user") -> None:
        """Add a direct member; adding it twice changes nothing."""
        self._link(self.members, Event.MEMBERS, group_id, object_id, object_type)

    def remove_member(self, group_id: str, object_id: str) -> None:
        """Remove a direct member; removing a stranger changes nothing."""
        self._unlink(self.members, Event.MEMBERS, group_id, object_id)

    def add_owner(self, group_id: str, object_id: str, object_type: MemberType = "user") -> None:
        """Add an owner."""
        self._link(self.owners, Event.OWNERS, group_id, object_id, object_type)

    def remove_owner(self, group_id: str, object_id: str) -> None:
        """Remove an owner."""
        self._unlink(self.owners, Event.OWNERS, group_id, object_id)

    def _link(
        self,
        edges: dict[str, dict[str, MemberType]],
        event: Event,
        group_id: str,
        object_id: str,
        object_type: MemberType,
    ) -> None:
        links = edges.get(group_id)
        if links is None:
            raise UnknownObjectError(group_id)
        if object_id not in links:
            links[object_id] = object_type
            self._record("group", group_id, event, (), object_id, object_type)

    def _unlink(
        self, edges: dict[str, dict[str, MemberType]], event: Event, group_id: str, object_id: str
    ) -> None:
        links = edges.get(group_id)
        if links is None:
            raise UnknownObjectError(group_id)
        if object_id in links:
            self._record("group", group_id, event, (), object_id, links.pop(object_id))

    # --- the rest ---------------------------------------------------------------------------------

    def add_other(self, object_type: str, properties: Mapping[str, Any]) -> str:
        """Add a device, service principal or contact, which only appear as members. The id."""
        object_id = properties.get("id") or str(uuid.uuid4())
        self.others[object_id] = {
            "@odata.type": f"#microsoft.graph.{object_type}",
            **properties,
            "id": object_id,
        }
        return object_id

    def find_user(self, key: str) -> JsonObject | None:
        """A live user by id or, as Graph's path allows, by user principal name in any case."""
        user = self.users.get(key)
        if user is not None or "@" not in key:
            return user
        wanted = key.casefold()
        return next((u for u in self.users.values() if u["userPrincipalName"].casefold() == wanted), None)


def _freed_name_prefix(user_id: str) -> str:
    """What Entra puts before the principal name of a deleted user, so that another one may have it."""
    return user_id.replace("-", "")


def _known(objects: Mapping[str, JsonObject], object_id: str) -> JsonObject:
    found = objects.get(object_id)
    if found is None:
        raise UnknownObjectError(object_id)
    return found


def _unknown(object_id: str, *places: Mapping[str, JsonObject]) -> None:
    if any(object_id in place for place in places):
        raise ValueError(f"{object_id} is there already")
