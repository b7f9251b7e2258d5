"""A small share of `make fault` in every test run: real processes, real kills, and a power cut on the real spool."""

from __future__ import annotations

import random
from collections import Counter

from contract.channel_disk import SyncSite
from contract.transfer import Step
from tests.fault.campaign import plan_kills, run_campaign
from tests.fault.histogram import write_report
from tests.fault.powercut import RELEASE_SITES, SUBJECTS, run_variant


def test_nothing_is_lost_or_twice_when_processes_are_killed(tmp_path):
    tally, found = run_campaign(tmp_path, packets=8, kills=2, seed=5, progress=lambda _captures, _kills: None)
    assert found.clean, found.problems
    assert (found.captures, tally.kill_count) == (8, 2)
    write_report(tmp_path / "report.html", tally, found, [])
    assert "0 lost, 0 twice" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_power_cut_at_any_write_of_the_spool_loses_nothing():
    verdict = run_variant("spool", None, every=3)
    assert verdict.cuts > 50
    assert verdict.losses == 0, verdict.example


def test_the_power_cut_check_notices_a_missing_sync():
    assert run_variant("spool", SyncSite.SPOOL_NAME).losses > 0


def test_a_power_cut_leaves_every_stored_file_of_a_release_and_each_sync_is_needed():
    assert run_variant("release", None).losses == 0
    for site in RELEASE_SITES:
        assert run_variant("release", site).losses > 0


def test_every_sync_is_checked_by_the_campaign():
    assert {site for sites in SUBJECTS.values() for site in sites} == set(SyncSite)


def test_the_plan_aims_at_every_step_with_every_victim():
    plan = plan_kills(105, random.Random(1))
    assert len(plan) >= 100
    assert {kill.step for kill in plan} == set(Step)
    assert min(Counter(kill.victim for kill in plan).values()) >= len(Step)
