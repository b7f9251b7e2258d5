"""The technician's day with the real programs: init, broker, hub, box, a box that boots, watch, approve, and after."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from provisioning.__main__ import app
from virtual.broker import PrivateBroker, free_port

pytestmark = pytest.mark.xdist_group("commissioning-tool")
ROOT = Path(__file__).resolve().parents[2]


def consecutive_ports() -> int:
    """The first of four free ports in a row, below the range that the system gives out."""
    while True:
        first = random.randrange(12_000, 30_000)
        try:
            sockets = []
            for port in range(first, first + 4):
                sockets.append(socket.create_server(("127.0.0.1", port)))
            return first
        except OSError:
            continue
        finally:
            for sock in sockets:
                sock.close()


def tool(*words: str, done: bool = True) -> Any:
    """Run rekam-provision with --json; what it printed, or the whole result of one that failed."""
    found = subprocess.run(
        [sys.executable, "-m", "provisioning", *words, "--json"],
        cwd=ROOT, check=False, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert (found.returncode == 0) is done, found.stdout + found.stderr
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    return lines[0] if len(lines) == 1 else lines


@contextmanager
def running(log: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """One of the product's programs, ended with SIGTERM."""
    with log.open("ab") as sink:
        process = subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, stdout=sink, stderr=sink)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def page(port: int) -> dict[str, Any]:
    """What the box's own page says."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        client.get("/").raise_for_status()
        found: dict[str, Any] = client.get("/api/commissioning").raise_for_status().json()
        return found


def wait_for(what: str, condition: Any, timeout_s: float = 150.0) -> Any:
    start = time.monotonic()
    while time.monotonic() - start < timeout_s:
        try:
            if found := condition():
                return found
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"never: {what}")


@pytest.mark.timeout(500)
def test_a_technicians_day(tmp_path: Path) -> None:
    world, port, screen = tmp_path / "world", consecutive_ports(), free_port()
    tool(
        "init", "--out", str(world), "--name", "Uji", "--host", "127.0.0.1", "--port", str(port),
        "--console-port", str(free_port()), "--site", "9901-A:9901:Kecamatan Uji", "--technician", "tek-a:Andi",
    )  # fmt: skip
    me = ("--identity", str(world / "technicians" / "tek-a"))
    media, home = tmp_path / "media", tmp_path / "box"
    home.mkdir()
    (home / "factory.toml").write_text(
        f'serial = "S-100"\nmodel = "uji"\nmedia = ["{media}"]\nscreen_port = {screen}\n', encoding="utf-8"
    )
    settings = tmp_path / "desk.toml"
    settings.write_text(f"[screen]\nport = {screen}\n[policy]\nattempts_max = 4\n", encoding="utf-8")
    with (
        PrivateBroker(world / "broker/mosquitto.conf", tmp_path / "broker.log") as broker,
        running(tmp_path / "hub.log", "hub", "run", "--config", str(world / "hub/hub.toml")),
    ):
        made = tool("box", "1", "--serial", "S-100", "--out", str(tmp_path / "claims"), *me)
        assert made[0]["serial"] == "S-100" and "<svg" in (tmp_path / "claims/labels.html").read_text()
        with running(tmp_path / "box.log", "edge", "run", "--config", str(home / "unit.toml")):
            first = wait_for("the page", lambda: page(screen))
            assert first["problem"]["code"] == "claim-missing" and "media klaim" in first["problem"]["do_id"]
            media.mkdir()
            (media / "rekam-claim.bin").write_bytes(Path(made[0]["file"]).read_bytes()[:-7])
            wait_for("half", lambda: (page(screen)["problem"] or {}).get("code") == "claim-incomplete")
            (media / "rekam-claim.bin").write_bytes(Path(made[0]["file"]).read_bytes())
            code = wait_for("the code", lambda: page(screen)["code"])
            row = wait_for("the knock", lambda: tool("watch", "--once", *me))
            assert (row["fingerprint"], row["serial"], row["state"]) == (code, "S-100", "waiting")
            named = ("--unit", "desk-7", "--site", "9901-A", "--role", "desk")
            wrong = tool("approve", "0000-0000-0000", *named, *me, done=False)
            assert "own screen again" in wrong["next_step"]
            broker.kill()
            started = time.monotonic()
            words = ("approve", code, *named, *me)
            waiting = subprocess.Popen(
                [sys.executable, "-m", "provisioning", *words, "--settings", str(settings), "--json"], cwd=ROOT,
                stdout=subprocess.PIPE,
            )  # fmt: skip
            time.sleep(4)
            assert waiting.poll() is None  # it waits for the line
            broker.start()
            assert json.loads(waiting.communicate(timeout=150)[0])["done"] and time.monotonic() - started > 4
            unit = wait_for("service", lambda: _in_service(tool("status", "desk-7", *me)))
            assert (unit["site"], unit["reported_version"], unit["serial"]) == ("9901-A", 1, "S-100")
            # The same process goes on as the agent, with the unit's own pages.
            with httpx.Client(base_url=f"http://127.0.0.1:{screen}") as client:
                wait_for("the agent", lambda: "desk-7" in client.get("/status").text)
        stuck = tmp_path / "stuck"
        stuck.mkdir()
        (stuck / f"{hashlib.sha256(b'sealed').hexdigest()}.rekam-packet").write_bytes(b"sealed")
        (packet,) = tool("collect", str(stuck), "--into", str(tmp_path / "tour"), *me)["packets"]
        assert (packet["copied"], packet["centre"]) == (True, "absent")
        assert tool("round", "--tour", str(tmp_path / "tour"), *me)["visits"] == []
        gone = tool("replace", "desk-7", "--reason", "mainboard dead", *me)
        assert (gone["state"], gone["received"]) == ("retired", 0)
        assert _refused_once("desk-7", me) == ("tek-a", "resume", "desk-7")
    assert (home / "tls.key").stat().st_mode & 0o077 == 0


def _refused_once(retired: str, me: tuple[str, ...]) -> tuple[str, str, str]:
    """Resume a unit that is retired, and see what the hub remembers of it."""
    assert tool("resume", retired, "--reason", "found again", *me, done=False)["next_step"]
    (kept,) = tool("refused", *me)
    return kept["technician"], kept["verb"], kept["about"]


def _in_service(found: dict[str, Any]) -> Any:
    return next((row for row in found["units"] if row["state"] == "in service"), None)


def test_every_command_teaches_with_an_example() -> None:
    from typer.testing import CliRunner

    runner = CliRunner()
    wanted = ("init", "enrol", "box", "watch", "approve", "assign", "configure", "status", "renew", "suspend", "resume",
              "revoke", "retire", "replace", "collect", "round", "test", "logs", "dismiss", "refused")  # fmt: skip
    for name in wanted:
        shown = runner.invoke(app, [name, "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0 and "Example:" in shown.stdout and "--json" in shown.stdout, name


def test_without_an_identity_the_tool_says_which_folder_it_wants() -> None:
    found = tool("status", "--identity", "/nonexistent", done=False)
    assert "technicians/NAME" in found["next_step"]
