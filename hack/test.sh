#!/usr/bin/env bash
# Runs all tests, and prints how many there were. None may be ignored, and nothing may leave a server behind.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# The real API server is built beside the crates: both have moments that use one core only.
hack/tools/build.sh >/dev/null &
tools=$!

cargo test --workspace --lib --bins --tests --locked --no-run
wait "$tools"
cargo test --workspace --lib --bins --tests --locked 2>&1 | tee "$log"
cargo test --workspace --doc --locked 2>&1 | tee -a "$log"

awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
     END { printf "\n%d passed, %d failed, %d skipped\n", passed, failed, ignored
           exit (failed > 0 || ignored > 0 || passed == 0) }' "$log"
