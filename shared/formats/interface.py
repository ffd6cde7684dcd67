"""What a rendering is: the same users and groups in the words of another schema.

A format is one file beside this one with one subclass of `Format`; `shared.formats` lists them.
Renderings are pure: a record in, a struct out. They may use the record, the tenant and the names of the
user's groups, nothing else: a part must be byte for byte the same when nothing changed.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from shared.clouds import Cloud
from shared.directory.records import Group, User


class GroupLabel(msgspec.Struct, array_like=True, gc=False):
    """As much of a group as a rendering of its members may carry."""

    id: str
    display_name: str | None = None
    description: str | None = None
    is_assignable_to_role: bool | None = None


@dataclass(frozen=True, slots=True)
class RenderContext:
    """What a rendering may know beside the record."""

    tenant_id: str
    cloud: Cloud
    groups: Mapping[str, GroupLabel]
    """By id: at least the groups that the users of this bucket are in."""


class Format(ABC):
    """One schema that records can be rendered in. A name in `DIRECTORY_FORMATS`."""

    name: ClassVar[str]
    users_dataset: ClassVar[str | None] = None
    """The dataset that `render_user` fills, or none."""
    groups_dataset: ClassVar[str | None] = None

    def __init__(self, context: RenderContext) -> None:
        self.context = context

    def know(self, groups: Iterable[GroupLabel]) -> None:  # noqa: B027  # most formats need not
        """Many groups that users will be in. A format that shows groups encodes them now; they need not be in
        the context then."""

    @abstractmethod
    def render_user(self, user: User) -> msgspec.Struct | dict[str, Any]:
        """The user in this schema. Parts are sorted by the record's id, which is the rendering's uid."""

    def render_group(self, group: Group) -> msgspec.Struct | dict[str, Any]:
        """The group in this schema; only called where `groups_dataset` is set."""
        raise NotImplementedError(f"{self.name} has no groups")
