"""What the screens tell people, Indonesian first with English beside it: prompts, advice, and the statement of truth.

The statement's text is part of the capture: its digest is in the packet, so a change of wording here is a new text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from contract.attestation import AttestationPage
from contract.finger_image import SlapPosition
from contract.packet import Biodata
from contract.sample import FINGER_LABELS, FingerPosition, IrisPosition, Modality
from edge.procedure import Advice

FINGER_LABELS_EN = {
    FingerPosition.UNKNOWN: "Unknown finger",
    FingerPosition.RIGHT_THUMB: "Right thumb",
    FingerPosition.RIGHT_INDEX: "Right index finger",
    FingerPosition.RIGHT_MIDDLE: "Right middle finger",
    FingerPosition.RIGHT_RING: "Right ring finger",
    FingerPosition.RIGHT_LITTLE: "Right little finger",
    FingerPosition.LEFT_THUMB: "Left thumb",
    FingerPosition.LEFT_INDEX: "Left index finger",
    FingerPosition.LEFT_MIDDLE: "Left middle finger",
    FingerPosition.LEFT_RING: "Left ring finger",
    FingerPosition.LEFT_LITTLE: "Left little finger",
}
SLAP_LABELS = {
    SlapPosition.RIGHT_FOUR: ("Empat jari kanan", "Four right fingers"),
    SlapPosition.LEFT_FOUR: ("Empat jari kiri", "Four left fingers"),
    SlapPosition.THUMBS: ("Kedua ibu jari", "Both thumbs"),
}
EYE_LABELS = {
    IrisPosition.UNKNOWN: ("Kedua mata", "Both eyes"),
    IrisPosition.RIGHT: ("Mata kanan", "Right eye"),
    IrisPosition.LEFT: ("Mata kiri", "Left eye"),
}

AGAIN_BETTER = Advice(
    "Mutu belum cukup. Silakan ulangi dengan tenang.", "The quality is not enough yet. Please try again."
)
NOT_THE_SAME = Advice(
    "Tidak cocok. Bersihkan jari, lalu letakkan jari yang diminta sekali lagi.",
    "No match. Wipe the finger, then place the finger that is asked for once more.",
)
OFFICER_NO_MATCH = Advice(
    "Sidik jari petugas tidak cocok. Coba sekali lagi atau pakai jari lain yang terdaftar.",
    "The officer's finger does not match. Try again, or use another enrolled finger.",
)
NO_INK = Advice(
    "Tanda tangan belum terbaca. Silakan tanda tangan di bidangnya sampai selesai.",
    "No signature was read. Please sign in the field until it is finished.",
)
OTHER_CARD = Advice(
    "Kartu di pembaca bukan kartu penduduk ini. Letakkan kartu yang benar.",
    "The card on the reader is not this resident's. Place the right card.",
)

WEAK_PIN = Advice(
    "PIN harus enam angka, tidak sama semua dan tidak berurutan.",
    "A PIN has six digits, not all the same and not in a row.",
)
OTHER_PIN = Advice("Kedua PIN tidak sama. Masukkan lagi.", "The two PINs differ. Enter both again.")
FORGOTTEN_PIN = Advice(
    "Lupa PIN? Minta kepala seksi mengatur ulang PIN Anda.", "Forgotten? Have the section head reset your PIN."
)
PIN_SUPERSEDED = Advice(
    "PIN yang Anda ganti di perangkat ini tidak berlaku lagi: sesudahnya PIN diganti di tempat lain. Pakai yang itu.",
    "The PIN that you changed at this unit is void: it was changed elsewhere after that. Use that one.",
)
PIN_WAS_RESET = Advice(
    "PIN Anda diatur ulang; yang lama tidak berlaku lagi. Setelah sidik jari, pilih PIN baru.",
    "Your PIN was reset; the old one is void. After your finger you choose a new one.",
)
WRONG_CARD = Advice(
    "Kartu ini bukan kartu petugas tersebut. Letakkan KTP-el Anda sendiri.",
    "This card is not this officer's. Lay your own identity card on the reader.",
)
SAME_OFFICER_FINGER = Advice(
    "Jari ini sudah diambil. Letakkan jari lain yang diminta.",
    "This finger was taken already. Place the other finger that is asked for.",
)

RETRY_FINGER = "Jari belum terbaca. Letakkan jari yang diminta di tengah kaca dan tahan."
RETRY_PHOTO = "Foto belum terambil. Lihat ke kamera dan coba lagi."
RETRY_PEN = "Tanda tangan belum terbaca. Tanda tangan di bidangnya sampai selesai."
RETRY_EYES = "Mata belum terbaca. Buka mata lebar-lebar dan lihat ke lampu."
RETRY_CARD = "Kartu belum terbaca. Letakkan kartu pada pembaca dan biarkan sampai selesai."

# step: (Indonesian, English); {finger}, {eye} and {who} are filled in.
PROMPTS: dict[str, tuple[str, str]] = {
    "biodata": (
        "Petugas membacakan data Anda. Apakah semuanya benar?",
        "The officer reads your data aloud. Is everything right?",
    ),
    "photo": (
        "Duduk tegak, lihat ke kamera, mata terbuka, tanpa kacamata.",
        "Sit upright, look at the camera, eyes open, no glasses.",
    ),
    "photo_review": (
        "Petugas: apakah foto ini orang yang hadir, sesuai jenis kelamin dan umurnya?",
        "Officer: does this photo show the person present, and fit the sex and age in the biodata?",
    ),
    "signature": ("Tanda tangan di bidang tanda tangan.", "Sign in the signature field."),
    "fingers": ("Letakkan {finger} pada pemindai.", "Place the {finger} on the scanner."),
    "exception_photo": (
        "Petugas memotret tangan atau mata yang tidak dapat direkam.",
        "The officer takes a photo of the hand or eye that cannot be captured.",
    ),
    "second_officer": (
        "Petugas kedua membenarkan pengecualian ini dengan sidik jarinya.",
        "A second officer confirms this exception with a fingerprint.",
    ),
    "irises": (
        "Buka mata lebar-lebar dan lihat ke lampu pemindai.",
        "Open your eyes wide and look at the scanner's lamp.",
    ),
    "iris_review": (
        "Petugas: mata kanan dan kiri tampak tertukar. Periksa kedua gambar.",
        "Officer: right and left eye look swapped. Please check both pictures.",
    ),
    "search": ("Mohon tunggu, data sedang diperiksa.", "Please wait while the data are checked."),
    "verify": (
        "Sekali lagi: letakkan {finger} untuk pemeriksaan.",
        "Once more: place the {finger}, to be checked.",
    ),
    "attest": (
        "Baca pernyataan ini. Jika benar, tanda tangan di bidangnya.",
        "Read this statement. If it is true, sign in the field.",
    ),
    "sign_off": (
        "Operator mengesahkan perekaman dengan {finger}.",
        "The operator signs off the capture with the {finger}.",
    ),
    "seal": ("Mohon tunggu, data sedang disegel dan disimpan.", "Please wait while the data are sealed and saved."),
    "saved": (
        "Perekaman selesai dan tersimpan aman. Ambil bukti perekaman.",
        "The capture is finished and safely saved. Please take the proof of capture.",
    ),
    "refused": (
        "Perekaman ditolak: sidik jari ini sudah direkam di tempat ini. Anda dapat mengajukan keberatan.",
        "The capture is refused: these fingers were captured at this site already. You may appeal.",
    ),
    "appealed": (
        "Keberatan dicatat. Data diperiksa oleh petugas pusat yang belum pernah melihatnya.",
        "The appeal is recorded. Officers at the centre who have not seen the case will decide.",
    ),
    "correction": (
        "Data belum benar. Silakan ke layanan perbaikan data; perekaman dilakukan sesudahnya.",
        "The data are not right. Please go to the correction service; the capture follows after it.",
    ),
    "cancelled": ("Dibatalkan. Tidak ada data yang disimpan.", "Cancelled. Nothing has been kept."),
    "finished": ("Terima kasih.", "Thank you."),
    "old_card": (
        "Terima KTP lama penduduk, atau catat bahwa tidak ada atau hilang.",
        "Take in the old card, or record that there is none or that it is lost.",
    ),
    "card": ("Letakkan kartu baru pada pembaca kartu.", "Place the new card on the card reader."),
    "data": (
        "Periksa data pada kartu dan data di dalam chip. Apakah semuanya benar?",
        "Check the data on the card and in its chip. Is everything right?",
    ),
    "attestation": (
        "Inilah yang ditandatangani saat perekaman. Bandingkan dengan data di kartu.",
        "This is what was signed at the capture. Compare it with the data on the card.",
    ),
    "receipt": ("Tanda tangani tanda terima kartu di bidangnya.", "Sign the card's receipt in the field."),
    "result": ("Mohon tunggu, hasil sedang disimpan.", "Please wait while the result is saved."),
    "berhasil": (
        "BERHASIL. Serahkan kartu kepada penduduk; simpan KTP lama.",
        "VERIFIED. Hand the card to the resident; keep the old card.",
    ),
    "old_card_back": (
        "Tidak cocok. Kembalikan KTP lama dan surat panggilan kepada penduduk, lalu nyatakan di sini.",
        "No match. Give the old card and the letter back to the resident, then say so here.",
    ),
    "gagal": (
        "GAGAL. Simpan kartu baru. Persilakan penduduk melengkapi data di layanan perbaikan, tanpa perekaman ulang.",
        "FAILED. Keep the new card, to be returned. Invite the resident to complete the data at the correction "
        "service; there is no new capture.",
    ),
}
HANDOVER_VERIFY = (
    "Letakkan {finger} pada pemindai untuk dicocokkan dengan kartu.",
    "Place the {finger} on the scanner, to be matched with the card.",
)

_STATEMENT_ID = (
    "PERNYATAAN KEBENARAN DATA\n\n"
    "Saya, {name}, NIK {nik}, lahir di {birth_place} pada {birth_date}, menyatakan bahwa biodata, foto, tanda tangan, "
    "sidik jari, dan iris mata yang direkam hari ini adalah benar milik saya, dan bahwa saya belum pernah direkam "
    "untuk KTP-el.\n\n"
    "Bila pernyataan ini tidak benar, saya bersedia diproses menurut peraturan perundang-undangan."
)
_STATEMENT_EN = (
    "STATEMENT OF TRUTH\n\n"
    "I, {name}, NIK {nik}, born in {birth_place} on {birth_date}, state that the biodata, photo, signature, "
    "fingerprints and irises captured today are truly mine, and that I have never been captured for the "
    "electronic identity card before.\n\n"
    "If this statement is not true, I accept the consequences that the law provides."
)


# step of a sign-on, or of an operator's enrolment: the same.
OFFICER_PROMPTS: dict[str, tuple[str, str]] = {
    "finger": ("Petugas {who}: letakkan {finger} pada pemindai.", "Officer {who}: place the {finger} on the scanner."),
    "pin": ("Masukkan PIN Anda.", "Enter your PIN."),
    "card": ("Letakkan KTP-el Anda sendiri pada pembaca kartu.", "Lay your own identity card on the reader."),
    "new_pin": ("Pilih PIN baru, enam angka.", "Choose a new PIN of six digits."),
    "signed_on": ("Selamat bekerja, {who}.", "You are signed on, {who}."),
    "pin_changed": (
        "PIN diganti. Di perangkat ini berlaku sekarang; di perangkat lain setelah pusat menerimanya.",
        "The PIN is changed: here at once, at other units when the centre has it.",
    ),
    "unlocked": ("Kunci PIN dibuka.", "The PIN's lock is lifted."),
    "fingers": ("Calon petugas {who}: letakkan {finger}.", "New officer {who}: place the {finger}."),
    "factor": (
        "Pilih pengaman kedua untuk {who}: PIN, KTP-el, atau tanpa.",
        "Choose a second factor for {who}: PIN, identity card, or none.",
    ),
    "enrolment_pin": ("{who} memilih PIN sendiri, enam angka.", "{who} chooses a PIN of six digits."),
    "enrolment_card": ("Letakkan KTP-el {who} pada pembaca kartu.", "Lay the identity card of {who} on the reader."),
    "sign_off": (
        "Petugas yang mendaftarkan mengesahkan dengan {finger}.",
        "The enrolling officer signs off with the {finger}.",
    ),
    "seal": ("Mohon tunggu, data sedang disegel dan disimpan.", "Please wait while the data are sealed and saved."),
    "enrolled": (
        "Pendaftaran {who} tersimpan. Wewenang berlaku setelah petugas kedua menyetujui di konsol pusat.",
        "The enrolment of {who} is saved. Rights come when a second officer approves at the centre's console.",
    ),
    "cancelled": ("Dibatalkan. Tidak ada data yang disimpan.", "Cancelled. Nothing has been kept."),
    "finished": ("Terima kasih.", "Thank you."),
}


def officer_prompt(step: str, who: str, labels: tuple[str, str] | None) -> tuple[str, str]:
    """The prompt of an officer's step, with the name and the asked finger put in."""
    finger_id, finger_en = (name[:1].lower() + name[1:] for name in labels or ("jari", "finger"))
    text_id, text_en = OFFICER_PROMPTS[step]
    return text_id.format(who=who, finger=finger_id), text_en.format(who=who, finger=finger_en)


