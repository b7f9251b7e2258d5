"""A code names a person of this site, or says plainly why it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.dispatch import RegisterEntry, RegisterPage
from contract.lifecycle import RecordState
from edge.code_lookup import CARD_ELSEWHERE, NOT_LISTED, PROOF, SEVERAL, UNKNOWN, look_up
from edge.codes import CodeKind, may_be_nik, recognise
from tests.unit.edge_fakes import NIK, PAPERS, biodata, consigned, make_bench

SISTER = "9901014107900002"
FAMILY_CARD = "9901011506120003"


@pytest.mark.parametrize(
    ("digits", "may_be"),
    [
        (NIK, True),
        ("9901016902960001", True),  # a woman born on 29 February
        ("9901013002960001", False),
        ("9901014113900001", False),
        ("9901017207900001", False),
        ("9901010007900001", False),
        ("0901010107900001", False),
        ("9900010107900001", False),
        ("9901000107900001", False),
        ("9901010107900000", False),
        ("99010101079000011", False),
        ("990101010790000١", False),
    ],
)
def test_a_nik_has_a_shape(digits: str, may_be: bool) -> None:
    assert may_be_nik(digits) is may_be


@pytest.mark.parametrize(
    ("text", "kind", "niks"),
    [
        (NIK, CodeKind.NIKS, (NIK,)),
        (f"  {NIK}\r", CodeKind.NIKS, (NIK,)),
        (f"SURAT PANGGILAN 470/21/2026 NIK {NIK} tgl 01-12-2026", CodeKind.NIKS, (NIK,)),
        (f"KK:{FAMILY_CARD};{NIK}|{SISTER}|{NIK}", CodeKind.NIKS, (FAMILY_CARD, NIK, SISTER)),
        ("https://example.go.id/kk?id=1", CodeKind.UNKNOWN, ()),
        ("12345678901234567890", CodeKind.UNKNOWN, ()),
        ("", CodeKind.UNKNOWN, ()),
    ],
)
def test_what_a_code_holds(text: str, kind: CodeKind, niks: tuple[str, ...]) -> None:
    assert recognise(text).kind is kind
    assert recognise(text).niks == niks


def test_our_own_codes_are_told_apart() -> None:
    proof = recognise("rekam:01920000-0000-7000-8000-000000000001")
    assert (proof.kind, proof.value) == (CodeKind.CAPTURE, "01920000-0000-7000-8000-000000000001")
    assert recognise("RKTP1:C-1:0A1B").value == "C-1"
    assert recognise("RKTP1:C-1").kind is CodeKind.CARD


def test_the_register_and_the_desk_say_whom_a_code_names(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    register = bench.register
    entries = tuple(
        RegisterEntry(
            biodata=biodata(nik, name), status=RecordState.UNREGISTERED, eligible=True, required_papers=PAPERS
        )
        for nik, name in ((NIK, "SARI CONTOH"), (SISTER, "DEWI CONTOH"))
    )
    register.take_page(RegisterPage(site="9901-A", page="p1", version=2, entries=entries))
    one = look_up(f"KK {FAMILY_CARD} {NIK}", register)
    assert [(person.nik, person.name) for person in one.people] == [(NIK, "SARI CONTOH")]
    assert one.message_id == ""
    both = look_up(f"{FAMILY_CARD},{NIK},{SISTER}", register)
    assert len(both.people) == 2
    assert (both.message_id, both.message_en) == SEVERAL
    for text, message in ((FAMILY_CARD, NOT_LISTED), ("hello", UNKNOWN), ("RKTP1:C-1", CARD_ELSEWHERE),
                          ("rekam:01920000-0000-7000-8000-000000000001", PROOF)):  # fmt: skip
        nobody = look_up(text, register)
        assert nobody.people == ()
        assert (nobody.message_id, nobody.message_en) == message
    register.take_card(consigned())
    assert look_up("RKTP1:C-1:00", register).people[0].nik == NIK
    bench.store.close()


@given(st.text(max_size=6000))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_code(text: str) -> None:
    found = recognise(text)
    assert all(may_be_nik(nik) for nik in found.niks)
    assert len(found.niks) <= 30
