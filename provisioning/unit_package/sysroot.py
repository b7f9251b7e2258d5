"""Headers and libraries of the unit's Debian, for building its few compiled Python packages on another machine.

They come from Debian's archive, signatures checked by apt, into a folder of their own: apt keeps its lists there too,
so that the machine's own architectures and packages stay as they are. Needs no root and no emulator.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from contract.errors import DeviceError, TransientError

SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# What the built packages include and link: CPython, PC/SC, capabilities.
PACKAGES = (
    "libpython3.11-dev", "libpython3.11-minimal", "libpython3.11-stdlib",
    "libpcsclite-dev", "libpcsclite1", "libcap-dev", "libcap2",
)  # fmt: skip
APT_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Machine:
    """One Debian architecture. triplet: of its compiler; machine: as the kernel and Python's tags have it."""

    debian: str
    triplet: str
    machine: str


MACHINES = {
    "arm64": Machine("arm64", "aarch64-linux-gnu", "aarch64"),
    "amd64": Machine("amd64", "x86_64-linux-gnu", "x86_64"),
}


def make_sysroot(machine: Machine, folder: Path) -> Path:
    """The sysroot below `folder`, made where it is missing. Raises DeviceError, TransientError."""
    root, done = folder / "root", folder / "complete"
    if done.read_text(encoding="ascii").split() == list(PACKAGES) if done.exists() else False:
        return root
    if not KEYRING.exists():
        raise DeviceError(f"{KEYRING} is missing.", next_step="apt install debian-archive-keyring")
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("state/lists/partial", "cache/archives/partial", "archives", "root"):
        (folder / name).mkdir(parents=True)
    mirror = os.environ.get("MIRROR", MIRROR)
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {SUITE} main\n", encoding="utf-8")
    apt = ["apt-get", "-qq", *_settings(machine, folder.resolve())]
    _run([*apt, "update"], folder)
    _run([*apt, "download", *PACKAGES], folder / "archives")
    for archive in sorted((folder / "archives").glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(archive), str(root)], folder)
    done.write_text("\n".join(PACKAGES), encoding="ascii")
    return root


def _settings(machine: Machine, folder: Path) -> list[str]:
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": folder / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": machine.debian,
        "APT::Architectures::": machine.debian,
        "APT::Sandbox::User": "",
    }
    return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=APT_TIMEOUT_S, cwd=folder)
    except FileNotFoundError as error:
        raise DeviceError(f"{error.filename} is missing.", next_step="Build on Debian 12 or newer.") from None
    except subprocess.TimeoutExpired:
        raise TransientError(f"{command[0]} took longer than {APT_TIMEOUT_S} s.") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()[-1:]
        raise TransientError(
            f"{command[0]} failed: {''.join(said)}.",
            next_step="Look at the line to the Debian mirror; MIRROR names another.",
        ) from None
