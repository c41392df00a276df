#!/usr/bin/env bash
# Installs what the tests need, runs the tests of every module, of the page and of the TypeScript client, and cleans up,
# also after a failure.
# Arguments go to `go test`.
#
# shellcheck disable=SC2317,SC2329 # it doesn't see the functions that are called through trap and in_group

set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh gcc node npm chromium postgres redis nginx varnish

# Everything temporary goes here: binaries that tests build, databases, browser profiles.
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/doorbell-test.XXXXXX")
export TMPDIR
chmod 711 "$TMPDIR" # when root runs the tests, Postgres runs as a user of its own, who has to get to its folder
job=''

# A test that is killed, by its time limit say, cannot end the servers that it started. They are of its process group.
end() {
	# Servers with a watchdog of their own (pkg/testkit) are ended just after the tests.
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
		if [ -z "$job" ] || kill -0 "$job" 2>/dev/null || ! kill -0 -- "-$job" 2>/dev/null; then break; fi
		sleep 0.2
	done
	if [ -n "$job" ] && kill -TERM -- "-$job" 2>/dev/null; then
		echo "test: ending processes that the tests left behind" >&2
		for _ in 1 2 3 4 5 6 7 8 9 10; do
			if ! kill -0 -- "-$job" 2>/dev/null; then break; fi
			sleep 0.2
		done
		kill -KILL -- "-$job" 2>/dev/null || true
	fi
	job=''
	chmod -R u+w "$TMPDIR" # tests of read-only folders
	rm -rf "$TMPDIR"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The race detector needs C on Linux, whatever the environment says. Tests that build a binary decide for themselves.
if [ "$(uname -s)" = Linux ]; then export CGO_ENABLED=1; fi

# As in scripts/build.sh.
export GOFLAGS="${GOFLAGS:-} -tags=nomsgpack"

# `work` is every package of every module of go.work: in one go, so that modules build beside each other.
# -count=1: the end-to-end tests build binaries from source that go test doesn't see, so a cached pass may be a lie.
# -gcflags: SQLite is C turned into Go, which the race detector slows down four times, and no race of ours hides in it.
go_tests() {
	go test -race -gcflags='modernc.org/...=-race=false' -count=1 -timeout 10m "$@" work |
		awk '!/\[no test files\]$/ { print; fflush() }'
}

# By their files, because what node makes of a folder differs from version to version.
page=services/doorbell/internal/page/test
page_tests() {
	local files=() file
	while IFS= read -r file; do
		files+=("$file")
	done < <(find "$page" -name '*[._-]test.js' -o -name '*[._-]test.[cm]js')
	if [ ${#files[@]} = 0 ]; then
		echo "test: there is no *.test.js (or .mjs) in $page" >&2
		return 1
	fi
	node --test --test-reporter=spec "${files[@]}"
}

# Types, units, sizes, and then real browsers against the real binary, which is the one that the Go tests build as well.
client_tests() {
	local status=0
	scripts/build.sh ./services/doorbell/cmd/doorbell || return 1
	cd clients
	npm ci --prefer-offline --loglevel=error >/dev/null || return 1
	npm run --silent check --workspaces || status=1
	cd ts
	npm test --silent || status=1
	npm run --silent e2e || status=1
	return "$status"
}

# in_group COMMAND…: as a process group of its own, for end.
in_group() {
	local status=0
	set -m
	"$@" </dev/null &
	set +m
	job=$!
	wait "$job" || status=$?
	return "$status"
}

failed=0
if [ -d "$page" ]; then in_group page_tests || failed=1; fi
in_group client_tests || failed=1
in_group go_tests "$@" || failed=1
exit "$failed"
