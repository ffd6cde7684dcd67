# shellcheck shell=bash
# What the scripts here share: words, the tenant's check, and secrets that go to Key Vault without being shown.

dry_run=false

say() { printf '%s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# A change: done, or in a dry run only told. Words first, then the command after `--`.
change() {
  local words=$1
  shift 2
  if $dry_run; then
    say "would $words"
  else
    say "$words"
    "$@"
  fi
}

needs_value() {
  [[ $# -ge 2 && -n $2 && $2 != --* ]] || fail "$1 needs a value"
}

is_guid() {
  [[ $1 =~ ^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$ ]]
}

# `az` must be there, and signed in to the tenant that is meant. Sets `tenant`.
check_tenant() {
  local wanted=$1
  command -v az >/dev/null || fail "the Azure CLI (az) is not installed: https://aka.ms/installazurecli"
  [[ -n $wanted ]] || fail "--tenant <id> is missing: the tenant that you mean to change"
  is_guid "$wanted" || fail "--tenant takes the tenant's id, a GUID, not a domain name"
  tenant=$(az account show --query tenantId --output tsv 2>/dev/null) ||
    fail "az is not signed in: az login --tenant $wanted"
  [[ $(lower "$tenant") == "$(lower "$wanted")" ]] ||
    fail "az is signed in to tenant $tenant, not to $wanted: az login --tenant $wanted"
}

lower() { printf '%s' "$1" | tr '[:upper:]' '[:lower:]'; }

# Whether the vault has a secret of this name. Reads names only, never a value.
vault_has() {
  local names
  names=$(az keyvault secret list --vault-name "$1" --query '[].name' --output tsv --only-show-errors) ||
    fail "vault $1 cannot be read: you need the role Key Vault Secrets Officer on it, and a network that it admits"
  grep -qx -- "$2" <<<"$names"
}

# Standard input becomes a new version of the secret; it is in no argument, no file and no output.
vault_store() {
  local vault=$1 name=$2
  shift 2
  az keyvault secret set --vault-name "$vault" --name "$name" --file /dev/stdin --encoding utf-8 \
    --output none --only-show-errors "$@"
}

say_how_to_read() {
  say "  to read it: az keyvault secret show --vault-name $1 --name $2 --query value --output tsv"
}
