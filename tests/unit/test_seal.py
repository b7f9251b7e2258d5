"""A sealed packet opens for its recipients and for nobody else, and no byte of it can be changed unseen."""

from __future__ import annotations

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cwt import COSE, COSEKey, Recipient
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.cbor_bounds import bound_items
from contract.errors import DeviceError, RemoteError
from contract.packet import PACKET_BYTES_MAX
from contract.seal import (
    SEALED_BYTES_MAX,
    UnknownSigner,
    WronglyAddressed,
    load_opening_key,
    load_recipient_key,
    load_signing_key,
    load_statement_key,
    lock,
    open_sealed,
    seal,
    sign_statement,
    unlock,
    verify_statement,
)
from tests.unit.transfer_keys import (
    DESK,
    HUB,
    OTHER_STATEMENT_KEY,
    RECOVERY,
    STATEMENT_KEY,
    STATEMENT_PUBLIC,
    STRANGER,
    find_signer,
    private_pem,
    public_pem,
)

PAYLOAD = b"one resident's capture" * 20
SEALED = seal(PAYLOAD, DESK.signing, [HUB.recipient, RECOVERY.recipient])


@pytest.mark.parametrize("party", [HUB, RECOVERY])
def test_hub_and_recovery_key_both_open_a_packet(party):
    opened = open_sealed(SEALED, party.opening, find_signer)
    assert (opened.payload, opened.signer) == (PAYLOAD, "desk-a1")


def test_nothing_of_the_payload_or_the_signer_is_readable_in_the_sealed_bytes():
    assert PAYLOAD[:12] not in SEALED
    assert b"desk-a1" not in SEALED


def test_two_seals_of_one_capture_are_different_packets():
    assert seal(PAYLOAD, DESK.signing, [HUB.recipient]) != seal(PAYLOAD, DESK.signing, [HUB.recipient])


def test_a_packet_for_somebody_else_does_not_open():
    with pytest.raises(WronglyAddressed):
        open_sealed(SEALED, STRANGER.opening, find_signer)


def test_a_packet_for_our_name_but_another_key_does_not_open():
    impostor = load_opening_key(private_pem(STRANGER.key), "hub")
    with pytest.raises(RemoteError):
        open_sealed(SEALED, impostor, find_signer)


def test_a_packet_of_an_unknown_unit_says_who_claims_to_have_signed_it():
    sealed = seal(PAYLOAD, STRANGER.signing, [HUB.recipient])
    with pytest.raises(UnknownSigner) as caught:
        open_sealed(sealed, HUB.opening, find_signer)
    assert caught.value.signer == "stranger"


def test_a_packet_signed_with_another_key_under_a_known_name_is_refused():
    forged = load_signing_key(private_pem(STRANGER.key), "desk-a1")
    with pytest.raises(RemoteError, match="signature"):
        open_sealed(seal(PAYLOAD, forged, [HUB.recipient]), HUB.opening, find_signer)


def test_a_recipient_cannot_pass_a_packet_on_as_addressed_to_somebody_else():
    opened_by_recovery = COSE.new().decode(SEALED, RECOVERY.opening.cose, context={"alg": "A256KW"})
    wrap = Recipient.new(
        protected={1: -31},
        unprotected={4: b"stranger"},
        recipient_key=STRANGER.recipient.cose,
        context={"alg": "A256KW"},
    )
    passed_on = COSE.new().encode_and_encrypt(
        opened_by_recovery,
        COSEKey.generate_symmetric_key(alg="A256GCM"),
        protected={1: 3},
        unprotected={5: bytes(12)},
        recipients=[wrap],
    )
    with pytest.raises(RemoteError, match="signature"):
        open_sealed(passed_on, STRANGER.opening, find_signer)


