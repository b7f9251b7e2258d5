"""What may go wrong between a box and its first day of service, and what to do about each: one table for all screens.

The unit's page shows the Indonesian line first and the English one beside it; the technician's tool shows the English
one. A problem travels as its code, so that old and new software say the same in their own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from contract.errors import RemoteError


class Problem(StrEnum):
    """Why commissioning, renewal or an order does not go on."""

    CLAIM_MISSING = "claim-missing"
    CLAIM_INCOMPLETE = "claim-incomplete"
    CLAIM_EXPIRED = "claim-expired"
    CLAIM_UNKNOWN = "claim-unknown"
    CLAIM_USED = "claim-used"
    CLAIM_FOR_OTHER_SERIAL = "claim-for-other-serial"
    SERIAL_TAKEN = "serial-taken"
    SERIAL_SHARED = "serial-shared"
    KEYS_CHANGED = "keys-changed"
    CLOCK_WRONG = "clock-wrong"
    BROKER_UNREACHABLE = "broker-unreachable"
    BROKER_REFUSES = "broker-refuses"
    BROKER_UNKNOWN = "broker-unknown"
    BROKER_FULL = "broker-full"
    BROKER_TLS_OLD = "broker-tls-old"
    ACCESS_DENIED = "access-denied"
    NAME_IN_USE = "name-in-use"
    CERTIFICATE_ENDED = "certificate-ended"
    NOT_APPROVED = "not-approved"
    NAME_DIFFERS = "name-differs"
    PROOF_WRONG = "proof-wrong"
    UNIT_TAKEN = "unit-taken"
    SITE_UNKNOWN = "site-unknown"
    NO_RIGHTS = "no-rights"
    ORDER_STALE = "order-stale"
    CONFIGURATION_FOR_OTHER_UNIT = "configuration-for-other-unit"
    CONFIGURATION_INVALID = "configuration-invalid"
    CONFIGURATION_OLD = "configuration-old"
    CONFIGURATION_SECRET = "configuration-secret"  # noqa: S105 - a code, no secret
    CONFIGURATION_UNHEALTHY = "configuration-unhealthy"
    SELFTEST_FAILED = "selftest-failed"
    CERTIFICATE_TOO_OLD = "certificate-too-old"
    CERTIFICATE_REVOKED = "certificate-revoked"
    CERTIFICATE_SUPERSEDED = "certificate-superseded"
    STORE_UNUSABLE = "store-unusable"
    KEY_PART_UNUSABLE = "key-part-unusable"
    UNIT_BUSY = "unit-busy"
    COMMAND_OVER = "command-over"


@dataclass(frozen=True, slots=True)
class Wording:
    """What happened and what to do, in both languages."""

    what_id: str
    do_id: str
    what_en: str
    do_en: str


WORDING: dict[Problem, Wording] = {
    Problem.CLAIM_MISSING: Wording(
        "Unit ini belum mempunyai klaim.",
        "Pasang media klaim dari teknisi, lalu tunggu.",
        "This unit has no claim yet.",
        "Insert the technician's claim media and wait.",
    ),
    Problem.CLAIM_INCOMPLETE: Wording(
        "Berkas klaim tidak lengkap: media dicabut sebelum selesai ditulis.",
        "Minta teknisi menulis ulang media klaim dengan 'rekam-provision box'.",
        "The claim file is incomplete: the media was pulled before it was written.",
        "Write the claim media again with 'rekam-provision box'.",
    ),
    Problem.CLAIM_EXPIRED: Wording(
        "Klaim sudah kedaluwarsa (berlaku paling lama 72 jam).",
        "Periksa jam unit; bila benar, buat klaim baru dengan 'rekam-provision box'.",
        "The claim has expired (it lives 72 hours at most).",
        "Check the unit's clock; if it is right, make a new claim with 'rekam-provision box'.",
    ),
    Problem.CLAIM_UNKNOWN: Wording(
        "Pusat tidak mengenal klaim ini.",
        "Buat klaim baru dengan 'rekam-provision box'; jangan pakai media ini lagi.",
        "The centre does not know this claim.",
        "Make a new claim with 'rekam-provision box', and do not use this media again.",
    ),
    Problem.CLAIM_USED: Wording(
        "Klaim ini sudah dipakai oleh unit lain atau sudah selesai.",
        "Laporkan ke teknisi: media mungkin disalin. Lanjutkan hanya dengan klaim baru.",
        "This claim has been used already.",
        "Report it: the media may have been copied. Go on with a new claim only.",
    ),
    Problem.CLAIM_FOR_OTHER_SERIAL: Wording(
        "Klaim ini dibuat untuk unit dengan nomor seri lain.",
        "Pasang media yang labelnya memuat nomor seri unit ini.",
        "This claim was made for a unit with another serial number.",
        "Insert the media whose label shows this unit's serial number.",
    ),
    Problem.SERIAL_TAKEN: Wording(
        "Nomor seri ini sudah dipakai oleh unit yang terdaftar.",
        "Bila perangkatnya diganti, jalankan 'rekam-provision replace'; bila tidak, laporkan dugaan penggandaan.",
        "Another unit is enrolled with this serial number.",
        "If this box takes its place, use 'rekam-provision replace'; if not, report a copy.",
    ),
    Problem.SERIAL_SHARED: Wording(
        "Perangkat lain mengetuk dengan nomor seri yang sama.",
        "Teknisi mencocokkan kode di layar ini dan menyetujui yang benar saja; cari asal perangkat yang lain.",
        "Another box knocks with the same serial number.",
        "Compare the code on each screen and approve only the right one; find out where the other comes from.",
    ),
    Problem.KEYS_CHANGED: Wording(
        "Kunci unit berbeda dari kunci yang mengetuk pertama kali dengan klaim ini.",
        "Klaim ini mungkin dipakai dua unit. Buat klaim baru untuk masing-masing.",
        "The unit's keys are not those that knocked first with this claim.",
        "Two units may share the claim. Make a new claim for each.",
    ),
    Problem.CLOCK_WRONG: Wording(
        "Jam unit ini salah.",
        "Setel tanggal dan jam (UTC), atau sambungkan ke server waktu; unit mencoba lagi sendiri.",
        "This unit's clock is wrong.",
        "Set date and time (UTC) or connect a time server; the unit tries again by itself.",
    ),
    Problem.BROKER_UNREACHABLE: Wording(
        "Server pesan tidak terjangkau.",
        "Periksa kabel, modem dan alamat jaringan; unit mencoba lagi sendiri.",
        "The message broker cannot be reached.",
        "Check cable, modem and network address; the unit tries again by itself.",
    ),
    Problem.BROKER_REFUSES: Wording(
        "Server pesan menolak sertifikat unit ini.",
        "Tunjukkan layar ini kepada teknisi; 'rekam-provision status' menyebutkan sebabnya.",
        "The message broker refuses this unit's certificate.",
        "Show this screen to the technician; 'rekam-provision status' names the reason.",
    ),
    Problem.BROKER_UNKNOWN: Wording(
        "Server di alamat ini bukan server pesan pusat.",
        "Periksa alamat pada label klaim dan jaringan; jangan lanjutkan di jaringan yang tidak dikenal.",
        "The server at this address is not the centre's broker.",
        "Check the address on the claim's label and the network; do not go on in a network you do not know.",
    ),
    Problem.BROKER_FULL: Wording(
        "Server pesan sedang penuh dan tidak menerima sambungan baru.",
        "Tunggu; unit mencoba lagi sendiri. Bila tetap penuh, hubungi pusat.",
        "The message broker is full and takes no new connection.",
        "Wait, the unit tries again by itself. If it stays full, tell the centre.",
    ),
    Problem.BROKER_TLS_OLD: Wording(
        "Server pesan dan unit ini tidak memakai versi TLS yang sama (diperlukan 1.2 atau lebih baru).",
        "Periksa nomor port pada label klaim; bila benar, pusat memperbarui server pesannya.",
        "The message broker and this unit do not speak the same TLS; 1.2 or later is needed.",
        "Check the port on the claim's label; if it is right, the centre updates its broker.",
    ),
    Problem.ACCESS_DENIED: Wording(
        "Server pesan mengenal unit ini, tetapi tidak mengizinkannya berbicara.",
        "Tunggu satu menit: pusat menulis daftar izin. Bila tetap begitu, hubungi teknisi.",
        "The message broker knows this unit and does not let it speak.",
        "Wait a minute: the centre writes the list of who may. If it stays so, call the technician.",
    ),
    Problem.NAME_IN_USE: Wording(
        "Perangkat lain tersambung dengan nama unit ini.",
        "Laporkan segera: mungkin kuncinya disalin. Teknisi mencabut sertifikatnya dengan 'rekam-provision revoke'.",
        "Another device is connected under this unit's name.",
        "Report it at once: its keys may have been copied. The technician uses 'rekam-provision revoke'.",
    ),
    Problem.CERTIFICATE_ENDED: Wording(
        "Masa berlaku sertifikat unit ini sudah habis.",
        "Biarkan tersambung: unit memperbaruinya sendiri. Bila jam unit salah, setel dahulu.",
        "This unit's certificate has ended.",
        "Leave it connected: it renews by itself. If its clock is wrong, set that first.",
    ),
    Problem.NOT_APPROVED: Wording(
        "Unit menunggu persetujuan teknisi.",
        "Teknisi mencocokkan kode di layar ini dan menjalankan 'rekam-provision approve'.",
        "The unit waits for a technician's approval.",
        "Compare the code on this screen and run 'rekam-provision approve'.",
    ),
    Problem.NAME_DIFFERS: Wording(
        "Permintaan sertifikat memakai nama unit lain.",
        "Tidak ada sertifikat yang diterbitkan. Ulangi dengan klaim baru dan laporkan.",
        "The certificate request is for another unit's name.",
        "Nothing was issued. Begin again with a new claim, and report it.",
    ),
    Problem.PROOF_WRONG: Wording(
        "Unit tidak membuktikan bahwa ia memegang kuncinya.",
        "Nyalakan ulang unit; bila terulang, ganti perangkat kunci.",
        "The unit did not prove that it holds its keys.",
        "Restart the unit; if it happens again, replace its key device.",
    ),
    Problem.UNIT_TAKEN: Wording(
        "Nama unit itu sudah dipakai.",
        "Pilih nama lain, atau jalankan 'rekam-provision replace' untuk pengganti.",
        "That unit name is in use.",
        "Choose another name, or use 'rekam-provision replace' for a successor.",
    ),
    Problem.SITE_UNKNOWN: Wording(
        "Tempat pelayanan itu tidak dikenal.",
        "Periksa kode tempat pelayanan; administrator menambahkannya di pusat.",
        "That site is not known.",
        "Check the site code; an administrator adds it at the centre.",
    ),
    Problem.NO_RIGHTS: Wording(
        "Teknisi ini tidak berhak atas tempat pelayanan itu.",
        "Minta teknisi yang berhak, atau minta administrator memberi hak.",
        "This technician has no right to do this there.",
        "Ask a technician who has, or ask an administrator for the right.",
    ),
    Problem.ORDER_STALE: Wording(
        "Perintah ini terlalu lama atau dari masa depan.",
        "Periksa jam laptop teknisi, lalu ulangi perintah.",
        "This order is too old, or from the future.",
        "Check the clock of the technician's machine, and give the order again.",
    ),
    Problem.CONFIGURATION_FOR_OTHER_UNIT: Wording(
        "Konfigurasi ini untuk unit lain.",
        "Tidak ada yang diubah. Kirim konfigurasi yang benar dengan 'rekam-provision configure'.",
        "This configuration is for another unit.",
        "Nothing was changed. Send the right one with 'rekam-provision configure'.",
    ),
    Problem.CONFIGURATION_INVALID: Wording(
        "Konfigurasi ditolak oleh unit.",
        "Perbaiki kunci yang disebutkan, lalu jalankan 'rekam-provision configure' lagi.",
        "The unit refuses the configuration.",
        "Correct the named keys and run 'rekam-provision configure' again.",
    ),
    Problem.CONFIGURATION_OLD: Wording(
        "Konfigurasi ini bukan yang terbaru untuk unit ini.",
        "Tidak ada yang diubah. Periksa keadaan unit dengan 'rekam-provision status', lalu kirim lagi.",
        "This configuration is not newer than what the unit has.",
        "Nothing was changed. Look at 'rekam-provision status' and run 'rekam-provision configure' again.",
    ),
    Problem.CONFIGURATION_SECRET: Wording(
        "Konfigurasi memuat rahasia (kata sandi atau kunci).",
        "Simpan rahasia itu dalam berkas di unit, tulis alamat berkasnya (..._file), dan ganti rahasianya.",
        "The configuration carries what looks like a secret.",
        "Keep the secret in a file on the unit and give that file's path (…_file); change the secret if it was sent.",
    ),
    Problem.CONFIGURATION_UNHEALTHY: Wording(
        "Unit tidak sehat dengan konfigurasi baru dan kembali ke yang sebelumnya.",
        "Periksa yang disebutkan, perbaiki konfigurasi, lalu jalankan 'rekam-provision configure' lagi.",
        "The unit was not healthy on the configuration and went back to the one before.",
        "See to what is named, correct the settings, and run 'rekam-provision configure' again.",
    ),
    Problem.SELFTEST_FAILED: Wording(
        "Pemeriksaan perangkat gagal.",
        "Periksa kabel perangkat yang disebutkan; unit memeriksa lagi sendiri.",
        "A device failed the self-test.",
        "Check the cable of the named device; the unit tests again by itself.",
    ),
    Problem.CERTIFICATE_TOO_OLD: Wording(
        "Sertifikat unit sudah kedaluwarsa lebih dari 180 hari.",
        "Daftarkan ulang unit: klaim baru ('rekam-provision box'), lalu 'rekam-edge recommission'; data tetap aman.",
        "The unit's certificate expired more than 180 days ago.",
        "Commission the unit again: 'rekam-provision box', then 'rekam-edge recommission'; unsent data stay safe.",
    ),
    Problem.CERTIFICATE_REVOKED: Wording(
        "Sertifikat unit ini dicabut, atau unit ini tidak bertugas lagi.",
        "Serahkan unit kepada teknisi ('rekam-edge recommission'). Data yang belum terkirim tetap tersegel.",
        "This unit's certificate was revoked, or the unit is no longer in service.",
        "Give the unit to a technician, who may use 'rekam-edge recommission'. Unsent data stay sealed in it.",
    ),
    Problem.CERTIFICATE_SUPERSEDED: Wording(
        "Sertifikat ini sudah diganti yang lebih baru: isi unit dari salinan lama, atau kuncinya disalin orang.",
        "Tunjukkan kepada teknisi. Bila unit ini dipulihkan dari salinan: 'rekam-provision revoke', media klaim baru, "
        "'rekam-edge recommission'. Bila tidak, laporkan: ada salinan kuncinya.",
        "This certificate was followed by a newer one: the disk is an old copy, or somebody copied its keys.",
        "Show it to the technician. If the disk was restored from an image: 'rekam-provision revoke', a new claim, "
        "'rekam-edge recommission'. If not, report it: a copy of the keys is about.",
    ),
    Problem.STORE_UNUSABLE: Wording(
        "Unit tidak dapat menyimpan kuncinya.",
        "Periksa kartu penyimpanan: penuh, rusak atau hanya-baca.",
        "The unit cannot keep its keys.",
        "Check the storage card: full, broken or read-only.",
    ),
    Problem.KEY_PART_UNUSABLE: Wording(
        "Perangkat kunci unit ini tidak dapat dipakai.",
        "Tunjukkan layar ini kepada teknisi; unit mencoba lagi sendiri.",
        "The part that holds this unit's key cannot be used.",
        "Show this screen to the technician; the unit tries again by itself.",
    ),
    Problem.UNIT_BUSY: Wording(
        "Unit sedang melayani warga atau dipakai pekerjaan lain.",
        "Tidak ada yang dijalankan. Telepon tempat pelayanan, atau ulangi perintah setelah selesai.",
        "The unit serves a person, or is at other work.",
        "Nothing was begun. Call the site, or give the command again when it is free.",
    ),
    Problem.COMMAND_OVER: Wording(
        "Perintah ini sudah pernah dimulai di unit, dan jawabannya tidak tersimpan lagi.",
        "Beri perintah baru; unit mungkin baru saja menyala ulang.",
        "The unit has begun this command before, and its answer is gone.",
        "Give the command anew; the unit may have started again meanwhile.",
    ),
}


class Refusal(RemoteError):
    """The other side does not go on, for one of the known reasons. detail: what exactly, without personal data."""

    def __init__(self, problem: Problem, detail: str = "") -> None:
        wording = WORDING[problem]
        super().__init__(f"{wording.what_en} {detail}".strip(), next_step=wording.do_en)
        self.problem = problem
        self.detail = detail
