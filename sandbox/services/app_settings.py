"""The app's settings for the sandbox: as the environment of the local host, and as local.settings.json."""

import json
from collections.abc import Mapping
from pathlib import Path

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates
from sandbox.services.child import inherited_environment
from sandbox.tenant.configuration import CLIENT_ID, IDENTITY_HEADER, TENANT_ID, VALIDATION_CLIENT_ID

NOT_INHERITED = (
    "ENTRA_",
    "DIRECTORY_",
    "SYNC_",
    "VALIDATION_",
    "WEBHOOK_",
    "AZURE_",
    "IDENTITY_",
    "MSI_",
    "KEY_VAULT_URL",
    "GRAPH_ENDPOINT",
    "SECRET_TTL_SECONDS",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
)
"""What a developer may have set for another app, or for the real tenant: not for the sandbox."""


def app_environment(
    tenant_url: str, account: StorageAccount, certificates: ServerCertificates, changes: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a host as in Azure: managed identity for Storage and Key Vault, no key anywhere.

    `changes` are settings.
    """
    return (
        inherited_environment(NOT_INHERITED)
        | _tenant_settings(tenant_url)
        | certificates.environment
        | {
            "DIRECTORY_STORAGE__blobServiceUri": account.blob_uri,
            "DIRECTORY_STORAGE__queueServiceUri": account.queue_uri,
            "DIRECTORY_STORAGE__tableServiceUri": account.table_uri,
        }
        | dict(changes)
    )


def write_local_settings(
    path: Path,
    tenant_url: str,
    account: StorageAccount,
    certificates: ServerCertificates,
    changes: Mapping[str, str],
) -> None:
    """Write settings for `func start`, readable by the owner only.

    Storage is by connection string: Core Tools take no managed identity but a real one.
    """
    values = (
        {
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "AzureWebJobsStorage": account.connection_string,
            "DIRECTORY_STORAGE": account.connection_string,
        }
        | _tenant_settings(tenant_url)
        | certificates.environment
        | dict(changes)
    )
    path.touch(mode=0o600)
    path.write_text(json.dumps({"IsEncrypted": False, "Values": values}, indent=2) + "\n", "utf-8")


def _tenant_settings(tenant_url: str) -> dict[str, str]:
    return {
        "ENTRA_TENANT_ID": TENANT_ID,
        "ENTRA_CLIENT_ID": CLIENT_ID,
        "ENTRA_CREDENTIAL": "client-secret",
        "VALIDATION_CLIENT_ID": VALIDATION_CLIENT_ID,
        "KEY_VAULT_URL": tenant_url,
        "GRAPH_ENDPOINT": tenant_url,
        "AZURE_AUTHORITY_HOST": tenant_url,
        "IDENTITY_ENDPOINT": f"{tenant_url}/msi/token",
        "IDENTITY_HEADER": IDENTITY_HEADER,
    }
