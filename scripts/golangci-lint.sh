#!/usr/bin/env bash
# Runs golangci-lint, of one version for all, with the arguments given and the packages of every module after them.
# The first time, it is compiled, which takes some minutes.

set -euo pipefail
cd "$(dirname "$0")/.."

version=v2.15.0

packages=()
modules=$(go list -m -f '{{.Dir}}')
while IFS= read -r dir; do packages+=("./${dir#"$PWD"/}/..."); done <<<"$modules"

go run "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version" "$@" "${packages[@]}"
