#!/usr/bin/env bash
# The part of the demo that runs while the simulated AWS is up: scan, look at the history, compare with the truth.
set -euo pipefail
bin=$1 dir=$2

scan=("$bin/tagwarden" scan --policy tests/estate/policy.yaml --accounts "$dir/accounts.yaml")

printf '\n\033[1m$ tagwarden scan --policy tests/estate/policy.yaml --accounts accounts.yaml\033[0m\n\n' >&2
"${scan[@]}" --store "sqlite:$dir/history.db"

printf '\n\033[1m$ tagwarden history --store sqlite:history.db\033[0m\n\n' >&2
"$bin/tagwarden" history --store "sqlite:$dir/history.db"

printf '\n\033[1mChecking every number and every finding against the truth of the estate\033[0m\n' >&2
"${scan[@]}" --format json --output "$dir/report.json" 2>/dev/null
"$bin/testbed" check --expected "$dir/expected.json" "$dir/report.json"
