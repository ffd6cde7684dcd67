#!/usr/bin/env bash
# What a directory administrator does once: app registrations, and permissions in Microsoft Graph. It asks
# Graph through `az rest`, works in every cloud, and can be run again: what is there already is left alone.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'USAGE'
Usage: infra/grant-permissions.sh <command> --tenant <id> [options]

Commands:
  managed-identity   grant Graph permissions to the app's managed identity (ENTRA_CREDENTIAL=managed-identity)
      --principal-id <id>   its object id: APP_IDENTITY_PRINCIPAL_ID of the deployment
  app-registration   make an app registration with these permissions and admin consent, and
      --vault <name>        store a client secret in Key Vault (ENTRA_CREDENTIAL=client-secret), or
      --principal-id <id>   let it trust the managed identity (ENTRA_CREDENTIAL=federated)
  validation-app     make the app registration of the sign-in probe: no permission, nobody assigned
      --vault <name>        where its client secret goes
  caller-role        let a caller of the webhook sign in with Entra tokens (WEBHOOK_AUTH=entra-token)
      --caller <id>         the caller's application (client) id

Options:
  --tenant <id>      the tenant to change; az must be signed in to it
  --with <list>      capabilities beside inventory, which is always granted, separated by commas:
                     hidden-members, methods, methods-each, sign-in, leave-date, validation, lockout-policy
                     (default: hidden-members,methods)
  --name <text>      the display name of the app registration
  --secret-days <n>  how long a client secret is valid (default 180)
  --renew-secret     make a new client secret although the vault has one; the old one stays valid
  --graph <url>      Microsoft Graph's origin, where az does not know it (US Government DoD)
  --dry-run          only say what would be done
USAGE
}

GRAPH_APP_ID=00000003-0000-0000-c000-000000000000
ROLE_VALUE=Credentials.Validate
ROLE_ID=1f0a0bd5-3f3b-4c0e-9a3e-7d1f5c2b8e64
# Entra copies a new object to all its servers within seconds; until then some say that it is not there.
RETRY_SECONDS=${RETRY_SECONDS:-5}

permissions_for() {
  case $1 in
    inventory) say User.Read.All GroupMember.Read.All ;;
    hidden-members) say Member.Read.Hidden ;;
    methods) say AuditLog.Read.All ;;
    methods-each) say UserAuthenticationMethod.Read.All ;;
    sign-in) say AuditLog.Read.All ;;
    leave-date) say User-LifeCycleInfo.Read.All ;;
    validation) say Domain.Read.All ;;
    lockout-policy) say GroupSettings.Read.All ;;
    *) fail "unknown capability '$1'; --help tells which there are" ;;
  esac
}

# ------------------------------------------------------------------------------------------------ Graph

graph_get() { # path, JMESPath query
  az rest --method GET --url "$graph/v1.0/$1" --resource "$graph" --query "$2" --output tsv --only-show-errors
}

graph_send() { # method, path, body, JMESPath query
  az rest --method "$1" --url "$graph/v1.0/$2" --resource "$graph" --headers Content-Type=application/json \
    --body "$3" --query "${4:-id}" --output tsv --only-show-errors
}

# For what refers to an object that was just made: tried again while Graph does not know that yet.
graph_send_soon() {
  local try error
  for try in 1 2 3 4 5; do
    { if error=$({ graph_send "$@" >&3; } 2>&1); then return; fi; } 3>&1
    [[ $error == *"does not exist"* || $error == *[Nn]ot*[Ff]ound* ]] || break
    [[ $try == 5 ]] || sleep "$RETRY_SECONDS"
  done
  printf '%s\n' "$error" >&2
  fail "Graph refused. Permissions need the role Privileged Role Administrator; the rest, Cloud Application Administrator"
}

quiet() { "$@" >/dev/null; }

# Sets `graph`, and the sign-in host and audience of federated credentials.
find_cloud() {
  local name graph_of_cloud
  IFS=$'\t' read -r name graph_of_cloud login < <(az cloud show \
    --query '[[name, endpoints.microsoftGraphResourceId, endpoints.activeDirectory]]' --output tsv)
  graph=${graph_wanted:-$graph_of_cloud}
  graph=${graph%/} login=${login%/}
  [[ $graph == https://* ]] || fail "Microsoft Graph's address is unknown; name it with --graph"
  case $name in
    AzureUSGovernment) audience=api://AzureADTokenExchangeUSGov ;;
    AzureChinaCloud) audience=api://AzureADTokenExchangeChina ;;
    *) audience=api://AzureADTokenExchange ;;
  esac
}

