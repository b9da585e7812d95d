#!/usr/bin/env bash
# Known vulnerabilities in dependencies, where the advisory database can be reached. Where it cannot, that is
# said, and is no failure: a machine without the internet still has to be able to test.
set -euo pipefail

if ! "$1" fetch db >/dev/null 2>&1; then
  echo "advisories skipped: the advisory database cannot be reached"
  exit 0
fi
"$1" --locked check --disable-fetch advisories
