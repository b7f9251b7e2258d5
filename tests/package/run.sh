#!/usr/bin/env bash
# The unit's package installed in a Debian of its own and used there: `make test-deb`. arm64 by QEMU's user emulation.
# usage: run.sh ARCHITECTURE FOLDER     FOLDER keeps wheels, sysroot and the Debian for the next run; PYTHON: ours
# Needs root (chroot, binfmt_misc). arm64 takes half an hour and more on two cores, amd64 with a systemd of its own 10 minutes.
set -euo pipefail
[ $# -eq 2 ] || { sed -n 's/^# \{0,1\}//; 2,4p' "$0" >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || { echo "make test-deb needs root: run it with sudo." >&2; exit 1; }
project=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$2"
architecture=$1 folder=$(cd "$2" && pwd) python=${PYTHON:-python3}
export ARCH=$architecture

cd "$project"
for version in 0.1.0 0.1.1; do
  "$python" -m provisioning.unit_package --architecture "$architecture" --out "$folder/packages" --cache "$folder" --version $version
done
packages=(/packages/rekam-edge_0.1.0_"$architecture".deb /packages/rekam-edge_0.1.1_"$architecture".deb)
inside() { bash "$project/provisioning/arm_chroot.sh" "$@"; }

# The Debian comes with what the package depends on, so that each run tries the package and not the mirror.
depends=$(dpkg-deb --field "$folder/packages/rekam-edge_0.1.0_$architecture.deb" Depends)
if [ "$(cat "$folder/$architecture.depends" 2>/dev/null)" != "$depends" ]; then
  inside --bind "$folder/packages:/packages" "$folder/$architecture" bash -euc '
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends systemd-sysv dbus >/dev/null 2>&1
    apt-get install -y -qq --no-install-recommends --download-only "$1" >/dev/null
    apt-get install -y -qq --no-install-recommends $(dpkg-deb --field "$1" Depends | tr "," "\n" | sed "s/|.*//; s/(.*//") >/dev/null 2>&1' \
    bash "${packages[0]}"
  echo "$depends" >"$folder/$architecture.depends"
fi
# With a loopback of its own: another unit on this machine would answer for the one that is tried.
unshare --net bash -c 'ip link set lo up && exec bash "$@"' alone "$project/provisioning/arm_chroot.sh" \
  --bind "$project:/rekam" --bind "$folder/packages:/packages" --fresh "$folder/$architecture" \
  python3 -u /rekam/tests/package/inside.py "${packages[@]}"
# The service's hardening, watchdog and read-only root want a systemd of their own, which runs without emulation only.
if [ "$architecture" = amd64 ]; then
  "$python" -m tests.package.booted "$folder/$architecture" "$folder/packages/rekam-edge_0.1.0_$architecture.deb"
fi
