"""Every error that the product raises on purpose.

    EntraConnectorError
    ├── ConfigurationError        settings are missing or wrong; lists all of them
    ├── SignInRefused             Entra did not give us a token
    ├── SecretUnavailable         Key Vault has no such secret, or is out of reach
    ├── StorageUnavailable        Blob, Queue or Table storage is out of reach, or refuses us
    ├── GraphError                a request to Microsoft Graph did not succeed
    │   ├── GraphRefused          403 or 401: a permission or a licence is missing
    │   ├── GraphThrottled        429 for longer than a slice may wait; says how long
    │   ├── GraphUnreachable      5xx, a time-out or a broken connection, after all retries
    │   ├── GraphRequestRejected  any other 4xx: our request was wrong for this tenant
    │   ├── DeltaStateLost        410, or `syncStateNotFound`: only a full run helps
    │   ├── PageTokenExpired      `Directory_ExpiredPageToken`: this dataset starts anew
    │   └── InvalidPage           an answer that is no page of the dataset
    ├── RunHeld                   a run would remove much of the directory; it waits to be confirmed
    ├── SnapshotLost              the snapshot that a run builds on was taken away or damaged
    ├── StateUnreadable           what a run stored of itself cannot be read; the next run begins anew
    ├── RunUnderWay               a run is asked for while another is at work
    ├── StaleMessage              a message whose run or slice was superseded; ends quietly
    ├── InvalidRequest            the body of a request is not what the route takes
    ├── CallerRefused             the caller of the webhook did not prove who it is
    ├── CallInWork                the same call is being worked on at this moment
    ├── TooManyCalls              more calls at once than the process takes
    ├── CallAltered               the id of an earlier call came with another body
    └── ValidationAppRefused      Entra refuses the validation app itself, so no user was tried

Messages say what happened, to what, and what to do. None holds a secret, a token or a URL's query.
"""

from typing import Literal


class EntraConnectorError(Exception):
    """The root: catching it catches all that the product raises on purpose.

    `reason` is one word for it, for events and the manifest.
    """

    reason = "error"


class ConfigurationError(EntraConnectorError):
    """Settings are missing or wrong. `problems` has one sentence a setting, all at once."""

    reason = "configuration"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("The app's settings need attention: " + " ".join(problems))
        self.problems = problems


class SignInRefused(EntraConnectorError):
    """Entra did not give us a token. `code` is the AADSTS number, if it named one; `unreachable` tells that
    nobody who could have refused has answered."""

    reason = "sign-in"

    def __init__(self, message: str, code: int | None = None, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.unreachable = unreachable


SecretTrouble = Literal["missing", "unusable", "refused", "firewall", "no-identity", "unreachable"]


class SecretUnavailable(EntraConnectorError):
    """Key Vault has no such secret, or is out of reach. `trouble` is one word for what the message tells."""

    reason = "secret"

    def __init__(self, message: str, *, trouble: SecretTrouble = "unusable") -> None:
        super().__init__(message)
        self.trouble = trouble

    @property
    def missing(self) -> bool:
        """Whether the vault answered that it has no such secret."""
        return self.trouble == "missing"


class StorageUnavailable(EntraConnectorError):
    """Blob, Queue or Table storage is out of reach, or refuses us."""

    reason = "storage"


class GraphError(EntraConnectorError):
    """A request to Microsoft Graph did not succeed. `reason` is the manifest's word for it."""


class GraphRefused(GraphError):
    """403 or 401. `reason` is `permission` or `licence`; `code` is Graph's, empty where somebody else
    answered in its place."""

    def __init__(self, message: str, reason: str, status: int = 403, code: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.code = code


class GraphThrottled(GraphError):
    """429 for longer than a slice may wait. `retry_after` is in seconds."""

    reason = "throttling"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class GraphUnreachable(GraphError):
    """5xx, a time-out or a broken connection, after all retries."""

    reason = "unreachable"


class GraphRequestRejected(GraphError):
    """Any other 4xx. `status` is the HTTP status, `code` Graph's error code."""

    reason = "rejected"

    def __init__(self, message: str, status: int, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class DeltaStateLost(GraphError):
    """Graph has forgotten our delta link (410, or 400 `syncStateNotFound`)."""

    reason = "delta-state-lost"


class PageTokenExpired(GraphError):
    """The next link is too old (400 `Directory_ExpiredPageToken`)."""

    reason = "page-token-expired"


class InvalidPage(GraphError):
    """An answer that is no page of the dataset: not JSON, wrong types, or wrong links."""

    reason = "invalid"


class RunHeld(EntraConnectorError):
    """A run would remove much of the directory. It is not published until that is confirmed.

    `would_remove` counts the objects by dataset.
    """

    def __init__(self, message: str, would_remove: dict[str, int]) -> None:
        super().__init__(message)
        self.would_remove = would_remove


class SnapshotLost(EntraConnectorError):
    """The snapshot that a run builds on was taken away or damaged. The next run begins a new history."""

    reason = "snapshot-lost"


class StateUnreadable(EntraConnectorError):
    """What a run stored of itself cannot be read. The next run begins anew."""

    reason = "state-unreadable"


class RunUnderWay(EntraConnectorError):
    """A run is asked for while another is at work."""

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"Run {run_id} is under way. Wait until it ends: GET /api/directory/status shows it."
        )
        self.run_id = run_id


class StaleMessage(EntraConnectorError):
    """A message whose run or slice was superseded. Not a failure: it ends quietly."""


class InvalidRequest(EntraConnectorError):
    """The body of a request is not what the route takes. `problems` has one sentence a fault; none of them
    quotes the body."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


class CallerRefused(EntraConnectorError):
    """The caller of the webhook did not prove who it is. The message is for the log, never for the caller."""


class CallInWork(EntraConnectorError):
    """The same call is being worked on at this moment."""


class TooManyCalls(EntraConnectorError):
    """More calls at once than the process takes."""


class CallAltered(EntraConnectorError):
    """The id of an earlier call came with another body."""


class ValidationAppRefused(EntraConnectorError):
    """Entra refuses the validation app itself, so no user was tried. `code` is the AADSTS number."""

    reason = "validation-app"

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
