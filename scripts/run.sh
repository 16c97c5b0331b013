#!/usr/bin/env bash
# bash scripts/run.sh                       restores the sample photos into results/
# bash scripts/run.sh my.jpg --scale 4      passes everything on to `blindsr restore`
# The first start makes .venv and installs blindsr there.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment
if (($# == 0)); then
    set -- "$ROOT/docs/samples" --out "$ROOT/results" --compare --overwrite
fi
exec "$VENV/bin/blindsr" restore "$@"
