#!/usr/bin/env bash
# Builds Doorbell and runs one example against it: scripts/example.sh race

set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh node npm
scripts/build.sh ./services/doorbell/cmd/doorbell
cd clients
if [ ! -d node_modules ] || [ package-lock.json -nt node_modules ]; then npm ci --loglevel=error >/dev/null; fi
exec node examples/run.mjs "$@"
