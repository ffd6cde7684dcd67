"""Every setting of the app, as one table: the documentation, the example file and the reader use it.

`config.py` reads the values; here stand only names, defaults and words.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Setting:
    """One app setting. Texts have no full stop at the end."""

    name: str
    default: str
    """The value that holds when the setting is absent or blank; empty when there is none."""
    expected: str
    """What a right value looks like; ends the sentence about a wrong one."""
    meaning: str
    """What the setting does, for the person who deploys the app."""


SETTINGS = (
    Setting(
        "ENTRA_TENANT_ID",
        "",
        "the tenant's id, a GUID (not a domain name); always required",
        "The tenant whose directory is read",
    ),
    Setting(
        "ENTRA_CLIENT_ID",
        "",
        "the application (client) id, a GUID; required unless `ENTRA_CREDENTIAL` is `managed-identity`",
        "The app registration that signs in to Microsoft Graph",
    ),
    Setting(
        "ENTRA_CREDENTIAL",
        "client-secret",
        "`client-secret`, `certificate`, `managed-identity` or `federated`",
        "How the app signs in to Microsoft Graph; see [identity](identity.md)",
    ),
    Setting(
        "ENTRA_CLOUD",
        "public",
        "`public`, `usgov`, `usgov-dod` or `china`",
        "The Microsoft cloud that the tenant lives in",
    ),
    Setting(
        "KEY_VAULT_URL",
        "",
        "such as `https://<vault>.vault.azure.net`, without a path; "
        "required when `ENTRA_CREDENTIAL` is `client-secret` or `certificate`",
        "The vault that holds the app's secrets; credential validation needs it too",
    ),
    Setting(
        "AZURE_CLIENT_ID",
        "",
        "the client id of a user-assigned managed identity, a GUID; blank for the system-assigned one",
        "The app's own identity, for Key Vault, for Storage and for `managed-identity` and `federated`",
    ),
    Setting(
        "SECRET_TTL_SECONDS",
        "300",
        "a whole number from 0 to 86400",
        "How long a secret from Key Vault is kept in memory; a refused one is read again at once",
    ),
    Setting(
        "DIRECTORY_STORAGE",
        "",
        "a storage connection string; required unless `DIRECTORY_STORAGE__blobServiceUri` "
        "and `DIRECTORY_STORAGE__queueServiceUri` are set",
        "The storage account by connection string, for Azurite on a laptop; "
        "in Azure use the identity-based settings",
    ),
    Setting(
        "DIRECTORY_STORAGE__blobServiceUri",
        "",
        "such as `https://<account>.blob.core.windows.net`; goes with `DIRECTORY_STORAGE__queueServiceUri`",
        "Blob storage, reached with the app's own identity",
    ),
    Setting(
        "DIRECTORY_STORAGE__queueServiceUri",
        "",
        "such as `https://<account>.queue.core.windows.net`; goes with `DIRECTORY_STORAGE__blobServiceUri`",
        "Queue storage, reached with the app's own identity",
    ),
    Setting(
        "DIRECTORY_STORAGE__tableServiceUri",
        "",
        "such as `https://<account>.table.core.windows.net`, beside `DIRECTORY_STORAGE__blobServiceUri`",
        "Table storage, reached with the app's own identity; only credential validation needs it",
    ),
    Setting(
        "DIRECTORY_CONTAINER",
        "directory",
        "3 to 63 lowercase letters, digits and single hyphens, and not `sync-state` or `audit`, "
        "which the app keeps for itself",
        "The blob container that the directory is published to",
    ),
    Setting(
        "DIRECTORY_DATASETS",
        "users,groups,memberships,authentication",
        "a comma-separated list of `users`, `groups`, `memberships`, `authentication` and `sign-in`; "
        "the first three are always required",
        "What is collected; `sign-in` is slow, and needs AuditLog.Read.All and an Entra ID P1 licence",
    ),
    Setting(
        "DIRECTORY_FORMATS",
        "ocsf",
        "a comma-separated list of `ocsf` and `sekoia`; present but blank for none",
        "The renderings that are published beside the records",
    ),
    Setting(
        "SYNC_SCHEDULE",
        "0 0 * * * *",
        "six NCRONTAB fields (second, minute, hour, day, month, day of week), in UTC",
        "When a directory sync starts; the default is every hour",
    ),
    Setting(
        "SYNC_FULL_EVERY",
        "7d",
        "a whole number with a unit, `d`, `h` or `m`, from `1m` to `90d`",
        "How old the last full run may be before the next run is a full one",
    ),
    Setting(
        "SYNC_SLICE_SECONDS",
        "120",
        "a whole number from 10 to 1500",
        "How long one slice of work may take; a deployment repeats at most one slice",
    ),
    Setting(
        "SYNC_MAX_REMOVAL_PERCENT",
        "20",
        "a whole number from 0 to 100",
        "The share of a dataset that one run may remove; a run that would remove more is held",
    ),
    Setting(
        "SYNC_ACCEPT_SHRINK",
        "",
        "the id of the held run, from `GET /api/directory/status`, or blank",
        "Publishes one held run although it removes so much",
    ),
    Setting(
        "SYNC_KEEP_RUNS",
        "30",
        "a whole number from 1 to 1000",
        "How many published runs, with their changes, are kept",
    ),
    Setting(
        "VALIDATION_ENABLED",
        "true",
        "`true` or `false`",
        "The switch for password checks; `false` makes no sign-in attempt at all",
    ),
    Setting(
        "VALIDATION_CLIENT_ID",
        "",
        "an application (client) id, a GUID; blank for that of `ENTRA_CLIENT_ID`",
        "The app registration of the sign-in probe",
    ),
    Setting(
        "VALIDATION_ATTEMPTS_PER_USER_PER_DAY",
        "2",
        "a whole number from 0 to 10; when absent, 1 in the clouds `usgov` and `usgov-dod`",
        "Passwords tried for one user within 24 hours; never more than a quarter of the lockout threshold, "
        "nor within 30 days as many as the threshold",
    ),
    Setting(
        "VALIDATION_ATTEMPTS_PER_DAY",
        "200",
        "a whole number from 0 to 100000",
        "Passwords tried in all within 24 hours",
    ),
    Setting(
        "VALIDATION_FAILING_USERS_PER_20_MIN",
        "4",
        "a whole number from 0 to 1000",
        "Different users with a wrong password within 20 minutes; five look like a password spray",
    ),
    Setting(
        "VALIDATION_SPACING_SECONDS",
        "900",
        "a whole number from 0 to 86400",
        "The least time between two attempts for one user",
    ),
    Setting(
        "VALIDATION_LOCKOUT_PAUSE_SECONDS",
        "86400",
        "a whole number from 0 to 2592000",
        "How long a user is left alone after Entra reported a locked account",
    ),
    Setting(
        "VALIDATION_EXCLUDED_GROUP",
        "",
        "a group's object id, a GUID, or blank",
        "Members of this group are never tried: emergency and service accounts belong there",
    ),
    Setting(
        "WEBHOOK_AUTH",
        "standard-webhooks",
        "`standard-webhooks`, `flare` or `entra-token`",
        "How the caller of the webhook proves who it is, on top of the function key",
    ),
    Setting(
        "WEBHOOK_AUDIENCE",
        "",
        "the audience of the caller's token, such as `api://<client id>`, without spaces; "
        "required when `WEBHOOK_AUTH` is `entra-token`",
        "The audience that a caller's Entra token must have",
    ),
    Setting(
        "WEBHOOK_ALLOWED_CLIENTS",
        "",
        "a comma-separated list of client ids, GUIDs; "
        "this or `WEBHOOK_ROLE` is required when `WEBHOOK_AUTH` is `entra-token`",
        "The applications that may call the webhook with an Entra token",
    ),
    Setting(
        "WEBHOOK_ROLE",
        "",
        "the value of an app role, without spaces, or blank",
        "The app role that a caller's Entra token must hold",
    ),
    Setting(
        "GRAPH_ENDPOINT",
        "",
        "an `https` origin without a path (`http` only on 127.0.0.1 or localhost), or blank",
        "Another Microsoft Graph than the cloud's, for the sandbox",
    ),
    Setting(
        "AZURE_AUTHORITY_HOST",
        "",
        "an `https` origin without a path, or blank",
        "Another sign-in service than the cloud's, for the sandbox",
    ),
)

SETTING = {setting.name: setting for setting in SETTINGS}
