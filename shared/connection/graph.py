"""Microsoft Graph: each capability asked for on its own, by the smallest request that needs its permission.

An empty tenant answers these requests as a full one does, just with nothing in it. What no request can tell
there, or anywhere, is read from the permissions in the token.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, override

import msgspec

from shared.connection.commands import Commands
from shared.connection.faults import graph_finding
from shared.connection.interface import Check, Finding, Row, ok
from shared.connection.sign_in import SIGN_IN, Granted
from shared.errors import GraphError, GraphRefused, GraphRequestRejected, InvalidPage
from shared.graph import queries
from shared.graph.objects import ObjectId
from shared.graph.paging import UNREADABLE, Page, page_decoder, read_page
from shared.graph.policy import Usage

if TYPE_CHECKING:
    from shared.graph.client import GraphClient


class _Object(msgspec.Struct):
    """An object of any kind. A setting of the tenant has an id as well."""

    id: str | None = None


_PAGE = page_decoder(_Object)
_GROUP = msgspec.json.Decoder(ObjectId)

READABLE = ok("Graph lets the app read it.")

REPORT = "registration-report"


@dataclass(kw_only=True)
class GraphCheck(Check):
    """What the checks of Graph have in common."""

    permission: str
    also_by: tuple[str, ...] = ()
    """Other permissions that allow the same."""
    flag: str = ""
    """What `infra/grant-permissions.sh --with` calls it; blank for what it always grants."""
    needs: tuple[str, ...] = (SIGN_IN,)
    graph: Callable[[], Awaitable["GraphClient"]]
    granted: Granted
    commands: Commands

    @property
    def is_granted(self) -> bool | None:
        """By the token; None if it does not tell."""
        return self.granted.has((self.permission, *self.also_by))

    async def get[T](self, path: str, read: Callable[[bytes], T]) -> T:
        """What `read` makes of the answer to a request for `path`, which begins with a slash.

        Raises `GraphError`, also for an answer that is none of Graph's.
        """
        graph = await self.graph()
        answer = await graph.send(
            queries.follow(f"{graph.origin}/v1.0{path}"),
            Usage(),
            subject=self.capability,
            permission=self.permission,
        )
        try:
            return read(answer.body)
        except UNREADABLE:
            raise InvalidPage(
                f"{self.capability}: what answered in Graph's place is no JSON of Graph."
            ) from None

    def refused(self, error: GraphError) -> Finding:
        finding = graph_finding(error, self._grant)
        if finding.status == "missing-permission" and self.is_granted:
            return replace(
                finding,
                detail=f"{finding.detail} The token has it, so that Graph may not have taken notice yet.",
                fix="Ask again in some minutes; if it stays so, look for a policy that restricts the app.",
            )
        return finding

    def missing(self) -> Finding:
        """By the token alone."""
        return Finding("missing-permission", f"{self.permission} is not granted to the app.", self._grant)

    @property
    def _grant(self) -> str:
        return self.commands.grant(self.permission, self.granted.principal_id, self.flag)


@dataclass(kw_only=True)
class CollectionCheck(GraphCheck):
    """A collection that can be read."""

    path: str
    delta: bool = False
    first_id: str | None = None
    """Of the answer, for those who need an object to ask about."""

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        try:
            page = await self.page()
        except GraphError as error:
            return self.refused(error)
        if page.value:
            self.first_id = page.value[0].id
        return READABLE

    async def page(self) -> Page[_Object]:
        return await self.get(
            self.path, lambda body: read_page(body, _PAGE, self.capability, delta=self.delta)
        )


@dataclass(kw_only=True)
class OptionalCheck(CollectionCheck):
    """What the app does without. It is not asked for where the token says that it is not granted."""

    instead: str
    """What happens without it: a sentence."""

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        if self.is_granted is False:
            return self._not_granted()
        try:
            await self.page()
        except GraphRefused as error:
            if error.status == 403 and error.code and not self.is_granted:
                return self._not_granted()
            return self.refused(error)
        except GraphError as error:
            return self.refused(error)
        return READABLE

    def _not_granted(self) -> Finding:
        return ok(f"Optional, and not granted: {self.instead} To have it: {self._grant}")


@dataclass(kw_only=True)
class TokenOnlyCheck(GraphCheck):
    """What no answer of Graph shows: it leaves out what the app may not see."""

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        if self.is_granted is None:
            return ok("It cannot be told: Graph leaves out what is hidden, and the token does not say.")
        return ok("The token has the permission.") if self.is_granted else self.missing()


@dataclass(kw_only=True)
class MethodsCheck(GraphCheck):
    """Users' own methods, which are read where the registration report is refused."""

    users: CollectionCheck
    after: tuple[str, ...] = ("users", REPORT)

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        needed = earlier[REPORT].status in ("missing-permission", "missing-licence")
        if self.is_granted is False:
            return self.missing() if needed else self._not_needed()
        if self.users.first_id is None:
            said = "the token has the permission" if self.is_granted else "the token does not say"
            return ok(f"There is no user to ask about; {said}.")
        try:
            await self.get(f"/users/{self.users.first_id}/authentication/methods", _PAGE.decode)
        except GraphRequestRejected as error:
            if error.status != 404:  # the user was deleted meanwhile
                return self.refused(error)
        except GraphError as error:
            finding = self.refused(error)
            if finding.status == "missing-permission" and not self.is_granted and not needed:
                return self._not_needed()
            return finding
        return ok("Graph lets the app read a user's methods.")

    def _not_needed(self) -> Finding:
        return ok(f"Not granted, and not needed while `{REPORT}` works. To have it: {self._grant}")


@dataclass(kw_only=True)
class GroupCheck(GraphCheck):
    """One group of the settings, which must be there."""

    group_id: str
    setting: str

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        try:
            await self.get(f"/groups/{self.group_id}?$select=id", _GROUP.decode)
        except GraphRequestRejected as error:
            if error.status != 404:
                return self.refused(error)
            return Finding(
                "misconfigured",
                f"The tenant has no group {self.group_id}.",
                f"Set {self.setting} to the object id of a group of this tenant, or to nothing.",
            )
        except GraphError as error:
            return self.refused(error)
        return ok(f"The group {self.group_id} is there.")
