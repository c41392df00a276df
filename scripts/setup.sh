#!/usr/bin/env bash
# Makes sure that what a command needs is on this machine, and installs what is missing.
#
#   scripts/setup.sh                only checks Go
#   scripts/setup.sh gcc node       checks Go, then each thing named (see the table)
#
# Installs with apt when root on Debian or Ubuntu, and with Homebrew on a Mac. Elsewhere it changes nothing, says in one
# line what to install, and exits 1. Prints nothing when nothing is missing.

set -euo pipefail
cd "$(dirname "$0")/.."

# To add a thing, add a line; and a function has_NAME, unless being there just means that NAME is a command on PATH.
# "-" for Homebrew: a Mac has it from the system or from the command line tools, which are also where its make is from.
#
# name     | Debian packages            | Homebrew             | in words
things='
gcc        | gcc libc6-dev              | -                    | a C compiler
node       | nodejs                     | node                 | Node.js 20.19 or newer
npm        | npm                        | node                 | npm 9 or newer
chromium   | chromium fonts-dejavu-core | --cask google-chrome | Chromium or Google Chrome (or CHROMIUM=its path)
shellcheck | shellcheck                 | shellcheck           | ShellCheck
postgres   | postgresql                 | postgresql@17        | the PostgreSQL server, 14 or newer (or PG_BIN=its bin folder)
redis      | redis-server               | redis                | redis-server 7 or newer
nginx      | nginx                      | nginx                | nginx (or NGINX=its path)
varnish    | varnish gcc libc6-dev      | varnish              | Varnish (or VARNISHD=its path)
nchan      | nginx libnginx-mod-nchan   | -                    | nginx with nchan, for bench signals (or NCHAN=its path)
'

has_gcc() {
	# The race detector needs C on Linux; on a Mac it has not since Go 1.20.
	[ "$os" = Darwin ] || command -v "${CC:-gcc}" >/dev/null
}

