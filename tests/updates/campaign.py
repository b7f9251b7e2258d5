"""The campaign of updates with everything real: broker, hub, launcher, slots, venv, pip, releases signed off-line.

A unit that runs 0.1.0 from slot a is brought to 0.2.0, then to a release that greets and then ends, then to one whose
ticket printer does not open, then to one that is found good and ends at each later start; each time by the technician's
and the officer's own commands. It has to run 0.2.0 in the end, and the hub has to know why. `make updates` runs this
and tests.updates.killed.

The releases are this very project, its version changed; the packages that it needs are not copied into every slot: one
more wheel holds a .pth file that names the environment that the tests run in. pip installs and checks all the same.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from contract.updates import Artefact, TargetCustom
from edge import launcher
from edge.slot_install import Installer
from edge.slots import Slots
from edge.update_client import Fetched, sha256_of
from tests.commissioning.stage import UNIT, Stage, make_stage
from tests.commissioning.test_configure import page_status
from tests.commissioning.test_tool import running, tool, wait_for
from tests.updates.wheels import make_wheel
from virtual.broker import free_port

ROOT = Path(__file__).resolve().parents[2]
FIRST, GOOD, CRASHES, UNWELL, CRASHES_LATER = "0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0"
GOOD_WITHIN_S = 300
WAIT_S = 900.0
RESTART_S = 0.5
# One line of the product, and what it is in a bad release: one that is well and then ends, one without its printer, one
# that serves while it is on trial and at no later start.
AFTER_GREETING = (
    "        await asyncio.to_thread(self._slots.found_good, may_come_back=may_come_back)",
    "        raise SystemExit(3)",
)
NO_PRINTER = (
    "            return DeviceFile(device, WRITE_TIMEOUT_S, clock)",
    "            raise DeviceError('The new release does not find the printer.')",
)

LATER_STARTS = ("        await agent.run()\n    if not proved", "        raise SystemExit(3)\n    if not proved")
# Where that line is.
BAD_RELEASES = {
    CRASHES: ("edge/update_trial.py", AFTER_GREETING),
    UNWELL: ("edge/sensors/ticket_escpos.py", NO_PRINTER),
    CRASHES_LATER: ("edge/agent_run.py", LATER_STARTS),
}


def build_wheel(folder: Path) -> bytes:
    """This project's own wheel."""
    source = folder / "source"
    source.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
        capture_output=True,
    ).stdout  # fmt: skip
    subprocess.run(
        ["tar", "--null", "--files-from=-", "--ignore-failed-read", "-cf", str(folder / "source.tar")], cwd=ROOT,
        input=listed, check=True,
    )  # fmt: skip
    subprocess.run(["tar", "-xf", str(folder / "source.tar"), "-C", str(source)], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True)
    return next(folder.glob("rekam-*.whl")).read_bytes()


def release_wheel(built: bytes, version: str, path: str = "", change: tuple[str, str] = ("", "")) -> tuple[str, bytes]:
    """The project's wheel as another version; path, change: a file in it, with one line replaced."""
    files: dict[str, bytes | str] = {}
    requires = []
    with zipfile.ZipFile(io.BytesIO(built)) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if ".dist-info/" not in name:
                files[name] = content
            elif name.endswith("/METADATA"):
                requires = re.findall(r"^Requires-Dist: ([^;\n]+)$", content.decode(), re.MULTILINE)
    if path:
        text = bytes(files[path]).decode() if isinstance(files[path], bytes) else str(files[path])
        assert text.count(change[0]) == 1, (path, change[0])
        files[path] = text.replace(*change)
    return make_wheel("rekam", version, files, requires)


def packages_wheel() -> tuple[str, bytes]:
    """A wheel that leads to the packages of the environment that the tests run in."""
    return make_wheel("rekam_test_packages", "1.0", {"rekam_test_packages.pth": sysconfig.get_path("purelib") + "\n"})


