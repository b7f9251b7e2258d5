"""What the technician's tool makes of what a unit answers: a unit that was taken over neither stops nor holds it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from contract.errors import RemoteError
from contract.technician import KnockRow
from contract.unit_command import LogPage, LogsAsk, TriedDevice
from provisioning import box_commands, remote_commands
from provisioning.session import screen


def test_a_units_words_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    words = {"driver": "[/a]", "model": "[/b]", "serial": "[/c]", "found": "[/d]", "next_step": "[/e]"}
    remote_commands._show("desk-a1", [TriedDevice(rows=1, kind="face", outcome="failed", **words)], [])
    said = capsys.readouterr().out
    assert all(word in said for word in words.values())


def test_nor_are_those_of_a_box_that_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    knock = KnockRow(
        nonce="n", fingerprint="AAAA-BBBB", key_digest=bytes(32), serial="S1", model="[/a]", software="1",
        key_home="tls=software", knocked_ms=1, clock_off_ms=0, state="waiting", unit="",
    )  # fmt: skip
    screen.print(box_commands.knocks_table([knock]))
    assert "[/a]" in capsys.readouterr().out


class SamePage:
    """A line to a unit that says for ever that there is more."""

    asked = 0

    async def command(self, *_what: object) -> AsyncGenerator[LogPage, None]:
        self.asked += 1
        yield LogPage(lines=(), looked_to=0, more=True, oldest=0, unit_ms=1)


async def test_a_log_that_never_ends_ends() -> None:
    line = SamePage()
    with pytest.raises(RemoteError, match="for ever"):
        await remote_commands._read(line, "desk-a1", LogsAsk(), follow=False, as_json=True)  # type: ignore[arg-type]
    assert line.asked == 1
