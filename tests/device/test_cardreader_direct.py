"""The way without root: a virtual card's slot as a process, its control socket, and the direct reader."""

import json
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from contract.card_keys import CardRole, SoftSam
from contract.errors import CaptureRetry, DeviceError, RemoteError
from edge.card_access import open_card, read_card
from edge.sensors.drivers import open_driver
from tests.unit.test_chip_file import ISSUER_PUBLIC, signed
from virtual.card_box import CardBox
from virtual.card_slot import SlotControl

MASTER = bytes(range(32))
SAM = SoftSam.load(MASTER)


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory(prefix="slot-") as name:
        folder = Path(name)
        CardBox(folder / "cards").add_blanks(4, MASTER, 1)
        command = [sys.executable, "-m", "virtual.card_slot", "serve", "--cards", str(folder / "cards")]
        slot = subprocess.Popen([*command, "--control", str(folder / "hands"), "--direct", str(folder / "reader")])
        SlotControl(folder / "hands").wait_until_up(20)
        yield folder
        slot.terminate()
        slot.wait()


@pytest.fixture
def hands(folder):
    hands = SlotControl(folder / "hands")
    yield hands
    hands.remove()


@pytest.fixture
def reader(folder):
    reader = open_driver("card", {"driver": "virtual.card_direct:DirectCardReader", "socket": str(folder / "reader")})
    assert reader.open().driver == "direct"
    return reader


def connected(reader, timeout_s=5.0):
    return reader.connect(timeout_s, threading.Event())


def test_a_card_is_laid_written_carried_away_and_read(reader, hands):
    assert not reader.card_present()
    threading.Timer(0.1, hands.insert).start()
    channel = connected(reader)
    assert reader.card_present()
    files = signed()
    open_card(channel, SAM, CardRole.PERSONALISER, extended=True).write_files(files)
    channel.close()
    uid = hands.remove()
    assert uid == channel.uid
    with pytest.raises(CaptureRetry, match="No card"):
        connected(reader, 0.1)
    hands.insert(uid)
    assert read_card(connected(reader), SAM).verified(ISSUER_PUBLIC).card_number == "9901-0000001"


def test_a_card_removed_in_mid_write_asks_for_the_card(reader, hands):
    hands.insert()
    hands.remove_after(9)
    with pytest.raises(CaptureRetry, match="removed"):
        open_card(connected(reader), SAM, CardRole.PERSONALISER).write_files(signed())


def test_a_slot_that_is_not_there_is_a_device_error(tmp_path):
    reader = open_driver("card", {"driver": "virtual.card_direct:DirectCardReader", "socket": str(tmp_path / "none")})
    with pytest.raises(DeviceError, match="does not answer"):
        reader.open()


@pytest.mark.parametrize(
    "line", ["", "[]", "{", '{"do": "eat"}', '{"do": "insert", "uid": 3}', '{"do": "insert", "uid": "../x"}']
)
def test_a_wrong_control_line_gets_an_answer_and_the_slot_lives_on(folder, hands, line):
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(folder / "hands"))
        link.sendall(line.encode() + b"\n")
        with link.makefile("rb") as lines:
            assert not json.loads(lines.readline())["ok"]
    assert hands.status()["uid"] == ""


def test_only_cards_that_exist_can_be_laid(hands):
    with pytest.raises(RemoteError, match="no virtual card"):
        hands.insert("04FFFFFFFFFFFF")
    hands.insert()
    with pytest.raises(RemoteError, match="already"):
        hands.insert()
