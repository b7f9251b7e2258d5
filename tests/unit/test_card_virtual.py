"""The virtual card keeps the card's rules, and edge's access code works on it command by command."""

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.apdu import Command, Status, parse_response
from contract.card_keys import CardRole, SoftSam, role_key_file
from contract.chip_layout import BUDGET, ChipFile
from contract.errors import CaptureRetry, DeviceError, RekamError, RemoteError
from edge.card_access import differences, open_card, read_card
from tests.unit.test_chip_file import BIODATA, ISSUER_PUBLIC, key_pair, signed
from virtual.card import AUTHENTICATION_ATTEMPTS_MAX, VirtualCard
from virtual.card_box import CardBox
from virtual.card_slot import Slot

MASTER = bytes(range(32))
SAM = SoftSam.load(MASTER)
FILES = signed()


class SlotChannel:
    """A CardChannel that hands APDUs to a slot in this process."""

    def __init__(self, slot):
        self.slot = slot
        self.uid = slot.uid

    def transmit(self, apdu):
        answer = self.slot.exchange(apdu)
        if answer is None:
            raise CaptureRetry("gone")
        response = parse_response(answer)
        return response.data, response.status

    def close(self):
        self.slot.exchange(b"\x00")


@pytest.fixture
def slot(tmp_path):
    box = CardBox(tmp_path)
    box.add_blanks(2, MASTER, 1)
    slot = Slot(box, random.Random(3).randbytes)
    slot.insert()
    return slot


