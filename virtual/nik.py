"""Numbers for people who do not exist: the NIK in the unassigned province 99.

A NIK has 16 digits: province 2, regency 2, district 2 of first registration; birth DDMMYY with 40 added to the day
for women; serial 4 from 0001 (Permendagri 96/2019, and Perpres 40/2019 on civil registration). No province carries
the code 99, so no number made here can ever be that of a resident.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from contract.errors import RekamError

SYNTHETIC_PROVINCE = 99
SERIAL_MAX = 9999
FEMALE_DAY_OFFSET = 40
NIK_DIGITS = 16


@dataclass(frozen=True, slots=True)
class NikParts:
    """What the digits of a synthetic NIK say.

    regency, district: codes of the place of first registration, 1–99.
    birth_day, birth_month, birth_year_of_century: as in the digits, the day without the women's offset.
    serial: 1–9999.
    """

    regency: int
    district: int
    birth_day: int
    birth_month: int
    birth_year_of_century: int
    female: bool
    serial: int


def make_nik(*, regency: int, district: int, birth_date: date, female: bool, serial: int) -> str:
    """The 16 digits for a person of province 99.

    Raises RekamError where a code or the serial does not fit its digits.
    """
    if not (1 <= regency <= 99 and 1 <= district <= 99 and 1 <= serial <= SERIAL_MAX):
        raise RekamError(
            "A region code lies in 1–99 and a serial in 1–9999.",
            next_step="Ask for a person with a smaller index.",
        )
    day = birth_date.day + (FEMALE_DAY_OFFSET if female else 0)
    return f"{SYNTHETIC_PROVINCE}{regency:02d}{district:02d}{day:02d}{birth_date:%m%y}{serial:04d}"


def read_nik(nik: str) -> NikParts:
    """The parts of a synthetic NIK.

    Raises RekamError for anything but 16 digits of province 99 with a possible birth date and a serial from 0001.
    """
    next_step = "Give a NIK that virtual.people made."
    if len(nik) != NIK_DIGITS or not nik.isascii() or not nik.isdigit():
        raise RekamError("A NIK is 16 digits.", next_step=next_step)
    if int(nik[:2]) != SYNTHETIC_PROVINCE:
        raise RekamError("A synthetic NIK begins with 99.", next_step=next_step)
    day, month, serial = int(nik[6:8]), int(nik[8:10]), int(nik[12:])
    female = day > FEMALE_DAY_OFFSET
    day -= FEMALE_DAY_OFFSET if female else 0
    if not (1 <= day <= 31 and 1 <= month <= 12 and serial >= 1):
        raise RekamError("The NIK holds no possible birth date or serial.", next_step=next_step)
    return NikParts(int(nik[2:4]), int(nik[4:6]), day, month, int(nik[10:12]), female, serial)
