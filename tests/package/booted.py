"""Boots a Debian with its own systemd, installs the unit's package there, and tries what only a service manager can.

    python3 -m tests.package.booted DIR PACKAGE.deb

DIR is a Debian with what the package depends on (tests/package/run.sh makes it); it stays as it is. Needs root and the
control groups of version 1 or hybrid. Each line printed is a fact with its seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

SERVICE = "rekam-edge.service"
ANEW = "rekam-edge-anew.service"
GROUPS = ("systemd", "unified", "cpu", "memory", "devices", "pids")
PATIENCE_S = 900.0
# The groups come first: what is unshared then sees only its own part of them. A getty hangs up the console.
ENTER = (
    f"trap '' HUP; for kind in {' '.join(GROUPS)}; do group=/sys/fs/cgroup/$kind/$1; mkdir -p $group; "
    'echo $$ >$group/cgroup.procs; done; exec unshare -m -p -f -i -u -n -C --kill-child=SIGKILL bash "${@:2}"'
)
# Quicker than in service: the test waits for it.
BROKEN = (
    "[Unit]\nStartLimitBurst=3\n[Service]\nRestartSec=100ms\nExecStart=\nExecStart=/bin/sh -c 'exit 2'\n"  # as settings
)
SHORT_WATCHDOG = "[Service]\nWatchdogSec=4s\nTimeoutAbortSec=3s\nRestartSec=1s\n"
WORLD = """name = "Kabupaten Contoh"
[broker]
host = "127.0.0.1"
port = 8883
[console]
host = "127.0.0.1"
port = 8100
[[sites]]
code = "9901-A"
name = "Kecamatan Contoh"
region = "9901"
[[units]]
id = "desk-a1"
site = "9901-A"
role = "desk"
screen_port = 8101
[[operators]]
id = "tek-andi"
name = "Andi"
roles = ["technician"]
sites = ["*"]
"""
FILLS = """[Service]
Type=oneshot
WatchdogSec=0
TimeoutStartSec=20min
Environment=PYTHONPATH=/usr/lib/rekam
ExecStart=
ExecStart=/usr/bin/python3 -P -m edge.package_slot /var/lib/rekam/slots /usr/lib/rekam/wheelhouse --unit /tmp
"""
PAGE = (
    "import urllib.request, http.cookiejar as c;"
    "o = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(c.CookieJar()));"
    "print(o.open('http://127.0.0.1:8101/', timeout=10).read().decode())"
)


class Booted:
    """A running Debian, and commands in it."""

    def __init__(self, folder: Path, packages: Path, how: Literal["fresh", "read-only"]) -> None:
        self._group = f"rekam-test-{os.getpid()}"
        master, console = pty.openpty()
        self.console: list[str] = []
        threading.Thread(target=self._listen, args=(master,), daemon=True).start()
        self._process = subprocess.Popen(
            ["bash", "-euc", ENTER, "bash", self._group, str(Path(__file__).with_name("boot.sh")), str(folder),
             str(packages), how],
            stdin=console, stdout=console, stderr=console, start_new_session=True,
        )  # fmt: skip
        os.close(console)
        self._init = 0
        wait_for("systemd", self._has_booted)

    def run(self, *command: str, ok: bool = True, text: str = "") -> str:
        """What a command of root says inside. With ok, its exit code must be 0."""
        inside = ["nsenter", "-t", str(self._init), "-m", "-p", "-i", "-u", "-n", "-C", "-r", "-w", "--"]
        found = subprocess.run(
            [*inside, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", *command],
            capture_output=True, text=True, check=False, input=text, timeout=PATIENCE_S,
        )  # fmt: skip
        said = found.stdout + found.stderr
        assert not ok or found.returncode == 0, f"{command}: {found.returncode}\n{said[-4000:]}"
        return said

    def shell(self, script: str, *, ok: bool = True) -> str:
        """The same for a line of shell."""
        return self.run("bash", "-euc", script, ok=ok)

    def show(self, name: str) -> str:
        """A property of the service."""
        return self.run("systemctl", "show", SERVICE, "-p", name, "--value").strip()

    def has_ended(self) -> bool:
        """Whether its systemd is gone."""
        return not Path(f"/proc/{self._init}").exists()

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(AssertionError):
            wait_for("its end", self.has_ended, 20)
        for group in GROUPS:
            for folder in sorted(Path("/sys/fs/cgroup", group, self._group).rglob("*"), reverse=True):
                if folder.is_dir():
                    with contextlib.suppress(OSError):
                        folder.rmdir()
            with contextlib.suppress(OSError):
                Path("/sys/fs/cgroup", group, self._group).rmdir()

    def _has_booted(self) -> bool:
        assert self._process.poll() is None, "".join(self.console)[-4000:]
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children or Path(f"/proc/{children[0]}/comm").read_text().strip() != "systemd":
            return False
        self._init = int(children[0])
        return "running" in self.run("systemctl", "is-system-running", ok=False) or "degraded" in self.run(
            "systemctl", "is-system-running", ok=False
        )

    def _listen(self, master: int) -> None:
        with contextlib.suppress(OSError):
            while chunk := os.read(master, 65536):
                self.console.append(chunk.decode(errors="replace"))


def wait_for(what: str, is_so: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Ask until it is so."""
    until = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < until, f"not in {patience_s:.0f} s: {what}"
        time.sleep(0.3)


