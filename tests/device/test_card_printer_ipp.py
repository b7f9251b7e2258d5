"""The card printer on a real IPP Everywhere printer: faces arrive pixel for pixel, faults carry advice, jobs end."""

import asyncio
import io
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract.errors import DeviceError, RemoteError, TransientError
from edge.card_printer import CardPrinter
from edge.print_jobs import JobResult
from tests.device.hardware import CONFIGURATION, HANDS, Hardware
from virtual.broker import free_port
from virtual.printer import PrinterRig, missing_for_printer

pytestmark = [
    pytest.mark.skipif(missing_for_printer() != "", reason=missing_for_printer()),
    pytest.mark.xdist_group("printer"),
]


def face(seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 102, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


FRONT, BACK = face(1), face(2)


def started(two_sided):
    with (
        tempfile.TemporaryDirectory(prefix="printer-") as folder,
        PrinterRig(Path(folder), free_port(), two_sided=two_sided, side_s=0.05) as rig,
    ):
        yield rig


@pytest.fixture  # one a test: the reason of a card that was given up stays, as no engine is left to take it back
def rig():
    yield from started(two_sided=True)


@pytest.fixture(scope="module")
def plain_rig():
    yield from started(two_sided=False)


@pytest.fixture
def printer(rig):
    yield CardPrinter(rig.uri, poll_s=0.05, vanished_timeout_s=0.5)
    rig.cure()


def pixels_of(image):
    return np.asarray(Image.open(image if isinstance(image, Path) else io.BytesIO(image)).convert("RGB"))


async def test_hardware_prints_a_card():
    hardware = Hardware("printer")
    real = CardPrinter(hardware.table["uri"])
    condition = await real.condition()
    assert not [fault for fault in condition.faults if fault.stops]
    hardware.ask("give a blank card")
    sides = [FRONT, BACK] if condition.two_sided else [FRONT]
    outcome = await real.follow(await real.start(sides, "rekam-hardware"), lambda _job: None)
    assert outcome.result is JobResult.COMPLETED


async def test_the_hardware_case_works_on_the_twin(rig, printer, tmp_path, monkeypatch):
    (tmp_path / "unit.toml").write_text(f'[devices.printer]\nuri = "{rig.uri}"\n')
    monkeypatch.setenv(CONFIGURATION, str(tmp_path / "unit.toml"))
    monkeypatch.setenv(HANDS, "true")
    before = len(rig.printed())
    await test_hardware_prints_a_card()
    assert len(rig.printed()) == before + 2


async def test_both_faces_are_printed_as_one_job_pixel_for_pixel(rig, printer):
    condition = await printer.condition()
    assert (condition.state, condition.two_sided, condition.faults) == ("idle", True, ())
    seen = []
    outcome = await printer.follow(await printer.start([FRONT, BACK], "rekam-both"), seen.append)
    assert outcome.result is JobResult.COMPLETED
    assert outcome.job.uri.startswith("ipp://")
    front, back = rig.printed()[-2:]
    assert np.array_equal(pixels_of(front), pixels_of(FRONT))
    assert np.array_equal(pixels_of(back), pixels_of(BACK))
    assert seen[-1].result is JobResult.COMPLETED


async def test_a_printer_that_does_not_turn_the_card_gets_each_face_by_itself(plain_rig):
    printer = CardPrinter(plain_rig.uri, poll_s=0.05)
    assert not (await printer.condition()).two_sided
    for number, image in enumerate((FRONT, BACK)):
        outcome = await printer.follow(await printer.start([image], f"rekam-{number}"))
        assert outcome.result is JobResult.COMPLETED
    assert [path.read_bytes() for path in plain_rig.printed()] == [FRONT, BACK]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("media-empty", "no blanks left"),
        ("marker-supply-empty", "ribbon is used up"),
        ("media-jam", "jammed"),
        ("cover-open", "cover is open"),
    ],
)
async def test_a_fault_is_shown_with_advice_and_the_job_goes_on_once_it_is_cured(rig, printer, fault, words):
    rig.fault(fault)
    shown = []

    def on_progress(progress):
        shown.extend(progress.faults)
        if progress.faults:
            rig.cure()

    outcome = await printer.follow(await printer.start([FRONT, BACK], f"rekam-{fault}"), on_progress)
    assert outcome.result is JobResult.COMPLETED
    assert [found.keyword for found in outcome.faults] == [fault]
    assert words in shown[0].advice_en
    assert shown[0].advice_id
    assert shown[0].stops
    assert (await printer.condition()).faults == ()


async def test_a_card_the_engine_gives_up_ends_the_job_as_aborted(rig, printer):
    rig.fault("media-jam", gives_up=True)
    outcome = await printer.follow(await printer.start([FRONT, BACK], "rekam-given-up"))
    assert outcome.result is JobResult.ABORTED
    assert "media-jam" in [fault.keyword for fault in outcome.faults]


async def test_a_job_can_be_canceled_while_it_waits_for_blanks(rig, printer):
    rig.fault("media-empty")
    job = await printer.start([FRONT, BACK], "rekam-cancel")
    await printer.cancel(job)
    rig.cure()
    assert (await printer.follow(job)).result is JobResult.CANCELED
    await printer.cancel(job)  # twice does no harm