@given(st.integers(0, len(SEALED) * 8 - 1))
@settings(max_examples=200, deadline=None)
def test_a_single_flipped_bit_anywhere_is_refused(bit):
    flipped = bytearray(SEALED)
    flipped[bit // 8] ^= 1 << (bit % 8)
    try:
        opened = open_sealed(bytes(flipped), HUB.opening, find_signer)
    except RemoteError:
        return
    # Only bits that concern the other recipient's wrapped key leave our own reading untouched.
    assert opened.payload == PAYLOAD
    assert bit // 8 > len(SEALED) - 150


@given(st.integers(0, len(SEALED) - 1))
@settings(max_examples=60, deadline=None)
def test_a_truncated_packet_is_refused(length):
    with pytest.raises(RemoteError):
        open_sealed(SEALED[:length], HUB.opening, find_signer)


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_garbage_is_refused_and_nothing_else_happens(garbage):
    for prefix in (b"", SEALED[:20], b"\xd8\x60\x84", b"\xd2\x84"):
        with pytest.raises(RemoteError):
            open_sealed(prefix + garbage, HUB.opening, find_signer)
        with pytest.raises(RemoteError):
            verify_statement(prefix + garbage, STATEMENT_PUBLIC, "receipt")


def test_bytes_behind_the_packet_are_refused_because_they_would_make_another_pid():
    with pytest.raises(RemoteError, match="behind"):
        open_sealed(SEALED + b"\x00", HUB.opening, find_signer)


def test_an_oversized_packet_is_refused_before_it_is_decoded():
    with pytest.raises(RemoteError, match="more than"):
        open_sealed(bytes(SEALED_BYTES_MAX + 1), HUB.opening, find_signer)
    with pytest.raises(RemoteError, match="more than"):
        seal(bytes(PACKET_BYTES_MAX + 1), DESK.signing, [HUB.recipient])


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xd8\x60\x84" + b"\x81" * 100_000,  # nesting
        b"\xd8\x60\x84\x9a\x00\x10\x00\x00" + b"\x80" * 0x100000,  # a million empty lists
        b"\xd8\x60\x84\x9f\xff\xff\xff\xff",  # indefinite lengths
        cbor2.dumps(cbor2.CBORTag(96, [b"", {}, b"", cbor2.CBORTag(35, "(a+)+$")])),  # a regular expression
        cbor2.dumps(cbor2.CBORTag(96, [b"", {}, b"", []])),
        cbor2.dumps(cbor2.CBORTag(96, [b"", [], b"", 5])),
        cbor2.dumps(cbor2.CBORTag(16, [b"", {}, b""])),
        cbor2.dumps([b"", {}, b"", []]),
    ],
)
def test_hostile_cbor_costs_nothing_and_is_refused(hostile):
    with pytest.raises(RemoteError):
        open_sealed(hostile, HUB.opening, find_signer)


_WORD = st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=8) | st.text(max_size=8)


@given(st.lists(st.lists(_WORD, max_size=4) | st.dictionaries(st.text(max_size=3), _WORD, max_size=3), max_size=4))
@settings(max_examples=60, deadline=None)
def test_honest_cbor_within_its_bounds_passes_the_look_over(value):
    bound_items(cbor2.dumps(value), items_max=200, nesting_max=3)


def test_a_statement_is_good_for_its_purpose_and_no_other():
    signed = sign_statement(b"kept", STATEMENT_KEY, "receipt")
    assert verify_statement(signed, STATEMENT_PUBLIC, "receipt") == b"kept"
    with pytest.raises(RemoteError):
        verify_statement(signed, STATEMENT_PUBLIC, "checkpoint")


def test_a_statement_by_another_key_is_refused():
    with pytest.raises(RemoteError):
        verify_statement(sign_statement(b"kept", OTHER_STATEMENT_KEY, "receipt"), STATEMENT_PUBLIC, "receipt")


def test_locked_bytes_open_only_with_their_key_and_in_their_place():
    locked = lock(b"9900000000000001", bytes(32), b"row 1")
    assert b"9900000000000001" not in locked
    assert unlock(locked, bytes(32), b"row 1") == b"9900000000000001"
    for key, place, content in (
        (bytes([1] * 32), b"row 1", locked),
        (bytes(32), b"row 2", locked),
        (bytes(32), b"row 1", locked[:-1]),
        (bytes(32), b"row 1", b"\x02" + locked[1:]),
        (bytes(32), b"row 1", b""),
    ):
        with pytest.raises(RemoteError):
            unlock(content, key, place)


@pytest.mark.parametrize(
    "load",
    [
        lambda: load_signing_key(b"no key", "desk-a1"),
        lambda: load_signing_key(private_pem(ed25519.Ed25519PrivateKey.generate()), "desk-a1"),
        lambda: load_signing_key(private_pem(ec.generate_private_key(ec.SECP384R1())), "desk-a1"),
        lambda: load_statement_key(private_pem(ec.generate_private_key(ec.SECP256R1()))),
        lambda: load_recipient_key(public_pem(ed25519.Ed25519PrivateKey.generate()), "hub"),
        lambda: load_recipient_key(b"\x30\x03\x02\x01\x00", "hub"),
        lambda: load_signing_key(private_pem(DESK.key), ""),
        lambda: lock(b"", b"short", b""),
    ],
)
def test_a_wrong_key_file_is_for_the_technician(load):
    with pytest.raises(DeviceError) as caught:
        load()
    assert caught.value.next_step


def test_a_key_does_not_show_itself_in_a_log():
    assert "cose" not in repr(DESK.signing)
    assert repr(DESK.signing) == "SigningKey(kid='desk-a1')"
