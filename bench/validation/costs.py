"""What was measured of the webhook, as it goes from process to process and into `--json`. In seconds."""

import msgspec

from bench.results import Machine

GRAPH_SECONDS = 0.060
SIGN_IN_SECONDS = 0.120
"""How long the stand-ins wait before they work: what Graph and the sign-in service are taken to need."""

NO_ATTEMPT = "no attempt is needed"
ATTEMPT = "one attempt"
MEMORY = "tried before"
MIXES = (NO_ATTEMPT, ATTEMPT, MEMORY)
"""In this order: what was tried is what is then remembered."""


class Load(msgspec.Struct, frozen=True):
    """How calls come."""

    callers: int
    """So many at once."""
    every: float = 0.0
    """Seconds from one call of a caller to the next; 0 sends the next one when the last is answered."""

    def __str__(self) -> str:
        return f"{self.callers}, one each {self.every:g} s" if self.every else str(self.callers)


class CallCost(msgspec.Struct, frozen=True):
    """One call with one credential."""

    username: str
    """Of the simulated tenant."""
    total: float
    """From the call's bytes to the answer's."""
    storage: float
    """While at least one request of this call to Storage was on its way."""
    turn: float
    """In the ledger without a request on its way: other calls of this process have their turn first."""
    upstream: float = 0.0
    """In Graph and the sign-in service, as they say themselves."""

    @property
    def added(self) -> float:
        """All but the two services."""
        return self.total - self.upstream

    @property
    def own(self) -> float:
        """All but what the call waited for elsewhere. Waiting for a turn is our own doing."""
        return self.added - self.storage


class MixCost(msgspec.Struct, frozen=True):
    """Calls of one kind under one load."""

    mix: str
    load: Load
    calls: list[CallCost]
    cpu: float
    """Of the app's process, callers included, for all calls."""
    wall: float
    storage_requests: float
    """Per call."""


class ValidationCosts(msgspec.Struct, frozen=True):
    machine: Machine
    mixes: list[MixCost]
