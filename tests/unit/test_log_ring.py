"""The unit's log: bounded, sealed at rest, whole after a restart, and without anything that names a person."""

from __future__ import annotations

import asyncio
import base64
import secrets
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.dispatch import encode
from contract.durations import duration_s
from contract.errors import DeviceError, RemoteError
from contract.unit_command import LINE_FIELDS_CHARACTERS_MAX, PART_BYTES_MAX, LogsAsk
from edge.log_ring import FILE, LINES_PER_SLOT, LogRing
from tests.unit.transfer_keys import STORE_KEY, SetClock

NIK = "9901014107900001"
WAL_BYTES_MAX = 4_300_000  # SQLite begins its write-ahead log again after 1,000 pages


def ring_at(folder: Path, clock: SetClock | None = None, slots: int = 4) -> LogRing:
    ring = LogRing(clock or SetClock(), slots=slots)
    ring.open(folder, STORE_KEY)
    return ring


def say(ring: LogRing, event: str, level: str = "info", **fields: object) -> None:
    ring(None, level, {"event": event, "level": level, "timestamp": "t", **fields})


def everything(ring: LogRing, **ask: object):
    lines, after = [], int(str(ask.pop("after", 0)))
    while True:
        page = ring.page(LogsAsk(after=after, **ask))
        assert len(encode(page)) < PART_BYTES_MAX - 4096
        lines += page.lines
        after = page.looked_to
        if not page.more:
            return lines


def test_lines_come_back_in_order_after_a_restart_and_only_those_asked_for(tmp_path: Path) -> None:
    clock = SetClock()
    ring = LogRing(clock)
    say(ring, "before the store was open", unit="desk-a1")
    ring.open(tmp_path, STORE_KEY)
    clock.now_ms += 3_600_000
    say(ring, "broken", "warning", count=3, packet=b"\0" * 9, at=None)
    ring.close()
    ring = ring_at(tmp_path, clock, 128)
    say(ring, "started")
    lines = everything(ring)
    assert [(line.sequence, line.event) for line in lines] == [
        (1, "before the store was open"), (2, "broken"), (3, "started"),
    ]  # fmt: skip
    assert lines[1].fields == "count=3 packet=(bytes) at=None"
    assert [line.event for line in everything(ring, level="warning")] == ["broken"]
    assert [line.event for line in everything(ring, since_s=600)] == ["broken", "started"]
    assert [line.event for line in everything(ring, after=2)] == ["started"]


def test_the_ring_has_a_bound_on_disk_and_says_how_far_back_it_goes(tmp_path: Path) -> None:
    ring = ring_at(tmp_path)
    turns, sizes = 100, []
    for turn in range(turns):
        for number in range(LINES_PER_SLOT):
            say(ring, f"line {turn * LINES_PER_SLOT + number + 1}", detail="x " * 400)
        ring.write()
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
    lines = everything(ring)
    assert len(lines) == 4 * LINES_PER_SLOT and lines[-1].sequence == turns * LINES_PER_SLOT
    assert [line.event for line in lines] == [f"line {line.sequence}" for line in lines]
    assert ring.page(LogsAsk()).oldest == (turns - 4) * LINES_PER_SLOT + 1
    assert max(sizes) < 4 * LINES_PER_SLOT * 900 + WAL_BYTES_MAX


def test_more_lines_than_the_disk_takes_are_counted_and_memory_stays_bounded(tmp_path: Path) -> None:
    ring = LogRing(SetClock())
    for number in range(1500):
        say(ring, f"line {number}")
    ring.open(tmp_path, STORE_KEY)
    page = ring.page(LogsAsk())
    assert page.dropped == 500 and page.lines[0].event == "line 500"


async def test_a_warning_is_written_at_once_and_the_rest_at_the_end(tmp_path: Path) -> None:
    ring = ring_at(tmp_path)
    running = asyncio.create_task(ring.run())
    await asyncio.sleep(0)
    say(ring, "hot", "error")
    for _ in range(200):
        await asyncio.sleep(0.01)
        if ring._newest.lines:
            break
    assert [line.event for line in ring._newest.lines] == ["hot"]
    say(ring, "last words")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert ring._newest.lines[-1].event == "last words"


def test_nothing_at_rest_can_be_read_and_a_file_that_was_altered_is_begun_anew(tmp_path: Path) -> None:
    ring = ring_at(tmp_path)
    say(ring, "spool opened", detail="marker-of-this-test")
    ring.close()
    for path in tmp_path.iterdir():
        assert b"marker-of-this-test" not in path.read_bytes() and path.stat().st_mode & 0o077 == 0
    (tmp_path / FILE).write_bytes(b"\xff" * 5000)
    ring = ring_at(tmp_path)
    assert everything(ring) == [] or everything(ring)[0].event == "the log was begun anew"
    with pytest.raises((DeviceError, RemoteError)):
        LogRing(SetClock()).page(LogsAsk())


def test_what_names_a_person_or_opens_a_lock_is_struck_out(tmp_path: Path) -> None:
    ring = ring_at(tmp_path)
    key, template = secrets.token_bytes(32), base64.b64encode(secrets.token_bytes(300)).decode()
    pem = "-----BEGIN " + "PRIVATE KEY-----\nMIGH\n-----END"
    try:
        raise KeyError(NIK)
    except KeyError:
        trace = traceback.format_exc()
    say(ring, f"no resident {NIK}", nik=NIK, key=key.hex(), raw=key, coded=base64.b64encode(key).decode(), pem=pem)
    say(ring, "failed", "error", exception=trace, template=template, url=f"rtsp://admin:geheim7@10.0.0.9/{NIK}")
    said = "".join(f"{line.event} {line.fields}" for line in everything(ring))
    for secret in (NIK, key.hex()[:12], base64.b64encode(key).decode()[:12], "MIGH", template[:12], "geheim7"):
        assert secret not in said, secret
    assert "KeyError" in said and "10.0.0.9" in said


@given(st.dictionaries(st.text(max_size=20), st.one_of(st.text(max_size=2000), st.binary(), st.floats(), st.none())))
def test_whatever_is_logged_becomes_a_line_of_bounded_length(fields: dict[str, object]) -> None:
    ring = LogRing(SetClock())
    fields = {name: value for name, value in fields.items() if name not in ("event", "level")}
    say(ring, "event", "strange", **{name: value for name, value in fields.items() if name.isidentifier()})
    (line,) = ring._waiting
    assert line[1] == "info" and len(line[3]) <= LINE_FIELDS_CHARACTERS_MAX


def test_a_line_commands_no_terminal(tmp_path: Path) -> None:
    ring = ring_at(tmp_path)
    say(ring, "port \x1b]0;mine\x07opened", error="\x9b2J\u202egone\rback")
    (line,) = everything(ring)
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(line.event + line.fields)
    assert "opened" in line.event and "gone" in line.fields


def test_durations_are_read_as_people_write_them() -> None:
    assert [duration_s(text) for text in ("90s", "15m", "2h", " 3D ")] == [90, 900, 7200, 259_200]
    for text in ("", "3", "h", "-1h", "1.5h", "0s", "9999d", "3w"):
        with pytest.raises(DeviceError, match="no duration"):
            duration_s(text)
