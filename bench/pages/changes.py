"""What changes between one sync and the next: the pages that stored delta links lead to, round by round.

A changed user comes with all selected properties and another name. A changed group comes with its properties
and the links that were added or taken away, half of each.
"""

import random
from math import ceil

import msgspec

from bench.scale import Scale


class Round(msgspec.Struct, frozen=True):
    """What happened before a sync that follows. Shares are of all users, and of all memberships."""

    name: str
    users: float = 0.0
    memberships: float = 0.0
    full: bool = False
    """Whether everything is read again and compared with the last snapshot: a full sync, as it is due once a
    week. Its pages are those of the first one, so what changed in between changes back."""


SHARE = 0.001
ROUNDS = (
    Round("0.1 % of users", SHARE),
    Round("0.1 % of users and of memberships", SHARE, SHARE),
    Round("nothing"),
    Round("all read again", full=True),
)
"""In the order in which they happen, one sync after each."""
INCREMENTAL_ROUNDS = sum(not one.full for one in ROUNDS)
"""They come first."""


class ChangeMaker:
    """Watches a directory being made, and notes what becomes of some of it in each round."""

    def __init__(self, scale: Scale, users: list[str]) -> None:
        self._rng = random.Random(f"changes-{scale.seed}")
        self._users = users
        self._members = 0
        self.people: list[list[str]] = [[] for _ in ROUNDS]
        """Changed users of each round: JSON objects."""
        self.groups: list[list[tuple[str, str, list[str]]]] = [[] for _ in ROUNDS]
        """Changed groups of each round, as `cut_groups` takes them."""
        self._changed_users = [self._draw(scale.users, one.users) for one in ROUNDS]
        members = scale.memberships - scale.groups
        wanted = [one.memberships * scale.memberships / members if members else 0.0 for one in ROUNDS]
        self._changed_members = [
            sorted(self._draw(members, share), reverse=True) if share else [] for share in wanted
        ]

    def see_user(self, number: int, properties: str) -> None:
        """A user was made; `properties` lack the closing brace."""
        for one, changed in enumerate(self._changed_users):
            if number in changed:
                renamed = properties.replace('"displayName":"', f'"displayName":"Dr. {one + 1} ', 1)
                self.people[one].append(f"{renamed}}}")

    def see_group(self, properties: str, links: list[str]) -> None:
        """A group was made with these members."""
        end = self._members + len(links)
        for waiting, changed in zip(self._changed_members, self.groups, strict=True):
            found = []
            while waiting and waiting[-1] < end:
                link = links[waiting.pop() - self._members]
                if len(waiting) % 2:
                    found.append(f'{link[:-1]},"@removed":{{"reason":"deleted"}}}}')
                else:
                    new = self._rng.choice(self._users)
                    found.append(f'{{"@odata.type":"#microsoft.graph.user","id":"{new}"}}')
            if found:
                changed.append((properties, "", found))
        self._members = end

    def _draw(self, of: int, share: float) -> set[int]:
        return set(self._rng.sample(range(of), min(of, ceil(of * share))))
