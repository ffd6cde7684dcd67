"""`/_sandbox/users` and `/_sandbox/sign-ins`: the passwords and states of a tenant in another process."""

from typing import TYPE_CHECKING

import msgspec

from sandbox.tenant.accounts import SignInMethod
from sandbox.tenant.messages import JsonObject

if TYPE_CHECKING:
    from sandbox.tenant.tenant import Tenant


class UserChange(msgspec.Struct, forbid_unknown_fields=True):
    """What to change of one user, named by id or user principal name; what is absent stays."""

    user: str
    password: str | msgspec.UnsetType | None = msgspec.UNSET
    enabled: bool | None = None
    expired: bool | None = None
    method: SignInMethod | msgspec.UnsetType | None = msgspec.UNSET
    instead_of_password: tuple[int, ...] | None = None
    after_password: tuple[int, ...] | None = None
    locked: bool | None = None


def changed(tenant: "Tenant", body: JsonObject) -> JsonObject:
    """Change a user as asked, and show it. ValueError for nonsense or an unknown user."""
    change = msgspec.convert(body, UserChange)
    user = _user(tenant, change.user)
    user_id, account = user["id"], tenant.accounts[user["id"]]
    if change.password is not msgspec.UNSET:
        tenant.set_password(user_id, change.password)
    if change.enabled is not None:
        tenant.directory.update_user(user_id, {"accountEnabled": change.enabled})
    if change.expired is not None:
        account.expired = change.expired
    if change.method is not msgspec.UNSET:
        account.method = change.method
    if change.instead_of_password is not None:
        account.instead_of_password = change.instead_of_password
    if change.after_password is not None:
        account.after_password = change.after_password
    if change.locked is not None:
        (tenant.lockout.lock if change.locked else tenant.lockout.unlock)(user_id)
    return shown(tenant, user_id)


def shown(tenant: "Tenant", key: str) -> JsonObject:
    """A user's password and state, and what its sign-in went through."""
    user = _user(tenant, key)
    user_id = user["id"]
    account, told = tenant.accounts[user_id], tenant.lockout.statistics[user_id]
    return {
        "id": user_id,
        "user_principal_name": user["userPrincipalName"],
        "enabled": user["accountEnabled"],
        **msgspec.to_builtins(account),
        "locked": tenant.lockout.is_locked(user_id),
        **msgspec.to_builtins(told),
    }


def log(tenant: "Tenant") -> JsonObject:
    """All attempts, and who was ever locked out."""
    attempts = [
        {
            "time": one.time,
            "username": one.username,
            "user_id": one.user_id,
            "client_id": one.client_id,
            "code": one.code,
        }
        for one in tenant.sign_ins
    ]
    return {"sign_ins": attempts, "ever_locked": tenant.lockout.ever_locked}


def _user(tenant: "Tenant", key: str) -> JsonObject:
    user = tenant.directory.find_user(key)
    if user is None:
        raise ValueError(f"no user {key!r}")
    return user
