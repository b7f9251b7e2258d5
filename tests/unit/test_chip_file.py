"""The chip's files: they fit the card, only the issuer's are believed, and hostile bytes give a RemoteError only."""

import dataclasses
import re

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

import contract.chip_layout as layout
from contract.chip_file import ChipFinger, build_chip, sign_chip, verify_chip
from contract.chip_layout import BUDGET, ChipFile, ChipFiles, chip_files, decode_index, encode_index
from contract.errors import RekamError, RemoteError
from contract.packet import Biodata
from contract.sample import FingerPosition
from contract.seal import load_public_key, load_signing_key

BIODATA = Biodata(
    nik="9901014506900001", name="SITI NURHALIZA BINTI TARUDIN", birth_place="TEMANGGUNG", birth_date="1990-06-05",
    sex="PEREMPUAN", blood_type="O", address="JL. KENANGA NO. 12", rt_rw="003/004", village="SUKAMAJU",
    district="CIBODAS", regency="KABUPATEN BARU", province="PROVINSI BARU", religion="ISLAM",
    marital_status="KAWIN", occupation="GURU", nationality="WNI",
)  # fmt: skip
CAPTURE_ID = "01890000-0000-7000-8000-000000000001"


def key_pair(kid="issuer"):
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return load_signing_key(pem, kid), load_public_key(public, kid)


ISSUER, ISSUER_PUBLIC = key_pair()
FINGERS = (ChipFinger(FingerPosition.RIGHT_INDEX, b"\x41\x42\x43" * 50), ChipFinger(FingerPosition.LEFT_INDEX, b"abc"))


def built(fingers=FINGERS):
    return build_chip(BIODATA, b"jpeg 2000" * 300, b"png" * 100, fingers, bytes(range(32)))


def signed(fingers=FINGERS):
    return sign_chip(built(fingers), ISSUER, card_number="9901-0000001", capture_id=CAPTURE_ID, issued_on="2026-11-22")


def test_the_budget_fills_8_kb_and_the_table_in_the_docstring_says_the_same():
    assert sum(BUDGET.values()) + layout.CARD_SOFTWARE_BYTES + layout.SPARE_BYTES == layout.EEPROM_BYTES
    rows = re.findall(r"\| \S+ +\| ([0-9A-F]{4}) \| +(\d+) \|", layout.__doc__)
    assert {int(file, 16): int(count) for file, count in rows} == {int(file): count for file, count in BUDGET.items()}
    assert re.search(rf"\| spare .* {layout.SPARE_BYTES} \|", layout.__doc__)
    assert re.search(rf"\| card software .* {layout.CARD_SOFTWARE_BYTES} \|", layout.__doc__)


def test_what_the_hub_signed_is_what_a_reader_finds():
    found = verify_chip(signed(), ISSUER_PUBLIC)
    assert found.biodata == BIODATA
    assert found.fingers == FINGERS
    assert (found.card_number, found.capture_id, found.issued_on) == ("9901-0000001", CAPTURE_ID, "2026-11-22")
    assert found.attestation_key == bytes(range(32))


def test_a_resident_without_usable_fingers_still_gets_a_chip():
    assert verify_chip(signed(()), ISSUER_PUBLIC).fingers == ()


def test_the_files_survive_their_way_through_a_print_job():
    files = signed()
    assert chip_files(files.by_id) == files
    assert chip_files(files.by_id).digest == files.digest


def test_a_chip_of_another_issuer_is_refused_even_under_the_same_name():
    _, other = key_pair("issuer")
    with pytest.raises(RemoteError, match="signature on the chip is wrong") as caught:
        verify_chip(signed(), other)
    assert "section head" in caught.value.next_step
    _, stranger = key_pair("somebody")
    with pytest.raises(RemoteError, match="not signed by the issuer 'somebody'"):
        verify_chip(signed(), stranger)


