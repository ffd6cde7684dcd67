"""What the app tells its operator: a fixed vocabulary of events, with typed fields.

The Python worker hands the host a record's message and nothing else, so an event is its message: the word
`event`, the name, and one JSON object on the same line. Alerts and the workbook read it from there.

    event directory.run_held {"run_id":"…","would_remove":{"users":60},"sentence":"Run … would remove …"}

Fields hold counts, words, object ids, and the sentences of our own errors; no names of users, no secrets.
`docs/operate.md` has a table of all events.
"""

import json
import logging
from dataclasses import dataclass, fields
from typing import ClassVar

log = logging.getLogger(__name__)

LONGEST_SENTENCE = 2_500
"""Application Insights cuts a message off at 32,768 characters, and half a JSON object cannot be read. A
character takes 12 at most when it is escaped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact that an operator may want to count, chart or be woken for. A None is left out."""

    name: ClassVar[str]
    level: ClassVar[int] = logging.INFO

    def emit(self) -> None:
        """Log the event."""
        log.log(self.level, "event %s %s", self.name, self._encoded())

    def _encoded(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        known = {name: _cut(value) for name, value in values.items() if value is not None}
        # In ASCII: JSON can spell half a surrogate pair, which the way to the host could not carry.
        return json.dumps(known, separators=(",", ":"))


def _cut(value: object) -> object:
    return value[:LONGEST_SENTENCE] if isinstance(value, str) else value


# --- the directory ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    name = "directory.run_started"
    run_id: str
    kind: str
    sequence: int
    buckets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHealed(Event):
    """A tick of the timer found the run under way and enqueued again what it still has to do."""

    name = "directory.run_healed"
    run_id: str
    status: str
    """`collecting` or `building`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNotStarted(Event):
    """A tick of the timer could not start a run."""

    name = "directory.run_not_started"
    level = logging.ERROR
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPublished(Event):
    name = "directory.run_published"
    run_id: str
    kind: str
    sequence: int
    seconds: int
    """From the start of the run."""
    rows: dict[str, int]
    """By dataset."""
    changes: dict[str, dict[str, int]] | None
    """By dataset: `added`, `updated`, `removed`. None in the first run."""
    requests: int
    resource_units: int
    throttled: int
    retried: int
    drift: dict[str, int] | None
    """By dataset. None where it was not measured."""
    buckets: int
    """How many the directory has."""
    built: int
    """How many of them, users' and groups' counted alike, this run built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed(Event):
    name = "directory.run_failed"
    level = logging.ERROR
    run_id: str
    reason: str
    """One word, as in the manifest, or of `shared.errors`."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeld(Event):
    """The shrink guard keeps a run from being published."""

    name = "directory.run_held"
    level = logging.ERROR
    run_id: str
    would_remove: dict[str, int]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAccepted(Event):
    """A held run goes on, since `SYNC_ACCEPT_SHRINK` names it."""

    name = "directory.run_accepted"
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaLost(Event):
    """Graph has forgotten a delta link. The run ends, and a full one starts at once."""

    name = "directory.delta_lost"
    level = logging.WARNING
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetUnavailable(Event):
    """An optional dataset could not be read; the run goes on without."""

    name = "directory.dataset_unavailable"
    level = logging.WARNING
    run_id: str
    dataset: str
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsSwept(Event):
    name = "directory.runs_swept"
    blobs: int


# --- Graph, sign-in and secrets -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphThrottled(Event):
    """Graph answered 429."""

    name = "graph.throttled"
    subject: str
    """What was asked for: a dataset, or a few words."""
    retry_after_seconds: float | None
    scope: str | None
    """Graph's `x-ms-throttle-scope`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReread(Event):
    """A secret was refused, so it was read from the vault again: what a rotation looks like."""

    name = "secret.reread"
    used_for: str
    """`graph`, `validation` or `webhook`."""
    code: int | None = None
    """The AADSTS number, where Entra refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretExpires(Event):
    """No version of a secret in the vault is in force beyond this day."""

    name = "secret.expires"
    level = logging.WARNING
    secret: str
    """Its name in the vault."""
    expires_at: str
    days_left: int
    """0 on the last day, negative when it is over."""


# --- credential validation ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialValidated(Event):
    name = "credentials.validated"
    status: str
    account_state: str | None
    attempt_made: bool
    evidence: list[str]
    user_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetsSpent(Event):
    """What is spent after a call that made attempts."""

    name = "credentials.budgets"
    attempts: int
    """Within the last day."""
    attempts_limit: int
    suspects: int
    """Users that failed within the last 20 minutes."""
    suspects_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationStopped(Event):
    """Several users in a row were reported as locked, so nobody is tried for a while."""

    name = "credentials.stopped"
    level = logging.ERROR
    seconds: int
    """How long."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationMisconfigured(Event):
    """Nothing can be validated until somebody mends the app's configuration, or what it stands on."""

    name = "credentials.misconfigured"
    level = logging.ERROR
    reason: str
    """One word, of `shared.errors`."""
    code: int | None
    """The AADSTS number, where Entra refused the app."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerRefused(Event):
    name = "credentials.caller_refused"
    level = logging.WARNING
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownCode(Event):
    """Entra answered with codes that the app's table does not have."""

    name = "credentials.unknown_code"
    level = logging.WARNING
    codes: list[int]
    status: int
    """Of HTTP."""
