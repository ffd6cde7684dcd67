"""The app's settings: read once from the environment, checked as a whole, then never changed.

Names, defaults and their meaning stand in `settings_table.py`. All problems are reported together, and none
of them shows a value that could be a secret.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, Self, get_args
from urllib.parse import SplitResult, urlsplit

from shared.clouds import CLOUDS, Cloud
from shared.errors import ConfigurationError
from shared.ncrontab import schedule_problem
from shared.settings_table import SETTING

CredentialKind = Literal["client-secret", "certificate", "managed-identity", "federated"]
Dataset = Literal["users", "groups", "memberships", "authentication", "sign-in"]
Format = Literal["ocsf", "sekoia"]
WebhookAuth = Literal["standard-webhooks", "flare", "entra-token"]

CREDENTIALS: tuple[CredentialKind, ...] = get_args(CredentialKind)
DATASETS: tuple[Dataset, ...] = get_args(Dataset)
REQUIRED_DATASETS: tuple[Dataset, ...] = ("users", "groups", "memberships")
FORMATS: tuple[Format, ...] = get_args(Format)
WEBHOOK_AUTHS: tuple[WebhookAuth, ...] = get_args(WebhookAuth)

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_CONTAINER = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(-[a-z0-9]+)*")
_OWN_CONTAINERS = ("sync-state", "audit")
_HOST = re.compile(r"[a-z0-9.:-]+")
_TOKEN = re.compile(r"[^\s,]{1,256}")
_RUN_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_DURATION = re.compile(r"(\d{1,6})([dhm])")
_MINUTES = {"d": 24 * 60, "h": 60, "m": 1}
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
_OWN_PREFIXES = ("DIRECTORY_", "ENTRA_", "SYNC_", "VALIDATION_", "WEBHOOK_")


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """Where the published directory and the app's state live: by connection string, or by URIs."""

    connection_string: str | None = field(repr=False)
    """A secret. When it is set, the URIs are None."""
    blob_uri: str | None
    queue_uri: str | None
    table_uri: str | None
    """May be None beside the two others: only credential validation needs tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the app. URLs have no trailing slash; GUIDs are in lower case."""

    tenant_id: str
    client_id: str | None
    """The app registration; None only with `managed-identity`."""
    credential: CredentialKind
    cloud: Cloud
    graph_origin: str
    authority: str
    authority_overridden: bool
    """The authority is not the cloud's own: instance discovery must be off."""
    key_vault_url: str | None
    own_client_id: str | None
    """The user-assigned managed identity; None for the system-assigned one."""
    secret_ttl: timedelta

    storage: StorageSettings
    container: str
    datasets: tuple[Dataset, ...]
    """In the order of `DATASETS`; holds at least `REQUIRED_DATASETS`."""
    formats: tuple[Format, ...]
    """In the order of `FORMATS`; may be empty."""

    schedule: str
    full_every: timedelta
    slice_seconds: int
    max_removal_percent: int
    accept_shrink: str | None
    """The id of the held run that may be published."""
    keep_runs: int

    validation_enabled: bool
    validation_client_id: str | None
    """None when neither `VALIDATION_CLIENT_ID` nor `ENTRA_CLIENT_ID` is set: no probe is possible."""
    validation_attempts_per_user_per_day: int
    validation_attempts_per_day: int
    validation_failing_users_per_20_min: int
    validation_spacing_seconds: int
    validation_lockout_pause_seconds: int
    validation_excluded_group: str | None

    webhook_auth: WebhookAuth
    webhook_audience: str | None
    webhook_allowed_clients: tuple[str, ...]
    webhook_role: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read and check every setting. Raises one `ConfigurationError` that lists all problems."""
        read = _Reader(environment)
        read.look_for_misspelled_names()
        credential = read.choice("ENTRA_CREDENTIAL", CREDENTIALS)
        cloud = CLOUDS[read.choice("ENTRA_CLOUD", tuple(CLOUDS))]
        client_id = read.guid("ENTRA_CLIENT_ID", required=credential != "managed-identity")
        authority = read.origin("AZURE_AUTHORITY_HOST") or cloud.authority
        webhook_auth = read.choice("WEBHOOK_AUTH", WEBHOOK_AUTHS)
        webhook_role = read.token("WEBHOOK_ROLE", _TOKEN)
        with_token = webhook_auth == "entra-token"
        settings = cls(
            tenant_id=read.guid("ENTRA_TENANT_ID", required=True) or "",
            client_id=client_id,
            credential=credential,
            cloud=cloud,
            graph_origin=read.origin("GRAPH_ENDPOINT", loopback_http=True) or cloud.graph,
            authority=authority,
            authority_overridden=authority != cloud.authority,
            key_vault_url=read.origin(
                "KEY_VAULT_URL", required=credential in ("client-secret", "certificate")
            ),
            own_client_id=read.guid("AZURE_CLIENT_ID"),
            secret_ttl=timedelta(seconds=read.integer("SECRET_TTL_SECONDS", 0, 86400)),
            storage=read.storage(),
            container=read.container("DIRECTORY_CONTAINER"),
            datasets=read.choices("DIRECTORY_DATASETS", DATASETS, required=REQUIRED_DATASETS),
            formats=read.choices("DIRECTORY_FORMATS", FORMATS, blank_is_none=True),
            schedule=read.schedule("SYNC_SCHEDULE"),
            full_every=read.duration("SYNC_FULL_EVERY", timedelta(minutes=1), timedelta(days=90)),
            slice_seconds=read.integer("SYNC_SLICE_SECONDS", 10, 1500),
            max_removal_percent=read.integer("SYNC_MAX_REMOVAL_PERCENT", 0, 100),
            accept_shrink=read.token("SYNC_ACCEPT_SHRINK", _RUN_ID),
            keep_runs=read.integer("SYNC_KEEP_RUNS", 1, 1000),
            validation_enabled=read.choice("VALIDATION_ENABLED", ("true", "false")) == "true",
            validation_client_id=read.guid("VALIDATION_CLIENT_ID") or client_id,
            # Smart lockout's threshold is 10 in the other clouds and 3 in US Government.
            validation_attempts_per_user_per_day=read.integer(
                "VALIDATION_ATTEMPTS_PER_USER_PER_DAY",
                0,
                10,
                default="1" if cloud.name in ("usgov", "usgov-dod") else None,
            ),
            validation_attempts_per_day=read.integer("VALIDATION_ATTEMPTS_PER_DAY", 0, 100_000),
            validation_failing_users_per_20_min=read.integer("VALIDATION_FAILING_USERS_PER_20_MIN", 0, 1000),
            validation_spacing_seconds=read.integer("VALIDATION_SPACING_SECONDS", 0, 86400),
            validation_lockout_pause_seconds=read.integer("VALIDATION_LOCKOUT_PAUSE_SECONDS", 0, 2_592_000),
            validation_excluded_group=read.guid("VALIDATION_EXCLUDED_GROUP"),
            webhook_auth=webhook_auth,
            webhook_audience=read.token("WEBHOOK_AUDIENCE", _TOKEN, required=with_token),
            webhook_allowed_clients=read.guids(
                "WEBHOOK_ALLOWED_CLIENTS", required=with_token and webhook_role is None
            ),
            webhook_role=webhook_role,
        )
        if read.problems:
            raise ConfigurationError(read.problems)
        return settings


class _Reader:
    """Reads single settings. What is wrong goes into `problems`, and a harmless stand-in is returned."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def report(self, name: str, wrong: str) -> None:
        self.problems.append(f"{name} {wrong}: expected {SETTING[name].expected}.")

    def look_for_misspelled_names(self) -> None:
        """`VALIDATION_ENABLE=false` must not leave validation on."""
        for name in sorted(self._environment):
            if name in SETTING or not name.startswith(_OWN_PREFIXES):
                continue
            if near := difflib.get_close_matches(name, SETTING, n=1, cutoff=0.9):
                self.problems.append(f"{name} is not a setting: rename it to {near[0]}, or remove it.")

    def text(self, name: str, default: str | None = None) -> str:
        """The value without surrounding whitespace; the default when it is absent or blank."""
        fallback = SETTING[name].default if default is None else default
        return self._environment.get(name, "").strip() or fallback

    def guid(self, name: str, *, required: bool = False) -> str | None:
        text = self.text(name)
        if not text and not required:
            return None
        if not text:
            self.report(name, "is missing")
        elif not _GUID.fullmatch(text):
            # Not shown: secrets are pasted here by mistake.
            self.report(name, "is not a GUID")
        return text.lower()

    def guids(self, name: str, *, required: bool) -> tuple[str, ...]:
        items = _items(self.text(name))
        if required and not items:
            self.report(name, "is missing")
        if any(not _GUID.fullmatch(item) for item in items):
            self.report(name, "holds an item that is not a GUID")
        return tuple(item.lower() for item in items)

    def token(self, name: str, pattern: re.Pattern[str], *, required: bool = False) -> str | None:
        text = self.text(name)
        if required and not text:
            self.report(name, "is missing")
        elif text and not pattern.fullmatch(text):
            self.report(name, "is not well-formed")
        return text or None

    def choice[T: str](self, name: str, allowed: tuple[T, ...]) -> T:
        text = self.text(name)
        for option in allowed:
            if option == text.lower():
                return option
        self.report(name, f"is {_shown(text)}")
        return allowed[0]

    def choices[T: str](
        self,
        name: str,
        allowed: tuple[T, ...],
        *,
        required: Iterable[T] = (),
        blank_is_none: bool = False,
    ) -> tuple[T, ...]:
        """A list in the order of `allowed`, whatever the order in the setting."""
        if blank_is_none and name in self._environment:
            items = _items(self._environment[name].lower())
        else:
            items = _items(self.text(name).lower())
        if unknown := [_shown(item) for item in items if item not in allowed]:
            self.report(name, f"holds {', '.join(unknown)}")
        elif missing := [option for option in required if option not in items]:
            self.report(name, f"lacks {', '.join(missing)}")
        return tuple(option for option in allowed if option in items)

    def integer(self, name: str, least: int, most: int, *, default: str | None = None) -> int:
        text = self.text(name, default)
        if not re.fullmatch(r"[0-9]{1,9}", text):
            self.report(name, f"is {_shown(text)}")
            return least
        if not least <= int(text) <= most:
            self.report(name, f"is {int(text)}")
        return int(text)

    def duration(self, name: str, least: timedelta, most: timedelta) -> timedelta:
        match = _DURATION.fullmatch(self.text(name).lower())
        value = timedelta(minutes=int(match[1]) * _MINUTES[match[2]]) if match else None
        if value is None or not least <= value <= most:
            self.report(name, f"is {_shown(self.text(name))}")
            return least
        return value

    def schedule(self, name: str) -> str:
        text = self.text(name)
        if problem := schedule_problem(text):
            self.report(name, problem)
        return " ".join(text.split())

    def container(self, name: str) -> str:
        text = self.text(name)
        if not _CONTAINER.fullmatch(text) or text in _OWN_CONTAINERS:
            self.report(name, f"is {_shown(text)}")
        return text

    def origin(self, name: str, *, required: bool = False, loopback_http: bool = False) -> str | None:
        return self._url(name, path=False, required=required, loopback_http=loopback_http)

    def storage(self) -> StorageSettings:
        """Either the connection string or the URIs; never both, never half."""
        connection_string = self.text("DIRECTORY_STORAGE")
        blob, queue, table = (
            f"DIRECTORY_STORAGE__{service}ServiceUri" for service in ("blob", "queue", "table")
        )
        by_uri = any(self.text(name) for name in (blob, queue, table))
        if connection_string and by_uri:
            self.problems.append(
                "DIRECTORY_STORAGE is set beside DIRECTORY_STORAGE__…ServiceUri: keep one of the two ways."
            )
        elif connection_string:
            if not _is_connection_string(connection_string):
                self.report("DIRECTORY_STORAGE", "is not well-formed")
        elif not by_uri:
            self.report("DIRECTORY_STORAGE", "is missing")
        required = by_uri and not connection_string
        # Azurite has the account's name in the path.
        return StorageSettings(
            connection_string=connection_string or None,
            blob_uri=self._url(blob, path=True, required=required),
            queue_uri=self._url(queue, path=True, required=required),
            table_uri=self._url(table, path=True),
        )

    def _url(
        self, name: str, *, path: bool, required: bool = False, loopback_http: bool = False
    ) -> str | None:
        """A URL without its trailing slash. It is never shown: its query may be a signature."""
        text = self.text(name).rstrip("/")
        if not text:
            if required:
                self.report(name, "is missing")
            return None
        url = _split(text)
        if url is None or not _HOST.fullmatch(url.hostname or ""):
            self.report(name, "is not a URL")
        elif url.scheme != "https" and not (
            loopback_http and url.scheme == "http" and url.hostname in LOOPBACK_HOSTS
        ):
            self.report(name, "does not begin with https://")
        elif url.query or url.fragment or url.username or url.password:
            self.report(name, "holds more than a host and a path")
        elif url.path and not path:
            self.report(name, "has a path")
        return text


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _shown(text: str) -> str:
    """The value for a message, if it is too short and too plain to be a secret."""
    return f"'{text}'" if re.fullmatch(r"[\w .:*/-]{1,20}", text) else "an unreadable value"


def _split(text: str) -> SplitResult | None:
    try:
        url = urlsplit(text)
        _ = url.port  # raises when it is no number
    except ValueError:
        return None
    return None if re.search(r"\s", text) else url


def _is_connection_string(text: str) -> bool:
    keys = {part.partition("=")[0].strip().lower() for part in text.split(";") if "=" in part}
    return bool(keys & {"usedevelopmentstorage", "accountname", "blobendpoint"})
