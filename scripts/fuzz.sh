#!/usr/bin/env bash
# Runs every fuzz target of every module, one after the other, each for FUZZTIME (20s). What makes one fail is kept in
# its package's testdata/fuzz, to be committed with the repair: `make test` tries it from then on.

set -euo pipefail
cd "$(dirname "$0")/.."

FUZZTIME=${FUZZTIME:-20s}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# targets: a line "PACKAGE NAME" for each. From go list and not find, so that modules, build tags and testdata folders
# are as go test sees them; from the text of the files, because go test -list would first build every test there is.
targets() {
	local package file
	# shellcheck disable=SC2016 # the dollars are the template's
	go list -f '{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}
{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}
{{end}}' work | while read -r package file; do
		if [ -z "$file" ]; then continue; fi
		sed -n "s,^func \(Fuzz[A-Za-z0-9_]*\)(.*testing\.F).*,$package \1,p" "$file"
	done
}

all=$(targets)
found=0 failed=0
while read -r package target; do
	if [ -z "$target" ]; then continue; fi
	found=$((found + 1))
	if go test -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" "$package" >"$log" 2>&1 </dev/null; then
		echo "ok    $target  $package  $(sed -n 's/.*\(execs: [0-9]*\).*/\1/p' "$log" | tail -n 1)"
	else
		echo "FAIL  $target  $package"
		cat "$log"
		failed=$((failed + 1))
	fi
done <<<"$all"

echo "$((found - failed)) passed, $failed failed"
[ "$failed" = 0 ]
