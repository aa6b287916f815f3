#!/usr/bin/env bash
# Makes .venv with the package installed editable into it, and the driver packages beside it. Nothing
# is done until a pyproject.toml changes or the checkout moves: a virtual environment's programs hold its path.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

stamp=.venv/.installed
wanted="$PWD $(cat pyproject.toml drivers/*/pyproject.toml testing/*/pyproject.toml | sha256sum)"
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    exit 0
fi

scratch_directory
rm -f "$stamp"
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python) ||
        die "Python 3.11 or newer is missing: neither python3.11 nor python3 is one."
    # Debian splits venv's pip off from Python.
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install "Python's venv module" python3-venv
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            die "$python has no ensurepip module: install the rest of that Python and run make again."
    fi
    step 300 "$scratch/venv.log" "could not make .venv with $python" \
        "$python" -m venv --clear .venv
fi
say "installing Python packages into .venv"
step 900 "$scratch/pip.log" "could not install the Python packages into .venv, whose index may be out of reach" \
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
    --editable '.[dev]' --editable drivers/hamanager-valkey \
    --editable testing/pytest-hamanager
printf '%s\n' "$wanted" >"$stamp"
