"""What every rendering derives from a record in the same way: instants, kinds, the domain of a name.

Each function gives nothing where the record gives nothing; none of them guesses.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import batched
from typing import Literal

import msgspec

from shared.directory.records import Group, User
from shared.formats.interface import GroupLabel

type UserKind = Literal["admin", "service", "user"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_SERVICE_EMPLOYEE_TYPES = frozenset(
    {"service", "serviceaccount", "service account", "service-account", "service_account"}
)

_TOGETHER = 1_024
_raws = msgspec.json.Decoder(list[msgspec.Raw])

ROLE_ASSIGNABLE = "role-assignable"
"""The word for a group that directory roles may be given to."""


def epoch_milliseconds(time: str) -> int:
    """An RFC 3339 time in UTC as whole milliseconds since 1970; what is finer is cut off."""
    return (datetime.fromisoformat(time) - _EPOCH) // _MILLISECOND


event_milliseconds = lru_cache(maxsize=4096)(epoch_milliseconds)
"""The same for `changed_at`, which most records of a bucket share."""


def changed_at(record: User | Group) -> str:
    """The time of the event. Every published record has one."""
    if record.changed_at is None:
        raise ValueError(f"{record.id} cannot be rendered: a published record has changed_at.")
    return record.changed_at


def user_kind(user: User) -> UserKind:
    """Admin where the registration report says so; service where the employee type says so.

    Names are not evidence: `svc-backup` may be a person's nickname. A service account with a directory role
    is an admin, since that is the graver of the two.
    """
    authentication = user.authentication
    if authentication is not None and authentication.is_admin:
        return "admin"
    if user.employee_type is not None and user.employee_type.lower() in _SERVICE_EMPLOYEE_TYPES:
        return "service"
    return "user"


def domain(user_principal_name: str | None) -> str | None:
    """What follows the last `@`: a guest's name has its home address, with `_` for `@`, in front of it."""
    return user_principal_name.rpartition("@")[2] or None if user_principal_name else None


def group_kind(group: Group) -> str | None:
    """The admin centre's word for the kind, or none where Graph did not give what decides it.

    Source: https://learn.microsoft.com/graph/api/resources/groups-overview
    """
    if group.group_types is not None and "Unified" in group.group_types:
        return "Microsoft 365"
    if group.group_types is None or group.mail_enabled is None or group.security_enabled is None:
        return None
    if group.security_enabled:
        return "Mail-enabled security" if group.mail_enabled else "Security"
    return "Distribution" if group.mail_enabled else None


class EncodedGroups(dict[str, msgspec.Raw]):
    """What a user shows of each of its groups, by the group's id: encoded once, copied for every member.

    With `add`, many are encoded together and lie in one piece, which takes a quarter less memory.
    A group without a label, which Graph lists as a user's and does not let us read, shows its id.
    """

    def __init__(
        self, labels: Mapping[str, GroupLabel], render: Callable[[GroupLabel], msgspec.Struct]
    ) -> None:
        super().__init__()
        self._labels = labels
        self._render = render

    def add(self, labels: Iterable[GroupLabel]) -> None:
        """Encode all of these now."""
        for some in batched(labels, _TOGETHER, strict=False):
            piece = msgspec.json.encode([self._render(label) for label in some])
            self.update(zip((label.id for label in some), _raws.decode(piece), strict=True))

    def __missing__(self, group_id: str) -> msgspec.Raw:
        label = self._labels.get(group_id) or GroupLabel(group_id)
        # By the label's own id: another text of the same id would be held for every group.
        encoded = self[label.id] = msgspec.Raw(msgspec.json.encode(self._render(label)))
        return encoded
