#!/usr/bin/env bash
# The demo: a simulated AWS with an estate of two accounts, one scan of it, and a check that the numbers are true.
# Everything runs on loopback, in a temporary directory, and is gone afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m%s\033[0m\n' "$*" >&2; }

say "Building (the first time takes several minutes and 12 GB of memory: the AWS SDK is large)"
cargo build --locked --workspace --bins
bin="${CARGO_TARGET_DIR:-target}/debug"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

say "Starting a simulated AWS, and filling two accounts in three regions"
"$bin/testbed" run --dir "$dir" -- hack/demo-scan.sh "$bin" "$dir"

cat >&2 <<EOF

$(printf '\033[1mWhat to try next\033[0m')
  The same estate to play with, until you press Ctrl-D:
    $bin/testbed up --dir .demo
  and then, in another terminal:
    . .demo/env
    $bin/tagwarden scan --policy policies/starter.yaml --accounts .demo/accounts.yaml
    $bin/tagwarden scan --policy tests/estate/policy.yaml --accounts .demo/accounts.yaml --type 's3:*' --format csv
  Your own account, with the credentials that the AWS CLI uses:
    $bin/tagwarden iam-policy          # what a scan may read, and nothing else
    $bin/tagwarden scan --policy policies/starter.yaml --region us-east-1
EOF
