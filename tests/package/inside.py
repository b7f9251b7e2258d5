"""Runs inside a chroot as root, by the system's Python: installs the unit's package and does what a technician would.

    python3 inside.py FIRST.deb SECOND.deb

/rekam is the project's checkout, for the twins alone: what is tried is what was installed. Each line printed is a fact
with its seconds; the first that does not hold ends with a traceback. FIRST and SECOND are two versions of the package.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import platform
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

HOME = Path("/var/lib/rekam")
UNIT, SLOTS = HOME / "unit", HOME / "slots"
LAUNCHER = "/usr/lib/rekam/edge/launcher.py"
PAGE = "http://127.0.0.1:8101/"
PATIENCE_S = 240.0  # emulated, an import of everything takes half a minute
PACKET = "0123456789abcdef" * 4
KINDS = ("camera", "finger", "iris", "signature", "code", "ticket")
TWINS = """control = "devices.sock"
[units.desk-a1]
finger = { link = "desk-a1/finger", width_px = 256, height_px = 288 }
signature = { link = "desk-a1/pad", time_scale = 50 }
code = { link = "desk-a1/code" }
ticket = { link = "desk-a1/ticket", papers = "papers" }
camera = {}
iris = {}
"""
UNIT_TOML = """[unit]
id = "desk-a1"
site = "9901-A"
role = "desk"
[broker]
host = "localhost"
ca = "x"
certificate = "x"
key = "x"
[keys]
sign = "x"
open = "x"
store = "x"
hub_packet = "x"
recovery = "x"
hub_statement = "x"
issuer = "x"
"""


def main(first: str, second: str) -> None:
    """Everything, in the order of a unit's life."""
    with fact("the package installs, with what it depends on"):
        apt("install", first)
    with fact("user, groups, folders, modes"):
        check_files()
    with fact("the first boot's page answers, and ends in good order"):
        check_first_boot()
    with fact("selftest passes on twins, as the unit's user, without the project"):
        print_rows(check_selftest())
    (UNIT / "kept.txt").write_text("state", encoding="ascii")
    with fact("the same version again leaves the slots"):
        apt("reinstall", first)
        assert boot()["good"] == "a", boot()
        assert not (SLOTS / "b").exists()
    with fact("on a unit in service the next version starts on trial in the other slot; the unit's state stays"):
        (UNIT / "unit.toml").write_text(UNIT_TOML, encoding="utf-8")
        apt("install", second)
        assert (boot()["good"], boot()["trial"]) == ("a", "b"), boot()
        assert held("b") > held("a"), (held("a"), held("b"))
        assert (UNIT / "kept.txt").read_text(encoding="ascii") == "state"
    with fact("an older package leaves what an update brought"):
        check_floor(first)
    with fact("removing and purging never take what waits for the centre"):
        check_purge(second)
    print("passed", flush=True)


@contextlib.contextmanager
def fact(words: str) -> Iterator[None]:
    """One fact, with its seconds."""
    begun = time.monotonic()
    yield
    print(f"{time.monotonic() - begun:7.1f} s  {words}", flush=True)


def apt(*words: str) -> str:
    """apt-get, quietly; its output where it fails."""
    command = ["apt-get", "-y", "--no-install-recommends", "--allow-downgrades", *words]
    found = subprocess.run(
        command, capture_output=True, text=True, check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )  # fmt: skip
    assert found.returncode == 0, f"{' '.join(command)}\n{found.stdout[-3000:]}\n{found.stderr[-3000:]}"
    return found.stdout + found.stderr


def check_files() -> None:
    """What the package leaves on the machine."""
    user = pwd.getpwnam("rekam")
    assert user.pw_shell == "/usr/sbin/nologin", user
    for group in ("dialout", "video", "i2c", "gpio", "input", "plugdev", "scanner", "lp"):
        assert "rekam" in grp.getgrnam(group).gr_mem, group
    for path, owner, mode in (
        (HOME, "root", 0o755), (UNIT, "rekam", 0o700), (SLOTS, "rekam", 0o755), (SLOTS / "a", "rekam", 0o755),
        (Path("/usr/lib/rekam"), "root", 0o755), (Path("/etc/rekam/factory.toml"), "root", 0o644),
    ):  # fmt: skip
        found = path.stat()
        assert (pwd.getpwuid(found.st_uid).pw_name, stat.S_IMODE(found.st_mode)) == (owner, mode), (path, found)
    assert (UNIT / "factory.toml").resolve() == Path("/etc/rekam/factory.toml")
    wanted = Path("/etc/systemd/system/multi-user.target.wants")
    assert (wanted / "rekam-edge.service").is_symlink(), list(wanted.iterdir())
    assert boot()["good"] == "a"
    listed = as_agent(str(SLOTS / "a/bin/python"), "-m", "pip", "list", "--local", "--format", "json")
    locked = Path("/usr/lib/rekam/wheelhouse/requirements.txt").read_text(encoding="ascii").count("==")
    assert len({item["name"] for item in json.loads(listed)} - {"pip", "setuptools"}) >= locked - 1, listed
    assert "Usage" in as_agent("/usr/bin/rekam-edge", "--help")


def check_first_boot() -> None:
    """As the service starts it, without systemd: a box that nobody has claimed says so on its page."""
    with agent() as process:
        text = page(process)
        assert "rekam-claim.bin" in text or "klaim" in text.lower(), text[:2000]
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert not (UNIT / "unit.toml").exists()


