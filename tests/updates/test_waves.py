"""An update in waves at the hub, on both databases: orders, jobs, reports, error stop, and every unit's own way."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from contract.commissioning import decode_claim
from contract.commissioning_problems import Problem
from contract.dispatch import encode
from contract.errors import RemoteError, TransientError
from contract.identifiers import uuid7
from contract.lifecycle import UnitState as UnitLife
from contract.rollouts import RolloutAction
from contract.technician import AssignOrder, Order, Verb, sign_order, verify_reply
from contract.unit_alerts import UnitAlert
from contract.update_problems import UpdateProblem
from contract.updates import UpdateReport
from contract.updates import UpdateState as Said
from hub import certificates, history, update_desk
from hub.config import DeadlinesSection
from hub.fleet_watch import look
from hub.schema.commissioning_tables import Commissioning, UnitHistory
from hub.schema.tables import Unit
from hub.schema.update_tables import Rollout as UpdateRow
from hub.schema.update_tables import RolloutUnit
from provisioning.technician_identity import load_identity
from tests.commissioning.stage import LOCAL, OTHER_SITE, SITE, TECHNICIAN, UNIT
from tests.hub_world import DATABASES
from tests.updates.hub_stage import UpdateStage, running

RELEASE = "0.7.0"


@pytest.fixture(params=DATABASES)
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> UpdateStage:
    found = UpdateStage(tmp_path, request.param)
    found.office.add_edge(RELEASE)
    found.begin()
    return found


def everybody(stage: UpdateStage, names: list[str]) -> None:
    for name in names:
        for state in (Said.RECEIVED, Said.DOWNLOADING, Said.READY, Said.INSTALLING, Said.TRIAL):
            stage.says(name, state)
        stage.says(name, Said.GOOD, running(1))


def test_waves_open_one_after_the_other_and_each_unit_is_told_once(stage: UpdateStage) -> None:
    assert stage.update(RELEASE, 25, 50, 100).done
    (first,) = stage.told()
    job = stage.job(first)
    assert job is not None and (job.unit, job.target, job.number, job.wave) == (first, "rekam-edge-0.7.0.json", 1, "1")
    stage.passes(1000)
    assert stage.told() == [first] and stage.job(first) == job
    everybody(stage, [first])
    stage.passes(1)
    assert stage.told() == []  # who is good has no job any more
    assert stage.rollout().next_ms > stage.clock.wall_ms()
    stage.passes(61)
    (second,) = stage.told()
    everybody(stage, [second])
    stage.passes(1)
    stage.passes(61)
    assert len(stage.told()) == 2
    everybody(stage, stage.told())
    stage.passes(1)
    row = stage.rollout()
    assert row.state == "done" and [wave.steps for wave in row.waves] == [{"good": 1}, {"good": 1}, {"good": 2}]
    with stage.world.database.reading() as session:
        events = [link.event for link in history.way_of(session, UnitHistory, first)]
        assert history.verify(session, UnitHistory) and events == ["updated"]


def test_a_release_that_fails_stops_by_itself_and_says_so(stage: UpdateStage) -> None:
    assert stage.update(RELEASE, ("u-01", "u-02", "u-03"), 100).done
    stage.says("u-02", Said.DOWNLOADING)
    stage.says("u-03", Said.INSTALLING)
    stage.says("u-01", Said.RETURNED, problem=UpdateProblem.UNHEALTHY, detail="finger: No answer.")
    stage.passes(1)
    row = stage.rollout()
    assert (row.state, row.why) == ("stopped", "1 of 3 units failed")
    assert stage.steps() == {"u-01": "failed", "u-02": "waiting", "u-03": "writing", "u-04": "waiting"}
    with stage.world.database.reading() as session:
        assert stage.desk.alarm(session) == "The update to 0.7.0 has stopped: 1 of 3 units failed."
    stage.says("u-01", Said.GOOD, running(1))  # for this job it is over, whatever is said again
    stage.says("u-01", Said.RETURNED, problem=UpdateProblem.UNHEALTHY, detail="finger: No answer.")
    with stage.world.database.reading() as session:
        assert len(history.way_of(session, UnitHistory, "u-01")) == 1
    assert stage.told() == ["u-03"]  # it has begun: what it was told stays until it is through
    assert (stage.unit("u-01").problem, stage.unit("u-01").detail) == (UpdateProblem.UNHEALTHY, "finger: No answer.")
    stage.says("u-03", Said.GOOD, running(1))
    stage.passes(10_000)
    assert stage.rollout().state == "stopped" and stage.told() == []
    refused = stage.update(RELEASE)
    assert not refused.done and "--cancel" in refused.next_step
    assert stage.steer(RolloutAction.RESUME).done
    assert stage.told() == ["u-02"]
    everybody(stage, ["u-02"])
    stage.passes(1)
    stage.passes(61)
    assert stage.told() == ["u-04"]


def test_a_unit_that_comes_back_later_is_told_of_though_the_update_is_done(stage: UpdateStage) -> None:
    assert stage.update(RELEASE).done
    jobs = {unit: stage.job(unit) for unit in stage.units}
    everybody(stage, stage.units)
    stage.passes(1)
    assert stage.rollout().state == "done"
    job = jobs["u-02"]
    assert job is not None
    for _ in range(2):  # it says so at every connect
        stage.says("u-02", Said.RETURNED, problem=UpdateProblem.CAME_BACK, detail="signal SEGV", job=job.job)
    assert stage.steps() == {"u-01": "good", "u-02": "failed", "u-03": "good", "u-04": "good"}
    assert (stage.unit("u-02").problem, stage.unit("u-02").detail) == (UpdateProblem.CAME_BACK, "signal SEGV")
    with stage.world.database.reading() as session:
        events = [link.event for link in history.way_of(session, UnitHistory, "u-02")]
        assert events == ["updated", "came back: crash loop"]
        (watched,) = look(session, [session.get_one(Unit, "u-02")], DeadlinesSection(), stage.clock.wall_ms())
        assert UnitAlert.UPDATE_FAILED in watched.alerts
    assert stage.told() == []  # nobody tries it again by themselves
    assert stage.update(RELEASE).done and stage.told() == ["u-02"]


def test_who_comes_back_from_an_older_release_keeps_the_job_for_the_next(stage: UpdateStage) -> None:
    assert stage.update(RELEASE).done
    job = stage.job("u-02")
    assert job is not None
    everybody(stage, stage.units)
    stage.passes(1)
    stage.office.add_edge("0.8.0")
    stage.take(stage.office.publish("next"))
    assert stage.update("0.8.0", units=["u-02"]).done
    newer = stage.job("u-02")
    stage.says("u-02", Said.RETURNED, problem=UpdateProblem.CAME_BACK, detail="signal SEGV", job=job.job)
    assert stage.job("u-02") == newer and newer is not None and stage.steps() == {"u-02": "told"}


def test_a_rollout_that_cannot_go_on_holds_up_no_other_and_is_told_once(
    stage: UpdateStage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stage.update(RELEASE, 50, 100, units=["u-01", "u-02"]).done
    bad = stage.rollout().id
    assert stage.update(RELEASE, units=["u-03", "u-04"]).done
    with stage.world.database.transaction() as session:
        for link in session.scalars(select(RolloutUnit).where(RolloutUnit.rollout == bad)):
            link.step = "dancing"  # as no hub writes it
    capsys.readouterr()
    everybody(stage, ["u-03", "u-04"])
    stage.passes(1)
    stage.passes(1)
    assert stage.rollout().state == "done"
    row = stage.shown(bad).rows[0]
    assert (row.state, row.why) == ("stopped", "the hub cannot go on with it (ValueError)")
    with stage.world.database.reading() as session:
        assert "cannot go on with it" in stage.desk.alarm(session)
    assert capsys.readouterr().out.count("has stopped: the hub cannot go on with it") == 1


def test_a_database_that_fails_stops_no_rollout(stage: UpdateStage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stage.update(RELEASE, units=["u-01", "u-02"]).done
    first = stage.rollout().id
    assert stage.update(RELEASE, units=["u-03", "u-04"]).done
    looked: list[str] = []
    go_on = stage.desk._advance

    def fails(session: Session, row: UpdateRow) -> None:
        looked.append(row.id)
        if row.id == first:
            raise OperationalError("UPDATE rollout", {}, Exception("database is locked"))
        go_on(session, row)

    monkeypatch.setattr(stage.desk, "_advance", fails)
    with pytest.raises(TransientError):
        stage.passes(1)
    assert set(looked) == {first, stage.rollout().id} and stage.shown(first).rows[0].state == "running"


def test_cancel_spares_whoever_has_not_begun_to_write(stage: UpdateStage) -> None:
    assert stage.update(RELEASE).done
    jobs = {unit: stage.job(unit) for unit in stage.units}
    stage.says("u-01", Said.DOWNLOADING)
    stage.says("u-02", Said.INSTALLING)
    assert stage.steer(RolloutAction.CANCEL).done
    assert stage.steps() == {"u-01": "spared", "u-02": "writing", "u-03": "spared", "u-04": "spared"}
    assert stage.told() == ["u-02"]
    late = jobs["u-03"]
    assert late is not None
    stage.says("u-03", Said.DOWNLOADING, job=late.job)
    assert stage.steps()["u-03"] == "spared"
    stage.says("u-02", Said.GOOD, running(1))
    assert stage.steps()["u-02"] == "good" and stage.told() == []
    assert not stage.steer(RolloutAction.RESUME).done
    assert stage.update(RELEASE).done  # and the rest are free for another
    assert set(stage.told()) == {"u-01", "u-03", "u-04"}


def test_who_was_off_when_the_job_was_taken_back_is_told_when_it_speaks_of_it(stage: UpdateStage) -> None:
    """The broker keeps what was said, not what was taken back: such a unit would install what has failed elsewhere."""
    assert stage.update(RELEASE, ("u-01", "u-02", "u-03"), 100).done
    jobs = {unit: stage.job(unit) for unit in stage.units}
    stage.is_present("u-02", "offline")
    stage.says("u-01", Said.RETURNED, problem=UpdateProblem.UNHEALTHY)
    stage.passes(1)
    assert stage.rollout().state == "stopped" and stage.told() == []
    assert stage.steer(RolloutAction.CANCEL).done
    for name, state, recalled in (
        ("u-02", Said.DOWNLOADING, True), ("u-03", Said.INSTALLING, False), ("u-04", Said.READY, True)
    ):  # fmt: skip
        job = jobs[name]
        stage.broker_has_all()
        stage.says(name, state, job=job.job if job else "of-a-hub-before-its-backup")
        assert stage.due() == ([(name, b"")] if recalled else []), name
    # Whom the hub's word has reached too late is not called spared.
    assert stage.steps() == {"u-01": "failed", "u-02": "spared", "u-03": "writing", "u-04": "spared"}
    assert stage.update(RELEASE, units=("u-02",)).done
    old = jobs["u-02"]
    assert old is not None
    stage.says("u-02", Said.DOWNLOADING, job=old.job)  # said before the new job came: that stands
    assert stage.told() == ["u-02"]


def test_pause_takes_jobs_back_and_resume_gives_new_ones(stage: UpdateStage) -> None:
    assert stage.update(RELEASE).done
    before = stage.job("u-01")
    assert before is not None
    assert stage.steer(RolloutAction.PAUSE).done and stage.told() == []
    stage.says("u-01", Said.CANCELLED, job=before.job)
    stage.passes(1000)
    assert stage.told() == [] and set(stage.steps().values()) == {"waiting"}
    assert stage.steer(RolloutAction.RESUME).done
    after = stage.job("u-01")
    assert after is not None and after.job != before.job and after.issued_ms > before.issued_ms
    short = stage.steer(RolloutAction.PAUSE, reason="no")
    assert not short.done and "--reason" in short.next_step


def test_who_is_suspended_gets_none_and_who_is_off_gets_it_later(stage: UpdateStage) -> None:
    stage.lives("u-01", UnitLife.SUSPENDED)
    stage.is_present("u-02", "offline")
    assert stage.update(RELEASE, 100).done
    assert stage.told() == ["u-02", "u-03", "u-04"]
    stage.lives("u-03", UnitLife.SUSPENDED)
    stage.passes(1)
    assert stage.told() == ["u-02", "u-04"]
    everybody(stage, ["u-04"])
    stage.passes(10**6)
    assert stage.rollout().state == "running"
    stage.lives("u-03", UnitLife.IN_SERVICE)
    stage.passes(1)
    assert stage.told() == ["u-02", "u-03"]
    stage.is_present("u-02")
    everybody(stage, ["u-02", "u-03"])
    stage.lives("u-01", UnitLife.RETIRED)
    stage.lives("u-02", UnitLife.RETIRED)  # what it did counts on
    stage.passes(1)
    assert stage.rollout().state == "done" and stage.steps()["u-01"] == "gone" and stage.steps()["u-02"] == "good"


def test_a_revoked_unit_gets_none(stage: UpdateStage) -> None:
    with stage.world.database.transaction() as session:
        assert certificates.revoke(session, UNIT, "stolen", stage.clock.wall_ms()) == 1
    stage.units.append(UNIT)
    assert stage.update(RELEASE).done
    assert stage.steps()[UNIT] == "waiting" and len(stage.told()) == 4


def test_a_successor_takes_the_place_of_the_unit_that_it_replaced(stage: UpdateStage) -> None:
    assert stage.update(RELEASE, ("u-01",), 75).done
    with stage.world.database.transaction() as session:
        session.get_one(Unit, "u-01").state = UnitLife.RETIRED
        old = session.get_one(Unit, "u-02")
        pem = old.sign_public_pem
        session.add(Unit(id="u-09", site=SITE, role="desk", state=UnitLife.IN_SERVICE, sign_public_pem=pem,
                         open_public_pem=pem))  # fmt: skip
    box = stage.world.claim("S-9")
    nonce = decode_claim(box).nonce
    with stage.world.database.transaction() as session:
        session.add(
            Commissioning(nonce=nonce, serial="S-9", key_digest=bytes(32), knock=b"", knocked_ms=1, clock_off_ms=0,
                          challenge=b"", unit="u-09", site=SITE, role="desk", replaces="u-01")
        )  # fmt: skip
    stage.passes(1)
    assert stage.steps()["u-09"] == "told" and stage.steps()["u-01"] == "gone"
    stage.passes(1)
    assert list(stage.steps()).count("u-09") == 1


def test_a_technician_updates_only_where_they_work(stage: UpdateStage) -> None:
    assert stage.update(RELEASE, technician=LOCAL).problem is Problem.NO_RIGHTS
    assert stage.update(RELEASE, technician=LOCAL, units=(), sites=(SITE,)).problem is Problem.NO_RIGHTS
    assert stage.update(RELEASE, technician=LOCAL, units=(), sites=(OTHER_SITE,)).done
    assert stage.told() == ["u-02", "u-04"]
    assert stage.steer(RolloutAction.PAUSE, LOCAL).done and stage.steer(RolloutAction.CANCEL, LOCAL).done
    assert stage.update(RELEASE).done
    assert stage.steer(RolloutAction.CANCEL, LOCAL).problem is Problem.NO_RIGHTS
    assert stage.steer(RolloutAction.CANCEL).done
    assert stage.update(RELEASE, technician=LOCAL, units=(), sites=()).done  # all that they look after
    assert stage.told() == ["u-02", "u-04"]


def test_what_cannot_be_ordered_is_refused_with_advice(stage: UpdateStage) -> None:
    for words, advice in (
        ({"release": "9.9.9"}, "--list"),
        ({"units": ("u-77",)}, "status"),
        ({"waves": ()}, ""),
    ):
        if "waves" in words:
            assert "u-77" in stage.update(RELEASE, ("u-77",)).message
            continue
        refused = stage.update(RELEASE, **words) if "release" not in words else stage.update("9.9.9")
        assert not refused.done and advice in refused.next_step, refused
    stage.lives("u-01", UnitLife.RETIRED)
    assert "retired" in stage.update(RELEASE).message
    stage.lives("u-01", UnitLife.IN_SERVICE)
    for unit in stage.units:
        stage.says(unit, None, running(1))
    assert "run this release" in stage.update(RELEASE).message


def test_a_unit_that_runs_it_already_is_not_told(stage: UpdateStage) -> None:
    stage.says("u-01", None, running(2, "0.8.0"))
    assert stage.update(RELEASE).done
    assert stage.told() == ["u-02", "u-03", "u-04"]
    # A hub from its backup has forgotten which job it gave; what a unit runs says enough.
    stage.says("u-02", Said.GOOD, running(1), job="somebody-elses")
    assert stage.steps()["u-02"] == "good"


def test_progress_is_shown(stage: UpdateStage) -> None:
    assert stage.update(RELEASE).done
    stage.says("u-01", Said.DOWNLOADING, bytes_done=10, bytes_all=40)
    row = stage.unit("u-01")
    assert (row.step, row.bytes_done, row.bytes_all, row.present, row.site) == ("fetching", 10, 40, True, SITE)


@given(st.binary(max_size=80), st.text("abz09./-", min_size=0, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_of_units_changes_nothing(stage: UpdateStage, payload: bytes, unit: str) -> None:
    with pytest.raises(RemoteError):
        stage.desk.on_report(unit, payload)
    report = encode(UpdateReport(job="x", state=Said.GOOD, running=running(1), at_ms=1))
    with pytest.raises(RemoteError):
        stage.desk.on_report(f"no-{unit}"[:60], report)
    with stage.world.database.reading() as session:
        assert session.scalars(select(UnitHistory)).first() is None


@given(st.binary(max_size=60) | st.builds(encode, st.just(UpdateReport(running=running(1), at_ms=1))))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_of_technicians_is_refused_in_words(stage: UpdateStage, body: bytes) -> None:
    identity = load_identity(stage.world.folder / "technicians" / TECHNICIAN)
    for verb in (Verb.UPDATE, Verb.ROLLOUT, Verb.ROLLOUTS, Verb.RELEASES):
        stage.clock.now_ms += 1
        order = Order(id=uuid7(stage.clock), technician=TECHNICIAN, verb=verb, at_ms=stage.clock.wall_ms(), body=body)
        (said,) = stage.world.desks.technicians.on_order(TECHNICIAN, order.id, sign_order(order, identity.order))
        reply = verify_reply(said.payload, identity.hub, order.id)
        if verb in (Verb.UPDATE, Verb.ROLLOUT) or not reply.done:  # an empty map does for those that only read
            assert not reply.done and reply.message and reply.next_step
    assert stage.told() == []


def test_a_unit_that_moves_to_another_site_keeps_its_place(stage: UpdateStage) -> None:
    assert stage.update(RELEASE).done
    before = stage.job("u-01")
    stage.lives("u-01", UnitLife.SUSPENDED)
    stage.passes(1)
    assert stage.order(Verb.ASSIGN, AssignOrder(unit="u-01", site=OTHER_SITE)).done
    assert stage.steer(RolloutAction.PAUSE, LOCAL).problem is Problem.NO_RIGHTS  # u-03 is not theirs
    stage.lives("u-01", UnitLife.IN_SERVICE)
    stage.passes(1)
    after = stage.job("u-01")
    assert before is not None and after is not None and after.job != before.job
    assert stage.unit("u-01").site == OTHER_SITE


def test_a_large_wave_is_told_over_several_looks(stage: UpdateStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_desk, "TOLD_AT_ONCE_MAX", 3)
    assert stage.update(RELEASE).done
    assert len(stage.told()) == 3
    stage.passes(1)
    assert len(stage.told()) == 4


def test_another_units_job_moves_nobody(stage: UpdateStage) -> None:
    assert stage.update(RELEASE).done
    job = stage.job("u-01")
    assert job is not None
    stage.says("u-02", Said.RETURNED, job=job.job)
    assert stage.steps()["u-01"] == "told" and stage.steps()["u-02"] == "told"
