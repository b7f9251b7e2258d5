"""What officers read in Indonesian where a message of a unit carries a short English name."""

from __future__ import annotations

ALARMS_ID = {
    "door-opened": "Pintu dibuka",
    "door-open": "Pintu dibuka",
    "door-closed": "Pintu ditutup",
    "tamper-open": "Kotak dibongkar",
    "tamper-closed": "Kotak ditutup",
    "help-asked": "Minta bantuan",
    "too-hot": "Terlalu panas",
    "overheat": "Terlalu panas",
    "jam": "Kartu macet",
    "software-fault": "Gangguan papan kendali",
    "fell-back": "Papan kendali kembali ke versi lama",
    "certificate-copied": "Sertifikat lama dipakai",
    "claim-copied": "Klaim dipakai kotak lain",
    "factory-reset": "Papan kendali disetel ulang",
}
PAPERS_ID = {
    "application-form": "Formulir permohonan",
    "family-card": "Kartu Keluarga",
    "old-card": "KTP lama",
    "letter-rt-rw": "Surat pengantar RT/RW",
    "removal-letter": "Surat keterangan pindah",
}
LIVES_ID = {
    "factory": "dari pabrik",
    "claimed": "diklaim",
    "keyed": "bersertifikat",
    "configured": "dikonfigurasi",
    "tested": "lulus uji",
    "in service": "bertugas",
    "suspended": "ditangguhkan",
    "retired": "purnatugas",
}


def in_indonesian(name: str) -> str:
    """The words for an alarm, a paper or a unit's state; the name itself where there are none."""
    return ALARMS_ID.get(name) or PAPERS_ID.get(name) or LIVES_ID.get(name) or name
