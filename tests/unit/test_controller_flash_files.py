"""What the controller keeps in flash: every file torn at every byte, and what it does about it."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware import dictionary as words
from firmware.event_log import FILE, FILE_RECORDS_MAX, PENDING_MAX, EventLog
from firmware.flash import read_whole, write_whole
from firmware.slots import FAILED_BOOTS_MAX, FELL_BACK_FLAG, Slots
from firmware.update import Update, hmac_sha256, same
from provisioning.firmware_image import Image, key_file, update_mac

KEY = bytes(range(32))


@pytest.fixture(autouse=True)
def _flash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def numbers(log: EventLog) -> list[int]:
    found, last = [], 0
    while (event := log.after(last, 0)) is not None:
        last = event[0]
        found.append(last)
    return found


def test_events_come_back_in_order_with_what_is_known_of_their_age() -> None:
    log = EventLog(1, 77)
    log.add(words.TAMPER_OPEN, 5, 3000)
    assert struct.unpack(words.EVENT_LAYOUT, (log.after(0, 9000) or (0, b""))[1]) == (77, 1, 2, 5, 6)
    later = EventLog(2, 99)
    assert later.log_id == 77, "the log of before"
    assert struct.unpack(words.EVENT_LAYOUT, (later.after(0, 9000) or (0, b""))[1])[4] == words.AGE_UNKNOWN_S


def test_a_log_torn_at_any_byte_loses_what_was_torn_and_nothing_else(tmp_path: Path) -> None:
    log = EventLog(1, 77)
    for _ in range(4):
        log.add(words.DOOR_OPEN, 0, 0)
    whole = (tmp_path / FILE).read_bytes()
    for length in range(len(whole)):
        (tmp_path / FILE).write_bytes(whole[:length])
        found = EventLog(2, 99)
        kept = numbers(found)
        assert kept == list(range(1, len(kept) + 1))
        assert len(kept) == (max(0, length - 16) // 19 if length >= 16 else 0)
        found.add(words.DOOR_CLOSED, 0, 0)
        assert numbers(EventLog(3, 55)) == numbers(found), "what came after the tear is kept too"


@given(st.binary(max_size=300))
def test_any_rubbish_in_the_file_is_survived(tmp_path_factory: pytest.TempPathFactory, rubbish: bytes) -> None:
    Path(FILE).write_bytes(rubbish)
    log = EventLog(1, 5)
    log.add(words.DOOR_OPEN, 0, 0)
    assert numbers(EventLog(2, 6))


def test_numbers_go_on_when_the_host_has_everything_and_the_file_is_written_anew() -> None:
    log = EventLog(1, 7)
    for number in range(1, 400):
        log.add(words.DOOR_OPEN, 0, 0)
        log.forget(7, number, 0)
        log.forget(8, number + 1, 0)  # of another log: nothing
    assert numbers(log) == [] and Path(FILE).stat().st_size < 16 + 19 * FILE_RECORDS_MAX
    log.add(words.DOOR_OPEN, 0, 0)
    assert numbers(log) == [400]


def test_a_full_log_keeps_the_oldest_and_says_how_many_it_missed() -> None:
    log = EventLog(1, 7)
    for _ in range(PENDING_MAX + 9):
        log.add(words.DOOR_OPEN, 0, 0)
    assert numbers(log) == list(range(1, PENDING_MAX + 1))
    log.forget(7, PENDING_MAX, 0)
    assert numbers(log) == [PENDING_MAX + 1]
    body = (log.after(PENDING_MAX, 0) or (0, b""))[1]
    assert struct.unpack(words.EVENT_LAYOUT, body)[2:4] == (words.EVENTS_MISSED, 9)


def test_a_whole_file_is_read_and_a_damaged_one_is_none() -> None:
    write_whole("k", KEY)
    assert read_whole("k", 32) == KEY
    assert Path("k").read_bytes() == key_file(KEY), "provisioning writes what the board reads"
    data = Path("k").read_bytes()
    for place in range(len(data)):
        Path("k").write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert read_whole("k", 32) is None
    assert read_whole("missing", 32) is None


def started() -> Slots:
    slots = Slots()
    slots.load()
    slots.choose()
    return slots


def test_three_failed_starts_and_the_other_slot_takes_over() -> None:
    slots = started()
    slots.confirm(1)
    slots.install(2)
    assert [started().active for _ in range(FAILED_BOOTS_MAX + 1)] == [1, 1, 1, 0]
    slots = started()
    assert slots.flags & FELL_BACK_FLAG and not slots.other
    for _ in range(10):
        assert started().active == 0, "there is nothing else to fall back to"


def test_a_confirmed_start_ends_the_trial_and_raises_the_floor() -> None:
    slots = started()
    slots.confirm(5)
    slots.install(6)
    slots = started()
    assert slots.trial and slots.floor == 5
    slots.confirm(6)
    assert (started().trial, started().floor) == (0, 6)


def test_a_slot_file_damaged_anywhere_starts_a_slot_that_holds_firmware(tmp_path: Path) -> None:
    (tmp_path / "b" / "firmware").mkdir(parents=True)
    (tmp_path / "b" / "firmware" / "x.mpy").write_bytes(b"x")
    slots = started()
    assert slots.active == 1, "only b holds firmware"
    data = Path("slots.dat").read_bytes()
    for place in range(len(data)):
        Path("slots.dat").write_bytes(data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
        assert started().active == 1


def test_hmac_is_the_published_one() -> None:
    """RFC 4231, test cases 1 and 2."""
    assert hmac_sha256(b"\x0b" * 20, b"Hi There").hex().startswith("b0344c61d8db38535ca8afceaf0bf12b")
    assert hmac_sha256(b"Jefe", b"what do ya want for nothing?").hex().startswith("5bdcc146bf60754e6a042426089575c7")
    assert same(b"ab", b"ab") and not same(b"ab", b"ac") and not same(b"ab", b"abc")


def sent(update: Update, content: bytes, version: int, block: int = 100) -> int:
    result = update.begin(len(content), version, hashlib.sha256(content).digest(), update_mac(KEY, content, version))
    for offset in range(0, len(content) if result == words.OK else 0, block):
        assert update.block(offset, content[offset : offset + block]) == words.OK
    return result or update.end(lambda: None)


IMAGE = Image(7, {"a.mpy": b"M" * 300, "b.mpy": b"", "c.mpy": b"\x00" * 257}, {})


def test_an_image_is_unpacked_as_it_was_built_and_starts_next() -> None:
    write_whole("device.key", KEY)
    assert sent(Update(started()), IMAGE.content, 7) == words.OK
    assert {path.name: path.read_bytes() for path in Path("b/firmware").iterdir()} == IMAGE.modules
    assert started().active == 1 and not Path("update.part").exists()


def test_a_switch_that_flash_does_not_take_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole("device.key", KEY)
    slots = started()
    slots.confirm(5)
    update, saves = Update(slots), list[int]()

    def save_once(self: Slots) -> None:
        saves.append(self.active)
        if len(saves) == 2:  # the other slot is given up first, then comes the switch
            raise OSError(28)
        real(self)

    real = Slots.save
    with monkeypatch.context() as full:
        full.setattr(Slots, "save", save_once)
        assert sent(update, IMAGE.content, 7) == words.FLASH_FAILED
    assert saves == [0, 1]
    slots.confirm(5)
    assert (started().active, started().version) == (0, 5)


def test_blocks_out_of_order_repeated_or_beyond_the_end_do_no_harm() -> None:
    write_whole("device.key", KEY)
    update, content = Update(started()), IMAGE.content
    assert update.block(0, b"x") == words.OUT_OF_ORDER
    assert update.end(lambda: None) == words.OUT_OF_ORDER
    update.begin(len(content), 7, hashlib.sha256(content).digest(), update_mac(KEY, content, 7))
    assert update.block(10, content[10:20]) == words.OUT_OF_ORDER
    for offset in (0, 0, 30, 50, 20):
        assert update.block(offset, content[offset : offset + 50]) == words.OK
    assert update.written == 100
    assert update.block(100, bytes(len(content))) == words.OUT_OF_ORDER
    assert update.block(100, content[100:]) == words.OK
    assert update.end(lambda: None) == words.OK


@pytest.mark.parametrize(
    "content",
    [
        b"RKFW" + struct.pack("<IB", 7, 1) + struct.pack("<BI", 9, 1) + b"../x.mpyz",
        b"RKFW" + struct.pack("<IB", 7, 1) + struct.pack("<BI", 8, 1) + b"../x.mpy",
        b"RKFW" + struct.pack("<IB", 7, 1) + struct.pack("<BI", 4, 1) + b".mpy",
        b"RKFW" + struct.pack("<IB", 7, 2) + struct.pack("<BI", 5, 2) + b"a.mpyxx",
        b"RKFW" + struct.pack("<IB", 7, 1) + struct.pack("<BI", 5, 99) + b"a.mpyxx",
        b"RKFW" + struct.pack("<IB", 8, 0),
        b"RKFW" + struct.pack("<IB", 7, 200),
        IMAGE.content + b"\x00",
        b"RK",
    ],
)
def test_an_image_that_is_none_is_refused_and_the_running_slot_stays(content: bytes) -> None:
    """Even from who holds the key: a wrong build must not make a board that starts nothing."""
    write_whole("device.key", KEY)
    assert sent(Update(started()), content, 7) == words.BAD_IMAGE
    assert started().active == 0
    assert not Path("x.mpy").exists()


def test_without_a_key_with_a_wrong_one_or_an_older_version_nothing_begins() -> None:
    assert sent(Update(started()), IMAGE.content, 7) == words.NO_KEY
    write_whole("device.key", bytes(32))
    assert sent(Update(started()), IMAGE.content, 7) == words.NOT_GENUINE
    write_whole("device.key", KEY)
    slots = started()
    slots.confirm(8)
    assert sent(Update(slots), IMAGE.content, 7) == words.TOO_OLD