@contextlib.contextmanager
def fact(words: str) -> Iterator[None]:
    """One fact, with its seconds."""
    begun = time.monotonic()
    yield
    print(f"{time.monotonic() - begun:7.1f} s  {words}", flush=True)


def main(folder: str, package: str) -> None:
    """Everything, in the order of a unit's life."""
    place, file = Path(folder).resolve(), Path(package).resolve()
    with running("a Debian boots with a systemd of its own", place, file.parent, "fresh") as debian:
        with fact("the package installs and its service is ready"):
            debian.run("apt-get", "-y", "install", f"/packages/{file.name}")
            wait_for("active", lambda: debian.show("ActiveState") == "active")
        with fact("the service has no rights, and sees nothing to write or open but its own"):
            check_rights(debian)
        print(f"           {exposure(debian)}", flush=True)
        with fact("media that are plugged in later are seen by the unprivileged service"):
            check_media(debian)
        with fact("an agent that hangs is killed with a traceback and started again"):
            check_watchdog(debian)
        with fact("what the service may do is enough to fill the other slot, as an update does"):
            check_filling(debian)
        with fact("as a unit in service it has its pages, its kernels and its commands, within the same bounds"):
            check_in_service(debian, file.parent)
        with fact("it stops in good order"):
            debian.run("systemctl", "stop", SERVICE)
            assert debian.show("Result") == "success", debian.show("Result")
        with fact("one that cannot start is tried again later; the machine is started anew for it once, and not again"):
            check_anew(debian)
    with running("it boots again, on a read-only root", place, file.parent, "read-only") as debian:
        with fact("the unit serves all the same"):
            check_read_only(debian)
        with fact("the time servers of the configuration reach systemd-timesyncd"):
            check_time_servers(debian)
    print("passed", flush=True)


@contextlib.contextmanager
def running(words: str, folder: Path, packages: Path, how: Literal["fresh", "read-only"]) -> Iterator[Booted]:
    """A booted Debian; what it said, where something did not hold."""
    with fact(words):
        debian = Booted(folder, packages, how)
    try:
        yield debian
    except BaseException:
        sys.stderr.write("".join(debian.console)[-2000:])
        sys.stderr.write(debian.run("journalctl", "--no-pager", "-n", "60", ok=False))
        raise
    finally:
        debian.close()


def check_rights(debian: Booted) -> None:
    """User, capabilities, filter of system calls; then a shell in its place, as root, is refused what it is."""
    status = debian.run("cat", f"/proc/{debian.show('MainPID')}/status")
    user = debian.run("id", "-u", "rekam").strip()
    assert re.search(rf"^Uid:\s+{user}\s+{user}\s+{user}\s+{user}$", status, re.MULTILINE), status
    for wanted in (r"CapEff:\s+0+$", r"CapBnd:\s+0+$", r"NoNewPrivs:\s+1$", r"Seccomp:\s+2$"):
        assert re.search(f"^{wanted}", status, re.MULTILINE), (wanted, status)
    assert page(debian)
    for place in ("/etc/x", "/usr/lib/rekam/x", "/var/log/x", "/boot/x"):
        said = debian.shell(f"nsenter -t {debian.show('MainPID')} -m -- touch {place}", ok=False)
        assert "Read-only file system" in said, (place, said)
    debian.shell(
        f"nsenter -t {debian.show('MainPID')} -m -- touch /var/lib/rekam/unit/x /var/cache/rekam/numba/x /tmp/x"
    )
    assert "No such file" in debian.run("ls", "/tmp/x", ok=False)
    group = "/sys/fs/cgroup/devices/system.slice/rekam-edge.service/cgroup.procs"
    opened = f"echo $$ >{group}; head -c1 {{}} >/dev/null && echo open"
    assert "open" in debian.shell(opened.format("/dev/zero"))
    assert "not permitted" in debian.shell(opened.format("/dev/other"), ok=False)


