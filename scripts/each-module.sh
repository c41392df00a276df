#!/usr/bin/env bash
# Runs a command in the folder of every module of the workspace, and stops at the first that fails.

set -euo pipefail
cd "$(dirname "$0")/.."

modules=$(go list -m -f '{{.Dir}}')
while IFS= read -r dir; do
	(cd "$dir" && "$@" </dev/null) || {
		echo "${dir#"$PWD"/}: failed: $*" >&2
		exit 1
	}
done <<<"$modules"