# Sets `graph_principal`, `permissions` (names) and `role_ids` (in the same order).
find_roles() {
  local wanted=() capability names permission table id
  for capability in inventory ${with//,/ }; do
    names=$(permissions_for "$capability")
    for permission in $names; do
      [[ " ${wanted[*]-} " == *" $permission "* ]] || wanted+=("$permission")
    done
  done
  table=$(graph_get "servicePrincipals(appId='$GRAPH_APP_ID')?\$select=id,appRoles" \
    "[[['graph', id]], appRoles[?contains(allowedMemberTypes, 'Application')].[value, id]][]") ||
    fail "Graph does not answer: are you allowed to read applications?"
  graph_principal=$(awk -F'\t' '$1 == "graph" { print $2 }' <<<"$table")
  permissions=("${wanted[@]}") role_ids=()
  for permission in "${permissions[@]}"; do
    id=$(awk -F'\t' -v name="$permission" '$1 == name { print $2 }' <<<"$table")
    [[ -n $id ]] || fail "Microsoft Graph has no application permission $permission in this cloud; leave its capability out of --with"
    role_ids+=("$id")
  done
}

grant() { # the object id of a service principal, and what it is
  local principal=$1 granted i
  granted=$(graph_get "servicePrincipals/$principal/appRoleAssignments?\$top=999" \
    "value[?resourceId=='$graph_principal'].appRoleId")
  for i in "${!permissions[@]}"; do
    if grep -qx -- "${role_ids[i]}" <<<"$granted"; then
      say "${permissions[i]} is granted already"
    else
      change "grant ${permissions[i]} to $2" -- quiet graph_send_soon POST \
        "servicePrincipals/$principal/appRoleAssignments" \
        "{\"principalId\": \"$principal\", \"resourceId\": \"$graph_principal\", \"appRoleId\": \"${role_ids[i]}\"}"
    fi
  done
}

# ------------------------------------------------------------------------------------ app registrations

# Sets `app_object` and `app_id`; in a dry run they may stay blank.
ensure_app() { # further members of a new application, as JSON text that begins with a comma
  local found
  found=$(graph_get "applications?\$filter=displayName eq '$name'&\$select=id,appId" 'value[].[id, appId]')
  [[ $(grep -c . <<<"$found") -le 1 ]] || fail "there are several app registrations named '$name'; choose another --name"
  if [[ -n $found ]]; then
    IFS=$'\t' read -r app_object app_id <<<"$found"
    say "app registration '$name' is there already: $app_id"
  elif $dry_run; then
    say "would make the app registration '$name'"
    app_object='' app_id=''
  else
    found=$(graph_send POST applications \
      "{\"displayName\": \"$name\", \"signInAudience\": \"AzureADMyOrg\", \"isFallbackPublicClient\": false${1-}}" \
      '[[id, appId]]') ||
      fail "the app registration cannot be made: you need the role Cloud Application Administrator, or a higher one"
    IFS=$'\t' read -r app_object app_id <<<"$found"
    say "make the app registration '$name': $app_id"
  fi
}

# Sets `app_principal`; in a dry run it may stay blank.
ensure_principal() { # further members of a new service principal, as JSON text that begins with a comma
  app_principal=''
  [[ -z $app_id ]] || app_principal=$(graph_get "servicePrincipals?\$filter=appId eq '$app_id'&\$select=id" 'value[].id')
  if [[ -z $app_principal ]]; then
    if $dry_run; then
      say "would make its service principal"
    else
      app_principal=$(graph_send_soon POST servicePrincipals "{\"appId\": \"$app_id\"${1-}}" id)
      say "make its service principal: $app_principal"
    fi
  fi
}

# The list of permissions that the portal shows and asks consent for.
ensure_list() {
  local listed id missing=false entries=''
  listed=$(graph_get "applications/$app_object?\$select=requiredResourceAccess" \
    "requiredResourceAccess[?resourceAppId=='$GRAPH_APP_ID'].resourceAccess[].id")
  for id in "${role_ids[@]}"; do
    grep -qx -- "$id" <<<"$listed" || { missing=true; listed+=$'\n'$id; }
  done
  $missing || return 0
  for id in $listed; do entries+="${entries:+, }{\"id\": \"$id\", \"type\": \"Role\"}"; done
  change "list the permissions in the app registration" -- quiet graph_send_soon PATCH "applications/$app_object" \
    "{\"requiredResourceAccess\": [{\"resourceAppId\": \"$GRAPH_APP_ID\", \"resourceAccess\": [$entries]}]}"
}

# A client secret goes from Graph to the vault, and nowhere else.
ensure_secret() { # the secret's name in the vault
  local expires made key_id
  if ! $renew_secret && vault_has "$vault" "$1"; then
    say "$1 is in vault $vault already; --renew-secret makes a new one"
    return
  fi
  if $dry_run; then
    say "would make a client secret for $secret_days days and store it as $1 in vault $vault"
    return
  fi
  expires=$(date -u -d "+$secret_days days" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null ||
    date -u -v+"$secret_days"d +%Y-%m-%dT%H:%M:%SZ)
  made=$(graph_send_soon POST "applications/$app_object/addPassword" \
    "{\"passwordCredential\": {\"displayName\": \"Entra Connector, in vault $vault\", \"endDateTime\": \"$expires\"}}" \
    '[[keyId, secretText]]')
  key_id=${made%%$'\t'*}
  if ! printf '%s' "${made#*$'\t'}" | vault_store "$vault" "$1" --expires "$expires"; then
    quiet graph_send POST "applications/$app_object/removePassword" "{\"keyId\": \"$key_id\"}" || true
    fail "vault $vault did not take the client secret, which was made invalid again. You need the role Key Vault Secrets Officer"
  fi
  say "make a client secret, valid until $expires, and store it as $1 in vault $vault"
}

ensure_trust() { # the object id of the managed identity
  local known
  known=$(graph_get "applications/$app_object/federatedIdentityCredentials" "value[?subject=='$1'].id")
  if [[ -n $known ]]; then
    say "the managed identity is trusted already"
    return
  fi
  change "let the app registration trust the managed identity $1" -- quiet graph_send_soon POST \
    "applications/$app_object/federatedIdentityCredentials" \
    "{\"name\": \"managed-identity\", \"issuer\": \"$login/$tenant/v2.0\", \"subject\": \"$1\", \"audiences\": [\"$audience\"]}"
}

# ------------------------------------------------------------------------------------------- commands

do_managed_identity() {
  local shown
  is_guid "$principal_id" || fail "--principal-id <object id of the managed identity> is missing"
  find_roles
  shown=$(graph_get "servicePrincipals/$principal_id?\$select=displayName" displayName) ||
    fail "tenant $tenant has no service principal $principal_id: take the object id, not the client id"
  grant "$principal_id" "$shown"
  say "Set ENTRA_CREDENTIAL to managed-identity."
}

do_app_registration() {
  name=${name:-Entra Connector}
  [[ -n $vault || -n $principal_id ]] || fail "--vault <name> (client secret) or --principal-id <id> (federated) is missing"
  [[ -z $principal_id ]] || is_guid "$principal_id" || fail "--principal-id takes the object id of the managed identity, a GUID"
  find_roles
  ensure_app
  ensure_principal
  if [[ -n $app_object ]]; then ensure_list; fi
  if [[ -n $app_principal ]]; then grant "$app_principal" "'$name'"; else say "would grant ${permissions[*]}"; fi
  if [[ -n $principal_id ]]; then
    if [[ -n $app_object ]]; then ensure_trust "$principal_id"; else say "would let it trust the managed identity $principal_id"; fi
    say "Set ENTRA_CREDENTIAL to federated, and ENTRA_CLIENT_ID to ${app_id:-its client id}."
  else
    ensure_secret entra-client-secret
    say "Set ENTRA_CREDENTIAL to client-secret, and ENTRA_CLIENT_ID to ${app_id:-its client id}."
  fi
}

do_validation_app() {
  name=${name:-Entra Connector (password checks)}
  [[ -n $vault ]] || fail "--vault <name> is missing: it takes the client secret"
  ensure_app
  ensure_principal ', "appRoleAssignmentRequired": true'
  if [[ -n $app_principal ]]; then keep_powerless; fi
  ensure_secret validation-client-secret
  say "Set VALIDATION_CLIENT_ID to ${app_id:-its client id}."
}

# No public client, assignment required, nobody assigned, no permission: then no password gets a token.
keep_powerless() {
  local public required assigned held
  public=$(graph_get "applications/$app_object?\$select=isFallbackPublicClient" isFallbackPublicClient)
  required=$(graph_get "servicePrincipals/$app_principal?\$select=appRoleAssignmentRequired" appRoleAssignmentRequired)
  assigned=$(graph_get "servicePrincipals/$app_principal/appRoleAssignedTo?\$top=1" 'length(value)')
  held=$(graph_get "servicePrincipals/$app_principal/appRoleAssignments?\$top=1" 'length(value)')
  [[ $(lower "$public") != true ]] || change "switch public client flows off" -- quiet graph_send PATCH \
    "applications/$app_object" '{"isFallbackPublicClient": false}'
  [[ $(lower "$required") == true ]] || change "require assignment" -- quiet graph_send PATCH \
    "servicePrincipals/$app_principal" '{"appRoleAssignmentRequired": true}'
  [[ $assigned == 0 ]] || say "warning: somebody is assigned to '$name'; remove them, or their right password gets a token"
  [[ $held == 0 ]] || say "warning: '$name' holds application permissions, and needs none; remove them"
}

do_caller_role() {
  local exposed caller
  name=${name:-Entra Connector (webhook)}
  is_guid "$caller_id" || fail "--caller <application (client) id of the caller> is missing"
  ensure_app ", \"api\": {\"requestedAccessTokenVersion\": 2}, \"appRoles\": [{\"id\": \"$ROLE_ID\", \"value\": \"$ROLE_VALUE\",
    \"displayName\": \"Validate leaked credentials\", \"description\": \"May call the webhook of Entra Connector.\",
    \"allowedMemberTypes\": [\"Application\"], \"isEnabled\": true}]"
  ensure_principal ', "appRoleAssignmentRequired": true'
  if [[ -n $app_object ]]; then
    exposed=$(graph_get "applications/$app_object?\$select=identifierUris" 'identifierUris[]')
    grep -qx "api://$app_id" <<<"$exposed" || change "expose it as api://$app_id" -- quiet graph_send_soon PATCH \
      "applications/$app_object" "{\"identifierUris\": [\"api://$app_id\"]}"
  fi
  caller=$(graph_get "servicePrincipals?\$filter=appId eq '$caller_id'&\$select=id" 'value[].id')
  [[ -n $caller ]] || fail "application $caller_id has no service principal in this tenant: the caller must be an application here"
  if [[ -n $app_principal ]] && graph_get "servicePrincipals/$caller/appRoleAssignments?\$top=999" \
    "value[?resourceId=='$app_principal'].appRoleId" | grep -qx "$ROLE_ID"; then
    say "$caller_id has the role $ROLE_VALUE already"
  else
    change "give the role $ROLE_VALUE to $caller_id" -- quiet graph_send_soon POST \
      "servicePrincipals/$caller/appRoleAssignments" \
      "{\"principalId\": \"$caller\", \"resourceId\": \"$app_principal\", \"appRoleId\": \"$ROLE_ID\"}"
  fi
  say "Set WEBHOOK_AUTH to entra-token, WEBHOOK_AUDIENCE to ${app_id:-its client id} and WEBHOOK_ROLE to $ROLE_VALUE."
  say "The caller asks for scope api://${app_id:-its client id}/.default."
}

command=${1-}
case $command in
  managed-identity | app-registration | validation-app | caller-role) shift ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

