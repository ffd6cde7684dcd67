"""Who a leaked address is: the user in Graph, now. One `$batch` for all addresses of a request.

A batch also keeps the addresses out of URLs, and so out of every log of requests.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import msgspec

from shared.errors import (
    GraphRefused,
    GraphRequestRejected,
    GraphUnreachable,
)
from shared.graph.batch import Ask, ask_many, get_many
from shared.graph.paging import UNREADABLE
from shared.graph.policy import Usage

if TYPE_CHECKING:
    from shared.graph.client import GraphClient

PROPERTIES = (
    "id,userPrincipalName,mail,proxyAddresses,accountEnabled,userType,creationType,identities,"
    "onPremisesSyncEnabled,lastPasswordChangeDateTime"
)
DEADLINE_SECONDS = 40.0
"""For all that is asked of Graph in one step: a caller waits."""
KEPT_SECONDS = 3600.0
"""Domains and the lockout policy change rarely."""
MOST_MATCHES = 5

_ADDRESS = re.compile(r"[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f/\\?#]+")
_PRINCIPAL_NAME = re.compile(r"[A-Za-z0-9'._!#^~+&=-]+@[A-Za-z0-9.-]+")
"""What a user principal name may hold, and a little more."""

Absence = Literal["not_found", "deleted", "ambiguous", "no_address"]


class Identity(msgspec.Struct, rename="camel"):
    """One way that a user signs in with."""

    sign_in_type: str | None = None
    issuer: str | None = None


class DirectoryUser(msgspec.Struct, rename="camel"):
    """What the answers without an attempt rest on. Null is absent."""

    id: str
    user_principal_name: str
    mail: str | None = None
    proxy_addresses: list[str] | None = None
    account_enabled: bool | None = None
    user_type: str | None = None
    creation_type: str | None = None
    identities: list[Identity] | None = None
    on_premises_sync_enabled: bool | None = None
    last_password_change_date_time: datetime | None = None

    @property
    def domain(self) -> str:
        return self.user_principal_name.rpartition("@")[2].lower()


class _Users(msgspec.Struct):
    value: list[DirectoryUser]


class _Domain(msgspec.Struct, rename="camel"):
    id: str
    authentication_type: str | None = None


class _Domains(msgspec.Struct):
    value: list[_Domain]


class _GroupIds(msgspec.Struct):
    value: list[str]


class _SettingValue(msgspec.Struct):
    name: str
    value: str | None = None


class _GroupSetting(msgspec.Struct, rename="camel"):
    display_name: str | None = None
    values: list[_SettingValue] = []


class _GroupSettings(msgspec.Struct):
    value: list[_GroupSetting]


@dataclass(slots=True)
class _Kept[T]:
    value: T
    until: float


@dataclass(slots=True)
class DirectoryUsers:
    """Looks users up. `graph` makes the client when it is first needed: its SDK is heavy."""

    graph: Callable[[], Awaitable["GraphClient"]]
    clock: Callable[[], float] = time.monotonic
    deadline_seconds: float = DEADLINE_SECONDS
    _domains: _Kept[frozenset[str]] | None = field(default=None, init=False)
    _threshold: _Kept[int | None] | None = field(default=None, init=False)

    async def find(self, addresses: Iterable[str]) -> dict[str, DirectoryUser | Absence]:
        """The user of each address, by principal name, then by mail and aliases; also among the deleted.

        Raises a `GraphError` or `SignInRefused`.
        """
        wanted = set(addresses)
        found: dict[str, DirectoryUser | Absence] = dict.fromkeys(wanted, "no_address")
        shaped = sorted(one for one in wanted if _ADDRESS.fullmatch(one))
        async with self._in_time("users"):
            matches = await self._matches(shaped)
            for address in shaped:
                found[address] = _choose(address, matches[address])
            missing = [one for one in shaped if found[one] == "not_found"]
            for address in await self._deleted(missing):
                found[address] = "deleted"
        return found

    async def federated_domains(self) -> frozenset[str]:
        """The tenant's domains whose passwords another server checks, in lower case."""
        if self._domains is None or self.clock() >= self._domains.until:
            async with self._in_time("domains"):
                answers = await get_many(
                    await self.graph(),
                    {"domains": "/domains?$select=id,authenticationType"},
                    Usage(),
                    subject="domains",
                    permission="Domain.Read.All",
                )
            domains = _decode(_accepted(answers["domains"]), _Domains, "domains").value
            federated = frozenset(one.id.lower() for one in domains if one.authentication_type == "Federated")
            self._domains = _Kept(federated, self.clock() + KEPT_SECONDS)
        return self._domains.value

    async def members_of(self, group_id: str, user_ids: Iterable[str]) -> frozenset[str]:
        """Those of the users that are members of the group, directly or through other groups."""
        asked = {
            user_id: Ask(f"/users/{user_id}/checkMemberGroups", body={"groupIds": [group_id]})
            for user_id in sorted(set(user_ids))
        }
        async with self._in_time("the excluded group"):
            answers = await ask_many(
                await self.graph(),
                asked,
                Usage(),
                subject="the excluded group",
                permission="GroupMember.Read.All",
            )
        return frozenset(
            user_id
            for user_id, answer in answers.items()
            if _decode(_accepted(answer), _GroupIds, "the excluded group").value
        )

    async def lockout_threshold(self) -> int | None:
        """The tenant's own smart lockout threshold; None where it has none or does not show it.

        It needs GroupSettings.Read.All, which is optional: without it the cloud's default counts.
        """
        if self._threshold is None or self.clock() >= self._threshold.until:
            try:
                async with self._in_time("the lockout policy"):
                    answers = await get_many(
                        await self.graph(),
                        {"settings": "/groupSettings"},
                        Usage(),
                        subject="the lockout policy",
                        permission="GroupSettings.Read.All",
                    )
                settings = _decode(_accepted(answers["settings"]), _GroupSettings, "the lockout policy")
                threshold = _threshold_of(settings.value)
            except (GraphRefused, GraphRequestRejected):
                threshold = None
            self._threshold = _Kept(threshold, self.clock() + KEPT_SECONDS)
        return self._threshold.value

    async def _matches(self, addresses: list[str]) -> dict[str, list[DirectoryUser]]:
        asked: dict[str, Ask] = {}
        for address in addresses:
            if _PRINCIPAL_NAME.fullmatch(address):
                asked[f"name {address}"] = Ask(f"/users/{quote(address, safe='')}?$select={PROPERTIES}")
            asked[f"alias {address}"] = Ask(
                f"/users?$filter={quote(_any_address_is(address))}&$select={PROPERTIES}&$top={MOST_MATCHES}"
            )
        answers = await ask_many(
            await self.graph(), asked, Usage(), subject="users", permission="User.Read.All"
        )
        matches: dict[str, list[DirectoryUser]] = {}
        for address in addresses:
            named = answers.get(f"name {address}")
            if isinstance(named, GraphRequestRejected) and named.status != 404:
                raise named
            if isinstance(named, bytes):
                matches[address] = [_decode(named, DirectoryUser, "users")]
            else:
                matches[address] = _decode(_accepted(answers[f"alias {address}"]), _Users, "users").value
        return matches

    async def _deleted(self, addresses: list[str]) -> list[str]:
        """Those of the addresses that a deleted user had."""
        asked = {
            address: Ask(
                f"/directory/deletedItems/microsoft.graph.user?$filter={quote(_was_address_of(address))}"
                f"&$count=true&$select=id,userPrincipalName,mail&$top={MOST_MATCHES}",
                headers={"ConsistencyLevel": "eventual"},
            )
            for address in addresses
        }
        if not asked:
            return []
        answers = await ask_many(
            await self.graph(), asked, Usage(), subject="deleted users", permission="User.Read.All"
        )
        return [
            address
            for address, answer in answers.items()
            if any(
                address.lower() in _mailboxes(one)
                for one in _decode(_accepted(answer), _Users, "deleted users").value
            )
        ]

    @asynccontextmanager
    async def _in_time(self, subject: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.deadline_seconds):
                yield
        except TimeoutError:
            raise GraphUnreachable(f"Graph did not answer for {subject} in time. Ask again later.") from None