@pytest.mark.parametrize("extended", [False, True])
def test_a_chip_is_written_read_back_and_closed(slot, extended):
    seen = []
    access = open_card(SlotChannel(slot), SAM, CardRole.PERSONALISER, extended=extended)
    access.write_files(FILES, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (FILES.size_bytes, FILES.size_bytes)
    assert access.read_files().files == FILES
    access.activate()
    assert access.is_activated()
    found = read_card(SlotChannel(slot), SAM, extended=extended)
    assert found.uid == slot.uid
    assert found.verified(ISSUER_PUBLIC).biodata == BIODATA
    assert differences(FILES.contents, found.files.contents) == ()


def test_no_short_command_needs_extended_length(slot):
    channel = SlotChannel(slot)
    longest = []
    inner = channel.transmit
    channel.transmit = lambda apdu: (longest.append(len(apdu)), inner(apdu))[1]
    open_card(channel, SAM, CardRole.PERSONALISER).write_files(FILES)
    assert max(longest) <= 4 + 1 + 255 + 1


def test_a_closed_card_is_never_written_again(slot):
    access = open_card(SlotChannel(slot), SAM, CardRole.PERSONALISER)
    access.write_files(FILES)
    access.activate()
    with pytest.raises(DeviceError, match="6982") as caught:
        open_card(SlotChannel(slot), SAM, CardRole.PERSONALISER).write_files(FILES)
    assert "spoiled" in caught.value.next_step


def test_a_reader_cannot_write(slot):
    with pytest.raises(DeviceError, match="6982"):
        open_card(SlotChannel(slot), SAM, CardRole.READER).write_files(FILES)
    with pytest.raises(DeviceError, match="6982"):
        open_card(SlotChannel(slot), SAM, CardRole.READER).activate()


def test_nothing_is_read_without_a_session(slot):
    channel = SlotChannel(slot)
    open_card(channel, SAM, CardRole.PERSONALISER).write_files(FILES)
    select = Command(0, 0xA4, 0x04, 0x0C, bytes.fromhex("F0524B544B5450454C01"))
    assert channel.transmit(select.encode()) == (b"", Status.SUCCESS)
    for command in (
        Command(0, 0xB0, 0, 0, b"", 16),
        Command(0, 0xA4, 2, 0x0C, b"\x01\x01"),
        Command(0, 0xD6, 0, 0, b"x"),
    ):
        assert channel.transmit(command.encode()) == (b"", Status.SECURITY_NOT_SATISFIED)
    assert channel.transmit(Command(0x0C, 0xB0, 0, 0, b"\x97\x01\x10", 256).encode())[1] == Status.SM_OBJECT_MISSING


def test_a_wrong_key_is_refused_and_at_last_blocks(slot):
    other = SoftSam.load(bytes(32))
    for _ in range(AUTHENTICATION_ATTEMPTS_MAX):
        with pytest.raises(RemoteError, match="another issuer"):
            open_card(SlotChannel(slot), other, CardRole.READER)
    with pytest.raises(RemoteError, match="blocked"):
        open_card(SlotChannel(slot), SAM, CardRole.READER)


def test_a_desk_with_the_readers_key_reads(slot):
    open_card(SlotChannel(slot), SAM, CardRole.PERSONALISER).write_files(FILES)
    desk = SoftSam.load(role_key_file(MASTER, CardRole.READER))
    assert read_card(SlotChannel(slot), desk).files == FILES


def test_a_blank_and_a_stranger_say_what_they_are(slot):
    with pytest.raises(RemoteError, match="blank"):
        read_card(SlotChannel(slot), SAM)
    _, stranger = key_pair("issuer")
    open_card(SlotChannel(slot), SAM, CardRole.PERSONALISER).write_files(FILES)
    with pytest.raises(RemoteError, match="signature"):
        read_card(SlotChannel(slot), SAM).verified(stranger)


@pytest.mark.parametrize("apdus", range(0, 33, 4))
def test_a_card_removed_in_mid_write_never_looks_whole_and_can_be_written_again(slot, apdus):
    uid = slot.uid
    slot.remove_after(apdus)
    with pytest.raises(CaptureRetry):
        open_card(SlotChannel(slot), SAM, CardRole.PERSONALISER).write_files(FILES)
    assert slot.uid == ""
    slot.insert(uid)
    with pytest.raises(RemoteError):
        read_card(SlotChannel(slot), SAM).verified(ISSUER_PUBLIC)
    open_card(SlotChannel(slot), SAM, CardRole.PERSONALISER).write_files(FILES)
    assert read_card(SlotChannel(slot), SAM).verified(ISSUER_PUBLIC).card_number == "9901-0000001"


def test_a_card_keeps_its_memory_between_readers_and_lies_on_one_only(tmp_path):
    box = CardBox(tmp_path)
    first, _ = box.add_blanks(2, MASTER, 5)
    station, desk = Slot(CardBox(tmp_path)), Slot(CardBox(tmp_path))
    station.insert(first)
    open_card(SlotChannel(station), SAM, CardRole.PERSONALISER).write_files(FILES)
    with pytest.raises(RemoteError, match="another reader"):
        desk.insert(first)
    station.remove()
    desk.insert(first)
    assert read_card(SlotChannel(desk), SAM).files == FILES
    assert box.blanks() == [uid for uid in box.uids() if uid != first]


def test_power_takes_the_session_away(slot):
    channel = SlotChannel(slot)
    access = open_card(channel, SAM, CardRole.READER)
    channel.close()
    with pytest.raises(RemoteError):
        access.is_activated()


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_get_an_answer_and_change_nothing(apdu):
    card = VirtualCard(CardBoxMemory.fresh(), random.Random(1).randbytes)
    answer = parse_response(card.process(apdu))
    assert answer.status in tuple(Status)
    assert card.memory.is_blank


class CardBoxMemory:
    """Memories without a disk."""

    @staticmethod
    def fresh():
        from contract.card_keys import card_keys, role_master
        from virtual.card import CardMemory

        uid = bytes(7)
        return CardMemory(uid, {role: card_keys(role_master(MASTER, role), uid) for role in CardRole})


class HostileChannel:
    """A card that answers as it likes, from the first byte or after a proper handshake."""

    uid = "04AABBCCDDEEFF"

    def __init__(self, answers, slot=None, honest=0):
        self.answers, self.slot, self.honest = list(answers), slot, honest
        if slot is not None:
            self.uid = slot.uid

    def transmit(self, apdu):
        if self.honest:
            self.honest -= 1
            return SlotChannel(self.slot).transmit(apdu)
        return self.answers.pop(0) if self.answers else (b"", 0x9000)

    def close(self):
        pass


@given(
    st.lists(st.tuples(st.binary(max_size=90), st.sampled_from([0x9000, 0x6982, 0x6A82, 0x6283, 0])), max_size=8),
    st.integers(0, 12),
)
@settings(max_examples=80, deadline=None)
def test_a_hostile_card_gets_an_error_with_a_next_step_and_nothing_else(answers, honest):
    with tempfile.TemporaryDirectory() as folder:
        box = CardBox(Path(folder))
        box.add_blanks(1, MASTER, 1)
        slot = Slot(box)
        slot.insert()
        try:
            read_card(HostileChannel(answers, slot, honest), SAM)
        except RekamError as error:
            assert error.next_step


def test_the_card_has_the_files_of_the_budget_and_no_others():
    assert {file: len(content) for file, content in CardBoxMemory.fresh().files.items()} == dict(BUDGET)
    assert ChipFile.PHOTO in BUDGET
