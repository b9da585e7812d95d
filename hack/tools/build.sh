#!/usr/bin/env bash
# Builds the pinned Go tools that are named (all of them otherwise) into the user's cache, once for each pinned set,
# and prints the directory of each. The tests call it when they first need one; hack/test.sh calls it early.
set -euo pipefail
cd "$(dirname "$0")"

cache=${XDG_CACHE_HOME:-${HOME:?neither XDG_CACHE_HOME nor HOME is set: there is nowhere to keep the tools}/.cache}/tagwarden/tools

tools=(etcd kubernetes helm kubeconform helm-docs actionlint containers gitops prometheus-operator)

# What `go build` gets besides -o: flags and packages. Without its version the API server is none that kubectl knows.
arguments() {
  case $1 in
    etcd) echo go.etcd.io/etcd/server/v3 ;;
    helm) echo helm.sh/helm/v4/cmd/helm ;;
    kubeconform) echo github.com/yannh/kubeconform/cmd/kubeconform ;;
    helm-docs) echo github.com/norwoodj/helm-docs/cmd/helm-docs ;;
    actionlint) echo github.com/rhysd/actionlint/cmd/actionlint ;;
    # Programs of our own.
    containers | gitops) echo . ;;
    # Nothing is built of it: what it holds are files.
    prometheus-operator) ;;
    kubernetes)
      local version=k8s.io/component-base/version
      echo -ldflags
      echo "-s -w -X $version.gitVersion=v1.36.3 -X $version.gitMajor=1 -X $version.gitMinor=36"
      echo k8s.io/kubernetes/cmd/kube-apiserver
      echo k8s.io/kubernetes/cmd/kubectl
      ;;
    *) return 1 ;;
  esac
}

# The pinned set, the source of a program of our own, and how it is built.
digest() { { cat "$1/go.mod" "$1/go.sum" "$1"/*.go 2>/dev/null || true; arguments "$1"; } | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c1-16; }

build() {
  local name=$1 home=$2 temporary argument arguments=()
  if ! command -v go >/dev/null; then
    echo "\`go\` is not in PATH. It builds $name (pinned in hack/tools/$name) for the tests: install Go 1.26 or newer" >&2
    return 1
  fi
  temporary=$(mktemp -d "$cache/.$name.XXXXXX")
  # shellcheck disable=SC2064 # the directory of now
  trap "rm -rf '$temporary'" EXIT
  while IFS= read -r argument; do arguments+=("$argument"); done < <(arguments "$name")
  echo "building $name into $home (some minutes, once) …" >&2
  if [ "${#arguments[@]}" -gt 0 ]; then
    (cd "$name" && go build -mod=readonly -trimpath -o "$temporary/" "${arguments[@]}")
  else
    crds "$name" "$temporary"
  fi
  mv "$temporary" "$home"
  echo "$name is built" >&2
}

# The definitions that a module carries beside its code.
crds() {
  local module=github.com/$1/$1 source
  (cd "$1" && go mod download "$module")
  source=$(cd "$1" && go list -mod=readonly -m -f '{{.Dir}}' "$module")
  cp "$source"/example/prometheus-operator-crd/*_servicemonitors.yaml "$2/"
  chmod -R u+w "$2"
}

# In a subshell, which takes its lock with it.
install() (
  name=$1 home=$cache/$1-$(digest "$1")
  mkdir -p "$cache"
  if [ ! -d "$home" ]; then
    exec 9>"$home.lock"
    if command -v flock >/dev/null; then flock 9; fi
    if [ ! -d "$home" ]; then build "$name" "$home"; fi
  fi
  echo "$home"
)

[ $# -gt 0 ] || set -- "${tools[@]}"
for tool; do
  if ! arguments "$tool" >/dev/null; then
    echo "\`$tool\` is not one of the tools: ${tools[*]}" >&2
    exit 2
  fi
  install "$tool"
done
