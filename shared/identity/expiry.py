"""Which secrets end soon. Looked at once a night, in one request for all of them.

Key Vault knows only what was told when the secret was stored: `docs/operate.md` says how to tell it. Entra
does not show the end of an app's own secret to the app without a permission to read applications.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from shared.events import SecretExpires

SOON = timedelta(days=30)


def ending_soon(expiries: Mapping[str, datetime], now: datetime) -> list[SecretExpires]:
    """An event for every secret whose last version ends within 30 days, or has ended."""
    return [
        SecretExpires(secret=name, expires_at=moment.isoformat(), days_left=(moment - now).days)
        for name, moment in sorted(expiries.items())
        if moment - now <= SOON
    ]