tenant_wanted='' principal_id='' vault='' name='' caller_id='' graph_wanted=''
with=hidden-members,methods secret_days=180 renew_secret=false
while [[ $# -gt 0 ]]; do
  case $1 in
    --tenant) needs_value "$@"; tenant_wanted=$2; shift 2 ;;
    --principal-id) needs_value "$@"; principal_id=$2; shift 2 ;;
    --vault) needs_value "$@"; vault=$2; shift 2 ;;
    --name) needs_value "$@"; name=$2; shift 2 ;;
    --caller) needs_value "$@"; caller_id=$2; shift 2 ;;
    --graph) needs_value "$@"; graph_wanted=$2; shift 2 ;;
    --with) [[ $# -ge 2 ]] || fail "--with needs a value"; with=$2; shift 2 ;;
    --secret-days) needs_value "$@"; secret_days=$2; shift 2 ;;
    --renew-secret) renew_secret=true; shift ;;
    --dry-run) dry_run=true; shift ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option $1; --help tells what there is" ;;
  esac
done
[[ -z $name || $name =~ ^[A-Za-z0-9\ ._()-]+$ ]] || fail "--name takes letters, digits, spaces and ._()-"
[[ $secret_days =~ ^[1-9][0-9]{0,2}$ ]] || fail "--secret-days takes a number of days from 1 to 999"
for capability in ${with//,/ }; do permissions_for "$capability" >/dev/null; done

check_tenant "$tenant_wanted"
find_cloud
"do_${command//-/_}"