def check_selftest() -> list[dict[str, object]]:
    """The installed selftest on devices that are twins, run beside it from the checkout."""
    folder = Path("/tmp/twins")
    folder.mkdir(mode=0o755)
    (folder / "devices.toml").write_text(TWINS, encoding="utf-8")
    shutil.chown(folder, "rekam", "rekam")
    python = str(SLOTS / "a/bin/python")
    twins = subprocess.Popen(
        [*AGENT, "PYTHONPATH=/rekam", python, "-m", "virtual.devices", "--config", str(folder / "devices.toml")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert twins.stdout is not None
        assert twins.stdout.readline().strip() == "ready"
        places = told(folder / "devices.sock", {"status": True})["units"]["desk-a1"]
        tables = {
            "camera": {"driver": "snapshot", "url": places["camera"]},
            "finger": {"driver": "zfm", "port": places["finger"], "width_px": 256},
            "iris": {"driver": "snapshot", "url_right": places["iris_right"], "url_left": places["iris_left"]},
            "signature": {"driver": "isdv4", "port": places["signature"], "settled_s": 0.3},
            "code": {"driver": "serial", "port": places["code"]},
            "ticket": {"driver": "serial", "port": places["ticket"]},
        }
        lines = [UNIT_TOML]
        for kind, table in tables.items():
            lines += [f"[devices.{kind}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        (folder / "unit.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "data").mkdir()
        shutil.chown(folder / "data", "rekam", "rekam")
        rows = json.loads(as_agent("/usr/bin/rekam-edge", "selftest", "-c", str(folder / "unit.toml"), "--json"))
    finally:
        twins.terminate()
        twins.wait(PATIENCE_S)
    by_kind = {row["kind"]: row for row in rows}
    for kind in (*KINDS, "comparison"):
        assert by_kind[kind]["outcome"] == "ok", by_kind[kind]
    return rows


def print_rows(rows: list[dict[str, object]]) -> None:
    """The selftest's table, short."""
    for row in rows:
        print(f"           {row['kind']:<12} {row['outcome']:<8} {row.get('time_ms', 0):>7} ms", flush=True)


def check_floor(package: str) -> None:
    """An update brought release 7 into slot a and was found good there: no package of before goes over it."""
    (SLOTS / "a/release.json").write_text(json.dumps({"number": 7, "version": "9.9.9"}), encoding="ascii")
    before = dict(boot(), good="a", trial="")
    (SLOTS / "boot.json").write_text(json.dumps(before), encoding="ascii")
    apt("install", package)
    assert boot() == before, boot()
    assert (held("a"), held("b")) == ("9.9.9", "0.1.1")
    (UNIT / "unit.toml").unlink()


def check_purge(package: str) -> None:
    """Packets stay whatever the administrator does; without any, purging leaves nothing."""
    packets = UNIT / "data/spool/packets"
    packets.mkdir(parents=True)
    (packets / PACKET).write_bytes(b"sealed")
    apt("remove", "rekam-edge")
    assert (packets / PACKET).exists()
    assert not SLOTS.exists()
    said = apt("purge", "rekam-edge")
    assert (packets / PACKET).exists()
    assert "1 packets have not been freed" in said, said
    assert not Path("/etc/rekam").exists()
    if platform.machine() != "x86_64":
        return  # emulated, filling a slot once more takes ten minutes; the rest is the same script
    apt("install", package)
    assert boot()["good"] == "a"
    assert (packets / PACKET).exists()
    (packets / PACKET).unlink()
    apt("purge", "rekam-edge")
    assert not HOME.exists()


AGENT = (
    "setpriv", "--reuid=rekam", "--regid=rekam", "--init-groups", "--", "env", "-i", "PATH=/usr/bin:/bin",
    "LANG=C.UTF-8", "NUMBA_CACHE_DIR=/var/cache/rekam/numba", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1",
)  # fmt: skip


def as_agent(*command: str) -> str:
    """What a command of the unit's user says. Its exit code must be 0."""
    found = subprocess.run([*AGENT, *command], capture_output=True, text=True, check=False, cwd="/")
    assert found.returncode == 0, f"{command}: {found.returncode}\n{found.stdout[-3000:]}\n{found.stderr[-3000:]}"
    return found.stdout


@contextlib.contextmanager
def agent() -> Iterator[subprocess.Popen[bytes]]:
    """The service's own command, as its user."""
    line = Path("/lib/systemd/system/rekam-edge.service").read_text(encoding="utf-8")
    command = next(text for text in line.splitlines() if text.startswith("ExecStart=")).partition("=")[2].split()
    assert command[1] == LAUNCHER
    process = subprocess.Popen([*AGENT, *command], cwd=UNIT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def page(process: subprocess.Popen[bytes]) -> str:
    """The unit's page, once it answers."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        assert process.poll() is None, f"the agent ended with {process.returncode}"
        with contextlib.suppress(OSError), urllib.request.urlopen(PAGE, timeout=30) as answer:
            return str(answer.read().decode())
        time.sleep(0.5)
    raise AssertionError("no page")


def told(control: Path, message: dict[str, object]) -> dict[str, dict[str, dict[str, str]]]:
    """The twins' answer."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(PATIENCE_S)
        line.connect(str(control))
        line.sendall(json.dumps(message).encode() + b"\n")
        answer = json.loads(line.makefile().readline())
    assert answer["ok"], answer
    return dict(answer)


def boot() -> dict[str, str]:
    """boot.json."""
    return dict(json.loads((SLOTS / "boot.json").read_text(encoding="ascii")))


def held(slot: str) -> str:
    """The version in a slot."""
    return str(json.loads((SLOTS / slot / "release.json").read_text(encoding="ascii"))["version"])


if __name__ == "__main__":
    main(*sys.argv[1:])
