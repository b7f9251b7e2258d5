"""A site's time servers on their way from unit.toml to systemd-timesyncd: names come through, nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.config import TimeTable
from edge.time_servers import SERVERS_MAX, main, servers_of

GOOD = ("ntp.dinas.go.id", "10.1.2.3", "a", "ntp.dinas.go.id 10.1.2.3 fd00::123", "::1")
BAD = (
    "-x.id", "a..b", "ntp\nNTP=evil", "ntp;reboot", "ntp  ntp", " ntp", "ntp ", "a b c d e", "ntp\n", "x" * 64,
    "ntp.id\x00", "%i", "$HOME", "ntp/../x",
)  # fmt: skip


@pytest.mark.parametrize("servers", GOOD)
def test_names_and_addresses_come_through(tmp_path: Path, servers: str) -> None:
    source, target = tmp_path / "unit.toml", tmp_path / "run/timesyncd.conf.d/60.conf"
    source.write_text(f'[unit]\nid = "a"\n[time]\nservers = "{TimeTable(servers=servers).servers}"\n')
    assert main([str(source), str(target)]) == 0
    assert target.read_text().splitlines()[1:] == ["[Time]", f"NTP={servers}"]
    source.write_text('[unit]\nid = "a"\n')
    assert main([str(source), str(target)]) == 0
    assert not target.exists()


@pytest.mark.parametrize("servers", BAD)
def test_what_is_no_name_is_refused_by_both(servers: str) -> None:
    with pytest.raises(ValidationError):
        TimeTable(servers=servers)
    assert servers_of(f"[time]\nservers = {servers!r}\n") == ""


@given(st.one_of(st.text(), st.sampled_from(["[time]", "time = 3", "[time]\nservers = 4", "[time]\nservers = ['a']"])))
def test_garbage_gives_none(text: str) -> None:
    assert servers_of(text) == ""


@given(st.text(max_size=80))
def test_both_doors_agree_and_one_line_stays_one_line(servers: str) -> None:
    try:
        TimeTable(servers=servers)
    except ValidationError:
        return
    assert "\n" not in servers
    assert len(servers.split()) <= SERVERS_MAX


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none"), str(tmp_path / "target")]) == 1
    assert "No such file" in capsys.readouterr().err
