"""All checks, chosen by the settings: a capability that they do not ask for has no row."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.config import Settings
from shared.connection.commands import Commands
from shared.connection.graph import (
    REPORT,
    CollectionCheck,
    GraphCheck,
    GroupCheck,
    MethodsCheck,
    OptionalCheck,
    TokenOnlyCheck,
)
from shared.connection.interface import Check
from shared.connection.settings import SettingsCheck, Untried
from shared.connection.sign_in import SIGN_IN, Granted, SignInCheck
from shared.connection.storage import (
    ROLES,
    AuditCheck,
    ContainerCheck,
    QueueCheck,
    StorageCheck,
    TableCheck,
)
from shared.connection.validation_app import ValidationAppCheck
from shared.connection.vault import KEY_VAULT, ROLE, SecretCheck, VaultCheck, WantedSecret
from shared.credentials.audit import AUDIT_CONTAINER
from shared.credentials.calls import MEMORY_KEY, memory_key
from shared.credentials.ledger import BUDGET_TABLE, USERS_TABLE
from shared.credentials.probe import VALIDATION_SECRET
from shared.directory.steps import QUEUE
from shared.errors import ConfigurationError
from shared.identity.credentials import CLIENT_CERTIFICATE, CLIENT_SECRET
from shared.webhooks import flare, standard
from shared.webhooks.replay import TABLE as REQUESTS_TABLE
from shared.webhooks.signing_secrets import SECRET as WEBHOOK_SECRET

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient
    from azure.storage.blob.aio import ContainerClient
    from azure.storage.queue.aio import QueueClient

    from shared.credentials.probe import SignInProbe
    from shared.graph.client import GraphClient
    from shared.identity.credentials import GraphCredential
    from shared.identity.secrets import SecretStore

NO_RUN = "Without it no run is published."
NO_VALIDATION = "Without it no credential is validated."
READ_GROUPS = ("Group.Read.All", "Directory.Read.All")


@dataclass(frozen=True, kw_only=True)
class Clients:
    """How to reach what is tried. Clients are made when they are needed, and closed by whoever gave them."""

    secrets: "SecretStore | None"
    container: Callable[[str], "ContainerClient"]
    queue: Callable[[str], "QueueClient"]
    table: Callable[[str], "TableClient"]
    credential: Callable[[], "GraphCredential"]
    graph: Callable[[], Awaitable["GraphClient"]]
    probe: Callable[[], Awaitable["SignInProbe"]]
    state_container: str


def all_checks(settings: Settings, clients: Clients, deadline_seconds: float) -> list[Check]:
    """The checks, each after those that it needs. The deadline is the whole test's."""
    commands = Commands(settings)
    return [
        SettingsCheck(),
        *_vault_checks(settings, clients, commands, 0.4 * deadline_seconds),
        *_storage_checks(settings, clients, commands),
        *_graph_checks(settings, clients, commands),
        *(
            [ValidationAppCheck(probe=clients.probe, commands=commands, without=NO_VALIDATION)]
            if settings.validation_enabled
            else []
        ),
    ]


def checks_without_settings(error: ConfigurationError) -> list[Check]:
    """What is told while the settings are wrong: what is wrong, and what was therefore not tried."""
    blobs, queues = ROLES["containers"], ROLES["queues"]
    untried: list[tuple[str, str | None]] = [
        (KEY_VAULT, ROLE),
        ("container:directory", blobs),
        ("container:sync-state", blobs),
        (f"queue:{QUEUE}", queues),
        (SIGN_IN, None),
        ("users", "User.Read.All"),
        ("groups", "GroupMember.Read.All"),
        ("memberships", "GroupMember.Read.All"),
    ]
    return [
        SettingsCheck(error=error),
        *(Untried(capability=name, permission=permission) for name, permission in untried),
    ]


def _vault_checks(
    settings: Settings, clients: Clients, commands: Commands, read_seconds: float
) -> list[Check]:
    wanted = _wanted_secrets(settings, commands)
    if not wanted:
        return []
    vault = VaultCheck(read_seconds=read_seconds, store=clients.secrets, wanted=wanted, commands=commands)
    return [
        vault,
        *(
            SecretCheck(
                capability=secret.capability,
                secret=secret,
                commands=commands,
                found=vault.found,
                without=secret.without,
            )
            for secret in wanted
        ),
    ]


def _wanted_secrets(settings: Settings, commands: Commands) -> list[WantedSecret]:
    wanted: list[WantedSecret] = []
    renew = commands.store_client_secret(settings.client_id, CLIENT_SECRET)
    shared_secret = WantedSecret(name=CLIENT_SECRET, store=renew, renew=renew, without=NO_RUN)
    if settings.credential == "client-secret":
        wanted.append(shared_secret)
    if settings.credential == "certificate":
        renew = commands.store_certificate(CLIENT_CERTIFICATE)
        wanted.append(WantedSecret(name=CLIENT_CERTIFICATE, store=renew, renew=renew, without=NO_RUN))
    if not settings.validation_enabled:
        return wanted
    if settings.webhook_auth != "entra-token":
        pasted = "--paste-webhook-secret" if settings.webhook_auth == "flare" else ""
        wanted.append(
            WantedSecret(
                name=WEBHOOK_SECRET,
                store=commands.store_own_secret(pasted),
                renew=commands.store_own_secret(f"--rotate {WEBHOOK_SECRET} {pasted}"),
                without="Without it every call of the webhook is refused.",
                all_versions=True,
                key_of=flare.key_of_secret if settings.webhook_auth == "flare" else standard.key_of_secret,
            )
        )
    wanted.append(
        WantedSecret(
            name=MEMORY_KEY,
            store=commands.store_own_secret(),
            renew=commands.store_own_secret(f"--rotate {MEMORY_KEY}"),
            without=NO_VALIDATION,
            key_of=memory_key,
        )
    )
    renew = commands.store_client_secret(settings.validation_client_id, VALIDATION_SECRET)
    wanted.append(
        WantedSecret(
            name=VALIDATION_SECRET,
            store=renew,
            renew=renew,
            without=NO_VALIDATION,
            fallback=CLIENT_SECRET if shared_secret in wanted else None,
        )
    )
    return wanted


