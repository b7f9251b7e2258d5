"""Is a capture complete and vouched for? The checks between RECEIVED_AT_CENTRAL and SENT_FOR_DEDUP (M11, M12, M23).

Pure: the facts that need the database come in as an argument. The first thing that is wrong is the answer, as a code
whose texts say what to do next; whether it is the region's or the centre's to repair decides the state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from contract import signature_series
from contract.attestation import SIGNATURE_BYTES_MAX, biodata_digest
from contract.errors import RemoteError
from contract.lifecycle import RecordEvent
from contract.packet import EnrolmentBody, Envelope, PacketSample
from contract.sample import ALL_FINGERS, BOTH_EYES, INDEX_FINGERS, Modality
from hub import chip_pictures
from hub.search.features import finger_pixels, iris_pixels
from hub.sign_offs import is_signed


class Failure(StrEnum):
    """Why a capture cannot be searched yet. The name is the code that sites see."""

    REGION_WRONG = "REGION_WRONG"
    UNIT_WRONG = "UNIT_WRONG"
    NIK_UNKNOWN = "NIK_UNKNOWN"
    SIGNOFF_MISSING = "SIGNOFF_MISSING"
    SIGNOFF_WRONG = "SIGNOFF_WRONG"
    SECOND_OFFICER = "SECOND_OFFICER"
    INCOMPLETE = "INCOMPLETE"
    UNREADABLE = "UNREADABLE"
    NOT_VERIFIED = "NOT_VERIFIED"
    ATTESTATION_WRONG = "ATTESTATION_WRONG"


ADVICE: dict[Failure, tuple[str, str]] = {
    Failure.REGION_WRONG: (
        "Kode wilayah unit salah. Dinas memperbaiki penempatan unit, lalu paket diproses ulang.",
        "The unit's region code is wrong. The regency corrects where the unit stands; then reprocess the packet.",
    ),
    Failure.UNIT_WRONG: (
        "Unit ini tidak boleh merekam. Periksa peran unit; hapus berdua, lalu rekam kembali di unit perekaman.",
        "This unit may not enrol. Check what it is set up as; delete by two persons, then capture at a unit that may.",
    ),
    Failure.NIK_UNKNOWN: (
        "NIK tidak ada di register. Terbitkan NIK lebih dahulu, lalu proses ulang paket ini.",
        "The NIK is not in the register. Have it issued first, then reprocess this packet.",
    ),
    Failure.SIGNOFF_MISSING: (
        "Belum disahkan operator. Kirim ulang rekaman yang sama setelah disahkan.",
        "No operator signed the capture off. Sign it off and send the same capture again.",
    ),
    Failure.SIGNOFF_WRONG: (
        "Pengesahan operator tidak cocok. Periksa operator dan unit, lalu proses ulang atau hapus berdua.",
        "The sign-off does not verify. Check operator and unit; then reprocess, or delete by two persons.",
    ),
    Failure.SECOND_OFFICER: (
        "Pengecualian jari atau mata belum disaksikan petugas kedua. Lengkapi, lalu kirim ulang.",
        "A claimed exception lacks a second officer. Complete it and send the same capture again.",
    ),
    Failure.INCOMPLETE: (
        "Rekaman tidak lengkap. Kirim ulang rekaman yang sama, atau hapus berdua agar dapat direkam kembali.",
        "The capture is incomplete. Send the same capture again, or delete by two persons so that it can be retaken.",
    ),
    Failure.UNREADABLE: (
        "Gambar tidak terbaca. Kirim ulang rekaman yang sama, atau hapus berdua agar dapat direkam kembali.",
        "An image cannot be read. Send the same capture again, or delete by two persons so that it can be retaken.",
    ),
    Failure.NOT_VERIFIED: (
        "Telunjuk belum terverifikasi setelah perekaman. Hapus berdua, lalu rekam kembali.",
        "No index finger was verified after the capture. Delete by two persons, then capture again.",
    ),
    Failure.ATTESTATION_WRONG: (
        "Dokumen pengesahan tidak sesuai data. Kirim ulang rekaman yang sama, atau hapus berdua.",
        "The attestation is not about these data. Send the same capture again, or delete by two persons.",
    ),
}

DETAIL_CHARACTERS_MAX = 200
# As search and card read them, down to the pixels: what fails there later would wait for ever.
_DECODERS: dict[Modality, Callable[[bytes], object]] = {
    Modality.FINGER: finger_pixels,
    Modality.IRIS: iris_pixels,
    Modality.FACE: chip_pictures.portrait,
    Modality.SIGNATURE: chip_pictures.ink,
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database knows. unit_site: where the sending unit stands; site_known: the fleet has the envelope's site.

    may_capture: whether units of its kind enrol; signing_key: SubjectPublicKeyInfo DER of one who may sign off captures
    at this site, else None; is_officer: whether somebody of this name may witness an exception there.
    """

    unit_site: str
    may_capture: bool
    site_known: bool
    nik_known: bool
    signing_key: Callable[[str], bytes | None]
    is_officer: Callable[[str], bool]
    verify_fmr_max: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. detail: for officers, without personal data."""

    failure: Failure
    detail: str

    @property
    def event(self) -> RecordEvent:
        """The transition it causes."""
        regional = self.failure is Failure.REGION_WRONG
        return RecordEvent.REGION_WRONG if regional else RecordEvent.CHECKS_FAILED


def check(envelope: Envelope, body: EnrolmentBody, facts: Facts) -> Finding | None:
    """The first thing that is wrong with a capture, or None."""
    if not facts.site_known or envelope.site != facts.unit_site:
        return Finding(Failure.REGION_WRONG, f"unit {envelope.unit} stands at {facts.unit_site or 'no known site'}")
    if not facts.may_capture:
        return Finding(Failure.UNIT_WRONG, f"unit {envelope.unit}")
    if not facts.nik_known:
        return Finding(Failure.NIK_UNKNOWN, "")
    return (
        _check_signoff(body, facts)
        or _check_exceptions(body, facts)
        or _check_complete(body)
        or _check_readable(body)
        or _check_verified(body, facts)
        or _check_attestation(body)
    )


def _check_signoff(body: EnrolmentBody, facts: Facts) -> Finding | None:
    if body.signoff is None:
        return Finding(Failure.SIGNOFF_MISSING, "")
    der = facts.signing_key(body.signoff.operator)
    if der is None:
        return Finding(Failure.SIGNOFF_WRONG, f"{body.signoff.operator} is no operator of this site")
    if not is_signed(body.digest(), body.signoff.signature, der):
        return Finding(Failure.SIGNOFF_WRONG, f"signature of {body.signoff.operator}")
    return None


def _check_exceptions(body: EnrolmentBody, facts: Facts) -> Finding | None:
    for exception in body.exceptions:
        officer = exception.second_officer
        is_same = body.signoff is not None and officer == body.signoff.operator
        if is_same or not facts.is_officer(officer):
            return Finding(Failure.SECOND_OFFICER, f"{exception.modality} {exception.position}")
    return None


def _check_complete(body: EnrolmentBody) -> Finding | None:
    """Photo, signature, ten fingers and two irises, each taken once or excepted once (M12: never a silent gap)."""
    taken = [(s.modality, s.position) for s in body.samples if s.purpose == "reference"]
    excepted = [(e.modality, e.position) for e in body.exceptions]
    if len(set(taken + excepted)) != len(taken) + len(excepted):
        return Finding(Failure.INCOMPLETE, "a sample is given twice, or both taken and excepted")
    for modality, positions in ((Modality.FINGER, ALL_FINGERS), (Modality.IRIS, BOTH_EYES)):
        found = {position for kind, position in taken + excepted if kind is modality}
        if found != {int(position) for position in positions}:
            missing = sorted({int(position) for position in positions} - found)
            return Finding(Failure.INCOMPLETE, f"{modality}: missing {missing}")
    for modality in (Modality.FACE, Modality.SIGNATURE):
        if sum(kind is modality for kind, _ in taken) != 1:
            return Finding(Failure.INCOMPLETE, f"{modality} is missing or given twice")
    return None


def _check_readable(body: EnrolmentBody) -> Finding | None:
    for sample in body.samples:
        try:
            _DECODERS[sample.modality](sample.record)
        except RemoteError as error:
            return Finding(Failure.UNREADABLE, f"{_label(sample)}: {error.message}"[:DETAIL_CHARACTERS_MAX])
    if len(body.attestation.signature) > SIGNATURE_BYTES_MAX:  # it has to travel with the card
        return Finding(Failure.UNREADABLE, "signature under the attestation: too long")
    try:
        signature_series.decode_series(body.attestation.signature)
    except RemoteError:
        return Finding(Failure.UNREADABLE, "signature under the attestation")
    return None


def _check_verified(body: EnrolmentBody, facts: Facts) -> Finding | None:
    """Each index finger that was taken must have matched in the check after the capture (M11); or some finger."""
    taken = {s.position for s in body.samples if s.modality is Modality.FINGER and s.purpose == "reference"}
    for position in INDEX_FINGERS:
        results = [v for v in body.verification if v.position == position]
        trusted = [v for v in results if v.matched and v.threshold_fmr <= facts.verify_fmr_max]
        if position in taken and not trusted:
            return Finding(Failure.NOT_VERIFIED, f"finger {int(position)}")
    if taken and not any(v.matched and v.position in taken for v in body.verification):
        return Finding(Failure.NOT_VERIFIED, "no finger at all")
    return None


def _check_attestation(body: EnrolmentBody) -> Finding | None:
    if body.attestation.biodata_sha256 != biodata_digest(body.biodata):
        return Finding(Failure.ATTESTATION_WRONG, "")
    return None


def _label(sample: PacketSample) -> str:
    return f"{sample.modality} {sample.position} ({sample.purpose})"
