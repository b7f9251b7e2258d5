"""What the chip says: the holder's data in files that the issuer has signed. The hub writes them, units read them.

`build_chip` lays the data into the files of contract.chip_layout, `sign_chip` adds the issuer's signature,
`verify_chip` takes the files that a reader found back to data and believes nothing before the signature is right:
the security object is a COSE_Sign1 (ES256, RFC 9052) over {file: SHA-256, …}, card number, capture id and date.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import cbor2
from pydantic import Field, ValidationError

from contract.cbor_bounds import bound_items
from contract.chip_layout import BUDGET, DATA_FILES, ChipFile, ChipFiles, chip_files, decode_index, encode_index
from contract.errors import RekamError, RemoteError
from contract.packet import Biodata, Digest, Model, Name, UuidText, refused
from contract.sample import FingerPosition
from contract.seal import PublicKey, SigningKey

ATTESTATION_KEY_BYTES = 32
FINGERS_MAX = 2

_ALGORITHM, _KEY_ID, _ES256, _TAG_SIGN1 = 1, 4, -7, 18
_CONTEXT = b"rekam chip 1"
_ITEMS_MAX = 60
_NESTING_MAX = 4
_NOT_GENUINE = "Keep the card back and hand it to the section head: it is not as the issuer made it."
_FINGER_FILES = (ChipFile.FINGER1, ChipFile.FINGER2)


@dataclass(frozen=True, slots=True)
class ChipFinger:
    """A finger on the chip. template: ISO/IEC 19794-2 card format, normal size (contract.finger_card)."""

    position: FingerPosition
    template: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChipData:
    """What a verified chip says. photo: JPEG 2000; signature: PNG; issued_on: ISO date; issuer: the signer's key id."""

    biodata: Biodata = field(repr=False)
    photo: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    fingers: tuple[ChipFinger, ...] = field(repr=False)
    attestation_key: bytes = field(repr=False)
    card_number: str
    capture_id: str
    issued_on: str
    issuer: str


class SecurityObject(Model):
    """What the issuer signs: whose card it is and the SHA-256 of every file but the security object itself."""

    version: Literal[1] = 1
    card_number: Name
    capture_id: UuidText
    issued_on: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    files: Annotated[dict[Annotated[int, Field(ge=0, le=0xFFFF)], Digest], Field(min_length=1, max_length=8)]


def build_chip(
    biodata: Biodata, photo: bytes, signature: bytes, fingers: Sequence[ChipFinger], attestation_key: bytes
) -> ChipFiles:
    """The data files and the index of one chip, not signed yet.

    photo: JPEG 2000 within its budget; signature: PNG; fingers: at most two, the first is compared first (M43).
    Raises RekamError, which names the file, where something does not fit.
    """
    if len(fingers) > FINGERS_MAX:
        raise RekamError(f"The chip has room for {FINGERS_MAX} fingers, not {len(fingers)}.")
    if len(attestation_key) != ATTESTATION_KEY_BYTES:
        raise RekamError(f"The attestation's key has {ATTESTATION_KEY_BYTES} bytes, not {len(attestation_key)}.")
    contents = {
        ChipFile.BIODATA: cbor2.dumps(biodata.model_dump(), canonical=True),
        ChipFile.PHOTO: photo,
        ChipFile.SIGNATURE: signature,
        ChipFile.ATTESTATION_KEY: attestation_key,
    }
    for file, finger in zip(_FINGER_FILES, fingers, strict=False):
        contents[file] = bytes((finger.position,)) + finger.template
    for file, content in contents.items():
        if not 0 < len(content) <= BUDGET[file]:
            raise RekamError(
                f"{file.name} has {len(content)} bytes, the chip has room for 1 to {BUDGET[file]}.",
                next_step=_TOO_LONG.get(file, "Encode it again, smaller."),
            )
    contents[ChipFile.INDEX] = encode_index({file: len(content) for file, content in contents.items()})
    return ChipFiles(contents)


_TOO_LONG = {ChipFile.BIODATA: "Have the register shorten the longest of name, address and place names."}


def sign_chip(files: ChipFiles, issuer: SigningKey, *, card_number: str, capture_id: str, issued_on: str) -> ChipFiles:
    """The files with the issuer's security object. issued_on: ISO date, as printed on the face."""
    statement = SecurityObject(
        card_number=card_number,
        capture_id=capture_id,
        issued_on=issued_on,
        files={
            int(file): hashlib.sha256(content).digest()
            for file, content in sorted(files.contents.items())
            if file is not ChipFile.SECURITY_OBJECT
        },
    )
    payload = cbor2.dumps(statement.model_dump(), canonical=True)
    protected = cbor2.dumps({_ALGORITHM: _ES256, _KEY_ID: issuer.kid.encode()}, canonical=True)
    signature = issuer.cose.sign(_to_be_signed(protected, payload))
    signed = cbor2.dumps(cbor2.CBORTag(_TAG_SIGN1, [protected, {}, payload, signature]))
    content = len(signed).to_bytes(2, "big") + signed
    if len(content) > BUDGET[ChipFile.SECURITY_OBJECT]:
        raise RekamError(f"The security object has {len(content)} bytes.", next_step="Use a shorter issuer key id.")
    return ChipFiles({**files.contents, ChipFile.SECURITY_OBJECT: content})


