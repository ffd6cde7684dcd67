"""The app's own identity: for Key Vault, for Storage, and where chosen for Microsoft Graph."""

import os
from typing import TYPE_CHECKING, Any

from shared.config import Settings
from shared.identity.azure_options import CLIENT_OPTIONS

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


def own_credential(settings: Settings, **client_options: Any) -> "AsyncTokenCredential":
    """The managed identity in Azure; on a laptop, who is signed in with `az login`.

    The caller closes it. `DefaultAzureCredential` would also try what is not meant, and hide why each
    try failed.
    """
    if "IDENTITY_ENDPOINT" in os.environ:
        from azure.identity.aio import ManagedIdentityCredential

        return ManagedIdentityCredential(
            client_id=settings.own_client_id, **(CLIENT_OPTIONS | client_options)
        )
    from azure.identity.aio import AzureCliCredential

    return AzureCliCredential()