@pytest.mark.parametrize("file", sorted(BUDGET))
def test_one_changed_bit_in_any_file_is_noticed(file):
    contents = dict(signed().contents)
    contents[file] = contents[file][:-1] + bytes((contents[file][-1] ^ 1,))
    with pytest.raises(RemoteError):
        verify_chip(ChipFiles(contents), ISSUER_PUBLIC)


@pytest.mark.parametrize("file", sorted(BUDGET))
def test_a_missing_file_is_noticed(file):
    contents = {other: content for other, content in signed().contents.items() if other is not file}
    with pytest.raises(RemoteError):
        verify_chip(ChipFiles(contents), ISSUER_PUBLIC)


def test_files_of_two_cards_cannot_be_mixed():
    mine, theirs = signed(), sign_chip(
        build_chip(BIODATA.model_copy(update={"name": "ORANG LAIN"}), b"x", b"y", (), bytes(32)),
        ISSUER, card_number="2", capture_id=CAPTURE_ID, issued_on="2026-11-22",
    )  # fmt: skip
    mixed = ChipFiles({**mine.contents, ChipFile.PHOTO: theirs.contents[ChipFile.PHOTO]})
    with pytest.raises(RemoteError, match="PHOTO was altered"):
        verify_chip(mixed, ISSUER_PUBLIC)


def test_what_does_not_fit_is_named_when_the_chip_is_built():
    with pytest.raises(RekamError, match="PHOTO has 3585 bytes"):
        build_chip(BIODATA, bytes(3585), b"s", (), bytes(32))
    with pytest.raises(RekamError, match="FINGER1 has 513 bytes"):
        build_chip(BIODATA, b"p", b"s", (ChipFinger(FingerPosition.RIGHT_INDEX, bytes(512)),), bytes(32))
    long = dict.fromkeys(("name", "address", "village", "district", "regency", "province", "occupation"), "X" * 200)
    with pytest.raises(RekamError, match="BIODATA") as caught:
        build_chip(BIODATA.model_copy(update=long), b"p", b"s", (), bytes(32))
    assert "register" in caught.value.next_step
    with pytest.raises(RekamError, match="2 fingers"):
        build_chip(BIODATA, b"p", b"s", FINGERS * 2, bytes(32))
    with pytest.raises(RekamError, match="attestation"):
        build_chip(BIODATA, b"p", b"s", (), b"short")


def test_ordinary_long_names_fit():
    longest = {
        "name": "X" * 100,
        "address": "Y" * 150,
        "village": "Z" * 60,
        "occupation": "W" * 60,
        "regency": "R" * 60,
    }
    assert build_chip(BIODATA.model_copy(update=longest), b"p", b"s", (), bytes(32))


def test_the_digest_depends_on_every_byte_and_on_the_division_into_files():
    files = signed()
    moved = dict(files.contents)
    moved[ChipFile.FINGER1], moved[ChipFile.FINGER2] = moved[ChipFile.FINGER2], moved[ChipFile.FINGER1]
    assert ChipFiles(moved).digest != files.digest


def test_printing_chip_data_shows_nobody():
    data = verify_chip(signed(), ISSUER_PUBLIC)
    assert "SITI" not in repr(data)
    assert dataclasses.is_dataclass(data)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=600))
def test_garbage_as_security_object_gives_a_remote_error_only(garbage):
    contents = {**signed().contents, ChipFile.SECURITY_OBJECT: (len(garbage).to_bytes(2, "big") + garbage)[:512]}
    with pytest.raises(RemoteError):
        verify_chip(ChipFiles(contents), ISSUER_PUBLIC)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=70))
def test_garbage_as_index_gives_lengths_or_a_remote_error(garbage):
    octets = (b"RKC\x01" + garbage + bytes(64))[:64]
    try:
        lengths = decode_index(octets)
    except RemoteError:
        return
    assert encode_index(lengths) == octets
    assert all(count <= BUDGET[file] for file, count in lengths.items())
