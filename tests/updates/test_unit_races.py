"""What else happens to a unit while it takes up a release: jobs taken back unheard, other hands, other software."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import cbor2
import pytest

from contract.channel_mqtt import Connection
from contract.errors import RemoteError
from contract.topics import UP_UPDATE
from contract.update_problems import UpdateProblem
from contract.updates import UpdateState
from edge import update_intake
from edge.launcher import BootEvent, BootFile, advance
from edge.slots import Release, release_mark
from edge.update_client import Fetched
from edge.update_record import RECORD
from tests.commissioning.stage import until
from tests.commissioning.test_configuration import HUB_AWAY
from tests.updates.repository import Repository, job_for
from tests.updates.test_unit_updates import WHEELS, begun, proved
from tests.updates.unit_rig import HubLine, Life, MarkingInstaller, Unit

RECEIVED, DOWNLOADING, READY, INSTALLING, TRIAL, GOOD, RETURNED, REFUSED, CANCELLED = UpdateState
JOB = job_for(2, "0.2.0")


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    repository = Repository()
    repository.add_release(2, "0.2.0", WHEELS)
    return Unit(tmp_path, repository)


async def test_what_was_taken_back_while_the_line_was_away_is_not_written(unit: Unit) -> None:
    """The broker tells nobody later that a retained job is gone: an error stop has to hold for who was off, too."""
    served = True
    life = Life(unit, unit.updates(), is_free=lambda: not served)
    running = asyncio.create_task(life.intake.run())
    await life.line.give(JOB)
    await until(lambda: READY in life.line.states)
    served = False
    for connection in (None, Connection(None, 2)):  # no line, and then one on which the job did not come
        life.line.connection, looked = connection, len(life.pauses)
        await until(lambda looked=looked: len(life.pauses) > looked + 3)
        assert life.line.states[-1] is READY
    await life.line.give(None)  # what the hub says to such a report
    assert life.line.states[-1] is CANCELLED
    await life.line.give(job_for(2, "0.2.0", job="j-again", issued_ms=9))
    await asyncio.wait_for(life.restarted.wait(), 10)
    life.intake.stop()
    running.cancel()


class Held(MarkingInstaller):
    """An installation that takes as long as a test wants."""

    begun = threading.Event()
    go = threading.Event()

    def install(self, fetched: Fetched) -> None:
        self.begun.set()
        assert self.go.wait(10)
        super().install(fetched)


@pytest.fixture
def held() -> type[Held]:
    Held.begun.clear()
    Held.go.clear()
    return Held


async def test_a_job_that_waited_behind_another_is_taken_back_too(unit: Unit, held: type[Held]) -> None:
    unit.repository.add_release(3, "0.3.0", WHEELS)
    life = Life(unit, unit.updates(), installer=held)
    running = asyncio.create_task(life.intake.run())
    await life.line.give(JOB)
    await until(held.begun.is_set)
    await life.line.give(job_for(3, "0.3.0"))
    await life.line.give(None)
    assert life.line.states[-1] is INSTALLING  # it writes: that is not taken back
    unit.repository.targets.pop("rekam-edge-0.2.0.json")
    unit.repository.publish()
    held.go.set()
    await until(lambda: life.line.states[-1] is REFUSED)
    with pytest.raises(AssertionError, match="never"):
        await until(lambda: life.updates.record.job != JOB, timeout_s=0.2)
    life.intake.stop()
    running.cancel()


async def test_a_trial_waits_for_the_line_that_it_has_to_be_proved_by(unit: Unit, held: type[Held]) -> None:
    life = Life(unit, unit.updates(), installer=held)
    running = asyncio.create_task(life.intake.run())
    await life.line.give(JOB)
    await until(held.begun.is_set)
    life.line.connection = None
    held.go.set()
    await until(lambda: len(life.pauses) > 3)
    assert not life.restarted.is_set() and BootFile(unit.folder / "slots").read().trial == ""
    life.line.connection = Connection(None, 2)
    await asyncio.wait_for(life.restarted.wait(), 10)
    life.intake.stop()
    running.cancel()


def test_either_a_job_is_taken_back_or_it_is_written(unit: Unit) -> None:
    updates = unit.updates()
    assert updates.take(JOB) and updates.note(JOB, READY) and updates.take_back()
    assert not updates.note(JOB, INSTALLING) and updates.record.state is CANCELLED
    other = job_for(2, "0.2.0", job="j-other")
    assert updates.take(other) and updates.note(other, INSTALLING)
    assert not updates.take_back() and not updates.take(job_for(3, "0.3.0"))
    assert not updates.note(JOB, READY) and (updates.record.job, updates.record.state) == (other, INSTALLING)


async def test_a_broker_that_refuses_reports_keeps_no_release_away(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = HubLine.publish

    async def publish(self: HubLine, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int = 0) -> bool:
        if UP_UPDATE.parse(topic):
            raise RemoteError("The broker refuses the message (reason 0x97).")
        return await whole(self, topic, payload, retain=retain, expiry_s=expiry_s)

    monkeypatch.setattr(HubLine, "publish", publish)
    life = Life(unit, unit.updates())
    await life.until(life.restarted.is_set, JOB)


async def test_a_job_whose_hearing_ends_late_is_not_begun_again_under_its_trial(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start finds it in the record while it is still being heard; the trial's record must stand until the restart."""
    gate, whole = asyncio.Event(), HubLine.publish

    async def publish(self: HubLine, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int = 0) -> bool:
        done = await whole(self, topic, payload, retain=retain, expiry_s=expiry_s)
        if UP_UPDATE.parse(topic) and self.states[-1] is RECEIVED:
            await gate.wait()
        return done

    monkeypatch.setattr(HubLine, "publish", publish)
    life = Life(unit, unit.updates())
    hearing = asyncio.create_task(life.line.give(JOB))
    await until(lambda: life.line.states == [RECEIVED])
    running = asyncio.create_task(life.intake.run())
    await until(life.restarted.is_set)
    gate.set()
    await hearing
    await asyncio.wait_for(running, 20)
    assert life.line.states == [RECEIVED, DOWNLOADING, READY, INSTALLING, TRIAL] and life.updates.record.state is TRIAL


