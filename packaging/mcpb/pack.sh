#!/usr/bin/env bash
# Packs a built program as a bundle for clients that install MCP servers by double click (Claude Desktop).
#
#   packaging/mcpb/pack.sh PROGRAM OUTPUT.mcpb
#
# The bundle is for the system that the program was built for. MCPB says how the packer is called where it is not in PATH.
set -euo pipefail

program=${1:?the program}
output=${2:?where the bundle goes}
here=$(cd "$(dirname "$0")" && pwd)
read -r -a mcpb <<<"${MCPB:-mcpb}"

staged=$(mktemp -d)
trap 'rm -rf "$staged"' EXIT
mkdir "$staged/server"
install -m 755 "$program" "$staged/server/tagwarden"
platform=$(uname -s | tr '[:upper:]' '[:lower:]')
sed "s/\"platforms\": .*/\"platforms\": [\"$platform\"]/" "$here/manifest.json" >"$staged/manifest.json"
cp "$here/../../LICENSE" "$staged/"
"${mcpb[@]}" validate "$staged/manifest.json"
"${mcpb[@]}" pack "$staged" "$output"
