#!/usr/bin/env bash
# The demo: a simulated AWS with an estate of two accounts, a controller that audits it by the manifests of a directory,
# and what it notices when tags break. Everything runs on loopback, in a temporary directory, and is gone afterwards.
#
#   make demo                what the controller does
#   make demo KEEP=1         the same, and stay, to look around with kubectl
#   make demo PART=scan      the one-shot command, compared with the truth of the estate
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m%s\033[0m\n' "$*" >&2; }

part=${PART:-run}
case $part in run | scan) ;; *) echo "PART is run or scan, not $part" >&2 && exit 2 ;; esac

say "Building (the first time takes several minutes and 12 GB of memory: the AWS SDK is large)"
cargo build --locked --workspace --bins
bin="$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/debug"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

say "Starting a simulated AWS, and filling two accounts in three regions"
"$bin/testbed" run --dir "$dir" -- "hack/demo-$part.sh" "$bin" "$dir"

cat >&2 <<EOT

$(printf '\033[1mWhat to try next\033[0m')
  The other half of the demo:
    make demo PART=$([[ $part == run ]] && echo 'scan' || echo 'run')
  The same estate to play with, until you press Ctrl-D:
    $bin/testbed up --dir .demo
  and then, in another terminal:
    . .demo/env
    $bin/tagwarden scan --policy policies/starter.yaml --accounts .demo/accounts.yaml
    $bin/tagwarden run --manifests .demo --allow-external-id-secret-ref
  Your own account, with the credentials that the AWS CLI uses:
    $bin/tagwarden iam-policy          # what a scan may read, and nothing else
    $bin/tagwarden scan --policy policies/starter.yaml --region us-east-1
EOT