async def test_a_long_fetch_is_told_at_its_tenths(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand units fetch at once: what each says of it must not keep the hub from receipts."""
    monkeypatch.setattr(update_intake, "REPORT_EVERY_S", 0.0001)
    unit.repository.add_release(3, "0.3.0", {"rekam-0.3.0-py3-none-any.whl": bytes(6 * 2**20)})
    life = Life(unit, unit.updates())
    await life.until_settled(job_for(3, "0.3.0"))
    said = [report for report in life.line.said if report.state is DOWNLOADING]
    assert life.restarted.is_set() and 3 <= len(said) <= 12
    assert [report.bytes_done for report in said] == sorted(report.bytes_done for report in said)


async def test_a_trial_that_a_package_began_says_nothing_of_the_hubs_job(unit: Unit) -> None:
    """dpkg brought another release while a job was under way: the hub must not take that for its own."""
    updates = unit.updates()
    updates.take(JOB)
    updates.note(JOB, DOWNLOADING, failing=("finger",))
    for complaints, ends in (({"finger": "silent"}, Release(1, "0.1.0")), ({}, Release(7, "0.1.7"))):
        slot = unit.folder / "slots" / "b"
        (slot / "bin").mkdir(parents=True, exist_ok=True)
        (slot / "bin" / "python").write_text("#!/bin/sh\n")
        (slot / "bin" / "python").chmod(0o755)
        (slot / "release.json").write_bytes(release_mark(Release(7, "0.1.7")))
        file = BootFile(unit.folder / "slots")
        file.write(advance(file.read(), BootEvent.BEGIN))
        after = await proved(unit, HUB_AWAY, complaints)
        assert (after.record.job, after.record.state) == (JOB, DOWNLOADING)
        assert unit.running == ends
    assert unit.updates().floor == 7
    life = Life(unit, unit.updates())
    await life.until_settled(JOB)
    assert life.line.said[-1].problem is UpdateProblem.RELEASE_OLD


async def test_going_back_from_a_release_that_wrote_more_into_the_record_forgets_nothing(unit: Unit) -> None:
    """Else the unit would take the same job again, and the same bad release, for ever."""
    unit.repository.add_release(4, "0.4.0", WHEELS, floor=4)
    await begun(unit, 4, "0.4.0")
    path = unit.folder / "update" / RECORD
    found = cbor2.loads(path.read_bytes())
    found |= {"cohort": "north", "problem": "release-haunted", "job": {**found["job"], "priority": 3}}
    path.write_bytes(cbor2.dumps(found))
    updates = await proved(unit, {"finger": "silent"})
    report = updates.report()
    assert (report.state, report.job, report.running.floor) == (RETURNED, "j-4", 4)
    assert not updates.take(job_for(4, "0.4.0")) and not updates.take(job_for(2, "0.2.0"))


async def test_a_record_that_is_lost_does_not_bring_the_release_back_that_was_left(unit: Unit) -> None:
    await begun(unit)
    await proved(unit, {"finger": "silent"})
    (unit.folder / "update" / RECORD).write_bytes(b"")
    assert not unit.updates().take(JOB)


def test_a_hub_whose_clock_was_a_year_ahead_is_heard_again(unit: Unit) -> None:
    updates, now_ms = unit.updates(), unit.clock.now_ms
    assert updates.take(job_for(2, "0.2.0", issued_ms=now_ms + 365 * 86_400_000))
    assert updates.take(job_for(2, "0.2.0", job="j-next", issued_ms=now_ms))
    assert not updates.take(job_for(2, "0.2.0", job="j-late", issued_ms=now_ms - 1))


async def test_a_trial_that_the_launcher_could_not_count_is_given_up(unit: Unit) -> None:
    """The disk was full: the good slot runs, and says so; it does not call itself the release that was to be tried."""
    await begun(unit)
    blocked = unit.folder / "slots" / ".boot.json.draft"
    blocked.mkdir()
    updates = unit.updates()
    assert updates.slots is not None and updates.slots.own == "a" and not updates.slots.is_left
    assert not updates.settle() and updates.record.state is TRIAL  # it waits: nothing can be written yet
    blocked.rmdir()
    updates.slots.own = "a"
    assert not updates.settle()
    report = updates.report()
    assert (report.state, report.problem) == (RETURNED, UpdateProblem.NEVER_READY) and "counted" in report.detail
    assert unit.running == Release(1, "0.1.0")
