"""May this resident be captured here and now? (M8, M13, and the spool's high-water mark before a finger is asked.)

A refusal is a value with a code and two sentences for the person at the desk, never an exception: whoever is refused
must be told where to go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from contract.dispatch import RegisterEntry
from contract.lifecycle import RecordEvent, RecordState, is_allowed
from edge.register import Register

OPERATOR_ROLE = "operator"


class Refusal(StrEnum):
    """Why an action is refused; the JSON API's `code`."""

    NIK_UNKNOWN = "NIK_UNKNOWN"
    NOT_UNREGISTERED = "NOT_UNREGISTERED"
    NOT_ELIGIBLE = "NOT_ELIGIBLE"
    PAPERS_MISSING = "PAPERS_MISSING"
    CAPTURED_HERE = "CAPTURED_HERE"
    SPOOL_FULL = "SPOOL_FULL"
    OPERATOR_UNKNOWN = "OPERATOR_UNKNOWN"
    OPERATOR_REVOKED = "OPERATOR_REVOKED"
    LEASE_ENDED = "LEASE_ENDED"
    DISK_PUT_BACK = "DISK_PUT_BACK"
    SIGN_ON_FIRST = "SIGN_ON_FIRST"
    SECOND_FACTOR = "SECOND_FACTOR"
    PIN_ASKED = "PIN_ASKED"
    PIN_WAITS = "PIN_WAITS"
    PIN_LOCKED = "PIN_LOCKED"
    PIN_RESET = "PIN_RESET"
    PIN_RESET_ENDED = "PIN_RESET_ENDED"
    OPERATOR_KNOWN = "OPERATOR_KNOWN"
    ROSTER_FULL = "ROSTER_FULL"
    LOCAL_DUPLICATE = "LOCAL_DUPLICATE"
    BUSY = "BUSY"
    TECHNICIAN = "TECHNICIAN"
    NOT_ALLOWED = "NOT_ALLOWED"
    NOT_THIS_ROLE = "NOT_THIS_ROLE"
    NO_SESSION = "NO_SESSION"
    CARD_UNKNOWN = "CARD_UNKNOWN"
    CARD_WITHDRAWN = "CARD_WITHDRAWN"
    NO_SCANNER = "NO_SCANNER"
    INVALID = "INVALID"


