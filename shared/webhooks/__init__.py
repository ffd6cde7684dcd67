"""Who may call the webhook, and what keeps a call from being worked twice.

    request ─▶ a scheme: who calls? (one file a scheme) ─▶ worked before? (replay.py) ─▶ the work

Schemes stand here by their name in `WEBHOOK_AUTH`. A new one is one file beside this with one subclass of
`WebhookScheme`, and one entry here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.config import Settings, WebhookAuth
from shared.webhooks.entra_token import EntraTokenScheme
from shared.webhooks.flare import FlareScheme
from shared.webhooks.interface import Caller, WebhookScheme
from shared.webhooks.standard import StandardWebhooksScheme

if TYPE_CHECKING:
    from shared.identity.secrets import SecretStore

__all__ = ["SCHEMES", "Caller", "WebhookScheme", "webhook_scheme"]

SCHEMES: dict[WebhookAuth, Callable[[Settings, "SecretStore"], WebhookScheme]] = {
    StandardWebhooksScheme.name: lambda _, secrets: StandardWebhooksScheme(secrets),
    FlareScheme.name: lambda _, secrets: FlareScheme(secrets),
    EntraTokenScheme.name: lambda settings, _: EntraTokenScheme.of_tenant(settings),
}


def webhook_scheme(settings: Settings, secrets: "SecretStore") -> WebhookScheme:
    """The scheme that the settings choose. The store stays the caller's to close."""
    return SCHEMES[settings.webhook_auth](settings, secrets)
