"""Biodata of people who do not exist, with the fields and official strings of the electronic identity card.

Places are invented (they belong to province 99, which does not exist); names are drawn word by word from what
several peoples of Indonesia use, so a full name that someone bears is chance. Religion, marital status and
occupation depend on people, age and sex as loosely as in life.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, Literal

import numpy as np

from contract.packet import Biodata
from virtual.nik import make_nik

REFERENCE_DATE: Final = date(2026, 1, 1)
"""Ages are counted to this day, so that a seed gives the same people in every year."""

AGE_MIN_YEARS: Final = 17
AGE_MAX_YEARS: Final = 80


class Sex(StrEnum):
    """Sex as the card prints it."""

    MALE = "LAKI-LAKI"
    FEMALE = "PEREMPUAN"


@dataclass(frozen=True, slots=True)
class Regency:
    """An invented regency or city with its districts; `code` is the NIK's second pair of digits."""

    code: int
    name: str
    districts: tuple[str, ...]


PROVINCE: Final = "CENDANA RAYA"

REGENCIES: Final[tuple[Regency, ...]] = (
    Regency(1, "KABUPATEN ARGA MULYA", (
        "SUKATIRTA", "WANARAJA LOR", "KARANGJATI", "BANJARASRI", "PULOSARI", "TEGALREJA",
    )),
    Regency(2, "KABUPATEN TIRTA KENCANA", (
        "MUARA KENCANA", "SUNGAI LILIN", "RAWA INDAH", "TANJUNG SELA", "PULAU PAYUNG", "LUBUK ASRI",
    )),
    Regency(3, "KABUPATEN LEMBAH PINUS", (
        "PINUS BARAT", "PINUS TIMUR", "GUNUNG KELIR", "CIMANDALA", "SINDANGSARI", "KEBONWANGI",
    )),
    Regency(4, "KABUPATEN PESISIR MUTIARA", (
        "TELUK MUTIARA", "KARANG PUTIH", "BANDAR LAUT", "PASIR PUTIH", "LABUHAN JATI", "BATU LAYAR",
    )),
    Regency(5, "KABUPATEN RIMBA AGUNG", (
        "RIMBA HULU", "RIMBA HILIR", "AIR DINGIN", "BUKIT KAYU", "SIMPANG TIGA", "LUBUK PANDAN",
    )),
    Regency(6, "KABUPATEN PADANG ILALANG", (
        "ILALANG UTARA", "ILALANG SELATAN", "SUMBERREJO", "NGADIWANGI", "MEKAR JAYA", "TIRTASARI",
    )),
    Regency(71, "KOTA CENDANA", (
        "CENDANA KOTA", "CENDANA UTARA", "CENDANA SELATAN", "MERDEKA", "PAHLAWAN", "TAMAN SARI",
    )),
    Regency(72, "KOTA BANDAR ASRI", ("BANDAR TENGAH", "BANDAR BARAT", "PELABUHAN", "MELATI", "KENANGA", "FLAMBOYAN")),
)  # fmt: skip
"""Codes from 71 are cities, as in the official numbering."""

DISTRICT_COUNT: Final = sum(len(regency.districts) for regency in REGENCIES)

