"""Whom a scanned code names, as far as this unit's register and the cards at this desk know (M9, M41)."""

from __future__ import annotations

from dataclasses import dataclass

from edge.codes import CodeKind, recognise
from edge.register import Register

UNKNOWN = (
    "Kode ini tidak dikenal. Pindai surat panggilan, kartu keluarga, atau NIK.",
    "This code is not known. Scan a summons letter, a family card or a NIK.",
)
NOT_LISTED = (
    "Nomor ini tidak ada di daftar tempat ini. Bila ini nomor kartu keluarga, pindai NIK anggotanya.",
    "This number is not on this site's list. If it is a family card's number, scan the member's NIK.",
)
CARD_ELSEWHERE = ("Kartu ini tidak ada di meja ini.", "This card is not at this desk.")
PROOF = (
    "Ini bukti perekaman; kartu diambil dengan surat panggilan.",
    "This is a proof of capture, not a summons letter.",
)
SEVERAL = (
    "Beberapa orang dikenal dari kode ini. Pilih orangnya.",
    "Several people are known by this code. Choose one.",
)


@dataclass(frozen=True, slots=True)
class CodePerson:
    """Somebody whom a code names."""

    nik: str
    name: str


@dataclass(frozen=True, slots=True)
class CodeAnswer:
    """What a page does with a scanned code: takes its one person, lets one be chosen, or says why there is none."""

    kind: CodeKind
    people: tuple[CodePerson, ...] = ()
    message_id: str = ""
    message_en: str = ""


def look_up(text: str, register: Register) -> CodeAnswer:
    """The people of a code, of the register first, then of the cards that wait at this desk."""
    code = recognise(text)
    cards = register.cards()
    if code.kind is CodeKind.CARD:
        found = [CodePerson(card.nik, card.name) for card in cards if card.card_number == code.value]
        return _answer(code.kind, found, CARD_ELSEWHERE)
    if code.kind is CodeKind.CAPTURE:
        return _answer(code.kind, [], PROOF)
    names = {card.nik: card.name for card in cards}
    people = []
    for nik in code.niks:
        entry = register.entry(nik)
        name = entry.biodata.name if entry is not None else names.get(nik)
        if name is not None:
            people.append(CodePerson(nik, name))
    return _answer(code.kind, people, NOT_LISTED if code.kind is CodeKind.NIKS else UNKNOWN)


def _answer(kind: CodeKind, people: list[CodePerson], nobody: tuple[str, str]) -> CodeAnswer:
    message = nobody if not people else SEVERAL if len(people) > 1 else ("", "")
    return CodeAnswer(kind, tuple(people), *message)
