#!/usr/bin/env bash
# matcher_lite under aarch64, on a machine that has none: its unit tests, and its templates against this machine's.
# usage: run.sh FOLDER [PYTEST-ARGUMENT…]   FOLDER keeps chroot, wheels and compiled code for the next run; PYTHON: ours
# Needs root (chroot, binfmt_misc). The first run takes some 20 minutes on two cores, most of it emulated.
set -euo pipefail
[ $# -ge 1 ] || { sed -n 's/^# \{0,1\}//; 2,4p' "$0" >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || { echo "make test-arm needs root: run it with sudo." >&2; exit 1; }
project=$(cd "$(dirname "$0")/../.." && pwd)
folder=$1
shift
python=${PYTHON:-python3}

packages=(
  numpy numba llvmlite scipy opencv-python-headless pillow wsq cbor2 ai-edge-litert flatbuffers ml-dtypes protobuf tqdm
  typer click rich shellingham markdown-it-py mdurl pygments annotated-doc typing-extensions
  pydantic pydantic-core annotated-types typing-inspection nistitl
  pytest pluggy iniconfig packaging pytest-timeout pytest-asyncio hypothesis sortedcontainers
)
tests=(
  tests/unit/test_finger_*.py tests/unit/test_iris_*.py tests/unit/test_slap_segment.py tests/unit/test_nist_records.py
  tests/unit/test_matcher_commands.py tests/unit/test_iso_finger_minutiae.py tests/unit/test_iso_image_formats.py
)

mkdir -p "$folder/compiled" "$folder/templates"
folder=$(cd "$folder" && pwd)
inside() {
  bash "$project/provisioning/arm_chroot.sh" --bind "$project:/rekam" --bind "$folder/wheels:/wheels" \
    --bind "$folder/compiled:/compiled" --bind "$folder/templates:/templates" "$folder/root" \
    env PYTHONPATH=/rekam NUMBA_CACHE_DIR=/compiled PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 HYPOTHESIS_STORAGE_DIRECTORY=/tmp bash -euc "cd /rekam; $1" bash "${@:2}"
}

lock=$(sha256sum "$project/requirements-dev.lock" "$0" | sha256sum)
if [ "$(cat "$folder/lock" 2>/dev/null)" != "$lock" ]; then
  rm -rf "$folder/wheels"
  bash "$project/provisioning/arm_wheels.sh" "$folder/root" "$folder/wheels" "$project/requirements-dev.lock" "${packages[@]}"
  inside '
    rm -rf /opt/tests
    python3 -m venv /opt/tests
    /opt/tests/bin/python -m pip --quiet --disable-pip-version-check install --no-index --no-deps /wheels/*.whl'
  echo "$lock" >"$folder/lock"
fi

cd "$project"
rm -rf "$folder/templates"/*
PYTHONPATH=$project "$python" -m tests.arm.same_templates make "$folder/templates"
inside '/opt/tests/bin/python -m edge.matcher_lite warm; /opt/tests/bin/python -m tests.arm.same_templates check /templates'
inside '/opt/tests/bin/python -m pytest --noconftest --timeout 1800 "$@"' "${tests[@]}" "$@"
