#!/usr/bin/env bash
# Fills a virtual environment from a lock file with hashes. usage: make_venv.sh PYTHON VENV LOCK
# pyscard and wsq are built with the lock's own setuptools, so that no unhashed build tool slips in.
set -euo pipefail
python=$1 venv=$2 lock=$3

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "Installing Python packages from $lock (with hashes)"
build=$(mktemp)
trap 'rm -f "$build"' EXIT
# The stanzas of setuptools and wheel, each up to its last hash.
awk '/^[a-z]/ {keep = /^(setuptools|wheel|packaging)==/} keep' "$lock" >"$build"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$build"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-build-isolation -r "$lock"
# The project itself, so that rekam-edge, rekam-hub, rekam-provision and rekam-match stand on the environment's path.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
