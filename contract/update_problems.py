"""Why a unit does not take up a release, or went back from it, and what to do: one table for all screens.

A problem travels as its code, beside those of commissioning (contract.commissioning_problems).
"""

from __future__ import annotations

from enum import StrEnum

from contract.commissioning_problems import Wording
from contract.errors import RemoteError


class UpdateProblem(StrEnum):
    """Why a job ends without a new release in force."""

    FOR_OTHER_UNIT = "update-for-other-unit"
    NO_ROOT = "update-no-root"
    NO_SLOTS = "update-no-slots"
    METADATA_UNTRUSTED = "metadata-untrusted"
    METADATA_OLDER = "metadata-older"
    METADATA_EXPIRED = "metadata-expired"
    METADATA_MIXED = "metadata-mixed"
    FILE_ABSENT = "file-absent"
    FILE_ENDLESS = "file-endless"
    FILE_WRONG = "file-wrong"
    RELEASE_OLD = "release-old"
    RELEASE_UNKNOWN = "release-unknown"
    RELEASE_INVALID = "release-invalid"
    RELEASE_FOR_OTHER_MACHINE = "release-for-other-machine"
    NO_ROOM = "update-no-room"
    INSTALL_FAILED = "install-failed"
    UNHEALTHY = "release-unhealthy"
    NEVER_READY = "release-never-ready"
    CAME_BACK = "release-came-back"
    NO_WAY_BACK = "release-no-way-back"
    CONTROLLER_MISSING = "controller-missing"
    CONTROLLER_KEY_MISSING = "controller-key-missing"
    CONTROLLER_FAILED = "controller-failed"


_AGAIN_ID, _AGAIN_EN = "Kirim pekerjaan baru dari pusat.", "Order the update again from the centre."
_REPOSITORY_ID = "Unit tetap memakai versi sekarang. Laporkan ke pusat: repositori atau saluran mungkin dirusak."
_REPOSITORY_EN = "The unit stays on its version. Report it: somebody may have tampered with repository or line."

