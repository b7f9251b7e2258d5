#!/usr/bin/env bash
# Installs the Debian packages that the product runs on, and only those that are missing (Debian 12, Raspberry Pi OS,
# Ubuntu). A second run finds them all and needs no network.
set -euo pipefail

runtime=(
  python3-venv python3-dev gcc g++   # the virtual environment; pyscard is built from source
  mosquitto                          # the broker
  pcscd libpcsclite-dev swig         # card readers
  vsmartcard-vpcd iproute2           # the virtual card's reader, in a network namespace of its own
  cups-ipp-utils dbus                # ippeveprinter, the printer of the demo and the tests
  sane-utils                         # scanimage, for document scanners; its test backend is the scanner's twin
  fonts-dejavu-core                  # the card's face
  libtpm2-pkcs11-1                   # a unit's key in a TPM 2.0
)
development=(
  postgresql                         # the hub's database where many use it; the tests run on it too
  chromium                           # screenshots in the tests
  eatmydata                          # tests that do not test durability
  strace                             # the power-cut campaign records the spool's writes
  gcc-aarch64-linux-gnu libc6-dev-arm64-cross debian-archive-keyring   # the few wheels of make deb that no index has
  faketime                           # 90 days of certificates and revocation lists in minutes
  softhsm2                           # a PKCS#11 module for the tests of the issuing key
  swtpm                              # a TPM 2.0 in software for the tests of a unit's key
)
case "${1:-runtime}" in
  runtime) packages=("${runtime[@]}") ;;
  development) packages=("${runtime[@]}" "${development[@]}") ;;
  *) echo "usage: system_packages.sh [runtime|development]" >&2; exit 2 ;;
esac

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "Rekam needs Python 3.11 or newer; '$python' is $("$python" --version 2>&1). Name another with PYTHON=…" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  case "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" in
    "install ok installed") ;;
    *)
      # A Python from elsewhere brings venv and headers itself; Ubuntu's chromium is a transitional snap.
      case "$package" in
        python3-venv) "$python" -c 'import ensurepip, venv' 2>/dev/null && continue ;;
        python3-dev) "$python" -c 'import sysconfig, os, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' && continue ;;
        chromium) command -v chromium >/dev/null 2>&1 && continue; command -v chromium-browser >/dev/null 2>&1 && continue ;;
      esac
      missing+=("$package") ;;
  esac
done
[ ${#missing[@]} -eq 0 ] && exit 0

root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null 2>&1 || {
    echo "These Debian packages are missing: ${missing[*]}" >&2
    echo "Install them as root (apt-get install --no-install-recommends …), then run this again." >&2
    exit 1
  }
  root=(sudo)
fi
echo "Installing Debian packages: ${missing[*]}"
"${root[@]}" apt-get update -qq
# The packages' own services are not wanted: the product starts its own broker, database and card daemon.
"${root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