def security_object_length(head: bytes) -> int:
    """Length of EF.SOD from its first two bytes. Raises RemoteError where it cannot be."""
    length = 2 + int.from_bytes(head[:2], "big")
    if len(head) < 2 or not 2 < length <= BUDGET[ChipFile.SECURITY_OBJECT]:
        raise RemoteError("The chip has no security object.", next_step=_NOT_GENUINE)
    return length


def verify_chip(files: ChipFiles, issuer: PublicKey) -> ChipData:
    """The data of a chip whose every file is as `issuer` signed it. Raises RemoteError for anything else."""
    contents = chip_files(files.by_id).contents
    for file in (ChipFile.SECURITY_OBJECT, ChipFile.INDEX):
        if file not in contents:
            raise RemoteError(f"The chip lacks its file {file.name}.", next_step=_NOT_GENUINE)
    statement = _verified_statement(contents[ChipFile.SECURITY_OBJECT], issuer)
    if set(statement.files) != set(contents) - {ChipFile.SECURITY_OBJECT}:
        raise RemoteError("The chip's files are not those that were signed.", next_step=_NOT_GENUINE)
    for number, digest in statement.files.items():
        if not hmac.compare_digest(digest, hashlib.sha256(contents[ChipFile(number)]).digest()):
            raise RemoteError(f"The chip's file {ChipFile(number).name} was altered.", next_step=_NOT_GENUINE)
    lengths = decode_index(contents[ChipFile.INDEX])
    if lengths != {file: len(contents[file]) for file in DATA_FILES if file in contents}:
        raise RemoteError("The chip's index does not agree with its files.", next_step=_NOT_GENUINE)
    return ChipData(
        biodata=_decode_biodata(contents[ChipFile.BIODATA]),
        photo=contents[ChipFile.PHOTO],
        signature=contents[ChipFile.SIGNATURE],
        fingers=tuple(_decode_finger(contents[file]) for file in _FINGER_FILES if file in contents),
        attestation_key=contents[ChipFile.ATTESTATION_KEY],
        card_number=statement.card_number,
        capture_id=statement.capture_id,
        issued_on=statement.issued_on,
        issuer=issuer.kid,
    )


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """The Sig_structure of a COSE_Sign1 (RFC 9052, 4.4)."""
    return cbor2.dumps(["Signature1", protected, _CONTEXT, payload])


def _verified_statement(content: bytes, issuer: PublicKey) -> SecurityObject:
    signed = content[2:]
    if security_object_length(content) != len(content):
        raise RemoteError("The chip's security object has a wrong length.", next_step=_NOT_GENUINE)
    parts = _loads(signed, (_TAG_SIGN1,))
    value = parts.value if isinstance(parts, cbor2.CBORTag) else None
    if not isinstance(value, list) or len(value) != 4 or value[1] != {}:
        raise RemoteError("The chip's security object is no signature.", next_step=_NOT_GENUINE)
    protected, _, payload, signature = value
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        raise RemoteError("The chip's security object is no signature.", next_step=_NOT_GENUINE)
    if _loads(protected) != {_ALGORITHM: _ES256, _KEY_ID: issuer.kid.encode()}:
        raise RemoteError(f"The chip is not signed by the issuer '{issuer.kid}'.", next_step=_NOT_GENUINE)
    try:
        issuer.cose.verify(_to_be_signed(protected, payload), signature)
    except Exception as error:  # noqa: BLE001 - cwt raises its own and ValueError for a signature of any wrong form
        raise RemoteError(
            f"The issuer's signature on the chip is wrong ({type(error).__name__}).", next_step=_NOT_GENUINE
        ) from None
    try:
        return SecurityObject.model_validate(_loads(payload), strict=False)
    except ValidationError as error:
        raise refused("security object", error) from None


def _decode_biodata(content: bytes) -> Biodata:
    try:
        return Biodata.model_validate(_loads(content), strict=False)
    except ValidationError as error:
        raise refused("chip's biodata", error) from None


def _decode_finger(content: bytes) -> ChipFinger:
    if content[0] not in tuple(FingerPosition):
        raise RemoteError(f"The chip names a finger {content[0]} that nobody has.", next_step=_NOT_GENUINE)
    return ChipFinger(FingerPosition(content[0]), content[1:])


def _loads(encoded: bytes, tags: tuple[int, ...] = ()) -> Any:
    """Bounded CBOR from a chip. Raises RemoteError."""
    bound_items(encoded, items_max=_ITEMS_MAX, nesting_max=_NESTING_MAX, tags=tags)
    try:
        return cbor2.loads(encoded)
    except Exception as error:  # noqa: BLE001 - text that is not UTF-8, maps as keys: the decoder raises what it likes
        raise RemoteError(f"The chip holds no CBOR where it should ({type(error).__name__}).") from None
