"""What is printed for people to take along: queue number, proof of capture, receipt, and the result for the letter.

Indonesian first, English below it, for rolls of 58 and 80 mm. The NIK is on the proof and on the receipt, as the
procedure has it (M1, M46); a queue number names nobody, and the slip for the letter names only the card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from contract.packet import Biodata
from edge.sensors.interface import TicketCode, TicketLine, TicketPair, TicketPart, TicketRule

MONTHS = ("Januari", "Februari", "Maret", "April", "Mei", "Juni", "Juli", "Agustus", "September", "Oktober", "November",
          "Desember")  # fmt: skip
ZONES = {7: "WIB", 8: "WITA", 9: "WIT"}
SERVICES = {"capture": ("Perekaman KTP-el", "Capture"), "handover": ("Pengambilan KTP-el", "Collecting a card")}
OLD_CARDS = {"surrendered": "diserahkan", "lost": "dinyatakan hilang", "none": "tidak ada (kartu pertama)"}
Ticket = Sequence[TicketPart]


@dataclass(frozen=True, slots=True)
class Place:
    """Where and in which time zone the paper is printed. utc_offset_h: 7 WIB, 8 WITA, 9 WIT."""

    site: str
    unit: str
    utc_offset_h: int = 7

    def time(self, wall_ms: int) -> str:
        """A moment as people there write it."""
        local = datetime.fromtimestamp(wall_ms / 1000, tz=UTC).astimezone(timezone(timedelta(hours=self.utc_offset_h)))
        zone = ZONES.get(self.utc_offset_h, f"UTC{self.utc_offset_h:+d}")
        return f"{local.day} {MONTHS[local.month - 1]} {local.year} {local:%H.%M} {zone}"

    def day(self, wall_ms: int) -> str:
        """The calendar day there, as YYYY-MM-DD."""
        local = datetime.fromtimestamp(wall_ms / 1000, tz=UTC).astimezone(timezone(timedelta(hours=self.utc_offset_h)))
        return f"{local:%Y-%m-%d}"


def queue_ticket(place: Place, number: str, service: str, wall_ms: int, ahead: int) -> Ticket:
    """The number to wait with (M9, M41). ahead: how many wait before it."""
    name_id, name_en = SERVICES[service]
    return (
        *_head("NOMOR ANTREAN", "Queue number", place),
        TicketLine(""),
        TicketLine(number, scale=4, bold=True, align="center"),
        TicketLine(""),
        TicketLine(name_id, bold=True, align="center"),
        TicketLine(name_en, align="center"),
        TicketRule(),
        TicketPair("Waktu", place.time(wall_ms)),
        TicketPair("Menunggu di depan Anda", str(ahead)),
        TicketRule(),
        TicketLine("Mohon tunggu sampai nomor Anda dipanggil.", align="center"),
        TicketLine("Please wait until your number is called.", align="center"),
    )


def proof_of_capture(
    place: Place, biodata: Biodata, capture_id: str, seal: str, wall_ms: int, hub_sequence: int | None
) -> Ticket:
    """What the resident takes home after a capture (M1). seal: the packet's id; hub_sequence: of the hub's receipt."""
    confirmed = (
        (
            TicketLine(f"Tersimpan di server pusat, nomor {hub_sequence}.", bold=True),
            TicketLine("Saved on the server is confirmed."),
        )
        if hub_sequence is not None
        else (
            TicketLine("Tersimpan di perangkat; dikirim ke server pusat.", bold=True),
            TicketLine("Saved on the unit; it is sent to the server by itself."),
        )
    )
    return (
        *_head("BUKTI PEREKAMAN", "Proof of capture, KTP-el", place),
        TicketPair("Nama", biodata.name),
        TicketPair("NIK", biodata.nik),
        TicketPair("Waktu", place.time(wall_ms)),
        TicketPair("Nomor perekaman", capture_id),
        TicketPair("Segel data", seal[:16]),
        TicketRule(),
        *confirmed,
        TicketLine(""),
        TicketCode(f"rekam:{capture_id}"),
        TicketLine(""),
        TicketLine("Simpan bukti ini dan bawa bersama surat panggilan saat mengambil kartu.", align="center"),
        TicketLine("Bukti ini bukan KTP-el.", bold=True, align="center"),
        TicketLine("Keep it, and bring it with the summons letter. It is no identity card.", align="center"),
    )


def handover_receipt(
    place: Place, name: str, nik: str, card_number: str, old_card: str, officer: str, wall_ms: int, handover_id: str
) -> Ticket:
    """The receipt that the resident has signed for on the pad (M46)."""
    return (
        *_head("TANDA TERIMA", "Receipt of the card", place),
        TicketPair("Nama", name),
        TicketPair("NIK", nik),
        TicketPair("Nomor kartu", card_number),
        TicketPair("KTP lama", OLD_CARDS[old_card]),
        TicketPair("Petugas", officer),
        TicketPair("Waktu", place.time(wall_ms)),
        TicketPair("Nomor", handover_id),
        TicketRule(),
        TicketLine("Kartu telah diterima dan ditandatangani oleh pemilik pada papan tanda tangan.", align="center"),
        TicketLine("The holder has received the card and signed for it on the pad.", align="center"),
    )


def result_slip(
    place: Place, *, berhasil: bool, card_number: str, officer: str, wall_ms: int, old_card: str, returned: bool = False
) -> Ticket:
    """The result, to be fixed to the summons letter (M44); after gagal with what follows (M47)."""
    if berhasil:
        follows: Ticket = (TicketLine("Kartu diserahkan kepada pemilik. / Card handed over.", align="center"),)
    else:
        kept = "dikembalikan kepada penduduk" if returned else "disimpan di meja ini"
        follows = (
            TicketPair("KTP lama", kept if old_card == "surrendered" else OLD_CARDS[old_card]),
            TicketLine("Kartu baru ditahan. Lengkapi data di kantor; tidak ada perekaman ulang.", align="center"),
            TicketLine("The new card is kept back. Complete your data at the office; no new capture.", align="center"),
        )
    return (
        *_head("HASIL VERIFIKASI", "Result of the verification", place),
        TicketLine(""),
        TicketLine("BERHASIL" if berhasil else "GAGAL", scale=4, bold=True, align="center"),
        TicketLine("matched" if berhasil else "failed", align="center"),
        TicketLine(""),
        TicketPair("Nomor kartu", card_number),
        TicketPair("Petugas", officer),
        TicketPair("Waktu", place.time(wall_ms)),
        TicketRule(),
        *follows,
        TicketLine("Lekatkan pada surat panggilan.", align="center"),
    )


def _head(title_id: str, title_en: str, place: Place) -> Ticket:
    return (
        TicketLine("Rekam KTP-el", align="center"),
        TicketLine(f"{place.site} · {place.unit}", align="center"),
        TicketRule(),
        TicketLine(title_id, scale=2, bold=True, align="center"),
        TicketLine(title_en, align="center"),
        TicketRule(),
    )
