"""ESC/POS against Epson's command reference: answers of a printer, and a reader that no bytes can stop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sensors.interface import TicketCode, TicketCondition, TicketLine, TicketPair, TicketRule
from edge.sensors.ticket_escpos import COLUMNS, render
from edge.sensors.ticket_frames import (
    ASK_ERROR,
    ASK_OFFLINE,
    ASK_PRINTER,
    ASK_ROLL,
    CommandReader,
    condition_of,
    decode_status,
    encode_status,
)


@pytest.mark.parametrize(
    ("question", "answer", "faults"),
    [
        (ASK_PRINTER, 0x16, ()),
        (ASK_PRINTER, 0x1E, ("offline",)),
        (ASK_OFFLINE, 0x12, ()),
        (ASK_OFFLINE, 0x16, ("cover-open",)),
        (ASK_OFFLINE, 0x32, ("paper-out",)),
        (ASK_ERROR, 0x1A, ("cutter",)),
        (ASK_ROLL, 0x12, ()),
        (ASK_ROLL, 0x1E, ()),
        (ASK_ROLL, 0x72, ("paper-out",)),
        (ASK_ROLL, 0x00, None),
        (ASK_ROLL, 0xFF, None),
    ],
)
def test_answers_mean_what_the_reference_says(question: bytes, answer: int, faults: tuple[str, ...] | None) -> None:
    assert decode_status(question, answer) == faults


def test_the_reason_is_named_and_not_only_that_the_printer_is_off_line() -> None:
    assert condition_of(["offline", "paper-out", "paper-out"], 0x7E) == TicketCondition(("paper-out",), paper_low=True)
    assert condition_of(["offline"], 0x12) == TicketCondition(("offline",))


@pytest.mark.parametrize("fault", ["cover-open", "paper-out", "cutter", "error"])
def test_every_fault_travels(fault: str) -> None:
    told = TicketCondition((fault,))
    named = [
        name
        for number, question in enumerate((ASK_PRINTER, ASK_OFFLINE, ASK_ERROR, ASK_ROLL), 1)
        for name in decode_status(question, encode_status(number, told)) or ()
    ]
    assert fault in condition_of(named, 0).faults


def test_a_ticket_is_these_bytes() -> None:
    made = render([TicketLine("A-1", scale=4, bold=True, align="center")], 32)
    commands = [(c.name, c.number, c.data) for c in CommandReader().feed(made)]
    assert commands[0] == ("ESC @", 0, b"")
    assert ("GS !", 0x33, b"") in commands
    assert ("ESC E", 1, b"") in commands
    assert ("ESC a", 1, b"") in commands
    assert ("text", 0, b"A-1") in commands
    assert commands[-1] == ("GS V", 1, b"")


PARTS = (
    TicketLine("Perekaman", bold=True),
    TicketPair("Nama", "SITI CONTOH"),
    TicketRule(),
    TicketCode("rekam:1"),
)


@pytest.mark.parametrize("native", [True, False])
@given(cuts=st.lists(st.integers(0, 4000), max_size=12))
def test_the_reader_does_not_mind_where_the_bytes_are_cut(native: bool, cuts: list[int]) -> None:
    whole = render(PARTS, COLUMNS[58], native_qr=native)
    reader, found, before = CommandReader(), [], 0
    for cut in [*sorted(cuts), len(whole)]:
        found += reader.feed(whole[before:cut])
        before = max(before, cut)

    def shown(commands: list) -> list:  # text may arrive in pieces
        letters = b"".join(c.data for c in commands if c.name == "text")
        return [letters, *[c for c in commands if c.name != "text"]]

    assert shown(found) == shown(CommandReader().feed(whole))
    assert not [c for c in found if c.name == "unknown"]


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_commands(pieces: list[bytes]) -> None:
    reader = CommandReader()
    for piece in pieces:
        reader.feed(piece)


@given(st.text(max_size=80), st.sampled_from([32, 48]), st.integers(1, 8))
def test_no_text_can_become_a_command_or_leave_the_paper(text: str, columns: int, scale: int) -> None:
    made = render([TicketLine(text, scale=scale), TicketPair(text, text)], columns)
    names = {c.name for c in CommandReader().feed(made)}
    assert names <= {c.name for c in CommandReader().feed(render(PARTS[:3], columns))} | {"text", "LF", "ESC t"}
    width = 0
    for command in CommandReader().feed(made):
        if command.name == "LF":
            width = 0
        elif command.name == "text":
            width += len(command.data)
            assert width <= columns
