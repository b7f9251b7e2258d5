"""What the hub tells units and sites: register, keys, notices, gallery, print jobs and consigned cards.

Every message travels sealed (to one unit's key, or under the site's key), so these are the plaintexts. Each is
idempotent: a retained topic replaces what was said before about the same thing.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import cbor2
from pydantic import Field, ValidationError

from contract.cbor_bounds import loads_map
from contract.lifecycle import RecordState
from contract.packet import Biodata, CardUid, Digest, Millis, Model, Name, Nik, Text, UuidText, refused

MESSAGE_BYTES_MAX = 900 * 1024
REGISTER_PAGE_ENTRIES_MAX = 500
FINGERS_MAX = 10
CARD_FILE_BYTES_MAX = 8 * 1024

TemplateBytes = Annotated[bytes, Field(min_length=1, max_length=16 * 1024)]


class SiteKey(Model):
    """The site's symmetric key of one epoch; the newest epoch seals, older ones still open."""

    site: Name
    epoch: Annotated[int, Field(ge=1, le=2**31)]
    key: Digest


class RegisterEntry(Model):
    """One resident as the unit must know them for M8. `status` is the hub's; `eligible` the age and marital rule."""

    biodata: Biodata
    status: RecordState
    eligible: bool
    required_papers: Annotated[tuple[Name, ...], Field(max_length=20)]


class RegisterPage(Model):
    """A page of the site's register extract (wajib-KTP list)."""

    site: Name
    page: Name
    version: Annotated[int, Field(ge=0, le=2**53)]
    entries: Annotated[tuple[RegisterEntry, ...], Field(max_length=REGISTER_PAGE_ENTRIES_MAX)]


class Notice(Model):
    """The hub's answer to the site about one capture (M25, M27, M31); only the hub may write these topics.

    status UNREGISTERED is the capture's tombstone: its NIK is free again, and its templates refuse nobody (M23).
    cleared_of: an appeal against a refusal was upheld (M15); then capture_id is the refusal's id, and the resident
    with this NIK is another person than the capture named here.
    """

    capture_id: UuidText
    nik: Nik
    status: RecordState
    version: Annotated[int, Field(ge=0, le=2**53)]
    at_ms: Millis
    message_id: Text
    message_en: Text
    cleared_of: UuidText | None = None

    @property
    def frees(self) -> bool:
        """Whether this is the capture's tombstone."""
        return self.status is RecordState.UNREGISTERED and self.cleared_of is None


class GalleryEntry(Model):
    """Templates of one capture for the site's own 1:N.

    tombstone: only takes the place of the templates that the broker keeps; any unit of the site could have written it,
    so what removes a capture is the hub's notice.
    """

    capture_id: UuidText
    nik: Nik
    tombstone: bool = False
    extractor: Text = ""
    templates: Annotated[
        dict[Annotated[int, Field(ge=1, le=10)], TemplateBytes], Field(max_length=FINGERS_MAX, default_factory=dict)
    ]


class PrintJob(Model):
    """Everything a station needs for one card; the chip's files are signed by the issuer at the hub.

    chip_files: {file id: content} as contract.chip_file lays them out; front, back: PNG, 1012×638 px at 300 dpi;
    destination: the desk that will hand the card over; serves_here: that desk belongs to the station's own office.
    """

    job_id: UuidText
    capture_id: UuidText
    card_number: Name
    nik: Nik
    biodata: Biodata
    chip_files: Annotated[
        dict[Annotated[int, Field(ge=0, le=0xFFFF)], Annotated[bytes, Field(max_length=CARD_FILE_BYTES_MAX)]],
        Field(min_length=1, max_length=16),
    ]
    front: Annotated[bytes, Field(min_length=1, max_length=MESSAGE_BYTES_MAX)]
    back: Annotated[bytes, Field(min_length=1, max_length=MESSAGE_BYTES_MAX)]
    destination: Name
    serves_here: bool


class JobAnswer(Model):
    """The station confirms that it holds the print data (CARD_SHIPPED), or refuses it with a reason."""

    job_id: UuidText
    accepted: bool
    reason: Text = ""
    at_ms: Millis


class ConsignedCard(Model):
    """A card on its way to, or at, a handover desk, with the attestation that opens with the card present (M45).

    attestation: sealed under the key on the chip (contract.chip_file); withdrawn: the desk must not hand it over.
    """

    capture_id: UuidText
    nik: Nik
    name: Text
    card_uid: CardUid
    card_number: Name
    attestation: Annotated[bytes, Field(max_length=256 * 1024)]
    policy: Literal["either", "both"] = "either"
    old_card_due: bool
    withdrawn: bool = False
    issuer_key: Annotated[bytes, Field(min_length=60, max_length=200)]


M = TypeVar("M", bound=Model)


def encode(message: Model) -> bytes:
    """A message as canonical CBOR."""
    return cbor2.dumps(message.model_dump(), canonical=True)


def decode(kind: type[M], encoded: bytes, bytes_max: int = MESSAGE_BYTES_MAX) -> M:
    """A message of `kind` from CBOR. Raises RemoteError for everything that is not one."""
    try:
        return kind.model_validate(loads_map(encoded, bytes_max), strict=False)
    except ValidationError as error:
        raise refused(kind.__name__, error) from None


def decode_kept(kind: type[M], encoded: bytes, bytes_max: int = MESSAGE_BYTES_MAX) -> M:
    """What this very machine has kept. Fields of a later release are left aside: it was on trial, and was left again.

    Raises RemoteError for everything that is not of this kind.
    """
    try:
        return kind.model_validate(loads_map(encoded, bytes_max), strict=False, extra="ignore")
    except ValidationError as error:
        raise refused(kind.__name__, error) from None
