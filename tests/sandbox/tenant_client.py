"""A plain client of the simulated tenant for its own tests: no SDK, no retry, answers as they come."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

from sandbox.tenant import CLIENT_ID, Directory, Tenant, TenantServer

USER_SELECT = (
    "id,displayName,userPrincipalName,accountEnabled,jobTitle,department,mobilePhone,mail,businessPhones,"
    "manager"
)
GROUP_SELECT = "id,displayName,description,groupTypes,members,owners"


@dataclass(frozen=True)
class Answer:
    """What came back. `json` is None for a body that is not JSON."""

    status: int
    headers: Mapping[str, str]
    json: Any
    text: str

    @property
    def code(self) -> str:
        """The code in Graph's error body."""
        return str(self.json["error"]["code"])


class Client:
    """Asks one server with one token."""

    def __init__(self, session: aiohttp.ClientSession, server: TenantServer, token: str | None) -> None:
        self.session = session
        self.server = server
        self.tenant = server.tenant
        self.token = token

    async def ask(
        self, target: str, method: str = "GET", headers: Mapping[str, str] | None = None, json: Any = None
    ) -> Answer:
        """One request: `target` is an absolute URL or a path."""
        url = self.server.url + target if target.startswith("/") else target
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        sent.update(headers or {})
        async with self.session.request(method, url, headers=sent, json=json) as response:
            text = await response.text()
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(
                response.status, response.headers, await response.json() if is_json and text else None, text
            )

    async def graph(self, target: str, **options: Any) -> Answer:
        """A request below `/v1.0`."""
        return await self.ask("/v1.0" + target, **options)

    async def pages(self, target: str) -> list[Any]:
        """All pages of a chain, by nextLink."""
        pages: list[Any] = []
        url: str | None = self.server.url + "/v1.0" + target if target.startswith("/") else target
        while url:
            answer = await self.ask(url)
            assert answer.status == 200, answer.text
            pages.append(answer.json)
            url = answer.json.get("@odata.nextLink")
        return pages

    def with_permissions(self, *names: str) -> Self:
        """The same client after its application was granted exactly these."""
        self.tenant.clients[CLIENT_ID].permissions = set(names)
        self.token = self.tenant.token_for(self.tenant.clients[CLIENT_ID]).text
        return self


@asynccontextmanager
async def client_of(tenant: Tenant) -> AsyncIterator[Client]:
    """A served tenant and a client with all its permissions."""
    async with TenantServer(tenant) as server, aiohttp.ClientSession() as session:
        yield Client(session, server, tenant.token_for(tenant.clients[CLIENT_ID]).text)


@dataclass
class Mirror:
    """The directory as a reader of delta pages knows it."""

    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    managers: dict[str, str] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)
    owners: dict[str, set[str]] = field(default_factory=dict)

    def apply_users(self, pages: Iterable[Any]) -> str:
        """Take in a round of users; the delta link."""
        link = ""
        for page in pages:
            link = page.get("@odata.deltaLink", "")
            for item in page["value"]:
                user_id = item["id"]
                if "@removed" in item:
                    self.users.pop(user_id, None)
                    self.managers.pop(user_id, None)
                    continue
                for manager in item.pop("manager@delta", []):
                    if "@removed" not in manager:
                        self.managers[user_id] = manager["id"]
                    elif self.managers.get(user_id) == manager["id"]:
                        del self.managers[user_id]
                self.users.setdefault(user_id, {}).update(item)
        return str(link)

    def apply_groups(self, pages: Iterable[Any]) -> str:
        """Take in a round of groups; the delta link."""
        link = ""
        for page in pages:
            link = page.get("@odata.deltaLink", "")
            for item in page["value"]:
                group_id = item["id"]
                if "@removed" in item:
                    for known in (self.groups, self.members, self.owners):
                        known.pop(group_id, None)
                    continue
                for relation, edges in (("members", self.members), ("owners", self.owners)):
                    known_edges = edges.setdefault(group_id, set())
                    for edge in item.pop(f"{relation}@delta", []):
                        if "@removed" in edge:
                            known_edges.discard(edge["id"])
                        else:
                            known_edges.add(edge["id"])
                self.groups.setdefault(group_id, {}).update(item)
        return str(link)

    def assert_equals(self, directory: Directory) -> None:
        """Fail unless the reader knows exactly what is there."""
        names = [name for name in USER_SELECT.split(",") if name != "manager"]
        assert _known(self.users, names) == _known(directory.users, names)
        assert self.managers == {u: m for u, m in directory.managers.items() if u in directory.users}
        names = [name for name in GROUP_SELECT.split(",") if name not in ("members", "owners")]
        assert _known(self.groups, names) == _known(directory.groups, names)
        assert self.members == {g: set(directory.members[g]) for g in directory.groups}
        assert self.owners == {g: set(directory.owners[g]) for g in directory.groups}


def _known(objects: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> dict[str, dict[str, Any]]:
    return {
        key: {name: stored[name] for name in names if stored.get(name) is not None}
        for key, stored in objects.items()
    }
