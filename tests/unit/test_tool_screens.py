"""The technician's tool on 80 columns: help whose examples paste, tables that lose nothing, what is waited for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from contract.technician import KnockRow, UnitRow
from provisioning.__main__ import app
from provisioning.box_commands import knocks_table
from provisioning.help_text import EXAMPLE, help_text
from provisioning.session import waiting
from provisioning.unit_tables import fleet_table

TERMINAL = {"COLUMNS": "80", "TERM": "dumb"}
KNOCK = KnockRow(
    nonce="c-05d7cdeb1fbb0e6da4cc", serial="10000000abc1", model="Raspberry Pi 4 Model B Rev 1.5", software="0.1.0",
    key_home="tls=software sign=software", fingerprint="8JRT-APB2-QGKJ", key_digest=b"k" * 32,
    knocked_ms=1_795_636_308_453, clock_off_ms=-31_536_000_000, state="waiting", unit="", problem=None,
)  # fmt: skip


def commands_of(group: typer.Typer, *above: str) -> Iterator[tuple[str, ...]]:
    for command in group.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        yield (*above, name.replace("_", "-"))
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands_of(inner.typer_instance, *above, str(inner.name))


def printed(what: object) -> str:
    screen = Console(width=80, color_system=None)
    with screen.capture() as captured:
        screen.print(what)
    return captured.get()


@pytest.mark.parametrize("words", sorted(commands_of(app)), ids=" ".join)
def test_the_example_in_every_commands_help_is_pasted_as_it_stands(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"], env=TERMINAL, terminal_width=80).stdout
    paragraph = "\n".join(map(str.strip, shown.split(EXAMPLE)[1].splitlines()[1:])).split("\n\n")[0]
    examples = re.sub(r"\\\n", "", paragraph).splitlines()
    assert examples and all(len(line) <= 80 for line in shown.splitlines())
    for example in examples:
        typed = shlex.split(example)
        assert tuple(typed[: len(words) + 1]) == ("rekam-provision", *words), example


def test_prose_is_filled_and_a_long_example_goes_on_before_an_option() -> None:
    long = " ".join(f"--option-{number} value" for number in range(8))
    found = help_text(f"Do it.\n\nExample: rekam-provision do {long}\n\nFirst\nsecond.")
    assert found.endswith("\n\nFirst second.")
    example = found.split("\n\n")[1].splitlines()
    assert all(line.endswith(" \\") for line in example[1:-1]) and max(map(len, example)) <= 78
    assert " ".join(line.rstrip("\\").strip() for line in example[1:]) == f"rekam-provision do {long}"


def test_a_code_that_is_to_be_compared_is_never_cut() -> None:
    shown = printed(knocks_table([KNOCK, KNOCK.model_copy(update={"state": "refused", "problem": "serial-taken"})]))
    assert shown.count("8JRT-APB2-QGKJ") == 2 and shown.count("10000000abc1") == 2 and "…" not in shown
    assert "365 d" in shown and "replace" in shown
    assert "plugged in" in printed(knocks_table([]))


def test_who_needs_somebody_comes_first() -> None:
    done = KNOCK.model_copy(update={"state": "done", "fingerprint": "AAAA-BBBB-CCCC", "knocked_ms": 2_000_000_000_000})
    shown = printed(knocks_table([done, KNOCK]))
    assert shown.index("approve CODE") < shown.index(KNOCK.fingerprint) < shown.index(done.fingerprint)
    assert "approve CODE" not in printed(knocks_table([done]))


def test_a_fleet_fits_a_terminal_and_no_name_is_cut() -> None:
    unit = UnitRow(
        unit="desk-kecamatan-a7", site="9901-A", role="desk", serial="10000000abc1", state="in service", online=True,
        seen_ms=KNOCK.knocked_ms, software="rekam 0.1.0", desired_version=1, reported_version=1, certificates=(),
        pending=12, oldest_age_s=300_000,
    )  # fmt: skip
    shown = printed(fleet_table([unit]))
    assert "desk-kecamatan-a7" in shown and "in service" in shown and "12, oldest" in shown and "…" not in shown
    assert "claim media" in printed(fleet_table([]))


def test_a_log_is_told_what_is_waited_for_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with waiting("Looking for the hub", lambda: now[0]) as tell:
        for second in range(100):
            now[0] = float(second)
            tell("No line, trying again")
            if second == 50:
                tell("Waiting for the hub")
    assert capsys.readouterr().err.splitlines() == [
        "No line, trying again",
        "Waiting for the hub",
        "No line, trying again",
    ]