has_node() {
	local version
	version=$(node --version 2>/dev/null) || return 1
	[ "$(number "${version#v}")" -ge 20019 ]
}

has_npm() {
	local version
	version=$(npm --version 2>/dev/null) || return 1
	[ "${version%%.*}" -ge 9 ]
}

has_chromium() {
	local name
	if [ -n "${CHROMIUM:-}" ]; then
		[ -x "$CHROMIUM" ]
		return
	fi
	for name in google-chrome chromium; do
		if command -v "$name" >/dev/null; then return 0; fi
	done
	# On Ubuntu, chromium-browser may be a script that only says "install the snap".
	if name=$(command -v chromium-browser) && { [ -x /snap/bin/chromium ] || ! grep -q /snap/bin "$name"; }; then
		return 0
	fi
	[ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ] ||
		[ -x "/Applications/Chromium.app/Contents/MacOS/Chromium" ]
}

# The tests start their own, and look in the same places (pkg/testkit).
has_postgres() {
	local dir version
	for dir in "${PG_BIN:-}" /usr/lib/postgresql/*/bin {/opt/homebrew,/usr/local}/opt/postgresql*/bin \
		"$(dirname "$(command -v postgres || true)")"; do
		if [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ]; then
			version=$("$dir/postgres" --version | sed 's/.* \([0-9][0-9]*\).*/\1/')
			if [ "${version:-0}" -ge 14 ]; then return 0; fi
		fi
	done
	return 1
}

has_redis() {
	local version
	version=$(redis-server --version 2>/dev/null | sed -n 's/.* v=\([0-9][0-9]*\).*/\1/p')
	[ "${version:-0}" -ge 7 ]
}

# Debian keeps it where only root's PATH leads.
has_nginx() {
	[ -x "${NGINX:-/usr/sbin/nginx}" ] || command -v nginx >/dev/null
}

# Likewise.
has_varnish() {
	[ -x "${VARNISHD:-/usr/sbin/varnishd}" ] || command -v varnishd >/dev/null
}

# A module is no command.
has_nchan() {
	has_nginx && [ -f "${NCHAN:-/usr/lib/nginx/modules/ngx_nchan_module.so}" ]
}

die() {
	echo "setup: $*" >&2
	exit 1
}

# number VERSION: its major and minor as one number, for comparing. 0 when it has none, as with Go before 1.16.
number() {
	if [[ $1 =~ ([0-9]+)\.([0-9]+) ]]; then
		echo $((BASH_REMATCH[1] * 1000 + BASH_REMATCH[2]))
	else
		echo 0
	fi
}

check_go() {
	local want have
	want=$(sed -n 's/^go //p' go.work)
	command -v go >/dev/null || die "please install Go $want or newer (go.dev/doc/install): there is no go on PATH"
	# A Go that may fetch a newer one by itself answers for that one, if it can have it.
	have=$(go env GOVERSION 2>&1) ||
		die "please install Go $want or newer (go.dev/doc/install): $(echo "$have" | tail -n 1)"
	[ "$(number "$have")" -ge "$(number "$want")" ] ||
		die "please install Go $want or newer (go.dev/doc/install): this is ${have:-an old one}"
}

# is_there NAME
is_there() {
	if declare -F "has_$1" >/dev/null; then
		"has_$1"
	else
		command -v "$1" >/dev/null
	fi
}

# look_up NAME: sets debian, brew and words from the table.
look_up() {
	local name
	while IFS='|' read -r name debian brew words; do
		if [ "${name%% *}" != "$1" ]; then continue; fi
		# Unquoted, so that the blanks that align the table go.
		# shellcheck disable=SC2086,SC2116
		debian=$(echo $debian) brew=$(echo $brew) words=$(echo $words)
		# Ubuntu's Chromium is a snap, which this package installs where snaps can be.
		if [ "$1" = chromium ] && grep -qs '^ID=ubuntu' /etc/os-release; then debian=chromium-browser; fi
		return
	done <<<"$things"
	die "scripts/setup.sh has no line for '$1'"
}

# apt_install PACKAGE…: quiet unless it fails, and it may fail once, as mirrors have bad moments.
apt_install() {
	local log try
	log=$(mktemp)
	for try in 1 2; do
		if apt_once "$@" >"$log" 2>&1 </dev/null; then
			rm -f "$log"
			return
		fi
		if [ "$try" = 1 ]; then sleep 5; fi
	done
	cat "$log" >&2
	rm -f "$log"
	die "apt-get could not install $* (its words are above)"
}

apt_once() {
	# Another apt may be at work, as on a machine that has just started: wait for it.
	local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)
	"${apt[@]}" update || return 1
	without_services "${apt[@]}" install --yes --no-install-recommends "$@"
}

# without_services COMMAND…: Debian starts a server as soon as it is installed. The tests bring up their own on other
# ports, so what this script installs is neither started now nor at the next boot. Debian asks policy-rc.d before it
# starts anything; one that is there already, as in most containers, is somebody else's.
without_services() {
	local policy=/usr/sbin/policy-rc.d mine='' status=0 service had
	had=" $(installed_services) "
	if [ ! -e "$policy" ]; then
		mine=$policy
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101 # made by Doorbell scripts/setup.sh for the time of one apt-get\n' >"$policy"
		chmod 755 "$policy"
	fi
	"$@" || status=$?
	if [ -n "$mine" ]; then
		rm -f "$mine"
		trap - EXIT
	fi
	for service in $(installed_services); do
		if [[ $had != *" $service "* ]]; then update-rc.d "$service" disable || true; fi
	done
	return "$status"
}

installed_services() {
	local service
	for service in postgresql redis-server nginx varnish; do
		if [ -e "/etc/init.d/$service" ]; then printf '%s ' "$service"; fi
	done
}

os=$(uname -s)
check_go

missing=() missing_words='' missing_debian='' missing_brew=()
for thing; do
	look_up "$thing"
	if is_there "$thing"; then continue; fi
	missing+=("$thing")
	missing_words+="${missing_words:+, }$words"
	missing_debian+="${missing_debian:+ }$debian"
	if [ "$brew" != - ]; then missing_brew+=("$brew"); fi
done
if [ ${#missing[@]} = 0 ]; then exit 0; fi

if command -v apt-get >/dev/null && [ "$os" = Linux ]; then
	[ "$(id -u)" = 0 ] || die "please install $missing_words: sudo apt-get install $missing_debian"
	echo "setup: installing $missing_debian" >&2
	# shellcheck disable=SC2086 # one word for each package
	apt_install $missing_debian
elif command -v brew >/dev/null && [ "$os" = Darwin ] && [ ${#missing_brew[@]} -gt 0 ]; then
	for brew in "${missing_brew[@]}"; do
		echo "setup: installing $brew" >&2
		# shellcheck disable=SC2086 # "--cask google-chrome" is two words
		brew install --quiet $brew </dev/null || die "Homebrew could not install $brew"
	done
else
	die "please install $missing_words"
fi

for thing in "${missing[@]}"; do
	look_up "$thing"
	is_there "$thing" || die "please install $words: what is packaged for this system is not enough"
done
