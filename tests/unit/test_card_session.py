"""Reader and card agree on a session only when both know the card's key, and every change on the way is noticed."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.apdu import Command, Response, parse_command, parse_response, parse_tlvs, tlv
from contract.card_keys import CardRole, SoftSam, card_keys, role_key_file, role_master
from contract.card_session import KeyPair, SecureMessaging, answer_handshake
from contract.errors import RekamError, RemoteError

MASTER = bytes(range(32))
UID = bytes.fromhex("04A1B2C3D4E5F6")
SEED = random.Random(7)
KEYS = KeyPair(bytes(16), bytes(range(16)))


def meet(role=CardRole.READER, uid_of_card=UID, role_of_card=None):
    """A handshake between a reader and a card: (reader's session, card's session)."""
    sam = SoftSam.load(MASTER, SEED.randbytes)
    challenge = SEED.randbytes(16)
    handshake = sam.authenticate(role, UID, challenge)
    keys = card_keys(role_master(MASTER, role_of_card or role), uid_of_card)
    answered = answer_handshake(keys, challenge, handshake.token, SEED.randbytes(32))
    if answered is None:
        return None
    answer, card = answered
    return handshake.finish(answer), card


def test_both_sides_speak_after_the_handshake():
    reader, card = meet()
    for number in range(3):
        command = Command(0, 0xB0, 0, number, b"", 200)
        assert card.unwrap_command(parse_command(reader.wrap_command(command))) == command
        answer = Response(bytes((number,)) * 100, 0x9000)
        assert reader.unwrap_response(card.wrap_response(answer)) == answer


def test_a_card_refuses_keys_of_another_uid_or_role():
    assert meet(uid_of_card=b"\x04" + bytes(6)) is None
    assert meet(CardRole.READER, role_of_card=CardRole.PERSONALISER) is None


def test_a_card_that_does_not_know_its_key_is_not_genuine():
    sam = SoftSam.load(MASTER, SEED.randbytes)
    handshake = sam.authenticate(CardRole.READER, UID, bytes(16))
    for answer in (b"", handshake.token, SEED.randbytes(80)):
        with pytest.raises(RemoteError, match="not a genuine card"):
            handshake.finish(answer)


def test_a_desk_that_only_reads_cannot_write():
    desk = SoftSam.load(role_key_file(MASTER, CardRole.READER), SEED.randbytes)
    assert desk.authenticate(CardRole.READER, UID, bytes(16)).token
    with pytest.raises(RekamError, match="no personaliser key"):
        desk.authenticate(CardRole.PERSONALISER, UID, bytes(16))


def test_both_key_files_lead_to_the_same_card_keys():
    master = SoftSam.load(MASTER, bytes)
    desk = SoftSam.load(role_key_file(MASTER, CardRole.READER), bytes)
    assert (
        master.authenticate(CardRole.READER, UID, bytes(16)).token
        == desk.authenticate(CardRole.READER, UID, bytes(16)).token
    )


@pytest.mark.parametrize("key_file", [b"", bytes(31), b"\x09" + bytes(32), bytes(64)])
def test_a_wrong_key_file_is_named(key_file):
    with pytest.raises(RekamError, match="SAM key file"):
        SoftSam.load(key_file)


def test_a_repeated_command_ends_the_session():
    reader, card = meet()
    wrapped = parse_command(reader.wrap_command(Command(0, 0xD6, 0, 0, b"data")))
    card.unwrap_command(wrapped)
    card.wrap_response(Response(b"", 0x9000))
    with pytest.raises(RemoteError):
        card.unwrap_command(wrapped)
    assert not card.alive


@pytest.mark.parametrize("objects", ["", "85021122", "8702011187020111", "970110870201FF", "99029000970110"])
def test_objects_of_another_kind_or_order_end_the_session(objects):
    octets = bytes.fromhex(objects) + tlv(0x8E, bytes(8))
    for octets_sent in (octets, octets + octets):
        with pytest.raises(RemoteError):
            SecureMessaging(KEYS).unwrap_command(Command(0x0C, 0xB0, 0, 0, octets_sent, 256))
        with pytest.raises(RemoteError):
            SecureMessaging(KEYS).unwrap_response(Response(octets_sent, 0x9000))


@given(st.integers(0, 200), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_any_changed_byte_of_a_command_is_noticed(place, change):
    wrapped = bytearray(SecureMessaging(KEYS).wrap_command(Command(0, 0xD6, 1, 2, bytes(180))))
    place %= len(wrapped) - 1  # the last byte is Le, which carries nothing
    wrapped[place] ^= change
    try:
        command = parse_command(bytes(wrapped))
    except RemoteError:
        return
    with pytest.raises(RemoteError):
        SecureMessaging(KEYS).unwrap_command(command)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_garbage_gives_a_remote_error_only(octets):
    for parse in (parse_command, parse_response, parse_tlvs):
        try:
            parse(octets)
        except RemoteError:
            pass
    with pytest.raises(RemoteError):
        SecureMessaging(KEYS).unwrap_response(Response(octets, 0x9000))
    with pytest.raises(RemoteError):
        SecureMessaging(KEYS).unwrap_command(Command(0x0C, 0xB0, 0, 0, octets, 256))


@given(st.binary(max_size=400), st.integers(0, 65536), st.booleans(), st.tuples(*[st.integers(0, 255)] * 4))
@settings(max_examples=150, deadline=None)
def test_every_command_survives_its_encoding(data, le, extended, header):
    command = Command(*header, data, le)
    assert parse_command(command.encode(extended=extended)) == command


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=400)), max_size=6))
@settings(max_examples=60, deadline=None)
def test_data_objects_survive_their_encoding(objects):
    assert parse_tlvs(b"".join(tlv(tag, value) for tag, value in objects)) == objects
