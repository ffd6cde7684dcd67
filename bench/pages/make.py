"""Makes all pages of a directory and stores them. The same scale and origin give the same pages.

Pages are written as they are made. What stays in memory are the ids, and the little that changes later.
"""

import random
from collections.abc import Iterable, Iterator
from itertools import batched
from pathlib import Path

from bench.pages.archive import ArchiveWriter, Kind
from bench.pages.changes import ROUNDS, ChangeMaker
from bench.pages.groups import cut_groups, make_groups
from bench.pages.people import PeopleMaker, object_id
from bench.scale import CHANGES_A_PAGE, Scale
from shared.graph.queries import LIST_PAGE

USERS_DELTA = "/v1.0/users/delta()"
GROUPS_DELTA = "/v1.0/groups/delta()"

FIRST: dict[str, Kind] = {
    "/v1.0/users": "users",
    GROUPS_DELTA: "groups",
    "/v1.0/reports/authenticationMethods/userRegistrationDetails": "authentication",
    "/v1.0/directory/deletedItems/graph.user": "deleted-users",
}
"""Where a chain begins; every other page is found by its link."""
MINT: Kind = "users-latest"
"""`users/delta?$deltatoken=latest`: no users, just a delta link."""
FULL: tuple[Kind, ...] = ("users", "groups", "authentication")
"""What the pages of a full sync are of."""

_PATHS = {kind: path for path, kind in FIRST.items()}
MANAGED_SHARE = 0.9


def users_delta(number: int) -> Kind:
    """The replay of the link that was minted for the full sync (0), and those of the rounds (from 1)."""
    return f"users-delta-{number}"


def groups_delta(number: int) -> Kind:
    """Those of the rounds, from 1."""
    return f"groups-delta-{number}"


def make_pages(scale: Scale, origin: str, directory: Path) -> None:
    """Write the archive."""
    archive = ArchiveWriter(directory)
    rng = random.Random(f"pages-{scale.seed}")
    users = [object_id(rng) for _ in range(scale.users)]
    changes = ChangeMaker(scale, users)

    def chain(kind: Kind, path: str, then: Kind | None = None) -> _Chain:
        return _Chain(archive, origin, rng, kind, path, then)

    listed = chain("users", _PATHS["users"])
    report = chain("authentication", _PATHS["authentication"])
    report_page: list[str] = []
    maker = PeopleMaker(rng)
    for numbers in batched(range(scale.users), LIST_PAGE, strict=False):
        page = []
        for number in numbers:
            person = maker.person(number, users[number])
            page.append(f"{person.properties}{_manager(users, rng)}}}")
            changes.see_user(number, person.properties)
            if number < scale.report_rows:
                report_page.append(person.report_row)
            if len(report_page) == LIST_PAGE:
                report.add(report_page)
                report_page = []
        listed.add(page)
    listed.end()
    if report_page:
        report.add(report_page)
    report.end()

    groups = chain("groups", GROUPS_DELTA, groups_delta(1))
    groups.add_all(cut_groups(make_groups(scale, users, rng, changes)))
    groups.end()

    chain("deleted-users", _PATHS["deleted-users"]).end()
    chain(MINT, USERS_DELTA, users_delta(0)).end()
    chain(users_delta(0), USERS_DELTA, users_delta(1)).end()
    for number in range(1, len(ROUNDS) + 1):
        changed = chain(users_delta(number), USERS_DELTA, users_delta(number + 1))
        changed.add_all(map(list, batched(changes.people[number - 1], CHANGES_A_PAGE, strict=False)))
        changed.end()
        changed = chain(groups_delta(number), GROUPS_DELTA, groups_delta(number + 1))
        changed.add_all(cut_groups(iter(changes.groups[number - 1])))
        changed.end()
    archive.close()


class _Chain:
    """Turns objects into pages that name the next one. A chain without objects is one empty page."""

    def __init__(
        self,
        archive: ArchiveWriter,
        origin: str,
        rng: random.Random,
        kind: Kind,
        path: str,
        then: Kind | None,
    ) -> None:
        """`then` is what the delta link at the end leads to; a list has none."""
        self._archive = archive
        self._origin = origin
        self._rng = rng
        self._kind = kind
        self._path = path
        self._then = then
        self._waiting: list[str] | None = None
        self._number = 0

    def add(self, page: list[str]) -> None:
        if self._waiting is not None:
            self._number += 1
            link = self._link("skiptoken", self._kind, self._number)
            self._store(self._waiting, f',"@odata.nextLink":"{link}"')
        self._waiting = page

    def add_all(self, pages: Iterable[list[str]] | Iterator[list[str]]) -> None:
        for page in pages:
            self.add(page)

    def end(self) -> None:
        link = f',"@odata.deltaLink":"{self._link("deltatoken", self._then, 0)}"' if self._then else ""
        self._store(self._waiting or [], link)

    def _store(self, page: list[str], link: str) -> None:
        context = f"{self._origin}/v1.0/$metadata#{self._path.split('/')[2]}"
        body = f'{{"@odata.context":"{context}"{link},"value":[{",".join(page)}]}}'
        self._archive.add(self._kind, body, len(page))

    def _link(self, token: str, kind: Kind, number: int) -> str:
        # Graph's tokens are some hundred characters that do not compress.
        return f"{self._origin}{self._path}?${token}={self._rng.getrandbits(1024):0256x}.{kind}.{number}"


def _manager(users: list[str], rng: random.Random) -> str:
    if rng.random() >= MANAGED_SHARE:
        return ""
    return f',"manager":{{"@odata.type":"#microsoft.graph.user","id":"{rng.choice(users)}"}}'
