"""A simulated Entra tenant over real HTTP: Graph v1.0, Entra's tokens, the managed identity, Key Vault.

It refuses what the real services refuse, so that a wrong request fails here as it would there. One port
serves all of them.

    tenant = Tenant(generate(users=2000, seed=7))
    tenant.faults.add(faults.throttle("2.128"), r"/users/delta.*skiptoken", times=2)
    async with TenantServer(tenant, ssl_context) as server:
        ...  # GRAPH_ENDPOINT = AZURE_AUTHORITY_HOST = KEY_VAULT_URL = server.url
        churn(tenant.directory, seed=1, count=50)
        tenant.directory.delete_user(user_id)
    assert len(tenant.requests_to(r"/users/delta")) == 14

**TenantServer(tenant, ssl_context=None, host="127.0.0.1", port=0)**: `async with`, or `start()` and
`stop()`; `url` is the origin. azure-identity and azure-keyvault-secrets insist on https; certificates come
from `sandbox.certificates`, and a client process trusts them by `SSL_CERT_FILE` and `REQUESTS_CA_BUNDLE`,
set before it starts. Credentials need `authority=server.url` and `disable_instance_discovery=True`;
`SecretClient` needs `verify_challenge_resource=False`. For the managed identity, over http or https, set
`IDENTITY_ENDPOINT` to `server.url + "/msi/token"` and `IDENTITY_HEADER` to `tenant.identity_header`.

**Tenant**: every attribute may change while it serves.

- `directory`, `faults`, and `requests`: a list of `Record` (method, path with decoded query, status,
  has_authorization, resource_units, and items for a `$batch`); `requests_to(regex)`, `resource_units`.
- `clients[CLIENT_ID]` is the app registration, `managed_identity` the other identity. Both are a `Client`
  with `secrets`, `certificates`, `federated` and `permissions`, a set: `discard("AuditLog.Read.All")` acts
  at once, an added one needs a new token. `token_for(client, resource=None).text` is a token without a
  request.
- `vault.put(name, value, enabled=…, expires=…)` adds a version; `vault.secrets[name]` are the versions,
  oldest first; `vault.remove(name)`; `vault.forbidden = True` answers 403, and `vault.forbidden_names` are
  refused one by one. From the start there are `entra-client-secret`, `validation-client-secret`,
  `webhook-secret` and `credential-memory-key`.
- `directory_roles[user_id or group_id]` are the ids of the directory roles that it holds.
- `premium` (the licence for reports and sign-ins), `token_lifetime` (seconds), `graph_resource` (the
  cloud).
- `throttle`, `report_throttle`, `sign_in_throttle`: a `RateLimit(units, seconds)` or None.
- `list_page_objects`, the most that a page of a list has.
- `delta_page_objects`, `delta_page_links`, `delta_resource_units`, `delta_removed_on_first_pass`,
  `delta_empty_page_every`, `delta_scatter`, `delta_replay_every`, `delta_token_lifetime`, `delta_expiry`
  (`"gone"` or `"syncStateNotFound"`), and `expire_delta_tokens()`.

**Directory**: `users`, `groups`, `deleted_users`, `deleted_groups`, `members`, `owners`, `managers`,
`others`, `methods`, `registrations` and `sign_ins` are mappings by id, to be read. `add_user`,
`update_user`, `set_manager`, `delete_user` (soft), `restore_user`, `purge_user`, `add_group`,
`update_group`, `delete_group`, `restore_group`, `purge_group`, `add_member(group, id, type)`,
`remove_member`, `add_owner` and `remove_owner` change it and are what the next delta round tells. Methods,
registrations and sign-ins have no history in Graph: assign to their mappings.

**faults**: `tenant.faults.add(action, path_regex, method=None, skip=0, times=1, every=1, batched=False,
body="")` returns the rule with its `hits`; `times=None` is for ever, `batched=True` hits items inside a
`$batch`, `body` is a regular expression such as `username=ada@contoso.com`. Actions: `respond(status,
code=…, body=…, headers=…)`, `throttle("2.128" | 3 | None)`, `throttle_until(seconds)` (an HTTP date),
`entra_error([90055], headers=…)`, `html(status)`, `gone()`, `expired_page_token()`, `truncate()`, `reset()`,
`close()`, `drip()`, `delay(seconds)`, `hang()`, `add_headers(…)`, `change_fields({"error_codes": "50126"},
remove=[…])`, `without_links()`, `both_links()`, `self_link()`, `replay()`, `foreign_link(url)`,
`replace_object(json, index)`, `edit(function)`.

**Sign-in** with `grant_type=password`, as VALIDATION_CLIENT_ID (assignment required, nobody assigned, no
permission; its secret is `validation-client-secret` in the vault, beside `webhook-secret` and
`credential-memory-key`): `Tenant(…, cloud="usgov", clock=…)`.

- `password_of(user_id)` is made from seed and id; `set_password(user_id, text or None)` moves
  lastPasswordChangeDateTime. Disable with `directory.update_user(user_id, {"accountEnabled": False})`.
- `accounts[user_id]` has `expired`, `method` (`cloud`, `pass-through`, `federated`; None follows the domain),
  `instead_of_password` and `after_password`: the AADSTS codes to answer, as (80001,) or (50076, 50079).
- `lockout`: `statistics[user_id]` (`attempts`, `counted_failures`, `times_locked`, `locked_until`),
  `ever_locked`, `is_locked`, `lock`, `unlock`, `threshold_set`, `duration_seconds`.
- `sign_ins`: a list of `SignIn(time, username, user_id, client_id, codes)`, with `code`, 0 for a token.
- `malicious_address`, `cloud_password_validation`, `domains` by name; `Client.enabled`,
  `assignment_required` and `assigned`.

**Callers' tokens**: CALLER_CLIENT_ID holds CALLER_ROLE on our own API_IDENTIFIER, an `api://` name of
CLIENT_ID. `token_for(clients[CALLER_CLIENT_ID], API_IDENTIFIER)` or `client_credentials`; the roles are
`app_roles[client_id of the API]`, the shape is the API's `token_version`. `issuer.rotate_keys(keep_old=…)`;
`issuer.sign(claims, lifetime).text` makes any other token; `issuer.issuer` and `issuer.issuer_v2` are the
two `iss`.

**Over HTTP**, for a tenant in another process: `POST /_sandbox/churn` `{"seed", "count"}`, `POST` and
`DELETE /_sandbox/faults` (rules as `{"action", "arguments", "path", "times", …}`), `POST
/_sandbox/permissions` `{"client_id", "grant", "revoke", "premium"}`, `GET /_sandbox/stats`, `GET
/_sandbox/users?user=id-or-name`, `POST /_sandbox/users` `{"user", "password", "enabled", "expired",
"method", "instead_of_password", "after_password", "locked"}`, `GET /_sandbox/sign-ins`, `POST
/_sandbox/vault` `{"forbidden", "secret", "value" (null removes), "refused"}`, `POST /_sandbox/keys`
`{"keep_old"}`.

Known differences from Graph: a revoked permission acts at once; a new manager is told together with the
removal of the former one; filters are `eq`, `in`, `any(x:x eq …)`, startsWith and endsWith, joined by `or`
alone or by `and` alone. From Entra: the order of its checks where it is not documented (assignment after
policies, a disabled account after the password), and that `error` is `invalid_grant` for all a user does.
"""