async def test_a_job_can_be_canceled_between_its_two_sides_and_the_next_card_is_whole(rig, printer):
    before = len(rig.printed())
    rig.fault("media-jam", between_sides=True)
    job = await printer.start([FRONT, BACK], "rekam-half")
    await until(lambda: len(rig.printed()) > before)
    await printer.cancel(job)
    rig.cure()
    assert (await printer.follow(job)).result is JobResult.CANCELED
    outcome = await follow_when_free(printer, [FRONT, BACK], "rekam-whole")
    assert outcome.result is JobResult.COMPLETED
    assert np.array_equal(pixels_of(rig.printed()[-1]), pixels_of(BACK))


async def until(true):
    """Wait for what the printer's own process does."""
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


async def follow_when_free(printer, faces, name):
    """Start a job as soon as the printer has room for it, and follow it."""
    for _ in range(200):
        try:
            return await printer.follow(await printer.start(faces, name))
        except TransientError:
            await asyncio.sleep(0.05)
    raise AssertionError("the printer stays busy")


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_the_fault_script_does_every_fault_is_told_and_the_card_comes_out(rig, printer, seed):
    chance = random.Random(seed)
    reasons = chance.sample(["media-empty", "marker-supply-empty", "media-jam", "cover-open", "marker-waste-full"], 3)
    rig.script(*((chance.choice((1, 2)), reason, 0.35) for reason in reasons))
    before = len(rig.printed())
    outcome = await printer.follow(await printer.start([FRONT, BACK], f"rekam-script-{seed}"))
    assert outcome.result is JobResult.COMPLETED
    assert {fault.keyword for fault in outcome.faults} == set(reasons)
    assert all(fault.stops and fault.advice_id and fault.advice_en for fault in outcome.faults)
    front, back = rig.printed()[before:]
    assert np.array_equal(pixels_of(front), pixels_of(FRONT))
    assert np.array_equal(pixels_of(back), pixels_of(BACK))
    assert (await printer.condition()).faults == ()


async def test_two_faults_at_once_are_both_told_and_a_warning_stops_nothing(rig, printer):
    rig.fault("media-empty,cover-open")
    job = await printer.start([FRONT, BACK], "rekam-both-faults")
    told = []

    def cure_once_both_are_told(progress):
        told.extend(fault.keyword for fault in progress.faults)
        if {"media-empty", "cover-open"} <= set(told):
            rig.cure()

    outcome = await printer.follow(job, cure_once_both_are_told)
    assert outcome.result is JobResult.COMPLETED
    assert {fault.keyword for fault in outcome.faults} == {"media-empty", "cover-open"}
    rig.fault("marker-supply-low")
    outcome = await printer.follow(await printer.start([FRONT, BACK], "rekam-low"))
    assert outcome.result is JobResult.COMPLETED
    low = [fault for fault in (await printer.condition()).faults if fault.keyword == "marker-supply-low"]
    assert [fault.stops for fault in low] in ([], [False])


async def test_an_office_printer_is_no_card_printer(tmp_path):
    with PrinterRig(tmp_path, free_port(), media="iso_a4_210x297mm") as office:
        with pytest.raises(DeviceError, match="has no cards") as caught:
            await CardPrinter(office.uri).condition()
        assert "CR80" in caught.value.next_step


async def test_a_second_job_waits_its_turn(rig, printer):
    rig.fault("media-empty")
    job = await printer.start([FRONT, BACK], "rekam-first")
    with pytest.raises(TransientError, match="busy"):
        await printer.start([FRONT, BACK], "rekam-second")
    rig.cure()
    await printer.follow(job)


async def test_a_job_is_found_again_by_its_name_after_a_power_cut(rig, printer):
    job = await printer.start([FRONT, BACK], "rekam-lost-and-found")
    await printer.follow(job)
    assert await printer.find("rekam-lost-and-found") == job
    assert await printer.find("rekam-never-sent") is None


async def test_a_printer_that_vanishes_in_mid_job_is_a_device_error_and_comes_back(rig, printer):
    rig.fault("media-empty")
    job = await printer.start([FRONT, BACK], "rekam-vanish")
    rig.switch_off()
    with pytest.raises(DeviceError, match="vanished") as caught:
        await printer.follow(job)
    assert "look whether the card was printed" in caught.value.next_step
    with pytest.raises(DeviceError, match="does not answer"):
        await printer.condition()
    rig.cure()
    rig.switch_on()
    assert (await printer.condition()).state == "idle"
    assert await printer.find("rekam-vanish") is None  # this printer forgets its jobs with its power
    with pytest.raises(RemoteError):
        await printer.progress(job)


async def test_what_is_no_printer_is_a_device_error():
    with pytest.raises(DeviceError, match="URI"):
        CardPrinter("http://localhost/")
    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(DeviceError):
        await CardPrinter(f"ipp://127.0.0.1:{port}/ipp/print").condition()
    server.close()


async def nonsense(reader, writer):
    """A peer that answers any request with bytes that are no IPP."""
    await reader.read(100)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nnot IPP")
    await writer.drain()
    writer.close()
