"""Where users sign in and by which names: guests and external members, a federated domain, aliases.

A step of the generator with a random stream of its own, over users that are there already.
"""

import random

from sandbox.tenant.configuration import FEDERATED_DOMAIN
from sandbox.tenant.directory import Directory
from sandbox.tenant.messages import JsonObject

INITIAL_DOMAIN = "contoso.onmicrosoft.com"

_EXTERNAL_MEMBERS = 0.08
"""Of those who were invited."""
_FEDERATED = 0.03
_ALIASES = 0.1
_MAIL_NOT_NAME = 0.03
_RESTRICTED = 0.01


def give_identities(directory: Directory, seed: int | str) -> None:
    """Let a realistic minority sign in by other means than a name in the default domain."""
    rng = random.Random(f"identities-{seed}")
    for user in list(directory.users.values()):
        if user.get("creationType") == "Invitation":
            changes = _invited(rng)
        elif "givenName" in user and user.get("mail"):
            changes = _employed(rng, user)
        else:
            changes = _named(user["userPrincipalName"])
        # Without a line in the log, whose length is part of what happens on the days that follow.
        changed = directory.users[user["id"]] = {**user, **changes}
        row = directory.registrations.get(user["id"])
        if row is not None:
            row["userPrincipalName"] = changed["userPrincipalName"]
            row["userType"] = changed["userType"].lower()


def _invited(rng: random.Random) -> JsonObject:
    """The password of an invited user is in another directory, member or not."""
    changes: JsonObject = {
        "identities": [{"signInType": "federated", "issuer": "ExternalAzureAD", "issuerAssignedId": None}]
    }
    if rng.random() < _EXTERNAL_MEMBERS:
        changes |= {"userType": "Member", "externalUserState": "Accepted"}
    return changes


def _employed(rng: random.Random, user: JsonObject) -> JsonObject:
    name = user["userPrincipalName"]
    local, _, domain = name.partition("@")
    changes: JsonObject = {}
    addresses = list(user.get("proxyAddresses") or ())
    if rng.random() < _FEDERATED:
        name = f"{local}@{FEDERATED_DOMAIN}"
        changes |= {"userPrincipalName": name, "mail": name}
        addresses = [f"SMTP:{name}", *(address.replace("SMTP:", "smtp:") for address in addresses)]
    if rng.random() < _ALIASES:
        addresses.append(f"smtp:{'.'.join(reversed(local.split('.')))}.alias@{domain}")
    if rng.random() < _MAIL_NOT_NAME:
        mail = f"{local}.{rng.choice(('press', 'sales', 'office'))}@{domain}"
        addresses = [f"SMTP:{mail}", *(address.replace("SMTP:", "smtp:") for address in addresses)]
        changes["mail"] = mail
    if rng.random() < _RESTRICTED:
        changes["isManagementRestricted"] = True
    return changes | _named(name) | {"proxyAddresses": addresses}


def _named(name: str) -> JsonObject:
    identity = {"signInType": "userPrincipalName", "issuer": INITIAL_DOMAIN, "issuerAssignedId": name}
    return {"identities": [identity]}
