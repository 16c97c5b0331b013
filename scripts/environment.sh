# Sourced by run.sh and test.sh: `prepare_environment [EXTRA]` makes or reuses the virtual environment
# .venv at the top of the repository, with blindsr installed in it (editable), and sets ROOT and VENV.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV=$ROOT/.venv

fail() {
    printf 'blindsr: %s\n' "$1" >&2
    exit 2
}

# What the installation depends on: where it is, its Python and the three files that say what is installed.
fingerprint() {
    { printf '%s\n' "$ROOT"; "$VENV/bin/python" --version; cat -- "$ROOT"/{pyproject.toml,setup.py,constraints.txt}; } |
        "$VENV/bin/python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
}

up_to_date() {
    [[ -x $VENV/bin/blindsr && -f $1 ]] && "$VENV/bin/python" -c '' 2>/dev/null && [[ $(<"$1") == "$(fingerprint)" ]]
}

prepare_environment() {
    local extra=${1:-}
    local stamp=$VENV/installed${extra:+-$extra}
    if up_to_date "$stamp"; then
        return
    fi

    # An environment that does not start (a moved folder, a Python that was removed) is made anew.
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        local python=${PYTHON:-python3}
        command -v "$python" >/dev/null ||
            fail "$python was not found: install Python 3.10 or newer (Debian: apt-get install python3 python3-venv)"
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
            fail "$("$python" --version 2>&1) is too old: install Python 3.10 or newer, or name one with PYTHON=python3.11"
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            fail "this Python cannot make virtual environments: install that part (Debian: apt-get install python3-venv)"
        printf 'blindsr: making the environment %s\n' "$VENV" >&2
        "$python" -m venv --clear -- "$VENV" || fail "the environment $VENV could not be made: see the lines above"
    fi

    printf 'blindsr: installing (the first time this takes some minutes) ...\n' >&2
    local quiet=()
    [[ -t 2 ]] || quiet=(--quiet)
    rm -f -- "$VENV"/installed*
    # From the top of the repository, so that no path with a space or a bracket stands in the requirement.
    (cd -- "$ROOT" && "$VENV/bin/python" -m pip install --disable-pip-version-check ${quiet[@]+"${quiet[@]}"} \
        -c constraints.txt -e ".${extra:+[$extra]}") >&2 ||
        fail "the installation failed: see the lines above; the next start tries again"
    fingerprint >"$VENV/installed"
    fingerprint >"$stamp"
}
