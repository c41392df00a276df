#!/usr/bin/env bash
# Builds Doorbell and runs all of it on this machine, with the arguments given. Needs Go and nothing else.

set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
scripts/build.sh ./services/doorbell/cmd/doorbell
exec bin/doorbell dev "$@"
