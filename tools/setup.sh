#!/bin/sh
# `make setup`: makes .venv with a Python from 3.10 to 3.12, installs the locked set and this package into it.
# The first argument names the Python to take; without it the first one that fits is taken.
set -eu

fits='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'
python=""
for candidate in ${1:-python3 python3.11 python3.12 python3.10}; do
    if "$candidate" -c "$fits" 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "error: no Python 3.10, 3.11 or 3.12 found (looked at: ${1:-python3 python3.11 python3.12 python3.10});" \
        "install one, or name it: make setup PYTHON=/path/to/python3.11" >&2
    exit 2
fi

if ! .venv/bin/python -c "$fits" 2>/dev/null; then
    echo "Making .venv with $("$python" --version) ..."
    if ! "$python" -m venv --clear .venv; then
        echo "error: $python cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 2
    fi
fi
.venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip  # made by a tool that leaves pip out
echo "Installing requirements.lock (about 200 packages, 2 GB; some minutes) ..."
.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
echo "Installing ernie_from_scratch and building its C++ helpers ..."
PYTHONWARNINGS=ignore .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
    --no-build-isolation --editable .
.venv/bin/python -m pip check
.venv/bin/python -m ernie_from_scratch.jupyter_kernel
.venv/bin/python -m ernie_from_scratch doctor
