#!/usr/bin/env bash
# bash scripts/test.sh [PYTEST ARGUMENTS]   makes or reuses .venv and runs the tests
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment test
cd -- "$ROOT"
exec "$VENV/bin/python" -m pytest "$@"