def pin_wrong(tries_left: int, notice: Advice | None = None) -> Advice:
    """A wrong PIN, with what is left. notice: why it may be wrong, where there is more to say than that."""
    why = notice or FORGOTTEN_PIN
    return Advice(
        f"PIN salah. Sisa {tries_left} kali sebelum terkunci. {why.text_id}",
        f"The PIN is wrong. {tries_left} more before it is locked. {why.text_en}",
    )


def statement_of_truth(biodata: Biodata) -> tuple[str, str]:
    """The attestation's text in Indonesian (the one that is signed) and its English reading."""
    fields = biodata.model_dump()
    return _STATEMENT_ID.format(**fields), _STATEMENT_EN.format(**fields)


def signed_statement(page: AttestationPage) -> tuple[str, str]:
    """The text that was e-signed, by its digest; empty where it was worded otherwise then."""
    texts = statement_of_truth(page.biodata)
    is_same = hashlib.sha256(texts[0].encode()).digest() == page.attestation.text_sha256
    return texts if is_same else ("", "")


def label(modality: Modality, position: int) -> tuple[str, str]:
    """A sample's name in Indonesian and English."""
    match modality:
        case Modality.FINGER:
            if position in SLAP_LABELS:
                return SLAP_LABELS[SlapPosition(position)]
            finger = FingerPosition(position)
            return FINGER_LABELS[finger], FINGER_LABELS_EN[finger]
        case Modality.IRIS:
            return EYE_LABELS[IrisPosition(position)]
        case Modality.FACE:
            return "Foto", "Photo"
        case Modality.SIGNATURE:
            return "Tanda tangan", "Signature"


