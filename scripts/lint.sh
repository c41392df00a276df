#!/usr/bin/env bash
# Checks Go, shell and the page's scripts. Changes nothing.

set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh node shellcheck
failed=0

scripts/golangci-lint.sh run || failed=1

shellcheck scripts/*.sh .ci/run || failed=1

# Through standard input, as a module: a .js file's own kind would depend on a package.json that a page has no use for.
while IFS= read -r script; do
	if ! said=$(node --check --input-type=module <"$script" 2>&1); then
		echo "$script: $said" >&2
		failed=1
	fi
done < <(find services/doorbell/internal/page -name '*.js' -o -name '*.mjs')

exit "$failed"
