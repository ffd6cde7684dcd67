#!/usr/bin/env bash
# Puts the app's own secrets into Key Vault, without showing them.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'USAGE'
Usage: infra/create-secrets.sh --tenant <id> --vault <name> [options]

Makes what is missing, and leaves what is there:
  webhook-secret          what the platform signs its calls with (Standard Webhooks, whsec_…)
  credential-memory-key   the key under which tried passwords are remembered

Options:
  --paste-webhook-secret  ask for the webhook secret instead of making one (Flare shows its own)
  --rotate <name>         a new version of that secret; the old version of webhook-secret is accepted until
                          you disable it; a new credential-memory-key forgets which passwords were tried
  --dry-run               only say what would be done
USAGE
}

tenant_wanted='' vault='' rotate='' paste=false
while [[ $# -gt 0 ]]; do
  case $1 in
    --tenant) needs_value "$@"; tenant_wanted=$2; shift 2 ;;
    --vault) needs_value "$@"; vault=$2; shift 2 ;;
    --rotate) needs_value "$@"; rotate=$2; shift 2 ;;
    --paste-webhook-secret) paste=true; shift ;;
    --dry-run) dry_run=true; shift ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option $1; --help tells what there is" ;;
  esac
done
[[ -n $vault ]] || fail "--vault <name> is missing"
case $rotate in '' | webhook-secret | credential-memory-key) ;; *) fail "--rotate takes webhook-secret or credential-memory-key" ;; esac
command -v openssl >/dev/null || fail "openssl is not installed"
check_tenant "$tenant_wanted"

new_webhook_secret() {
  if $paste; then
    local pasted
    read -rsp 'The webhook secret, which is not shown: ' pasted
    [[ -n $pasted ]] || fail "nothing was pasted"
    printf '%s' "$pasted"
  else
    printf 'whsec_%s' "$(openssl rand -base64 32)"
  fi
}

new_memory_key() { printf '%s' "$(openssl rand -base64 32)"; }

store() {
  local value
  value=$("$1")
  printf '%s' "$value" | vault_store "$vault" "$2"
}

ensure() {
  local name=$1 source=$2
  if [[ $rotate != "$name" ]] && vault_has "$vault" "$name"; then
    say "$name is there already; --rotate $name makes a new version"
    return
  fi
  change "store a new $name in vault $vault" -- store "$source" "$name"
  say_how_to_read "$vault" "$name"
}

ensure webhook-secret new_webhook_secret
ensure credential-memory-key new_memory_key
