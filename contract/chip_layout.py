"""The chip's files and their byte budget: what fits on an 8 KB card, decided before anything is written (M37).

| file          | id   | bytes | what it holds |
|---------------|------|------:|---------------|
| EF.COM        | 011E |    64 | index: version, then id and length of each data file, zero padded |
| EF.BIODATA    | 0101 |  1536 | biodata, CBOR |
| EF.PHOTO      | 0102 |  3584 | portrait, JPEG 2000 |
| EF.FINGER1    | 0103 |   512 | finger position (1 byte), ISO/IEC 19794-2 card template, normal format |
| EF.FINGER2    | 0104 |   512 | the same, of the second finger |
| EF.ATTKEY     | 0105 |    32 | key that opens the attestation (M45) |
| EF.SIGNATURE  | 0107 |   640 | the holder's signature, PNG of two colours |
| EF.SOD        | 011D |   512 | length (2 bytes), the issuer's COSE_Sign1 over the hashes of all the others |
| card software | –    |   384 | file headers, two key pairs of 32 bytes, life cycle |
| spare         | –    |   416 | |
| total         |      |  8192 | |

Commands, in the order of a session (ISO/IEC 7816-4; secure messaging is contract.card_session):

| command | APDU | who |
|---|---|---|
| SELECT application | 00 A4 04 0C, APPLICATION_ID | anybody |
| GET CHALLENGE | 00 84 00 00, Le 10 | anybody |
| MUTUAL AUTHENTICATE | 00 82 00 key reference (1 reader, 2 personaliser), token | who knows the card's key |
| SELECT file | 0C A4 02 0C, file id | either role |
| READ BINARY | 0C B0 offset, Le | either role |
| GET DATA life cycle | 0C CA 00 8A: 03 writable, 05 closed | either role |
| UPDATE BINARY | 0C D6 offset, data | personaliser, until closed |
| ACTIVATE FILE | 0C 44 00 00: closes the card for good | personaliser |

The identifiers follow the habit of ICAO Doc 9303-10 (EF.COM 011E, EF.SOD 011D, data groups 01xx), the content is our
own. The card's UID is not among the signed data, because the hub signs before a blank is chosen: the station binds
UID, print job and read-back digest to each other in `packet.PersonalisationBody`, and the hub names the UID to the
handover desk in `dispatch.ConsignedCard` (M36). A copy on another chip fails earlier: each chip has its own keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from contract.errors import RemoteError
from contract.octets import OctetReader

EEPROM_BYTES = 8192
CARD_SOFTWARE_BYTES = 384
SPARE_BYTES = 416
APPLICATION_ID = bytes.fromhex("F0524B544B5450454C01")  # proprietary (ISO/IEC 7816-4, 8.2.1.2): F0, then RK TKTPEL 1

_MAGIC = b"RKC\x01"


class ChipFile(IntEnum):
    """File identifiers of the elementary files."""

    BIODATA = 0x0101
    PHOTO = 0x0102
    FINGER1 = 0x0103
    FINGER2 = 0x0104
    ATTESTATION_KEY = 0x0105
    SIGNATURE = 0x0107
    SECURITY_OBJECT = 0x011D
    INDEX = 0x011E


BUDGET: Mapping[ChipFile, int] = {
    ChipFile.INDEX: 64,
    ChipFile.BIODATA: 1536,
    ChipFile.PHOTO: 3584,
    ChipFile.FINGER1: 512,
    ChipFile.FINGER2: 512,
    ChipFile.ATTESTATION_KEY: 32,
    ChipFile.SIGNATURE: 640,
    ChipFile.SECURITY_OBJECT: 512,
}
DATA_FILES = tuple(sorted(set(BUDGET) - {ChipFile.INDEX, ChipFile.SECURITY_OBJECT}))
OPTIONAL_FILES = (ChipFile.FINGER1, ChipFile.FINGER2)


@dataclass(frozen=True, slots=True)
class ChipFiles:
    """The files of one chip as they are written and read. contents: {file: bytes}; no file is above its budget."""

    contents: Mapping[ChipFile, bytes]

    @property
    def digest(self) -> bytes:
        """SHA-256 over every file with its id and length, in order: what a read-back is compared by (M35, M36)."""
        digest = hashlib.sha256(b"rekam chip files 1")
        for file in sorted(self.contents):
            content = self.contents[file]
            digest.update(file.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content)
        return digest.digest()

    @property
    def by_id(self) -> dict[int, bytes]:
        """The files by plain numbers, as `dispatch.PrintJob.chip_files` carries them."""
        return {int(file): self.contents[file] for file in sorted(self.contents)}

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(len(content) for content in self.contents.values())


def chip_files(by_id: Mapping[int, bytes]) -> ChipFiles:
    """Files from outside by number. Raises RemoteError for an unknown id and for a file above its budget."""
    contents: dict[ChipFile, bytes] = {}
    for number, content in by_id.items():
        if number not in BUDGET:
            raise RemoteError(f"File {number:04X} does not belong on a chip.")
        file = ChipFile(number)
        if not 0 < len(content) <= BUDGET[file]:
            raise RemoteError(f"File {file.name} has {len(content)} bytes; 1 to {BUDGET[file]} are accepted.")
        contents[file] = bytes(content)
    return ChipFiles(contents)


def encode_index(lengths: Mapping[ChipFile, int]) -> bytes:
    """EF.COM for these data files: magic and version, count, then (id, length) in order, zeros to its full size."""
    entries = b"".join(file.to_bytes(2, "big") + length.to_bytes(2, "big") for file, length in sorted(lengths.items()))
    index = _MAGIC + bytes((len(lengths),)) + entries
    return index + bytes(BUDGET[ChipFile.INDEX] - len(index))


def decode_index(octets: bytes) -> dict[ChipFile, int]:
    """The data files that EF.COM names, with their lengths. Raises RemoteError."""
    if len(octets) != BUDGET[ChipFile.INDEX]:
        raise RemoteError(f"The chip's index has {len(octets)} bytes, not {BUDGET[ChipFile.INDEX]}.")
    reader = OctetReader(octets, "chip's index")
    reader.expect(_MAGIC, "magic and version")
    lengths: dict[ChipFile, int] = {}
    previous = 0
    for _ in range(reader.u8()):
        number, length = reader.u16(), reader.u16()
        if number not in DATA_FILES or number <= previous:
            raise reader.error(f"names file {number:04X} where it does not belong")
        if not 0 < length <= BUDGET[ChipFile(number)]:
            raise reader.error(f"gives {length} bytes to file {number:04X}")
        lengths[ChipFile(number)] = length
        previous = number
    if any(reader.take(reader.remaining)):
        raise reader.error("is not padded with zeros")
    missing = set(DATA_FILES) - set(OPTIONAL_FILES) - set(lengths)
    if missing:
        raise reader.error(f"lacks file {min(missing):04X}")
    return lengths
