"""How large the measured directory is, and what reading it costs in requests at the very least."""

from argparse import ArgumentParser, Namespace
from math import ceil
from typing import Self

import msgspec

from shared.graph.queries import LIST_PAGE

CHANGES_A_PAGE = 200
"""`users/delta` as Graph cuts it; the client has no say."""
GROUPS_A_PAGE = 200
LINKS_A_PAGE = 500
"""`groups/delta` ends a page at so many entries of `members@delta` and `owners@delta`; groups are split."""
REPORT_SHARE = 0.9
"""The registration report has no row for a disabled user."""
SINGLE_REQUESTS = 4
"""Of a full sync: two `$count`, the delta link that is minted before the list, its replay after it."""


class Scale(msgspec.Struct, frozen=True):
    """A directory's size. `memberships` counts members and owners."""

    users: int = 100_000
    groups: int = 30_000
    memberships: int = 500_000
    seed: int = 7

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        default = cls()
        parser.add_argument("--users", type=int, default=default.users, metavar="N")
        parser.add_argument("--groups", type=int, default=default.groups, metavar="N")
        parser.add_argument("--memberships", type=int, default=default.memberships, metavar="N")
        parser.add_argument("--seed", type=int, default=default.seed, metavar="N")

    @classmethod
    def of(cls, arguments: Namespace) -> Self:
        """Raises ValueError for a directory that cannot be: each group has an owner, and room for members."""
        scale = cls(arguments.users, arguments.groups, arguments.memberships, arguments.seed)
        if scale.users < 1 or not 0 < scale.groups <= scale.memberships <= scale.groups * scale.users:
            raise ValueError(
                f"There is no directory of {scale.users} users, {scale.groups} groups and "
                f"{scale.memberships} memberships: each group has one owner and at most all users in it."
            )
        return scale

    def arguments(self) -> list[str]:
        """The same scale on the command line of another process."""
        return [
            *("--users", str(self.users), "--groups", str(self.groups)),
            *("--memberships", str(self.memberships), "--seed", str(self.seed)),
        ]

    @property
    def report_rows(self) -> int:
        return ceil(self.users * REPORT_SHARE)

    @property
    def name(self) -> str:
        return next((name for name, scale in SCALES.items() if scale == self), f"{self.users:,}")

    @property
    def user_pages(self) -> int:
        return ceil(self.users / LIST_PAGE)

    @property
    def group_pages(self) -> int:
        """The fewest that Graph's limits allow."""
        return max(ceil(self.groups / GROUPS_A_PAGE), ceil(self.memberships / LINKS_A_PAGE))

    @property
    def report_pages(self) -> int:
        return ceil(self.report_rows / LIST_PAGE)

    @property
    def least_requests(self) -> int:
        """What a full sync needs at least: every page once, and the single requests."""
        return self.user_pages + self.group_pages + self.report_pages + SINGLE_REQUESTS


SCALES = {
    "10k": Scale(10_000, 1_000, 50_000),
    "100k": Scale(100_000, 10_000, 500_000),
    "1m": Scale(1_000_000, 100_000, 5_000_000),
}
"""Growth is measured over these, alike in all but size. The smallest comes first."""