def exposure(debian: Booted) -> str:
    """systemd's own judgement, of the service as it runs."""
    said = debian.run("systemd-analyze", "security", "--no-pager", SERVICE)
    return re.sub(r"[^ -~]", "", said.strip().splitlines()[-1]).strip()


def check_media(debian: Booted) -> None:
    """A claim that is torn is named on the page, so the service has read it."""
    before = page(debian)
    debian.shell(
        "mkdir -p /run/media/rekam/sda1; mount -t tmpfs tmpfs /run/media/rekam/sda1;"
        "head -c 100 /dev/zero >/run/media/rekam/sda1/rekam-claim.bin"
    )
    wait_for("another page", lambda: state(debian) != "CLAIM_MISSING" and page(debian) != "", 30)
    assert before
    debian.run("umount", "/run/media/rekam/sda1")


def check_watchdog(debian: Booted) -> None:
    """Stopped, it is silent; systemd ends it and starts another one, which serves."""
    debian.shell(f"mkdir -p /run/systemd/system/{SERVICE}.d")
    debian.run("tee", f"/run/systemd/system/{SERVICE}.d/short.conf", text=SHORT_WATCHDOG)
    debian.run("systemctl", "daemon-reload")
    debian.run("systemctl", "restart", SERVICE)
    first = debian.show("MainPID")
    time.sleep(6)  # longer than the watchdog's period: one that turns is left alone
    assert debian.show("MainPID") == first
    debian.shell(f"kill -STOP {first}")
    wait_for("another process", lambda: debian.show("MainPID") not in (first, "0"), 60)
    wait_for("active", lambda: debian.show("ActiveState") == "active")
    assert int(debian.show("NRestarts")) >= 1
    assert "Watchdog timeout" in "".join(debian.console)
    said = debian.run("journalctl", "--no-pager", "-u", SERVICE)
    assert re.search(r'Fatal Python error: Aborted(.|\n)*edge/first_boot.py", line \d+ in ', said), said[-3000:]
    debian.run("rm", f"/run/systemd/system/{SERVICE}.d/short.conf")
    debian.run("systemctl", "daemon-reload")


def check_anew(debian: Booted) -> None:
    """Starts that fail at once: with a recent start of the machine the unit waits, without one the machine goes."""
    debian.shell(f"mkdir -p /run/systemd/system/{SERVICE}.d /run/systemd/system/{ANEW}.d /var/lib/rekam-anew")
    debian.run("tee", f"/run/systemd/system/{SERVICE}.d/broken.conf", text=BROKEN)
    debian.run("tee", f"/run/systemd/system/{ANEW}.d/soon.conf", text="[Service]\nEnvironment=WAIT_S=8\n")
    debian.shell(f"systemctl daemon-reload; touch /var/lib/rekam-anew/last; systemctl start {SERVICE} || true")
    wait_for("given up", lambda: debian.show("ActiveState") == "failed", 30)
    debian.run("rm", f"/run/systemd/system/{SERVICE}.d/broken.conf")
    debian.run("systemctl", "daemon-reload")
    wait_for("active by itself", lambda: debian.show("ActiveState") == "active")
    debian.run("tee", f"/run/systemd/system/{SERVICE}.d/broken.conf", text=BROKEN)
    debian.shell(f"rm /var/lib/rekam-anew/last; systemctl daemon-reload; systemctl restart {SERVICE} || true", ok=False)
    wait_for("the machine's end", debian.has_ended, 60)


def check_filling(debian: Booted) -> None:
    """A virtual environment made and filled under the service's own user, filters and read-only places."""
    drop_in, mark = f"/run/systemd/system/{SERVICE}.d/fill.conf", "/var/lib/rekam/slots/a/release.json"
    held = debian.run("cat", mark)
    debian.run("tee", mark, text='{"number": 0, "version": "0.0.1"}')
    debian.run("tee", drop_in, text=FILLS)
    debian.run("systemctl", "daemon-reload")
    debian.run("systemctl", "restart", SERVICE)
    assert debian.show("Result") == "success"
    assert debian.run("cat", "/var/lib/rekam/slots/b/release.json") == held
    assert "rekam-edge" in debian.run("ls", "/var/lib/rekam/slots/b/bin")
    debian.shell(f"rm {drop_in}; rm -r /var/lib/rekam/slots/boot.json /var/lib/rekam/slots/b")
    debian.run("tee", mark, text=held)
    debian.run("systemctl", "daemon-reload")
    debian.run("systemctl", "restart", SERVICE)


