"""What a card printer complains of (printer-state-reasons, RFC 8011, 5.4.12, PWG 5100.9) and what the operator does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_SUFFIXES = ("-error", "-warning", "-report")


@dataclass(frozen=True, slots=True)
class PrinterFault:
    """One complaint. keyword: without severity; stops: the printer waits for a person; advice in both languages."""

    keyword: str
    stops: bool
    advice_id: str
    advice_en: str


_ADVICE: dict[str, tuple[bool, str, str]] = {
    "media-empty": (True, "Blangko habis: isi blangko.", "There are no blanks left: fill in blanks."),
    "media-needed": (True, "Masukkan blangko.", "The printer waits for a blank: insert it."),
    "media-jam": (
        True,
        "Kartu macet: buka penutup dan keluarkan kartu.",
        "A card is jammed: open the cover, take it out.",
    ),
    "input-tray-missing": (True, "Pasang tempat blangko.", "The hopper for blanks is missing: put it in."),
    "input-cannot-feed-size-selected": (True, "Isi blangko ukuran kartu.", "The hopper holds no cards of this size."),
    "marker-supply-empty": (True, "Pita habis: ganti pita.", "The ribbon is used up: replace it."),
    "toner-empty": (True, "Pita habis: ganti pita.", "The ribbon is used up: replace it."),
    "marker-supply-missing": (True, "Pasang pita.", "There is no ribbon: put one in."),
    "cover-open": (True, "Tutup penutup pencetak.", "The cover is open: close it."),
    "door-open": (True, "Tutup pintu pencetak.", "The door is open: close it."),
    "interlock-open": (True, "Tutup penutup pencetak.", "The cover is not locked: close it."),
    "output-area-full": (True, "Ambil kartu dari tempat keluar.", "The output tray is full: take the cards out."),
    "marker-waste-full": (True, "Ganti rol pembersih.", "The cleaning roller is full: replace it."),
    "paused": (True, "Tekan tombol lanjut pada pencetak.", "The printer is paused: press its resume button."),
    "moving-to-paused": (
        True,
        "Tekan tombol lanjut pada pencetak.",
        "The printer is pausing: press its resume button.",
    ),
    "shutdown": (True, "Nyalakan pencetak.", "The printer is off: switch it on."),
    "offline": (True, "Periksa kabel dan daya pencetak.", "The printer is offline: check its cable and power."),
    "timed-out": (True, "Periksa kabel dan daya pencetak.", "The printer's engine does not answer: check its cable."),
    "media-low": (False, "Blangko hampir habis.", "Few blanks are left."),
    "marker-supply-low": (False, "Pita hampir habis.", "The ribbon is nearly used up."),
    "toner-low": (False, "Pita hampir habis.", "The ribbon is nearly used up."),
    "marker-waste-almost-full": (False, "Siapkan rol pembersih baru.", "The cleaning roller is nearly full."),
}


def faults_of(reasons: Iterable[str]) -> tuple[PrinterFault, ...]:
    """The complaints among state reasons; an unknown one stops unless it calls itself a warning or a report."""
    found: dict[str, PrinterFault] = {}
    for reason in reasons:
        keyword = next((reason[: -len(suffix)] for suffix in _SUFFIXES if reason.endswith(suffix)), reason)
        if keyword in ("", "none", "connecting-to-device", "cups-waiting-for-job-completed"):
            continue
        unknown = (
            reason == keyword or reason.endswith("-error"),
            "Periksa pencetak.",
            f"The printer says '{keyword}'.",
        )
        found[keyword] = PrinterFault(keyword, *_ADVICE.get(keyword, unknown))
    return tuple(found.values())