_VILLAGES: Final = (
    "SUKAMAJU", "MEKARSARI", "KARANGANYAR", "SUMBERAGUNG", "TANJUNGSARI", "WONOREJO", "CIBODAS WETAN", "PASIRJAYA",
    "BANJARWANGI", "SIDOMULYO", "RANCAMANYAR", "TEGALSARI", "KEDUNGWUNI", "PANCURAN", "BATURAJA", "GIRIMULYA",
    "LEMBURSITU", "NAGASARI", "PONDOK KOPI", "SERUNI",
)  # fmt: skip
_STREETS: Final = (
    "JL. MELATI", "JL. KENANGA", "JL. DIPONEGORO", "JL. MERDEKA", "JL. PAHLAWAN", "GG. MAWAR", "JL. RAYA SELATAN",
    "JL. CEMARA", "DUSUN KRAJAN", "KP. BARU", "JL. AHMAD YANI", "PERUM GRIYA ASRI BLOK C", "JL. GAJAH MADA",
    "DUSUN TENGAH", "JL. ANGGREK", "JL. RAJAWALI", "KP. SAWAH", "JL. KARTINI",
)  # fmt: skip
_BIRTH_CITIES: Final = (
    "JAKARTA", "BANDUNG", "SURABAYA", "MEDAN", "SEMARANG", "MAKASSAR", "PALEMBANG", "YOGYAKARTA", "DENPASAR",
    "PADANG", "MALANG", "PONTIANAK", "BANJARMASIN", "MANADO", "AMBON", "KUPANG",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _People:
    """Name words and religions (with weights) of one people; `share` is its weight in the population."""

    share: float
    male: tuple[str, ...]
    female: tuple[str, ...]
    last: tuple[str, ...]
    religions: tuple[tuple[str, float], ...]


_PEOPLES: Final[tuple[_People, ...]] = (
    _People(
        0.38,
        (
            "AGUS", "BUDI", "SLAMET", "JOKO", "WAHYU", "EKO", "DWI", "TRI", "BAMBANG", "SUGENG", "HERU",
            "DIMAS", "RIZKY", "ARIF",
        ),
        (
            "SRI", "DEWI", "SITI", "WAHYUNI", "ENDANG", "RATNA", "RINI", "LESTARI", "PUTRI", "INDAH",
            "NINGSIH", "DYAH", "YULI", "ANISA",
        ),
        (
            "SANTOSO", "WIBOWO", "PRASETYO", "NUGROHO", "HARTONO", "SETIAWAN", "RAHAYU", "SUSANTO", "UTOMO",
            "KUSUMA", "PURNOMO", "WIJAYANTI",
        ),
        (("ISLAM", 0.92), ("KRISTEN", 0.04), ("KATHOLIK", 0.03), ("BUDHA", 0.01)),
    ),
    _People(
        0.20,
        ("ASEP", "DADANG", "UJANG", "CECEP", "DEDI", "IWAN", "YAYAT", "RUDI", "TATANG", "GILANG", "RIDWAN", "ENCEP"),
        ("EUIS", "NENENG", "TITIN", "IIS", "LILIS", "IMAS", "YANTI", "TETI", "ELIS", "NURLELA", "RISMA", "AI"),
        (
            "HIDAYAT", "SUHERMAN", "KURNIAWAN", "PERMANA", "GUNAWAN", "SOLIHIN", "NURJANAH", "KOMARIAH",
            "MULYANA", "SAEPUDIN",
        ),
        (("ISLAM", 0.98), ("KRISTEN", 0.02)),
    ),
    _People(
        0.14,
        ("MUHAMMAD", "AHMAD", "ABDUL", "FAISAL", "ZULKIFLI", "IRFAN", "HASAN", "YUSUF", "FADLI", "RAHMAT"),
        ("NUR", "AISYAH", "FATIMAH", "ZAHRA", "KHADIJAH", "MAIMUNAH", "HALIMAH", "LAILA", "RAHMAWATI", "SALMA"),
        ("ALAMSYAH", "RAHMAN", "HAKIM", "SYAHPUTRA", "ANSHARI", "RAMADHANI", "MAULANA", "HASANAH", "AZIZAH", "FIRDAUS"),
        (("ISLAM", 1.0),),
    ),
    _People(
        0.09,
        ("JONATHAN", "PARLINDUNGAN", "TOGAR", "HOTMAN", "SAHAT", "POLTAK", "DANIEL", "BINSAR", "MANGASI"),
        ("RODERIKA", "TIURMA", "ROTUA", "LAMTIUR", "MELVA", "ESTER", "RUTH", "DORMAULI", "SARAH"),
        ("SIMATUPANG", "NAINGGOLAN", "HUTAPEA", "SIREGAR", "SITUMORANG", "PANJAITAN", "SINAGA", "HARAHAP"),
        (("KRISTEN", 0.66), ("KATHOLIK", 0.14), ("ISLAM", 0.20)),
    ),
    _People(
        0.07,
        ("I WAYAN", "I MADE", "I NYOMAN", "I KETUT", "I GEDE", "I PUTU"),
        ("NI WAYAN", "NI MADE", "NI NYOMAN", "NI KETUT", "NI LUH", "NI PUTU"),
        ("SUARTANA", "ARDIKA", "SUDIANA", "PARWATA", "ARIANI", "SUKERTI", "WIDIANTARA", "ASTAWA", "PUSPITA"),
        (("HINDU", 0.96), ("ISLAM", 0.02), ("KRISTEN", 0.02)),
    ),
    _People(
        0.07,
        ("YOHANES", "PETRUS", "MARKUS", "STEFANUS", "ANTONIUS", "FRANSISKUS", "YOSEPH", "ALEXANDER"),
        ("MARIA", "YULIANA", "THERESIA", "AGUSTINA", "ELISABETH", "KRISTINA", "MARTHA", "VERONIKA"),
        ("MANDAGI", "TUMBELAKA", "LATUPERISSA", "PATTINAMA", "KAPITAN", "DA COSTA", "WENDA", "RUMBIAK", "LERIK"),
        (("KRISTEN", 0.55), ("KATHOLIK", 0.45)),
    ),
    _People(
        0.05,
        ("HENDRA", "KEVIN", "STEVEN", "EDWIN", "ALVIN", "WILLIAM", "RUDY", "ANDREAS"),
        ("LINDA", "MELISSA", "FELICIA", "JESSICA", "VIVIAN", "STEPHANIE", "MEILANI", "SHERLY"),
        ("WIJAYA", "HALIM", "TANUJAYA", "LIMANTARA", "GUNADI", "SALIM", "TJAHJADI", "SUTANTO"),
        (("BUDHA", 0.38), ("KRISTEN", 0.32), ("KATHOLIK", 0.26), ("KHONGHUCU", 0.04)),
    ),
)  # fmt: skip

_BLOOD: Final = (("O", 0.33), ("B", 0.24), ("A", 0.22), ("AB", 0.07), ("-", 0.14))
_WORK_MALE: Final = (
    "WIRASWASTA", "KARYAWAN SWASTA", "PETANI/PEKEBUN", "BURUH HARIAN LEPAS", "PEGAWAI NEGERI SIPIL", "PEDAGANG",
    "NELAYAN/PERIKANAN", "SOPIR", "GURU", "TUKANG KAYU", "TENTARA NASIONAL INDONESIA", "MEKANIK",
)  # fmt: skip
_WORK_FEMALE: Final = (
    "MENGURUS RUMAH TANGGA", "MENGURUS RUMAH TANGGA", "WIRASWASTA", "KARYAWAN SWASTA", "PETANI/PEKEBUN", "GURU",
    "PERAWAT", "BIDAN", "PEDAGANG", "PEGAWAI NEGERI SIPIL", "TUKANG JAHIT", "DOSEN",
)  # fmt: skip


def district_at(ordinal: int) -> tuple[Regency, int]:
    """The regency and the district's code (from 1) that the `ordinal`-th registration falls to, in rotation."""
    place = ordinal % DISTRICT_COUNT
    for regency in REGENCIES:
        if place < len(regency.districts):
            return regency, place + 1
        place -= len(regency.districts)
    raise AssertionError("the modulus bounds the loop")


def draw_sex(rng: np.random.Generator) -> Sex:
    """Male or female in even shares."""
    return Sex.MALE if rng.random() < 0.5 else Sex.FEMALE


def draw_birth_date(rng: np.random.Generator) -> date:
    """A birth date that makes the person AGE_MIN_YEARS to AGE_MAX_YEARS old, the young more often than the old."""
    span_days = int((AGE_MAX_YEARS - AGE_MIN_YEARS) * 365.25)
    youngest = date(REFERENCE_DATE.year - AGE_MIN_YEARS, REFERENCE_DATE.month, REFERENCE_DATE.day)
    return youngest - timedelta(days=int(span_days * rng.beta(1.2, 2.0)))


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _weighted(rng: np.random.Generator, pairs: tuple[tuple[str, float], ...]) -> str:
    weights = np.array([weight for _, weight in pairs])
    return pairs[int(rng.choice(len(pairs), p=weights / weights.sum()))][0]


def _draw_name(rng: np.random.Generator, people: _People, sex: Sex) -> str:
    given = people.male if sex is Sex.MALE else people.female
    words = [_pick(rng, given)]
    if rng.random() < 0.22:
        middle = _pick(rng, given)
        if middle not in words and not middle.startswith(("I ", "NI ")):
            words.append(middle)
    if rng.random() < 0.93:
        words.append(_pick(rng, people.last))
    return " ".join(words)


MaritalStatus = Literal["BELUM KAWIN", "KAWIN", "CERAI HIDUP", "CERAI MATI"]


def _draw_marital_status(rng: np.random.Generator, age: int, sex: Sex) -> MaritalStatus:
    married = 1.0 / (1.0 + np.exp(-(age - (24 if sex is Sex.FEMALE else 27)) / 2.5))
    if rng.random() > married:
        return "BELUM KAWIN"
    widowed = max(0.0, (age - 50) / 80) * (1.4 if sex is Sex.FEMALE else 0.5)
    if rng.random() < widowed:
        return "CERAI MATI"
    return "CERAI HIDUP" if rng.random() < 0.04 else "KAWIN"


def _draw_occupation(rng: np.random.Generator, age: int, sex: Sex) -> str:
    if age < 23 and rng.random() < 0.7:
        return "PELAJAR/MAHASISWA"
    if age > 60 and rng.random() < 0.3:
        return "PENSIUNAN"
    return _pick(rng, _WORK_MALE if sex is Sex.MALE else _WORK_FEMALE)


def age_years(birth_date: date, on: date = REFERENCE_DATE) -> int:
    """Completed years of age on a day."""
    return on.year - birth_date.year - ((on.month, on.day) < (birth_date.month, birth_date.day))


def draw_biodata(rng: np.random.Generator, *, sex: Sex, birth_date: date, ordinal: int) -> Biodata:
    """Biodata and NIK for a body of given sex and birth date, registered as the `ordinal`-th (from 0).

    No two ordinals share district and serial, so no two share a NIK.
    """
    people = _PEOPLES[int(rng.choice(len(_PEOPLES), p=[each.share for each in _PEOPLES]))]
    regency, district_code = district_at(ordinal)
    age = age_years(birth_date)
    home = regency.name.split(" ", 1)[1]
    female = sex is Sex.FEMALE
    return Biodata(
        nik=make_nik(
            regency=regency.code,
            district=district_code,
            birth_date=birth_date,
            female=female,
            serial=1 + ordinal // DISTRICT_COUNT,
        ),
        name=_draw_name(rng, people, sex),
        birth_place=home if rng.random() < 0.6 else _pick(rng, _BIRTH_CITIES),
        birth_date=birth_date.isoformat(),
        sex="PEREMPUAN" if female else "LAKI-LAKI",
        blood_type=_weighted(rng, _BLOOD),
        address=f"{_pick(rng, _STREETS)} NO. {int(rng.integers(1, 180))}",
        rt_rw=f"{int(rng.integers(1, 15)):03d}/{int(rng.integers(1, 12)):03d}",
        village=_pick(rng, _VILLAGES),
        district=regency.districts[district_code - 1],
        regency=regency.name,
        province=PROVINCE,
        religion=_weighted(rng, people.religions),
        marital_status=_draw_marital_status(rng, age, sex),
        occupation=_draw_occupation(rng, age, sex),
        nationality="WNI",
    )