def _choose(address: str, users: list[DirectoryUser]) -> DirectoryUser | Absence:
    """The one user of the address. Who has it as a mailbox goes before who only gave it as another one."""
    if len(users) > 1:
        wanted = address.lower()
        users = [one for one in users if wanted in _mailboxes(one)] or users
    if not users:
        return "not_found"
    return users[0] if len(users) == 1 else "ambiguous"


def _mailboxes(user: DirectoryUser) -> set[str]:
    """The addresses that are the user's own. Graph puts the object id before a deleted user's name."""
    name = user.user_principal_name.lower().removeprefix(user.id.replace("-", ""))
    proxies = (one.lower().removeprefix("smtp:") for one in user.proxy_addresses or ())
    return {name, (user.mail or "").lower(), *proxies}


def _any_address_is(address: str) -> str:
    text = address.replace("'", "''")
    return f"mail eq '{text}' or proxyAddresses/any(p:p eq 'smtp:{text}') or otherMails/any(m:m eq '{text}')"


def _was_address_of(address: str) -> str:
    text = address.replace("'", "''")
    return f"endsWith(userPrincipalName,'{text}') or mail eq '{text}'"


def _threshold_of(settings: list[_GroupSetting]) -> int | None:
    for setting in settings:
        if setting.display_name == "Password Rule Settings":
            for one in setting.values:
                if one.name == "LockoutThreshold" and one.value and one.value.isdecimal():
                    return int(one.value)
    return None


def _accepted(answer: bytes | GraphRequestRejected) -> bytes:
    if isinstance(answer, GraphRequestRejected):
        raise answer
    return answer


def _decode[T](body: bytes, kind: type[T], subject: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE:
        raise GraphUnreachable(
            f"Graph sent an answer for {subject} that cannot be read. Ask again later."
        ) from None
