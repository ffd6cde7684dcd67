"""What a scheme is: a way in which the caller of the webhook proves who it is.

A scheme is one file beside this one with one subclass of `WebhookScheme`; `shared.webhooks` lists them.
The function key comes on top of every scheme, and is the host's matter.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from shared.config import WebhookAuth


@dataclass(frozen=True, slots=True)
class Caller:
    """Who called, once that is proven."""

    name: str
    """For the audit: the client id of an Entra token, else the scheme's name."""
    call_id: str | None
    """What tells this call from another one of this caller, and stays the same when it is delivered again.
    None if the caller gave nothing of that kind. It comes from outside: it is no name for anything stored."""


class WebhookScheme(ABC):
    """One way to prove who calls. It lives as long as the process, and holds nothing to close."""

    name: ClassVar[WebhookAuth]

    @abstractmethod
    async def authenticate(self, headers: Mapping[str, str], body: bytes) -> Caller:
        """The caller of this request. Header names are matched in any case; the body is as it was received.

        Raises `CallerRefused` where the proof is absent or wrong, and `SecretUnavailable` or `SignInRefused`
        where it cannot be checked. No message holds a secret, a signature, a token, or anything of the body.
        """