MESSAGES: dict[Refusal, tuple[str, str]] = {
    Refusal.NIK_UNKNOWN: (
        "NIK tidak ada di daftar wajib KTP tempat ini. Periksa kembali NIK, atau arahkan ke pendaftaran biodata.",
        "The NIK is not on this site's list. Check the number, or send the resident to biodata registration.",
    ),
    Refusal.NOT_UNREGISTERED: (
        "NIK ini sudah direkam. Perekaman hanya satu kali; lihat status kartunya.",
        "This NIK has been captured already. A person is captured once; look at the card's status.",
    ),
    Refusal.NOT_ELIGIBLE: (
        "Penduduk belum wajib KTP: belum 17 tahun dan belum pernah kawin.",
        "The resident is not due a card: under 17 and never married.",
    ),
    Refusal.PAPERS_MISSING: (
        "Berkas belum lengkap. Lengkapi berkas yang belum dicentang.",
        "Papers are missing. Complete the papers that are not ticked.",
    ),
    Refusal.CAPTURED_HERE: (
        "NIK ini sudah direkam di perangkat ini; data sedang dikirim ke pusat.",
        "This NIK was captured on this unit; the record is on its way to the centre.",
    ),
    Refusal.SPOOL_FULL: (
        "Penyimpanan perangkat penuh. Sambungkan ke pusat sampai data terkirim, baru merekam lagi.",
        "The unit's storage is full. Connect it to the centre until records are sent, then capture again.",
    ),
    Refusal.OPERATOR_UNKNOWN: (
        "Operator tidak terdaftar pada perangkat ini, atau tidak berwenang untuk pekerjaan ini.",
        "The operator is not on this unit's roster, or has no right to this work.",
    ),
    Refusal.OPERATOR_REVOKED: (
        "Wewenang operator ini sudah dicabut. Petugas lain masuk di perangkat ini dan melanjutkan, atau batalkan.",
        "This operator's rights were taken. Another officer signs on at this unit and goes on, or cancels.",
    ),
    Refusal.LEASE_ENDED: (
        "Wewenang operator sudah berakhir. Sambungkan perangkat ke pusat: wewenang dan jam dibetulkan sendiri.",
        "The operator's lease has ended. Connect the unit to the centre: lease and clock are put right by themselves.",
    ),
    Refusal.DISK_PUT_BACK: (
        "Isi perangkat ini lebih tua daripada catatan cipnya. Sambungkan ke pusat; sebelum itu tidak ada yang masuk.",
        "This unit's disk is an older copy of itself. Connect it to the centre; nobody signs on before that.",
    ),
    Refusal.SIGN_ON_FIRST: (
        "Belum ada petugas yang masuk untuk pekerjaan ini. Masuk dahulu dengan sidik jari.",
        "Nobody with the right to this work is signed on. Sign on by finger first.",
    ),
    Refusal.SECOND_FACTOR: (
        "Di sini diminta PIN atau kartu. Buat PIN di halaman Petugas, atau minta kepala seksi mendaftarkan kartu.",
        "A PIN or card is asked here. Make a PIN on the page Petugas, or have the section head enrol your card.",
    ),
    Refusal.PIN_ASKED: ("Masukkan PIN petugas.", "The officer's PIN is asked as well."),
    Refusal.PIN_WAITS: (
        "PIN salah beberapa kali. Tunggu sebentar, lalu coba lagi.",
        "The PIN was wrong several times. Wait a while, then try again.",
    ),
    Refusal.PIN_LOCKED: (
        "PIN terkunci: terlalu banyak salah. Kepala seksi membukanya di halaman Petugas.",
        "The PIN is locked after too many wrong tries. A section head lifts it on the page Petugas.",
    ),
    Refusal.PIN_RESET: (
        "PIN Anda diatur ulang. Masuk dahulu di halaman Petugas dan pilih PIN baru.",
        "Your PIN was reset. Sign on at the page Petugas first, and choose a new one.",
    ),
    Refusal.PIN_RESET_ENDED: (
        "Waktu untuk memilih PIN baru sudah habis. Minta kepala seksi mengatur ulang PIN Anda sekali lagi.",
        "The time to choose a new PIN is over. Ask the section head to reset your PIN once more.",
    ),
    Refusal.OPERATOR_KNOWN: (
        "Sidik jari ini milik petugas yang sudah terdaftar. Satu orang hanya satu petugas.",
        "These fingers belong to an officer who is enrolled already. Nobody is two officers.",
    ),
    Refusal.ROSTER_FULL: (
        "Daftar petugas tempat ini penuh. Minta pusat mencabut petugas yang sudah berhenti, lalu daftarkan lagi.",
        "This site's roster is full. Have the centre revoke officers who have left, then enrol again.",
    ),
    Refusal.LOCAL_DUPLICATE: (
        "Sidik jari ini sudah direkam di tempat ini. Perekaman ditolak; penduduk dapat mengajukan keberatan.",
        "These fingers were captured at this site already. The capture is refused; the resident may appeal.",
    ),
    Refusal.BUSY: (
        "Perangkat sedang dipakai untuk pekerjaan lain. Selesaikan atau batalkan dahulu.",
        "The unit is busy with another task. Finish or cancel it first.",
    ),
    Refusal.TECHNICIAN: (
        "Teknisi sedang memeriksa perangkat ini dari jauh. Tunggu sebentar sampai selesai.",
        "A technician is testing this unit from afar. Wait a moment until that has ended.",
    ),
    Refusal.NOT_ALLOWED: (
        "Tindakan itu tidak dapat dilakukan pada langkah ini.",
        "That action is not possible at this step.",
    ),
    Refusal.NOT_THIS_ROLE: (
        "Perangkat ini tidak melayani pekerjaan itu.",
        "This unit does not do that work.",
    ),
    Refusal.NO_SESSION: ("Tidak ada pekerjaan yang berjalan.", "No task is open."),
    Refusal.CARD_UNKNOWN: (
        "Kartu ini tidak ada di daftar meja ini. Periksa berita acara pengiriman.",
        "This card is not on this desk's list. Check the transfer record it came with.",
    ),
    Refusal.CARD_WITHDRAWN: (
        "Kartu ini ditarik oleh pusat dan tidak boleh diserahkan.",
        "The centre has withdrawn this card; it must not be handed over.",
    ),
    Refusal.NO_SCANNER: (
        "Tidak ada pemindai sidik jari; petugas tidak dapat dikenali. Pasang pemindai dan daftarkan di unit.toml.",
        "There is no fingerprint scanner, so no officer can be identified. Connect one and name it in unit.toml.",
    ),
    Refusal.INVALID: ("Isian tidak benar.", "What was filled in is not valid."),
}


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Outcome of the check: allowed where `refusal` is None."""

    refusal: Refusal | None
    entry: RegisterEntry | None = None

    @property
    def messages(self) -> tuple[str, str]:
        """What to tell the person, in Indonesian and English."""
        if self.refusal is None:
            return ("Boleh direkam.", "May be captured.")
        return MESSAGES[self.refusal]


def check_eligibility(register: Register, nik: str, papers: Sequence[str], *, spool_full: bool) -> Eligibility:
    """M8 in its order; the first reason that stands is the one that is told."""
    entry = register.entry(nik)
    if entry is None:
        return Eligibility(Refusal.NIK_UNKNOWN)
    if register.claim_of(nik) is not None:
        return Eligibility(Refusal.CAPTURED_HERE, entry)
    if not may_be_captured(entry.status):
        return Eligibility(Refusal.NOT_UNREGISTERED, entry)
    if not entry.eligible:
        return Eligibility(Refusal.NOT_ELIGIBLE, entry)
    if not set(entry.required_papers) <= set(papers):
        return Eligibility(Refusal.PAPERS_MISSING, entry)
    if spool_full:
        return Eligibility(Refusal.SPOOL_FULL, entry)
    return Eligibility(None, entry)


def may_be_captured(status: RecordState) -> bool:
    """Only a state from which the record's table allows a completed capture: UNREGISTERED (M13)."""
    return is_allowed(status, RecordEvent.CAPTURE_COMPLETED)
