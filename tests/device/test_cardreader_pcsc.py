"""The PC/SC driver on a real pcscd with a virtual reader: cards come and go, are removed in mid-write, readers die."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from contract.card_keys import CardRole, SoftSam
from contract.channel_pcsc import use_socket
from contract.errors import CaptureRetry, DeviceError
from edge.card_access import open_card, read_card
from edge.sensors.cardreader_pcsc import PcscReader
from edge.sensors.drivers import open_driver
from tests.device.conftest import MASTER
from tests.unit.test_chip_file import BIODATA, ISSUER_PUBLIC, signed

SAM = SoftSam.load(MASTER)
pytestmark = [pytest.mark.root, pytest.mark.xdist_group("pcsc")]


@pytest.fixture
def reader(rig):
    reader = open_driver("card", {"driver": "pcsc", "reader": rig.reader, "socket": str(rig.socket), "extended": True})
    assert isinstance(reader, PcscReader)
    assert reader.open().capabilities == ("extended",)
    yield reader
    rig.control.remove()
    wait_for_absence(reader)
    reader.close()


def wait_for_absence(reader, timeout_s=5.0):
    """pcscd notices within half a second that a card was lifted."""
    deadline = time.monotonic() + timeout_s
    while reader.card_present():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def connected(reader, timeout_s=5.0):
    return reader.connect(timeout_s, threading.Event())


@pytest.mark.parametrize("extended", [False, True])
def test_a_card_is_written_and_read_over_pcsc(rig, reader, extended):
    uid = rig.control.insert()
    channel = connected(reader)
    assert channel.uid == uid
    access = open_card(channel, SAM, CardRole.PERSONALISER, extended=extended)
    files = signed()
    access.write_files(files)
    access.activate()
    channel.close()
    again = connected(reader)
    found = read_card(again, SAM, extended=extended)
    assert found.files == files
    assert found.verified(ISSUER_PUBLIC).biodata == BIODATA
    again.close()


def test_a_card_laid_while_the_reader_waits_is_taken(rig, reader):
    assert not reader.card_present()
    threading.Timer(0.2, rig.control.insert).start()
    channel = connected(reader)
    assert reader.card_present()
    channel.close()


def test_waiting_ends_in_time_and_when_cancelled(reader):
    started = time.monotonic()
    with pytest.raises(CaptureRetry, match="No card"):
        connected(reader, 0.3)
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    with pytest.raises(CaptureRetry):
        reader.connect(30.0, cancel)
    assert time.monotonic() - started < 5


def test_a_card_removed_in_mid_write_is_asked_for_again_and_finished(rig, reader):
    uid = rig.control.insert()
    files = signed()
    rig.control.remove_after(8)
    with pytest.raises(CaptureRetry, match="removed") as caught:
        open_card(connected(reader), SAM, CardRole.PERSONALISER).write_files(files)
    assert "Lay the card" in caught.value.next_step
    rig.control.insert(uid)
    channel = connected(reader)
    open_card(channel, SAM, CardRole.PERSONALISER).write_files(files)
    assert read_card(channel, SAM).files == files


def test_an_unknown_reader_names_those_there_are(rig):
    reader = PcscReader(reader="Acme 9000", socket=str(rig.socket))
    with pytest.raises(DeviceError, match="Rekam Virtual"):
        reader.open()


def test_one_process_cannot_speak_to_two_pcscds(reader):
    with pytest.raises(DeviceError, match="already"):
        use_socket("/run/another/pcscd.comm")


def test_a_reader_that_hangs_is_given_up_in_time(rig):
    reader = PcscReader(reader=rig.reader, socket=str(rig.socket), call_timeout_s=1.0)
    reader.open()
    rig.control.insert()
    channel = connected(reader)
    slot = process_of(rig, "virtual.card_slot")
    os.kill(slot, signal.SIGSTOP)
    try:
        with pytest.raises(DeviceError, match="within 1 s"):
            channel.transmit(bytes.fromhex("FFCA000000"))
    finally:
        os.kill(slot, signal.SIGCONT)
        channel.close()
        rig.control.remove()
        wait_for_absence(reader)
        reader.close()


def test_a_pcscd_that_dies_is_a_device_error_and_comes_back(rig, reader):
    rig.control.insert()
    channel = connected(reader)
    os.kill(process_of(rig, "pcscd"), signal.SIGKILL)
    with pytest.raises(DeviceError) as caught:
        channel.transmit(bytes.fromhex("FFCA000000"))
    assert caught.value.next_step
    channel.close()
    with pytest.raises(DeviceError, match=r"pcscd|reader"):
        reader.card_present()
    rig.start_pcscd()
    reader.open()
    assert connected(reader).uid


def process_of(rig, name):
    pids = subprocess.run(["ip", "netns", "pids", rig.namespace], capture_output=True, text=True, check=True).stdout
    return next(int(pid) for pid in pids.split() if name in Path(f"/proc/{pid}/cmdline").read_text())
