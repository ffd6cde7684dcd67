"""What a check is, what it finds, and the row that is told of it.

A check is one class in the file of its family; `checks.py` lists them all. It tries one capability as the app
itself uses it, and says in a sentence what it found.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "missing-permission", "missing-licence", "unreachable", "misconfigured"]
"""    ok                    it works, or nothing wanted depends on it; `detail` says which
    missing-permission    somebody answered, and refused: a role or an application permission is not granted
    missing-licence       the tenant lacks Entra ID P1 or P2
    unreachable           nobody answered who could have refused: network, firewall, throttling, a time-out
    misconfigured         a setting, a secret or a resource is missing or wrong
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `fix` is one step to take, or a command; only `ok` has none."""

    status: Status
    detail: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One capability, as the Test connector tells it."""

    capability: str
    permission: str | None
    """The role or the application permission that it needs; None where it needs none."""
    status: Status
    detail: str
    fix: str | None


@dataclass(kw_only=True)
class Check(ABC):
    """Tries one capability. The names in `needs` and `after` are of checks that stand before it."""

    capability: str
    permission: str | None
    without: str = ""
    """What does not work where this does not: a sentence."""
    needs: tuple[str, ...] = ()
    """Checks that must be ok; otherwise this one is not tried, and says so."""
    after: tuple[str, ...] = ()
    """Checks whose rows this one looks at."""
    share: float = 1.0
    """The part of the time for the whole test after which this check counts as not answered."""

    @abstractmethod
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        """Try it. `earlier` has the rows of `needs` and `after`.

        A product's error may be raised: it becomes the finding. No finding holds a secret or a token.
        """

    def row(self, finding: Finding) -> Row:
        detail = finding.detail
        if finding.status != "ok" and self.without:
            detail = f"{detail} {self.without}"
        return Row(self.capability, self.permission, finding.status, detail, finding.fix)


def ok(detail: str) -> Finding:
    return Finding("ok", detail)


def not_checked(cause: Row) -> Finding:
    """For what needs something that is not ok."""
    return Finding(
        cause.status,
        f"Not checked since `{cause.capability}` is {cause.status}.",
        f"First settle the row `{cause.capability}`.",
    )
