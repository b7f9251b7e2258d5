#!/usr/bin/env bash
# Fills a folder with the wheels of a lock file for arm64, hashes checked: what an index offers is taken, the rest (wsq,
# pyscard) is built inside the chroot. Made once, a Pi needs neither compiler nor index. Needs root, as arm_chroot.sh.
#
# usage: arm_wheels.sh CHROOT WHEELS LOCK [NAME…]
#   NAME     only these packages, and nothing they depend on; without names all of the lock
# Install from it with: pip install --no-index --find-links WHEELS --no-deps WHEELS/*.whl
set -euo pipefail
[ $# -ge 3 ] || { sed -n 's/^# \{0,1\}//; 2,7p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
chroot=$1 wheels=$2 lock=$3
shift 3
mkdir -p "$wheels"

# Stanzas of the lock, each up to its last hash. names: extended regular expression.
stanzas() { awk -v names="^($1)==" '/^[a-z]/ {keep = $0 ~ names} keep' "$lock"; }
stanzas 'setuptools|wheel|packaging' >"$wheels/build.txt"
if [ $# -eq 0 ]; then cp "$lock" "$wheels/wanted.txt"; else stanzas "$(IFS='|'; echo "$*")" >"$wheels/wanted.txt"; fi
for name in "$@"; do
  grep -q "^$name==" "$wheels/wanted.txt" || { echo "arm_wheels: $lock has no $name" >&2; exit 2; }
done

# wsq's build asks for -m64, which only compilers for x86 know.
cat >"$wheels/cc-without-m64" <<'CC'
#!/bin/bash
exec gcc "${@/#-m64/-O2}"
CC
chmod +x "$wheels/cc-without-m64"

bash "$here/arm_chroot.sh" --bind "$wheels:/wheels" "$chroot" bash -euc '
  tools="gcc libc6-dev python3-dev pkg-config libpcsclite-dev swig"
  dpkg-query -W $tools >/dev/null 2>&1 || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $tools >/dev/null 2>&1
  }
  [ -x /opt/build/bin/python ] || python3 -m venv /opt/build
  pip="/opt/build/bin/python -m pip --quiet --disable-pip-version-check"
  $pip install --require-hashes -r /wheels/build.txt
  CC=/wheels/cc-without-m64 $pip wheel --require-hashes --no-deps --no-build-isolation \
    --find-links /wheels -w /wheels -r /wheels/wanted.txt'
