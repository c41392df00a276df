#!/usr/bin/env bash
# Builds commands into bin/ and tells how far it is: with empty caches it downloads and compiles SQLite in Go, among
# others, which takes a minute or two.
#
#   scripts/build.sh                  every command of every service
#   scripts/build.sh ./path/to/cmd…   these

set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# = 0 ]; then set -- ./services/*/cmd/*; fi

# Without C, a binary runs anywhere, and nobody needs a C compiler to build it.
export CGO_ENABLED=0
# Gin's MessagePack, which nothing here uses, is a sixth of all the compiling.
export GOFLAGS="${GOFLAGS:-} -tags=nomsgpack"

work=$(mktemp -d)
job=''
end() {
	if [ -n "$job" ]; then kill "$job" 2>/dev/null || true; fi
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# watch_over DOING DONE OF COMMAND…: runs COMMAND and tells from its log, where each line that matches $step is a step
# done, how far it is: "DOING 7 OF (12 s)", then "DONE 9 OF in 15 s". On a terminal it rewrites one line, elsewhere
# there is a line every ten seconds. What is done within two seconds is not mentioned.
watch_over() {
	local doing=$1 did=$2 of=$3 start=$SECONDS said=0 now steps status=0
	shift 3
	"$@" >"$work/out" 2>"$work/log" &
	job=$!
	while kill -0 "$job" 2>/dev/null; do
		sleep 0.1
		now=$((SECONDS - start))
		steps=$(grep -cE "$step" "$work/log" || true)
		if [ -t 2 ] && [ "$now" -ge 2 ] && [ "$now" != "$said" ]; then
			printf '\r\033[K%s %d %s (%d s)' "$doing" "$steps" "$of" "$now" >&2
			said=$now
		elif [ ! -t 2 ] && [ "$now" -ge $((said == 0 ? 2 : said + 10)) ]; then
			echo "$doing $steps $of ($now s)" >&2
			said=$now
		fi
	done
	wait "$job" || status=$?
	job=''
	if [ -t 2 ] && [ "$said" != 0 ]; then printf '\r\033[K' >&2; fi
	if [ "$status" != 0 ]; then
		grep -vE "$step" "$work/log" >&2 || true
		exit "$status"
	fi
	if [ "$said" != 0 ]; then
		echo "$did $(grep -cE "$step" "$work/log" || true) $of in $((SECONDS - start)) s" >&2
	fi
}

# Only what these commands import, which is less than `go mod download` would fetch for the tests as well.
step='^go: downloading '
watch_over "Downloading" "Downloaded" "modules" go list -deps "$@"

# -v names each package on a line of its own; what a compiler has to say has a "#", a colon or a blank in its lines.
step='^[^#: ]+$'
total=$(wc -l <"$work/out" | tr -d ' ')
watch_over "Compiling" "Compiled" "of $total packages" go build -v -o bin/ "$@"