def check_in_service(debian: Booted, packages: Path) -> None:
    """The agent of a unit that `rekam-provision setup` made, off-line: the comparison worker compiles and runs."""
    world = packages / "world"
    shutil.rmtree(world, ignore_errors=True)
    world.mkdir()
    (world / "world.toml").write_text(WORLD, encoding="utf-8")
    setup = [sys.executable, "-m", "provisioning", "setup", str(world / "world.toml"), "--out", str(world / "out")]
    subprocess.run(setup, check=True, capture_output=True, timeout=PATIENCE_S)
    debian.shell(
        "cp -r /packages/world/out/units/desk-a1/. /var/lib/rekam/unit/; chown -R rekam: /var/lib/rekam/unit;"
        f"systemctl restart {SERVICE}"
    )
    assert debian.show("ActiveState") == "active"
    assert debian.show("StatusText") == "desk-a1 at 9901-A"
    found = json.loads(debian.run("rekam-edge", "status", "--json"))
    assert (found["unit"], found["worker"]["state"], found["clock"]["state"]) == ("desk-a1", "ready", "follows"), found
    assert found["software"]["slot"] == "a", found["software"]
    debian.run("systemctl", "stop", SERVICE)
    assert debian.show("Result") == "success", debian.show("Result")
    rows = json.loads(debian.run("rekam-edge", "selftest", "--json"))
    assert {row["kind"]: row["outcome"] for row in rows}["comparison"] == "ok", rows
    debian.shell(f"find /var/lib/rekam/unit -mindepth 1 -delete; systemd-tmpfiles --create; systemctl start {SERVICE}")
    shutil.rmtree(world)


def check_read_only(debian: Booted) -> None:
    """Everything is read-only but what the unit must write; nothing was in anything's way at the start."""
    said = debian.run("touch", "/etc/x", "/var/lib/x", "/usr/lib/rekam/x", ok=False)
    assert said.count("Read-only file system") == 3, said
    wait_for("active", lambda: debian.show("ActiveState") == "active")
    assert page(debian)
    said = debian.run("journalctl", "--no-pager", "-b")
    assert "ordering cycle" not in "".join(debian.console) + said
    failed = debian.run("systemctl", "--failed", "--plain", "--no-legend", "--no-pager")
    assert "rekam" not in failed, failed


def check_time_servers(debian: Booted) -> None:
    """What the agent's user writes is passed on by a service of its own, and only if it names servers."""
    debian.run("systemctl", "stop", SERVICE)
    assert debian.show("Result") == "success", debian.show("Result")
    target = "/run/systemd/timesyncd.conf.d/60-rekam-site.conf"
    debian.run("tee", "/var/lib/rekam/unit/unit.toml", text='[time]\nservers = "ntp.dinas.go.id 10.1.2.3"\n')
    wait_for("the file", lambda: "NTP=ntp.dinas.go.id 10.1.2.3" in debian.run("cat", target, ok=False), 30)
    passing = ("systemctl", "show", "rekam-time-servers.service", "-p", "ActiveState", "--value")
    wait_for("the next change", lambda: debian.run(*passing).strip() == "inactive", 30)
    debian.run("tee", "/var/lib/rekam/unit/unit.toml", text='[time]\nservers = "ntp\\nRootDistanceMaxSec=9"\n')
    wait_for("no file", lambda: "No such file" in debian.run("cat", target, ok=False), 30)


def page(debian: Booted) -> str:
    """The unit's page."""
    return debian.run("/usr/bin/python3", "-c", PAGE)


def state(debian: Booted) -> str:
    """The problem that the first boot's page shows, by its name."""
    token = debian.run("cat", "/var/lib/rekam/unit/screen.token").strip()
    script = (
        "import sys, urllib.request;"
        "r = urllib.request.Request('http://127.0.0.1:8101/api/commissioning', headers={'X-Rekam-Token': sys.argv[1]});"
        "print(urllib.request.urlopen(r, timeout=10).read().decode())"
    )
    found = json.loads(debian.run("/usr/bin/python3", "-c", script, token))
    return str((found.get("problem") or {}).get("code", ""))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main(*sys.argv[1:])