def prompt(step: str, labels: tuple[str, str] | None = None) -> tuple[str, str]:
    """The prompt of a step, with the asked finger or eye put in."""
    return fill(PROMPTS[step], labels)


def fill(texts: tuple[str, str], labels: tuple[str, str] | None) -> tuple[str, str]:
    """Both texts with the asked finger put in; names inside a sentence start with a small letter."""
    names = tuple(name[:1].lower() + name[1:] for name in labels or ("jari", "finger"))
    return texts[0].format(finger=names[0]), texts[1].format(finger=names[1])


def slap_again(
    slap: SlapPosition, fingers: Sequence[FingerPosition], why: Advice | None, device_en: str = ""
) -> Advice:
    """A hand is to be laid once more. fingers: those of it that did not pass; device_en: what the scanner says."""
    lay_id, lay_en = (name[:1].lower() + name[1:] for name in SLAP_LABELS[slap])
    poor_id = ", ".join(FINGER_LABELS[finger].lower() for finger in fingers)
    poor_en = ", ".join(FINGER_LABELS_EN[finger].lower() for finger in fingers)
    said_id = f"Belum cukup jelas: {poor_id}. " if fingers else ""
    said_en = f"Not clear enough yet: {poor_en}. " if fingers else f"{device_en} " if device_en else ""
    because_id, because_en = (f"{why.text_id} ", f"{why.text_en} ") if why else ("", "")
    return Advice(
        f"{said_id}{because_id}Letakkan {lay_id} bersamaan, rata dan tidak bersentuhan, lalu tahan.",
        f"{said_en}{because_en}Lay the {lay_en} together, flat and apart, and hold.",
    )


def same_as_before(asked: FingerPosition | SlapPosition, given: FingerPosition) -> Advice:
    """A finger on the scanner was captured already under another name. asked: what should lie there."""
    asked_id, asked_en = label(Modality.FINGER, asked)
    return Advice(
        f"Jari ini sudah direkam sebagai {FINGER_LABELS[given].lower()}. Letakkan {asked_id.lower()}.",
        f"This finger was captured as the {FINGER_LABELS_EN[given].lower()} already. Place the {asked_en.lower()}.",
    )
