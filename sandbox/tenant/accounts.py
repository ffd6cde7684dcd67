"""What sign-in knows of a user and Graph does not tell: the password, and how a sign-in with it ends."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal

type SignInMethod = Literal["cloud", "pass-through", "federated"]


@dataclass(slots=True)
class Account:
    """One user's password and the state around it. All fields may be set while the tenant serves."""

    password: str | None
    """None for a user without one: Entra answers 50056."""
    expired: bool = False
    method: SignInMethod | None = None
    """Where the password is checked; None follows the domain: federated, or in the cloud."""
    instead_of_password: tuple[int, ...] = ()
    """AADSTS codes answered without a look at the password, such as 80001 of pass-through authentication."""
    after_password: tuple[int, ...] = ()
    """AADSTS codes answered to the right password, such as 50076 for a second factor."""


class Accounts:
    """The accounts of a tenant by user id, each made when it is first asked for.

    The seed and the id make the password, so that a test and a demo know it in advance.
    """

    def __init__(self, seed: int | str) -> None:
        self._seed = str(seed)
        self._accounts: dict[str, Account] = {}

    def __getitem__(self, user_id: str) -> Account:
        account = self._accounts.get(user_id)
        if account is None:
            account = self._accounts[user_id] = Account(self._first_password(user_id))
        return account

    def _first_password(self, user_id: str) -> str:
        digest = hmac.digest(self._seed.encode(), user_id.encode(), hashlib.sha256)
        return f"Sb-{base64.urlsafe_b64encode(digest[:12]).decode()}!"
