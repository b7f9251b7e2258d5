"""What the centre notices about a unit without being asked: data that is stuck, silence, a certificate near its end.

Decided at the hub, shown in the console and in the technician's tool, so that a technician is told which unit to visit
(M19). Each says what to do next, in Indonesian and in English.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class UnitAlert(StrEnum):
    """What is to be done something about, the gravest first."""

    CERTIFICATE_COPIED = "certificate-copied"
    CLAIM_COPIED = "claim-copied"
    DATA_STUCK = "data-stuck"
    CERTIFICATE_ENDED = "certificate-ended"
    UPLINK_STOPPED = "uplink-stopped"
    DATA_HELD = "data-held"
    UPDATE_FAILED = "update-failed"
    DATA_WAITS = "data-waits"
    SILENT = "silent"
    LINK_BROKEN = "link-broken"
    CERTIFICATE_ENDS = "certificate-ends"

    @property
    def grave(self) -> bool:
        """Whether people may lose by it before the week is over."""
        return self in _GRAVE


@dataclass(frozen=True, slots=True)
class AlertWords:
    """What is the matter and what to do."""

    what_id: str
    what_en: str
    do_id: str
    do_en: str


_GRAVE = frozenset(
    {
        UnitAlert.CERTIFICATE_COPIED,
        UnitAlert.CLAIM_COPIED,
        UnitAlert.DATA_STUCK,
        UnitAlert.CERTIFICATE_ENDED,
        UnitAlert.UPLINK_STOPPED,
    }
)
ALERT_WORDS: dict[UnitAlert, AlertWords] = {
    UnitAlert.CERTIFICATE_COPIED: AlertWords(
        "Sertifikat lama dipakai",
        "an older certificate of it asks for the next",
        "Cari tahu: isi unit dipulihkan dari salinan, atau kuncinya disalin? Cabut sertifikatnya dan daftarkan ulang.",
        "Find out whether its disk was restored or its keys were copied; 'rekam-provision revoke', then commission it "
        "again by a new claim. An officer clears this on the console.",
    ),
    UnitAlert.CLAIM_COPIED: AlertWords(
        "Klaimnya dipakai kotak lain",
        "another box knocks with its claim",
        "Cari tahu siapa yang memegang salinan medianya. Kotak itu ditolak; unit ini tidak terganggu.",
        "Find out who has a copy of its media. That box is refused and the unit is not disturbed. An officer clears "
        "this on the console.",
    ),
    UnitAlert.DATA_STUCK: AlertWords(
        "Data tertahan lama",
        "data stuck",
        "Kunjungi unit ini dan ambil paketnya dengan media.",
        "Visit the unit and collect its packets by media ('rekam-edge export').",
    ),
    UnitAlert.CERTIFICATE_ENDED: AlertWords(
        "Sertifikat habis",
        "no valid certificate",
        "Sambungkan unit ke jaringan agar memperbarui diri, atau aktifkan ulang dengan klaim baru.",
        "Bring the unit on-line, it renews by itself; or commission it again with a new claim.",
    ),
    UnitAlert.UPLINK_STOPPED: AlertWords(
        "Pengirim berhenti",
        "uplink stopped",
        "Periksa penyimpanan unit, lalu nyalakan ulang.",
        "Check the unit's storage, then start it again.",
    ),
    UnitAlert.DATA_HELD: AlertWords(
        "Paket disisihkan",
        "packets set aside",
        "Baca alasannya di halaman status unit, lalu kirim ulang.",
        "Read the reason on the unit's status page, then release them there.",
    ),
    UnitAlert.UPDATE_FAILED: AlertWords(
        "Pembaruan gagal",
        "update failed",
        "Unit memakai versi lamanya. Baca sebabnya, lalu terbitkan rilis yang diperbaiki.",
        "It runs on what it had. Read why ('rekam-provision update --status'), then publish a corrected release.",
    ),
    UnitAlert.DATA_WAITS: AlertWords(
        "Data menunggu",
        "data waits",
        "Periksa sambungan tempat ini; paket dikirim sendiri setelah pulih.",
        "Check the site's line; packets go by themselves once it is back.",
    ),
    UnitAlert.SILENT: AlertWords(
        "Tidak ada kabar",
        "silent",
        "Telepon tempat ini: apakah unit menyala dan tersambung?",
        "Call the site: is the unit switched on and connected?",
    ),
    UnitAlert.LINK_BROKEN: AlertWords(
        "Pemeriksaan jalur gagal",
        "link check failed",
        "Lihat lompatan pertama yang tidak menjawab.",
        "See the first hop that did not answer.",
    ),
    UnitAlert.CERTIFICATE_ENDS: AlertWords(
        "Sertifikat hampir habis",
        "certificate near its end",
        "Unit seharusnya sudah memperbarui diri: sambungkan, lalu minta pembaruan.",
        "It should have renewed by now: bring it on-line, then 'rekam-provision renew'.",
    ),
}
