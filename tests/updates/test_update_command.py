"""What is typed for an update, and what is shown of it: words become an order or a refusal, never something else."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from contract.dispatch import encode
from contract.errors import DeviceError
from contract.rollouts import WAVES_MAX, ReleaseRow, RolloutRow, RolloutsResult, RolloutUnitRow, Wave, WaveRow
from contract.technician import ROWS_MAX, Reply
from contract.update_problems import UpdateProblem
from hub.rollout import UnitStep
from hub.update_views import DETAIL_CHARACTERS_MAX, ROLLOUTS_SHOWN
from provisioning.__main__ import app
from provisioning.session import screen
from provisioning.update_command import order_from
from provisioning.update_tables import print_rollout, print_rollouts, summary

WORDS = {"units": "", "sites": "", "waves": "1,10,50,100", "soak": "1h", "good": "95%", "stop": "5%", "overdue": "1h"}


def test_words_become_an_order() -> None:
    order = order_from("0.7.0", WORDS | {"waves": "desk-a7+desk-a8, 9902-B,50%,100", "soak": "30m", "units": "a, b"})
    named = (Wave(names=("desk-a7", "desk-a8")), Wave(names=("9902-B",)))
    assert order.waves == (*named, Wave(percent=50), Wave(percent=100))
    assert (order.units, order.soak_s, order.good_percent, order.stop_percent) == (("a", "b"), 1800, 95, 5)


def test_what_is_no_order_is_refused_by_name() -> None:
    for change in (
        {"soak": "1"}, {"soak": "99d"}, {"stop": "five"}, {"good": "0%"}, {"waves": ""}, {"waves": "0,100"},
        {"waves": "101"}, {"waves": "a b"}, {"overdue": "1s"}, {"units": "../x"},
    ):  # fmt: skip
        with pytest.raises(DeviceError) as refused:
            order_from("0.7.0", WORDS | change)
        assert refused.value.next_step, change


@given(st.fixed_dictionaries({word: st.text("0159%,+dhmins a-", max_size=12) for word in WORDS}))
def test_anything_typed_is_an_order_or_a_refusal(words: dict[str, str]) -> None:
    try:
        order = order_from("0.7.0", words)
    except DeviceError:
        return
    assert all(bool(wave.percent) != bool(wave.names) for wave in order.waves)


def run(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["update", *words])
    structlog.reset_defaults()
    return found.exit_code, found.output


def test_the_command_wants_one_thing_at_a_time_and_a_yes() -> None:
    for words in ((), ("--list", "--status"), ("0.7.0", "--pause"), ("--pause", "--cancel")):
        code, said = run(*words)
        assert code == 2 and "--list" in said, words
    code, said = run("0.7.0", "--json")
    asked = json.loads(said.splitlines()[-1])
    assert code == 1 and "--yes" in asked["next_step"] and "1 %, 10 %, 50 %, 100 %" in asked["update"]
    code, said = run("0.7.0", "--waves", "500", "--json")
    assert code == 1 and json.loads(said.splitlines()[-1])["next_step"]
    code, said = run("--help")
    assert code == 0 and "Example:" in said and "--json" in said


def test_the_largest_page_fits_into_one_reply() -> None:
    name, now = "n" * 64, 2**53
    steps = {step.value: 10**7 for step in UnitStep}
    wave = WaveRow(what="\U0001f600" * 25, begun=True, units=10**7, steps=steps)
    row = RolloutRow(
        id="01939c6e-7c1e-7aaa-8000-0123456789ab", state="cancelled", made_by=name, made_ms=now, soak_s=10**7,
        release=ReleaseRow(target="t" * 180, artefact="configuration-schema", version="v" * 64, number=2**32, floor=1),
        good_percent=95, stop_percent=5, waves=(wave,) * WAVES_MAX, why="\U0001f600" * 200, next_ms=now,
    )  # fmt: skip
    unit = RolloutUnitRow(
        unit=name, site=name, wave=19, step="fetching", since_ms=now, present=True, version="v" * 64,
        bytes_done=2**40, bytes_all=2**40, problem=max(UpdateProblem, key=len),
        detail="\U0001f600" * DETAIL_CHARACTERS_MAX,
    )  # fmt: skip
    for page in (
        RolloutsResult(rows=(row,) * ROLLOUTS_SHOWN, more=True),
        RolloutsResult(rows=(row,), units=(unit,) * ROWS_MAX, more=True),
    ):
        assert Reply(id=row.id, done=True, hub_ms=now, body=encode(page))


def test_a_rollout_is_shown_with_what_to_do_about_each_failure() -> None:
    row = RolloutRow(
        id="01939c6e-7c1e-7aaa-8000-0123456789ab",
        release=ReleaseRow(target="rekam-edge-0.7.0.json", artefact="edge", version="0.7.0", number=3, floor=1),
        state="stopped", made_by="tek-andi", made_ms=1_790_000_000_000, soak_s=3600, good_percent=95, stop_percent=5,
        waves=(WaveRow(what="1 %", begun=True, units=2, steps={"good": 1, "failed": 1}),
               WaveRow(what="100 %", begun=False, units=9, steps={"waiting": 9})),
        why="1 of 2 units failed [red]",
    )  # fmt: skip
    failed = RolloutUnitRow(
        unit="desk-a7", site="9901-A", wave=0, step="failed", since_ms=1_790_000_000_000, present=True,
        problem=UpdateProblem.UNHEALTHY, detail="finger: <No answer> [bold]",
    )  # fmt: skip
    fetching = failed.model_copy(
        update={"unit": "desk-a8", "step": "fetching", "problem": "", "bytes_done": 12_000_000, "bytes_all": 48_000_000}
    )
    strange = failed.model_copy(update={"unit": "desk-a9", "problem": "of-a-later-version"})
    with screen.capture() as shown:
        print_rollout(row, [failed, fetching, strange])
        print_rollouts([row])
    text = shown.get()
    for words in ("1 of 2 units failed [red]", "not healthy", "12.0 of 48.0", "of-a-later", "not begun", "[bold]"):
        assert words.replace(" ", "") in text.replace("\n", "").replace(" ", "").replace("│", ""), words
    assert summary(row) == "stopped: wave 1 of 2; 9 waiting, 1 good, 1 failed"


def test_a_unit_cannot_command_the_technicians_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A unit in wrong hands says in its report whatever it likes."""
    release = ReleaseRow(target="rekam-edge-0.7.0.json", artefact="edge", version="0.7.0", number=1, floor=0)
    row = RolloutRow(id=str(UUID(int=1)), release=release, state="running", made_by="tech-1", made_ms=1, waves=(),
                     soak_s=1, good_percent=1, stop_percent=1)  # fmt: skip
    unit = RolloutUnitRow(unit="u-01", site="kec-1", wave=0, step="failed", since_ms=1, present=True,
                          version="\x1b]0;mine\x07", detail="\x9b2J\u202egood\r[green]")  # fmt: skip
    print_rollout(row, [unit])
    said = capsys.readouterr().out
    assert "2J\ufffdgood" in said and not {"\x1b", "\x9b", "\x07", "\r", "\u202e"} & set(said)
