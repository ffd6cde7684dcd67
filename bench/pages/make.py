"""Makes all pages of a directory and stores them. The same scale and origin give the same pages."""

import random
from collections.abc import Iterable, Iterator
from itertools import batched
from pathlib import Path

from bench.pages.archive import ArchiveWriter, Kind
from bench.pages.groups import group_pages
from bench.pages.people import PeopleMaker, object_id
from bench.scale import USERS_A_PAGE, Scale
from shared.graph.queries import LIST_PAGE

PATHS: dict[Kind, str] = {
    "users": "/v1.0/users/delta()",
    "groups": "/v1.0/groups/delta()",
    "authentication": "/v1.0/reports/authenticationMethods/userRegistrationDetails",
    "users-list": "/v1.0/users",
}
_ENTITY: dict[Kind, str] = {
    "users": "users",
    "groups": "groups",
    "authentication": "userRegistrationDetails",
    "users-list": "users",
}
MANAGED_SHARE = 0.9


def make_pages(scale: Scale, origin: str, directory: Path, *, listed_users: int) -> None:
    """Write the archive. `listed_users` is how many users `/users` lists, for the SDK's typed loop."""
    archive = ArchiveWriter(directory)
    rng = random.Random(f"pages-{scale.seed}")
    users = [object_id(rng) for _ in range(scale.users)]
    chain = _Chain(archive, origin, rng)

    report: list[str] = []
    listed: list[str] = []

    def delta_pages() -> Iterator[tuple[str, int]]:
        maker = PeopleMaker(rng)
        for numbers in batched(range(scale.users), USERS_A_PAGE, strict=False):
            page = []
            for number in numbers:
                person = maker.person(number, users[number])
                page.append(f"{person.properties}{_manager(users, rng)}}}")
                if number < listed_users:
                    listed.append(f"{person.properties}}}")
                if number < scale.report_rows:
                    report.append(person.report_row)
            yield ",".join(page), len(page)

    chain.add("users", delta_pages(), delta=True)
    chain.add("groups", group_pages(scale, users, rng), delta=True)
    chain.add("authentication", _listed(report), delta=False)
    chain.add("users-list", _listed(listed), delta=False)
    archive.close()


class _Chain:
    """Turns the values of pages into pages that name the next one."""

    def __init__(self, archive: ArchiveWriter, origin: str, rng: random.Random) -> None:
        self._archive = archive
        self._origin = origin
        self._rng = rng

    def add(self, kind: Kind, values: Iterable[tuple[str, int]], *, delta: bool) -> None:
        waiting: tuple[str, int] | None = None
        number = 0
        for value in values:
            if waiting is not None:
                number += 1
                self._store(kind, waiting, f',"@odata.nextLink":"{self._link(kind, number)}"')
            waiting = value
        if waiting is not None:
            end = f',"@odata.deltaLink":"{self._link(kind, number + 1)}"' if delta else ""
            self._store(kind, waiting, end)

    def _store(self, kind: Kind, value: tuple[str, int], link: str) -> None:
        context = f"{self._origin}/v1.0/$metadata#{_ENTITY[kind]}"
        text, objects = value
        self._archive.add(kind, f'{{"@odata.context":"{context}"{link},"value":[{text}]}}', objects)

    def _link(self, kind: Kind, number: int) -> str:
        # Graph's tokens are some hundred characters that do not compress.
        return f"{self._origin}{PATHS[kind]}?$skiptoken={self._rng.getrandbits(1024):0256x}.{number}"


def _listed(rows: list[str]) -> Iterator[tuple[str, int]]:
    for page in batched(rows, LIST_PAGE, strict=False):
        yield ",".join(page), len(page)


def _manager(users: list[str], rng: random.Random) -> str:
    if rng.random() >= MANAGED_SHARE:
        return ""
    return f',"manager@delta":[{{"@odata.type":"#microsoft.graph.user","id":"{rng.choice(users)}"}}]'