def _storage_checks(settings: Settings, clients: Clients, commands: Commands) -> list[Check]:
    checks: list[StorageCheck] = [
        ContainerCheck(
            capability=f"container:{name}",
            name=name,
            client=clients.container,
            commands=commands,
            without=NO_RUN,
        )
        for name in (settings.container, clients.state_container)
    ]
    checks.append(
        QueueCheck(
            capability=f"queue:{QUEUE}",
            name=QUEUE,
            client=clients.queue,
            commands=commands,
            without=NO_RUN,
        )
    )
    if not settings.validation_enabled:
        return [*checks]
    checks.append(
        AuditCheck(
            capability=f"container:{AUDIT_CONTAINER}",
            name=AUDIT_CONTAINER,
            client=clients.container,
            commands=commands,
            without=NO_VALIDATION,
        )
    )
    checks += [
        TableCheck(
            capability=f"table:{name}",
            name=name,
            client=clients.table,
            commands=commands,
            without=NO_VALIDATION,
        )
        for name in (USERS_TABLE, BUDGET_TABLE, REQUESTS_TABLE)
    ]
    return [*checks]


def _graph_checks(settings: Settings, clients: Clients, commands: Commands) -> list[Check]:
    granted = Granted()
    sign_in = SignInCheck(commands=commands, credential=clients.credential, granted=granted, without=NO_RUN)

    def check[T: GraphCheck](kind: type[T], capability: str, permission: str, **more: object) -> T:
        common = {"graph": clients.graph, "granted": granted, "commands": commands}
        return kind(capability=capability, permission=permission, **common, **more)  # type: ignore[arg-type]

    users = check(
        CollectionCheck,
        "users",
        "User.Read.All",
        also_by=("Directory.Read.All",),
        path="/users?$select=id&$top=1",
        without=NO_RUN,
    )
    checks: list[Check] = [
        sign_in,
        users,
        check(
            CollectionCheck,
            "groups",
            "GroupMember.Read.All",
            also_by=READ_GROUPS,
            path="/groups?$select=id&$top=1",
            without=NO_RUN,
        ),
        check(
            CollectionCheck,
            "memberships",
            "GroupMember.Read.All",
            also_by=READ_GROUPS,
            # The request of a sync, for no group: just a link that tells what changes from now on.
            path="/groups/delta?$deltatoken=latest&$select=id,members,owners",
            delta=True,
            without=NO_RUN,
        ),
        check(
            TokenOnlyCheck,
            "hidden-members",
            "Member.Read.Hidden",
            flag="hidden-members",
            without="Without it groups with hidden membership look empty.",
        ),
        check(
            CollectionCheck,
            "deleted-users",
            "User.Read.All",
            also_by=("Directory.Read.All",),
            path="/directory/deletedItems/microsoft.graph.user?$select=id&$top=1",
            without="Without it nobody can tell a deleted user that can be restored.",
        ),
        check(
            OptionalCheck,
            "leave-date",
            "User-LifeCycleInfo.Read.All",
            flag="leave-date",
            path="/users?$select=id,employeeLeaveDateTime&$top=1",
            needs=(SIGN_IN, "users"),
            instead="`employee_leave_at` is absent.",
        ),
    ]
    if "authentication" in settings.datasets:
        checks += [
            check(
                CollectionCheck,
                REPORT,
                "AuditLog.Read.All",
                flag="methods",
                # No $top: the documentation names none for it.
                path="/reports/authenticationMethods/userRegistrationDetails",
                without="Without it authentication methods are read user by user, or are unavailable.",
            ),
            check(
                MethodsCheck,
                "authentication-methods",
                "UserAuthenticationMethod.Read.All",
                flag="methods-each",
                users=users,
                without=f"Without it, and without `{REPORT}`, authentication methods are unavailable.",
            ),
        ]
    if "sign-in" in settings.datasets:
        checks.append(
            check(
                CollectionCheck,
                "sign-in-activity",
                "AuditLog.Read.All",
                flag="sign-in",
                path="/users?$select=id,signInActivity&$top=1",
                needs=(SIGN_IN, "users"),
                without="Without it sign-ins are unavailable.",
            )
        )
    if not settings.validation_enabled:
        return checks
    checks.append(
        check(
            CollectionCheck,
            "domains",
            "Domain.Read.All",
            also_by=("Directory.Read.All",),
            flag="validation",
            path="/domains?$select=id,authenticationType",
            without="Without it federated users cannot be told, so no password is tried.",
        )
    )
    if settings.validation_excluded_group:
        checks.append(
            check(
                GroupCheck,
                "excluded-group",
                "GroupMember.Read.All",
                also_by=READ_GROUPS,
                group_id=settings.validation_excluded_group,
                setting="VALIDATION_EXCLUDED_GROUP",
                without="Without it nobody can tell whom to leave alone, so none is tried.",
            )
        )
    checks.append(
        check(
            OptionalCheck,
            "lockout-policy",
            "GroupSettings.Read.All",
            also_by=("Directory.Read.All",),
            flag="lockout-policy",
            path="/groupSettings",
            instead="the lockout threshold of the cloud counts.",
        )
    )
    return checks
