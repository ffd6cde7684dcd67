"""Time-outs and retries of the Azure SDK's clients for sign-in and Key Vault.

The SDK's own defaults (300 seconds to connect, ten retries) are longer than an HTTP answer may take in Azure
Functions (230 seconds). A caller that is told soon can try again; queue messages do so by themselves.
"""

from typing import Any

CLIENT_OPTIONS: dict[str, Any] = {
    "retry_total": 2,
    "retry_backoff_factor": 0.4,
    "connection_timeout": 5,
    "read_timeout": 20,
}

DEADLINE_SECONDS = 60.0
"""For one token or one secret, retries and any `Retry-After` included."""
