"""A chip that was made on 2026-11-22, byte for byte: cards in pockets must stay readable whatever the code becomes."""

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contract.chip_file import build_chip, verify_chip
from contract.chip_layout import ChipFile, chip_files
from contract.sample import FingerPosition
from contract.seal import load_public_key
from tests.unit.test_chip_file import BIODATA, CAPTURE_ID

CARD = {
    ChipFile.BIODATA: (
        "b0636e696b70393930313031343530363930303030316373657869504552454d5055414e646e616d65781c5349544920"
        "4e555248414c495a412042494e5449205441525544494e6572745f7277673030332f3030346761646472657373724a4c"
        "2e204b454e414e4741204e4f2e20313267726567656e63796e4b414255504154454e20424152556776696c6c61676568"
        "53554b414d414a55686469737472696374674349424f4441536870726f76696e63656d50524f56494e53492042415255"
        "6872656c6967696f6e6549534c414d6a62697274685f646174656a313939302d30362d30356a626c6f6f645f74797065"
        "614f6a6f636375706174696f6e64475552556b62697274685f706c6163656a54454d414e4747554e476b6e6174696f6e"
        "616c69747963574e496e6d61726974616c5f737461747573654b4157494e"
    ),
    ChipFile.PHOTO: "70686f746f",
    ChipFile.FINGER1: "02000102030405",
    ChipFile.ATTESTATION_KEY: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    ChipFile.SIGNATURE: "7369676e6174757265",
    ChipFile.SECURITY_OBJECT: (
        "01a5d2844ba201260446697373756572a0590151a56566696c6573a619010158201829e68b5900a378d0595b4900a263"
        "8f120e2e7bfdaeefb69caf29f98d5f3626190102582055c64d0fcd6f9d5f7c828093857e3fdfda68478bb4e9bd24d481"
        "ef391c7804e8190103582062a98c31c4b98da60f3f1e106d109f2424355aacfb9f376fd54a6c2d32b3c29e1901055820"
        "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd19010758201a2fc26dc7ea5a2a4748b7"
        "cb2b1ef193d96ab2c99f93092f69e63075b28d127819011e58200301aeb058abd301f7aabb6352295896b0ba5daed668"
        "0c104186e4b1f0dad5206776657273696f6e01696973737565645f6f6e6a323032362d31312d32326a63617074757265"
        "5f6964782430313839303030302d303030302d373030302d383030302d3030303030303030303030316b636172645f6e"
        "756d6265726f393930312d303030303030303030315840e9e7f388fcdb1a23896ecc0dadb835202a4f9a81996ef0bf5c"
        "6cf5fcb6cae10846b25c54b753adcfed52ed2591f981bbf3c164ada954cfb5862e8e6dbd3039ea"
    ),
    ChipFile.INDEX: (
        "524b4301050101013e010200050103000701050020010700090000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000"
    ),
}
ISSUER_POINT = "02d360332fad9bc83afaff4a740de8a516bf1b8fb3fde360ff1d03979c1f943ee2"
DIGEST = "a8c9e13d4781e423e03c1b15312929d04c60d827fe35d98ec56031cf2453eb84"


def card():
    return chip_files({int(file): bytes.fromhex(content) for file, content in CARD.items()})


def issuer():
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(ISSUER_POINT))
    return load_public_key(point.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "issuer")


def test_the_old_card_is_still_read_and_believed():
    data = verify_chip(card(), issuer())
    assert data.biodata == BIODATA
    assert (data.card_number, data.capture_id, data.issued_on) == ("9901-0000000001", CAPTURE_ID, "2026-11-22")
    assert [finger.position for finger in data.fingers] == [FingerPosition.RIGHT_INDEX]
    assert (data.photo, data.signature, data.attestation_key) == (b"photo", b"signature", bytes(range(32)))


def test_the_old_cards_digest_is_still_the_one_in_its_record():
    assert card().digest.hex() == DIGEST


def test_a_chip_built_today_has_the_same_bytes():
    data = verify_chip(card(), issuer())
    built = build_chip(data.biodata, data.photo, data.signature, data.fingers, data.attestation_key)
    signed = ChipFile.SECURITY_OBJECT
    assert built.contents == {file: content for file, content in card().contents.items() if file is not signed}