def first_slot(slots: Path, config: Path, wheels: dict[str, bytes]) -> None:
    """Slot a, as the Debian package fills it at its installation."""
    house = slots / "house"
    house.mkdir(parents=True)
    for name, content in wheels.items():
        (house / name).write_bytes(content)
    paths = tuple(house.iterdir())
    custom = TargetCustom(artefact=Artefact.EDGE, number=1, version=FIRST)
    hashes = tuple(sha256_of(path) for path in paths)
    Installer(Slots(slots, "b", ("x",)), config).install(Fetched(custom, house, paths, hashes))


class Service:
    """What systemd does for the agent: starts the launcher, and starts it again when it ends."""

    def __init__(self, slots: Path, config: Path, log: Path) -> None:
        self._command = [
            sys.executable, "-I", launcher.__file__, str(slots), "--good-within-s", str(GOOD_WITHIN_S), "--", "run",
            "--config", str(config),
        ]  # fmt: skip
        self._log = log
        self._stopping = threading.Event()
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    def _keep(self) -> None:
        with self._log.open("ab") as sink:
            while not self._stopping.is_set():
                self._process = subprocess.Popen(self._command, cwd="/", stdout=sink, stderr=sink)
                self.starts += 1
                code = self._process.wait()
                told = {"SERVICE_RESULT": "signal" if code < 0 else "exit-code" if code else "success"}
                ended = [*self._command[:4], "--ended"]
                subprocess.run(ended, env={**os.environ, **told, "EXIT_STATUS": str(code)}, check=True)
                self._stopping.wait(RESTART_S)

    def kill(self) -> None:
        """The agent dies where it stands."""
        if self._process is not None:
            self._process.kill()

    @contextmanager
    def running(self) -> Iterator[None]:
        """As long as the unit has power."""
        thread = threading.Thread(target=self._keep, name="service")
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            if self._process is not None:
                self._process.terminate()
            thread.join(60)


class Officer:
    """Who signs releases, and the technician who brings them to units: the product's own commands."""

    def __init__(self, stage: Stage, folder: Path, built: bytes) -> None:
        self.stage, self.folder, self.built = stage, folder, built
        self.me = ("--identity", str(stage.folder / "technicians" / "tek-andi"), "--wait", "200")

    def release(self, version: str, path: str = "", change: tuple[str, str] = ("", "")) -> None:
        """Make it, sign it, carry it to the hub, and order it."""
        self.publish(version, path, change)
        if any(row["state"] == "stopped" for row in self.rollouts()[:1]):
            tool("update", "--cancel", "--reason", "It did not prove itself.", *self.me)
        ordered = tool("update", version, "--waves", "100", "--soak", "1s", "--yes", *self.me)
        assert ordered["done"], ordered

    def publish(self, version: str, path: str = "", change: tuple[str, str] = ("", "")) -> None:
        """Make it, sign it, and carry it to the hub."""
        house, media = self.folder / f"wheels-{version}", self.folder / f"media-{version}"
        releases = self.stage.folder / "releases"
        for place in (house, media):
            place.mkdir()
        for name, content in (release_wheel(self.built, version, path, change), packages_wheel()):
            (house / name).write_bytes(content)
        key = str(releases / "keys" / "targets-1.key")
        tool("release", "add", "--edge", str(house), "--version", version, "--key", key, "--folder", str(releases))
        tool("release", "publish", str(media), "--folder", str(releases))
        config = str(self.stage.folder / "hub" / "hub.toml")
        take = [sys.executable, "-m", "hub", "take-release", str(media), "--config", config]
        subprocess.run(take, cwd=ROOT, check=True, capture_output=True)

    def unit(self) -> Any:
        """How the unit stands in the newest update, once the hub goes on with it no more."""
        found = tool("update", "--status", "--rollout", self.rollouts()[0]["id"], *self.me)
        return found["units_in_it"][0] if found["state"] != "running" else None

    def unit_in_step(self, step: str) -> Any:
        """How it stands there, once it has come to this step."""
        found = self.unit()
        return found if found and found["step"] == step else None

    def rollouts(self) -> Any:
        """All updates, the newest first."""
        return tool("update", "--status", *self.me)["rollouts"]


