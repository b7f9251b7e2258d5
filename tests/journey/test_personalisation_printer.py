"""The station on a real IPP printer: its complaints on the page, a cancelled print, a printer that is switched off."""

import asyncio
import io
import socket

import numpy as np
import pytest
from PIL import Image

from edge.card_printer import CardPrinter
from edge.sensors.worker import DeviceWorker
from tests.journey.personalisation_stage import BACK, FRONT, Stage, make_job
from virtual.printer import PrinterRig, missing_for_printer

pytestmark = [
    pytest.mark.skipif(missing_for_printer() != "", reason=missing_for_printer()),
    pytest.mark.xdist_group("printer"),
]
JOB = make_job()


@pytest.fixture
def rig(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with PrinterRig(tmp_path / "printer", port, side_s=0.02) as rig:
        yield rig


@pytest.fixture
async def stage(tmp_path, rig):
    stage = Stage(tmp_path / "station", printer=CardPrinter(rig.uri, poll_s=0.03, vanished_timeout_s=0.3))
    await stage.desk.load()
    await stage.desk.accept(JOB)
    yield stage
    await stage.desk.close()
    stage.store.close()


async def until(stage, wanted, timeout_s=10.0):
    """Wait for the page as a browser does, until it shows what is wanted."""
    async with asyncio.timeout(timeout_s):
        while not wanted(view := stage.desk.snapshot()):
            await stage.desk.wait(view["revision"], 1.0)
    return view


def printed(rig):
    return [np.asarray(Image.open(path).convert("RGB")).tolist() for path in rig.printed()]


def pixels(face):
    return np.asarray(Image.open(io.BytesIO(face)).convert("RGB")).tolist()


async def test_blanks_run_out_in_mid_print_and_the_page_says_so(stage, rig):
    await stage.drive(until="preview")
    rig.fault("media-empty")
    printing = asyncio.create_task(stage.act("print"))
    view = await until(stage, lambda view: view["printer"]["faults"])
    assert (view["step"], view["state"], view["actions"]) == ("printing", "busy", ["cancel_print"])
    assert "no blanks left" in view["printer"]["faults"][0]["advice_en"]
    rig.cure()
    assert (await printing)["step"] == "read_back"
    await stage.drive()
    (body,) = stage.bodies("released")
    assert body.print_job == f"{rig.uri}/1"
    assert printed(rig) == [pixels(FRONT), pixels(BACK)]


async def test_a_print_cancelled_at_the_page_can_be_done_again(stage, rig):
    await stage.drive(until="preview")
    rig.fault("marker-supply-empty")
    printing = asyncio.create_task(stage.act("print"))
    await until(stage, lambda view: view["printer"]["faults"])
    await stage.act("cancel_print")
    rig.cure()
    view = await printing
    assert (view["step"], "ribbon" in view["problem"]["message"]) == ("print_failed", True)
    await stage.drive()
    assert len(stage.bodies("released")) == 1


async def test_a_printer_switched_off_in_mid_print_is_taken_up_by_looking_at_the_card(stage, rig):
    await stage.drive(until="preview")
    rig.fault("media-jam")
    printing = asyncio.create_task(stage.act("print"))
    await until(stage, lambda view: view["printer"]["faults"])
    rig.switch_off()
    view = await printing
    assert (view["step"], "vanished" in view["problem"]["message"]) == ("printing", True)
    assert view["actions"] == ["check_print", "spoil"]
    assert (await stage.act("check_print"))["problem"]["error"] == "DeviceError"
    rig.cure()
    rig.switch_on()
    assert (await stage.act("check_print"))["step"] == "print_unsure"
    assert (await stage.act("not_printed"))["step"] == "preview"
    await stage.act("print")
    await stage.drive()
    assert printed(rig) == [pixels(FRONT), pixels(BACK)]


async def test_the_station_works_on_a_device_thread_of_the_agent(tmp_path, rig):
    workers = []

    def on_a_worker(reader):
        workers.append(DeviceWorker("card reader", lambda: reader))
        return workers[-1]

    stage = Stage(tmp_path / "station", printer=CardPrinter(rig.uri, poll_s=0.03), port=on_a_worker)
    await stage.desk.accept(JOB)
    await stage.drive()
    assert stage.bodies("released")[0].capture_id == JOB.capture_id
    await workers[0].close()
    stage.store.close()
