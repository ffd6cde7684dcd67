"""What Entra's AADSTS numbers say about a password. The table ships as data: `aadsts.csv` beside this file.

Microsoft may change codes at any time, so an unknown one is no verdict, never "wrong password". Codes are
the integers of `error_codes`; text is never searched, since `AADSTS53003` is also in `AADSTS530032`.
Source: https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast

from shared.credentials.verdicts import Confidence, Status

TABLE = Path(__file__).with_name("aadsts.csv")

LOCKED = "locked_or_ip_blocked"
THROTTLED = "throttled"
CONFIGURATION = "config_error"
_WITHOUT_STATE = frozenset({"n/a", "active_or_unknown"})


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table."""

    number: int
    name: str
    password_valid: Literal["yes", "no", "unknown"]
    account_state: str
    confidence: Confidence
    """How sure it is that the code means this."""
    meaning: str
    """A sentence for the analyst."""

    @property
    def evidence(self) -> str:
        return f"AADSTS{self.number}"

    @property
    def status(self) -> Status:
        """The verdict's status. Rows about the app's configuration have none of their own: `unknown`."""
        if self.account_state in ("disabled", "not_found"):
            return cast(Status, self.account_state)
        return {"yes": "valid", "no": "invalid", "unknown": "unknown"}[self.password_valid]  # type: ignore[return-value]

    @property
    def shown_state(self) -> str | None:
        """The account state as answered; None where the code tells none."""
        return None if self.account_state in _WITHOUT_STATE else self.account_state

    @property
    def precedence(self) -> int:
        """Of several codes in one answer the lowest counts: what says least about the user comes first."""
        if self.account_state == CONFIGURATION:
            return 0
        if self.account_state in (LOCKED, THROTTLED):
            return 1
        return {"no": 2, "yes": 3, "unknown": 4}[self.password_valid]


@cache
def table() -> dict[int, Code]:
    """All rows by their number."""
    with TABLE.open(encoding="utf-8", newline="") as rows:
        return {
            int(row["code"]): Code(
                number=int(row["code"]),
                name=row["name"],
                password_valid=cast(Literal["yes", "no", "unknown"], row["password_valid"]),
                account_state=row["account_state"],
                confidence=cast(Confidence, row["confidence"]),
                meaning=row["meaning"],
            )
            for row in csv.DictReader(rows)
        }


def decisive(numbers: Iterable[int]) -> Code | None:
    """The code that counts among those of one answer; None if the table has none of them."""
    known = [table()[number] for number in numbers if number in table()]
    return min(known, key=lambda code: code.precedence, default=None)
