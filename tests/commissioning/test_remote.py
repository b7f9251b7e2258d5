"""What a technician asks of a unit from afar, with the real programs: the self-test with pictures, its log, renewal."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image

from contract.certificates import load_certificate
from tests.commissioning.stage import UNIT, make_stage
from tests.commissioning.test_tool import ROOT, running, tool, wait_for
from virtual.broker import free_port
from virtual.unit_twin import CameraTable, FingerTable, UnitTwin
from virtual.unit_twin import UnitTable as TwinTable

pytestmark = pytest.mark.xdist_group("commissioning-remote")


def name_devices(path: Path, devices: UnitTwin, screen: int) -> None:
    """Write the twins into a unit.toml, and a card reader that is not there."""
    found = devices.status()
    text = path.read_text(encoding="utf-8").replace("port = 1\n", f"port = {screen}\n")
    path.write_text(
        f"""{text}
[devices.camera]
driver = "snapshot"
url = "{found["camera"]}"
[devices.iris]
driver = "snapshot"
url_right = "{found["iris_right"]}"
url_left = "{found["iris_left"]}"
[devices.finger]
driver = "zfm"
port = "{found["finger"]}"
[devices.card]
driver = "pcsc"
reader = "there is none"
""",
        encoding="utf-8",
    )


@pytest.mark.timeout(200)
def test_a_technician_tests_a_unit_and_reads_its_log_from_afar(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    home, screen = stage.folder / "units" / UNIT, free_port()
    path = home / "unit.toml"
    devices = UnitTwin(
        TwinTable(camera=CameraTable(), iris=CameraTable(), finger=FingerTable(link=tmp_path / "finger"))
    )
    name_devices(path, devices, screen)
    me = ("--identity", str(stage.folder / "technicians" / "tek-andi"), "--wait", "100")
    with (
        stage.broker,
        running(tmp_path / "hub.log", "hub", "run", "--config", str(stage.folder / "hub/hub.toml")),
        running(tmp_path / "unit.log", "edge", "run", "--config", str(path)),
    ):
        wait_for("the unit", lambda: tool("status", UNIT, *me)["units"][0]["online"])
        page = httpx.Client(base_url=f"http://127.0.0.1:{screen}", timeout=40)
        page.get("/status").raise_for_status()
        with ThreadPoolExecutor(1) as beside:
            testing = beside.submit(tool, "test", UNIT, "--out", str(tmp_path / "pictures"), *me, done=False)
            assert page.get("/api/technician", params={"wait_s": 40}).json() == {"technician": "tek-andi"}
            start = {"nik": "9901014107900001", "operator": "op-x", "papers": []}
            assert page.post("/api/session", json=start).json()["code"] == "TECHNICIAN"
            said = testing.result(120)
        rows = {row["kind"]: row for row in said["rows"]}
        assert {kind: row["outcome"] for kind, row in rows.items()} == {
            "camera": "ok", "finger": "ok", "iris": "ok", "card": "failed", "comparison": "ok",
        }  # fmt: skip
        assert rows["finger"]["found"] == "window empty" and "pcscd" in rows["card"]["next_step"]
        assert (said["done"], said["passed"], rows["camera"]["pictures"], rows["iris"]["pictures"]) == (
            True,
            False,
            1,
            2,
        )
        for saved in said["saved"]:
            with Image.open(saved) as picture:
                assert picture.format == "PNG" and max(picture.size) == 320
            assert Path(saved).stat().st_mode & 0o077 == 0
        assert page.get("/api/technician").json() == {"technician": ""}

        lines = tool("logs", UNIT, "--since", "1h", *me)
        events = [line["event"] for line in lines]
        assert "connected" in events and "command begins" in events and len(lines) == lines[-1]["sequence"]
        assert all(line["level"] != "info" for line in tool("logs", UNIT, "--level", "warning", *me) or [])
        refused = tool("logs", UNIT, "--since", "tomorrow", *me, done=False)
        assert "15m" in refused["next_step"]
        at_the_unit = subprocess.run(
            [sys.executable, "-m", "edge", "logs", "--config", str(path), "--json"], cwd=ROOT, check=True,
            capture_output=True, text=True,
        ).stdout.splitlines()  # fmt: skip
        assert [json.loads(line)["event"] for line in at_the_unit[: len(events)]] == events

        before = load_certificate((home / "tls.crt").read_bytes()).serial_number
        assert tool("renew", UNIT, *me)["done"]
        wait_for("renewal", lambda: load_certificate((home / "tls.crt").read_bytes()).serial_number != before)
    devices.close()
