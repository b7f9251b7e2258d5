#!/usr/bin/env bash
# An arm64 Debian (what a Raspberry Pi runs) in a folder of this machine, its programs run by QEMU's user emulation: to
# try what ships for the Pi where there is no Pi. Needs root and a Debian mirror; making it takes 2 to 4 minutes, once.
#
# usage: arm_chroot.sh [--bind SOURCE:TARGET]… [--fresh] DIR [COMMAND [ARGUMENT…]]
#   DIR            the chroot; made where it is missing, used again where it is complete
#   --fresh        what the command changes goes into DIR.changes, and is forgotten by the next such run
#   COMMAND        runs inside as root, from /, with the binds in place (TARGET is a path inside); its exit status is ours
#   --bind         shows SOURCE inside at TARGET, writable; may be given several times
#   MIRROR, SUITE  environment: http://deb.debian.org/debian, bookworm
#   ARCH           environment: arm64, or amd64 for the same without emulation
# Mounts live in a namespace of their own and vanish with the command: 'rm -rf DIR' is always safe afterwards. What stays
# on the machine: the packages debootstrap and qemu-user-static, and the kernel's entry for aarch64 until it restarts.
set -euo pipefail

architecture=${ARCH:-arm64}
packages=python3,python3-venv,ca-certificates

fail() { echo "arm_chroot: $1" >&2; exit "${2:-1}"; }

binds=() fresh=
while :; do
  case "${1:-}" in
    --bind)
      case "${2:-}" in ?*:/?*) binds+=("$2") ;; *) fail "--bind wants SOURCE:/TARGET" 2 ;; esac
      shift 2 ;;
    --fresh) fresh=--fresh; shift ;;
    *) break ;;
  esac
done
[ $# -ge 1 ] || { sed -n 's/^# \{0,1\}//; 2,13p' "$0" >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || fail "needs root: chroot, mount and binfmt_misc are root's. Run it again with sudo."

# Everything below happens in a mount namespace of its own.
if [ -z "${ARM_CHROOT_INSIDE:-}" ]; then
  for bind in ${binds[@]+"${binds[@]}"}; do arguments+=(--bind "$bind"); done
  ARM_CHROOT_INSIDE=1 exec unshare --mount --propagation private bash "$0" ${arguments[@]+"${arguments[@]}"} $fresh "$@"
fi

mkdir -p "$1"
root=$(cd "$1" && pwd)
shift
[ "$root" != / ] || fail "DIR must be a folder of its own." 2

install_tools() {
  local missing=()
  for package in debootstrap qemu-user-static; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Tells the kernel who runs aarch64 programs. 'F' opens the emulator now, so that it is found from inside the chroot.
register_emulator() {
  [ "$architecture" = arm64 ] && [ "$(uname -m)" != aarch64 ] || return 0
  local misc=/proc/sys/fs/binfmt_misc
  [ -e $misc/register ] || mount -t binfmt_misc binfmt_misc $misc || fail "this kernel offers no binfmt_misc."
  [ -e $misc/qemu-aarch64 ] && grep -q '^flags:.*F' $misc/qemu-aarch64 && return
  [ ! -e $misc/qemu-aarch64 ] || echo -1 >$misc/qemu-aarch64
  local magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
  local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  printf '%s' ":qemu-aarch64:M::$magic:$mask:/usr/bin/qemu-aarch64-static:F" >$misc/register
}

if [ ! -e "$root/.complete" ]; then
  [ -z "$(ls -A "$root")" ] || [ -e "$root/debootstrap" ] || fail "$root is neither empty nor a chroot of ours." 2
  install_tools
fi
register_emulator
if [ ! -e "$root/.complete" ]; then
  find "$root" -mindepth 1 -delete # what an interrupted run left
  echo "Making an $architecture Debian in $root (2 to 4 minutes)"
  debootstrap --arch="$architecture" --variant=minbase --include=$packages "${SUITE:-bookworm}" "$root" \
    "${MIRROR:-http://deb.debian.org/debian}" >"$root.log" 2>&1 || { tail -5 "$root.log" >&2; fail "debootstrap failed; all of it: $root.log"; }
  # Packages' services must not start inside.
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod +x "$root/usr/sbin/policy-rc.d"
  rm -rf "$root"/var/cache/apt/archives/*.deb
  touch "$root/.complete"
fi
[ $# -ge 1 ] || exit 0

cp -L /etc/resolv.conf "$root/etc/resolv.conf"
if [ -n "$fresh" ]; then
  changes=$root.changes
  rm -rf "$changes"
  mkdir -p "$changes/upper" "$changes/work"
  mount -t overlay overlay -o "lowerdir=$root,upperdir=$changes/upper,workdir=$changes/work" "$root"
fi
# A package index may be reachable only by what this machine trusts beside Debian's own list.
certificates=/etc/ssl/certs/ca-certificates.crt
[ -e $certificates ] || certificates=$root$certificates
cp "$certificates" "$root/etc/ssl/machine.pem"
mount -t proc proc "$root/proc"
# No /sys on purpose: it shows this machine's own processors, and LiteRT's detection of an arm one crashes on them.
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
for bind in ${binds[@]+"${binds[@]}"}; do
  mkdir -p "$root${bind#*:}"
  mount --bind "${bind%%:*}" "$root${bind#*:}"
done
exec env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 SSL_CERT_FILE=/etc/ssl/machine.pem PIP_CERT=/etc/ssl/machine.pem \
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  chroot "$root" "$@"