from sandbox.tenant import faults
from sandbox.tenant.changes import churn
from sandbox.tenant.configuration import (
    API_IDENTIFIER,
    CALLER_CLIENT_ID,
    CALLER_CLIENT_SECRET,
    CALLER_ROLE,
    CLIENT_ID,
    CLIENT_SECRET,
    FEDERATED_DOMAIN,
    MANAGED_IDENTITY_CLIENT_ID,
    TENANT_ID,
    VALIDATION_CLIENT_ID,
    VALIDATION_CLIENT_SECRET,
    Client,
    Domain,
    FederatedCredential,
    RateLimit,
    Secret,
)
from sandbox.tenant.directory import Directory
from sandbox.tenant.generator import generate
from sandbox.tenant.messages import Record
from sandbox.tenant.password_grant import SignIn
from sandbox.tenant.server import TenantServer
from sandbox.tenant.tenant import Tenant

__all__ = [
    "API_IDENTIFIER",
    "CALLER_CLIENT_ID",
    "CALLER_CLIENT_SECRET",
    "CALLER_ROLE",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "FEDERATED_DOMAIN",
    "MANAGED_IDENTITY_CLIENT_ID",
    "TENANT_ID",
    "VALIDATION_CLIENT_ID",
    "VALIDATION_CLIENT_SECRET",
    "Client",
    "Directory",
    "Domain",
    "FederatedCredential",
    "RateLimit",
    "Record",
    "Secret",
    "SignIn",
    "Tenant",
    "TenantServer",
    "churn",
    "faults",
    "generate",
]