def walk(folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """The whole way; what was measured. Raises AssertionError where it does not end as it should."""
    built = build_wheel(folder / "build")
    stage = make_stage(folder / "stage")
    screen, printer = free_port(), folder / "printer"
    printer.touch()
    config = stage.folder / "units" / UNIT / "unit.toml"
    text = config.read_text(encoding="utf-8").replace("port = 1\n", f"port = {screen}\n")
    config.write_text(f'{text}\n[devices.ticket]\ndriver = "file"\ndevice = "{printer}"\n', encoding="utf-8")
    slots, measured = folder / "slots", {}
    started = time.monotonic()
    first_slot(slots, config, dict((release_wheel(built, FIRST), packages_wheel())))
    measured["install_s"] = round(time.monotonic() - started, 1)
    service, officer = Service(slots, config, folder / "unit.log"), Officer(stage, folder, built)

    def software() -> dict[str, Any]:
        found: dict[str, Any] = page_status(screen)["software"]
        return found

    def ends(state: str, to: str, version: str, slot: str) -> dict[str, Any]:
        def settled() -> dict[str, Any] | None:
            try:
                found = software()
            except (httpx.HTTPError, KeyError):
                return None
            seen = (found["state"], found.get("to"), found["version"], found["slot"], found["on_trial"])
            return found if seen == (state, to, version, slot, False) else None

        found: dict[str, Any] = wait_for(f"{state} on {version}", settled, WAIT_S)
        return found

    hub = running(folder / "hub.log", "hub", "run", "--config", str(stage.folder / "hub/hub.toml"))
    with stage.broker, hub, service.running():
        wait_for("the unit", lambda: tool("status", UNIT, *officer.me)["units"][0]["online"])
        assert (software()["version"], software()["slot"]) == (FIRST, "a")
        officer.publish(FIRST)
        for version, state, step, path, change, words in (
            (GOOD, "good", "good", "", ("", ""), ""),
            (CRASHES, "returned", "failed", *BAD_RELEASES[CRASHES], "3 times"),
            (UNWELL, "returned", "failed", *BAD_RELEASES[UNWELL], "does not find the printer"),
        ):
            started, before = time.monotonic(), service.starts
            say(f"release {version}: wanted {state}")
            officer.release(version, path, change)
            found = ends(state, version, GOOD, "b")
            assert words in found.get("problem_en", ""), found
            told = wait_for("the hub's word", officer.unit)
            assert told["step"] == step, told
            measured[version] = {
                "seconds": round(time.monotonic() - started, 1), "starts": service.starts - before,
                "unit": found.get("problem_en", "good"), "hub": told,
            }  # fmt: skip
            say(json.dumps(measured[version], ensure_ascii=False))
        say(f"release {CRASHES_LATER}: wanted good, and then back")
        measured[CRASHES_LATER] = comes_back(officer, service, ends)
        say(json.dumps(measured[CRASHES_LATER], ensure_ascii=False))
    return measured


def comes_back(
    officer: Officer, service: Service, ends: Callable[[str, str, str, str], dict[str, Any]]
) -> dict[str, Any]:
    """A release that is found good and ends at each later start; what was measured."""
    started, before = time.monotonic(), service.starts
    officer.release(CRASHES_LATER, *BAD_RELEASES[CRASHES_LATER])
    ends("good", CRASHES_LATER, CRASHES_LATER, "a")
    good_s, good_starts = time.monotonic() - started, service.starts
    service.kill()
    found = ends("returned", CRASHES_LATER, GOOD, "b")
    assert "5 times in a row" in found["problem_en"], found
    back_s = time.monotonic() - started - good_s
    return {
        "good_s": round(good_s, 1), "back_s": round(back_s, 1), "starts": good_starts - before,
        "starts_until_back": service.starts - good_starts, "unit": found["problem_en"],
        "hub": wait_for("the hub's word", lambda: officer.unit_in_step("failed")),
    }  # fmt: skip


def main(
    out: Annotated[Path, typer.Option(help="Folder for logs and figures; emptied first.")] = Path("out/updates"),
) -> None:
    """Run the campaign, and write what it measured."""
    subprocess.run(["rm", "-rf", str(out)], check=True)
    out.mkdir(parents=True)
    measured = walk(out.resolve(), typer.echo)
    (out / "measured.json").write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
