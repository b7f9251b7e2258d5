"""What a scanned code says: a NIK, a family card, a summons letter, a proof of capture, a card. Pure.

Offices print different codes on their letters, and a family card carries its own 16-digit number beside those of its
members; all of them hold NIKs as 16 digits. So every 16-digit number of the text that can be a NIK is taken, and the
site's register says whose it is. Our own codes are `rekam:{capture id}` on a proof of capture and `RKTP1:{card
number}` on a card.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from enum import StrEnum

TEXT_CHARS_MAX = 4296
NUMBERS_MAX = 30
FEMALE_DAY_OFFSET = 40
PROVINCE_MIN = 11
LEAP_YEAR = 2000
_SIXTEEN = re.compile(r"(?<![0-9])[0-9]{16}(?![0-9])")
_CAPTURE = re.compile(r"rekam:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_CARD = re.compile(r"RKTP1:([0-9A-Za-z-]{1,40})(?::[0-9A-F]*)?")


class CodeKind(StrEnum):
    """What a code is."""

    NIKS = "niks"
    CAPTURE = "capture"
    CARD = "card"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Code:
    """A recognised code. niks: what may be one, in the text's order, each once; value: capture id or card number."""

    kind: CodeKind
    niks: tuple[str, ...] = ()
    value: str = ""


def recognise(text: str) -> Code:
    """What a scanner read. Any text gives a code, if only an unknown one."""
    text = text[:TEXT_CHARS_MAX].strip()
    if found := _CAPTURE.fullmatch(text):
        return Code(CodeKind.CAPTURE, value=found[1])
    if found := _CARD.fullmatch(text):
        return Code(CodeKind.CARD, value=found[1])
    niks = tuple(dict.fromkeys(number for number in _SIXTEEN.findall(text) if may_be_nik(number)))[:NUMBERS_MAX]
    return Code(CodeKind.NIKS, niks) if niks else Code(CodeKind.UNKNOWN)


def may_be_nik(digits: str) -> bool:
    """Whether 16 digits have the shape of a NIK: region codes, a day that exists (+40 for women), a serial.

    The number of a family card can have it too, with the day of issue in the place of the birth.
    """
    if len(digits) != 16 or not digits.isascii() or not digits.isdigit():
        return False
    province, regency, district = int(digits[:2]), int(digits[2:4]), int(digits[4:6])
    day, month, serial = int(digits[6:8]), int(digits[8:10]), int(digits[12:])
    day -= FEMALE_DAY_OFFSET if day > FEMALE_DAY_OFFSET else 0
    if province < PROVINCE_MIN or not regency or not district or not serial or not 1 <= month <= 12:
        return False
    return 1 <= day <= calendar.monthrange(LEAP_YEAR, month)[1]
