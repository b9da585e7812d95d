#!/usr/bin/env bash
# The part of the demo that runs while the simulated AWS is up: the controller, with manifests in a directory.
set -euo pipefail
bin=$1 dir=$2
here=$(cd "$(dirname "$0")" && pwd)

say() { printf '\n\033[1m%s\033[0m\n' "$*" >&2; }
shown() { printf '\n\033[1m$ %s\033[0m\n' "$*" >&2; }

# --- what is declared: policies, accounts (with the Secret that one of them needs), audits
manifests=$dir/manifests
mkdir "$manifests"
cp policies/*.yaml tests/estate/policy.yaml "$dir/accounts.yaml" "$manifests"
audit() { # NAME ACCOUNTS
  cat >"$manifests/audit-$1.yaml" <<MANIFEST
apiVersion: tagwarden.io/v1alpha1
kind: ComplianceAudit
metadata:
  name: $1
  annotations: {tagwarden.io/requestedAt: "${3:-first}"}
spec:
  schedule: "@daily"
  policyRef: {name: demo}
  accounts: $2
MANIFEST
}
audit estate '{all: true}'
audit shop '{names: [shop]}'
audit analytics '{names: [analytics]}'

# --- who may use the API, and how they know it: kubectl sends tokens over TLS alone
"$bin/tagwarden" token demo --role admin --out "$dir/token" >"$dir/tokens"

shown "tagwarden run --manifests manifests --allow-external-id-secret-ref --allow-no-external-id --api-listen 127.0.0.1:0 …"
"$bin/tagwarden" run --manifests "$manifests" --allow-external-id-secret-ref --allow-no-external-id --store "sqlite:$dir/tagwarden.db" \
  --api-listen 127.0.0.1:0 --api-tokens "$dir/tokens" --api-tls-self-signed "$dir" \
  --listen 127.0.0.1:0 \
  --metrics-listen 127.0.0.1:0 \
  --log-format json 2>"$dir/log" &
controller=$!
stop() {
  kill -TERM "$controller" 2>/dev/null || true
  wait "$controller" 2>/dev/null || true
}
trap stop EXIT

# --- helpers that wait for something, and say what was logged when it does not come
within=180
await() { # WHAT COMMAND…
  local what=$1 began=$SECONDS
  shift
  until "$@"; do
    if ! kill -0 "$controller" 2>/dev/null || ((SECONDS - began > within)); then
      printf 'waited in vain for %s; the end of the log:\n' "$what" >&2
      tail -20 "$dir/log" >&2
      exit 1
    fi
    sleep 0.3
  done
}
field() { # NAME: the value of a field from the first line of the log that has it
  python3 -c '
import json, sys
for line in open(sys.argv[1]):
    if sys.argv[2] in (line := json.loads(line)):
        print(line[sys.argv[2]])
        break
else:
    sys.exit(1)' "$dir/log" "$1"
}
await "the API" field api >/dev/null
"$bin/tagwarden" kubeconfig --server "https://$(field api)" --token-file "$dir/token" --ca "$dir/api.crt" >"$dir/kubeconfig"
export KUBECONFIG=$dir/kubeconfig

tagwarden_get() { "$bin/tagwarden" get --kubeconfig "$dir/kubeconfig" "$@"; }
if command -v kubectl >/dev/null; then
  get() { shown "kubectl get $*" && kubectl get "$@"; }
else
  get() { shown "tagwarden get $*" && tagwarden_get "$@"; }
fi

# --- the first audits
reports() { (($(tagwarden_get tagreport 2>/dev/null | tail -n +2 | grep -c .) >= $1)); }
say "Waiting for the first audits"
await "three reports" reports 3
get tagpol,tagacct,tagaudit,tagreport

say "The score of each account is that of its audit:"
tagwarden_get tagaudit

# --- an agent asks
shown 'MCP: check_tag_compliance {"policy": "demo", "resource_types": ["ec2:instance"]}'
python3 "$here/demo-ask.py" "http://$(field listen)/mcp"

# --- somebody breaks tags
say "Breaking tags: instances of the shop lose their owner"
python3 "$here/demo-break.py" "$dir"
say "Asking for another look, by a new token in the manifest of the audit"
audit shop '{names: [shop]}' "after-the-accident"
await "a fourth report" reports 4
get tagaudit,tagreport

shown "tagwarden history --store sqlite:tagwarden.db"
"$bin/tagwarden" history --store "sqlite:$dir/tagwarden.db"

if [[ ${KEEP:-0} == 1 ]]; then
  say "It goes on until you press Ctrl-C. In another terminal:"
  cat >&2 <<EOT
  export KUBECONFIG=$dir/kubeconfig
  kubectl get tagwarden
  kubectl describe tagaudit shop
  $bin/tagwarden get tagwarden --kubeconfig $dir/kubeconfig
EOT
  trap 'exit 0' INT TERM
  wait "$controller"
fi

say "Stopping the controller"
kill -TERM "$controller"
wait "$controller"
trap - EXIT