UPDATE_WORDING: dict[UpdateProblem, Wording] = {
    UpdateProblem.FOR_OTHER_UNIT: Wording(
        "Pekerjaan pembaruan ini untuk unit lain.",
        _AGAIN_ID,
        "The update job is for another unit.",
        _AGAIN_EN,
    ),
    UpdateProblem.NO_ROOT: Wording(
        "Unit ini tidak mempunyai kunci akar pembaruan.",
        "Salin update-root.json dari 'rekam-provision init' ke folder kunci unit.",
        "This unit has no trusted root for updates.",
        "Copy the repository's update-root.json into the folder of the unit's keys.",
    ),
    UpdateProblem.NO_SLOTS: Wording(
        "Unit ini tidak berjalan dari slot, jadi perangkat lunaknya tidak dapat diganti dari pusat.",
        "Pasang paket Debian 'rekam-edge', yang menjalankan unit dari slot.",
        "This unit does not run from a slot, so its software cannot be changed from the centre.",
        "Install the Debian package, which runs the agent from slots.",
    ),
    UpdateProblem.METADATA_UNTRUSTED: Wording(
        "Metadata pembaruan tidak ditandatangani oleh kunci yang dipercaya.",
        _REPOSITORY_ID,
        "The update metadata is not signed by a trusted key.",
        _REPOSITORY_EN,
    ),
    UpdateProblem.METADATA_OLDER: Wording(
        "Metadata pembaruan lebih lama daripada yang sudah dilihat unit ini.",
        "Bila pusat dipulihkan dari cadangan: 'rekam-hub take-release' dengan media terbaru. Bila tidak, laporkan.",
        "The update metadata is older than what this unit has seen.",
        "If the hub came from a backup: 'rekam-hub take-release' with the newest media. If not, report it: tampering.",
    ),
    UpdateProblem.METADATA_EXPIRED: Wording(
        "Metadata pembaruan sudah kedaluwarsa.",
        "Periksa jam unit; bila benar, pusat harus menerbitkan metadata baru.",
        "The update metadata has expired.",
        "Check the unit's clock; if it is right, the centre has to publish new metadata.",
    ),
    UpdateProblem.METADATA_MIXED: Wording(
        "Berkas metadata pembaruan tidak berasal dari satu terbitan.",
        _REPOSITORY_ID,
        "The files of the update metadata are not of one publication.",
        _REPOSITORY_EN,
    ),
    UpdateProblem.FILE_ABSENT: Wording(
        "Pusat tidak mempunyai berkas rilis ini.",
        "Terbitkan rilis secara lengkap, lalu kirim pekerjaan baru.",
        "The centre does not have a file of this release.",
        "Publish the whole release, then order the update again.",
    ),
    UpdateProblem.FILE_ENDLESS: Wording(
        "Berkas yang dikirim lebih panjang daripada yang ditandatangani.",
        _REPOSITORY_ID,
        "More was sent of a file than its signed length.",
        _REPOSITORY_EN,
    ),
    UpdateProblem.FILE_WRONG: Wording(
        "Isi berkas bukan yang ditandatangani.",
        _REPOSITORY_ID,
        "A file is not what was signed.",
        _REPOSITORY_EN,
    ),
    UpdateProblem.RELEASE_OLD: Wording(
        "Rilis ini lebih lama daripada yang boleh dipasang.",
        "Perangkat lunak hanya bergerak maju: terbitkan rilis yang lebih baru.",
        "The release is older than what may be installed.",
        "Software moves forward only: publish a newer release.",
    ),
    UpdateProblem.RELEASE_UNKNOWN: Wording(
        "Rilis ini tidak ada di repositori yang ditandatangani.",
        "Periksa nama rilis, lalu kirim pekerjaan baru.",
        "The signed repository has no such release.",
        "Check the release's name and order the update again.",
    ),
    UpdateProblem.RELEASE_INVALID: Wording(
        "Rilis ini tidak dapat dibaca.",
        "Buat rilis ulang dengan alat rilis, lalu kirim pekerjaan baru.",
        "The release cannot be read.",
        "Make the release again with the release tool and order the update again.",
    ),
    UpdateProblem.RELEASE_FOR_OTHER_MACHINE: Wording(
        "Rilis ini tidak memuat paket untuk mesin ini.",
        "Tambahkan paket (wheel) untuk arsitektur dan versi Python unit ini.",
        "The release has no package for this machine.",
        "Add wheels for this unit's architecture and Python.",
    ),
    UpdateProblem.NO_ROOM: Wording(
        "Penyimpanan unit tidak cukup untuk pembaruan ini.",
        "Kosongkan ruang pada kartu penyimpanan; paket yang belum terkirim tidak dihapus.",
        "The unit has no room for this update.",
        "Make room on its storage; unsent packets are never deleted for it.",
    ),
    UpdateProblem.INSTALL_FAILED: Wording(
        "Rilis tidak dapat dipasang; unit tetap memakai versi sekarang.",
        "Periksa sebab yang disebutkan, lalu kirim pekerjaan baru.",
        "The release could not be installed; the unit stays on its version.",
        "See to the reason named, then order the update again.",
    ),
    UpdateProblem.UNHEALTHY: Wording(
        "Unit tidak sehat dengan rilis baru dan kembali ke yang sebelumnya.",
        "Periksa yang disebutkan, lalu terbitkan rilis yang diperbaiki.",
        "The unit was not healthy on the new release and went back to the one before.",
        "See to what is named, then publish a corrected release.",
    ),
    UpdateProblem.NEVER_READY: Wording(
        "Rilis baru berhenti atau macet sebelum dinyatakan baik; unit kembali ke yang sebelumnya.",
        "Lihat log unit, lalu terbitkan rilis yang diperbaiki.",
        "The new release ended or hung before it was found good; the unit went back to the one before.",
        "Look at the unit's log, then publish a corrected release.",
    ),
    UpdateProblem.CAME_BACK: Wording(
        "Rilis yang sudah dinyatakan baik berhenti berulang kali; unit kembali ke yang sebelumnya.",
        "Lihat log unit, lalu terbitkan rilis yang diperbaiki, atau kirim pekerjaan baru bila sebabnya bukan rilis.",
        "It came back: the release was found good, and then ended again and again (crash loop).",
        "Look at the unit's log, then publish a corrected release; or order it again where the release was not why.",
    ),
    UpdateProblem.NO_WAY_BACK: Wording(
        "Rilis ini berhenti berulang kali, dan unit tidak dapat kembali ke yang sebelumnya.",
        "Lihat log unit, lalu terbitkan rilis yang diperbaiki; data di unit tetap aman.",
        "The release ends again and again (crash loop), and the unit cannot come back to the one before.",
        "Look at the unit's log, then publish a corrected release; nothing on the unit is lost.",
    ),
    UpdateProblem.CONTROLLER_MISSING: Wording(
        "Unit ini tidak mempunyai papan pengendali, atau papan itu tidak menjawab.",
        "Periksa kabel dan [devices.controller] di unit.toml.",
        "This unit has no controller board, or it does not answer.",
        "Check its cable, and [devices.controller] in unit.toml.",
    ),
    UpdateProblem.CONTROLLER_KEY_MISSING: Wording(
        "Kunci papan pengendali tidak ada di unit ini.",
        "Salin kunci papan sebagai controller.key ke folder kunci unit.",
        "The key of the controller board is not on this unit.",
        "Copy the board's key as controller.key into the folder of the unit's keys.",
    ),
    UpdateProblem.CONTROLLER_FAILED: Wording(
        "Papan pengendali tidak menerima perangkat lunak baru.",
        "Papan tetap memakai versi sekarang; periksa sebab yang disebutkan.",
        "The controller did not take up the new firmware.",
        "It goes on with what it runs; see to the reason named.",
    ),
}


class UpdateRefusal(RemoteError):
    """A job ends for one of the known reasons. detail: what exactly, without personal data."""

    def __init__(self, problem: UpdateProblem, detail: str = "") -> None:
        wording = UPDATE_WORDING[problem]
        super().__init__(f"{wording.what_en} {detail}".strip(), next_step=wording.do_en)
        self.problem = problem
        self.detail = detail
