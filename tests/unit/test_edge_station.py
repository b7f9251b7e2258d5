"""The station's door and its line: who may work, jobs answered each time they come, results kept once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from contract import topics
from contract.dispatch import JobAnswer, PrintJob, decode
from contract.errors import DeviceError, RemoteError, TransientError
from contract.seal import load_opening_key, load_public_key, load_recipient_key, load_signing_key, open_sealed
from contract.secret import hash_secret
from edge.eligibility import Refusal
from edge.procedure import Refused, Retry
from edge.second_factor import FactorBook
from edge.station import JobIntake, RosterOfficers, make_station
from tests.unit.edge_fakes import HEAD, OPERATOR, Bench, biodata, make_bench, operator_entry, roster_of
from tests.unit.test_edge_downlink import DISPATCH, UNIT, Line, pem, public, sealed
from tests.unit.test_edge_downlink import Unit as Downlinked

HUB = ec.derive_private_key(31, ec.SECP256R1())
JOB = PrintJob(
    job_id="01920000-0000-7000-8000-0000000000aa", capture_id="01920000-0000-7000-8000-0000000000ab",
    card_number="C-1", nik="9901014107900001", biodata=biodata(), chip_files={0x0101: b"x"}, front=b"png", back=b"png",
    destination="handover-a1", serves_here=True,
)  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = make_bench(tmp_path)
    yield made
    made.store.close()


@dataclass
class JobDesk:
    """A personalisation desk that only answers."""

    accepts: bool = True
    fault: Exception | None = None
    seen: list[str] = field(default_factory=list)

    async def accept(self, job: PrintJob) -> JobAnswer:
        if self.fault:
            raise self.fault
        self.seen.append(job.job_id)
        return JobAnswer(job_id=job.job_id, accepted=self.accepts, at_ms=5)


def intake(folder: Path, desk: JobDesk) -> tuple[Downlinked, Line]:
    unit = Downlinked(folder)
    JobIntake(
        unit.line, unit.downlink, desk, "desk-a1",  # type: ignore[arg-type]
        load_signing_key(pem(UNIT), "desk-a1"), load_recipient_key(public(HUB), "hub"),
    )  # fmt: skip
    return unit, unit.line


async def test_a_job_is_answered_each_time_it_comes_and_only_to_the_hub(tmp_path: Path) -> None:
    desk = JobDesk()
    _, line = intake(tmp_path, desk)
    await line.arrive("k/desk-a1/dn/job/next", b"")
    for _ in range(2):
        await line.arrive("k/desk-a1/dn/job/next", sealed(JOB))
    assert desk.seen == [JOB.job_id] * 2 and len(line.published) == 2
    topic, payload = line.published[0]
    assert topic == topics.UP_JOB.at(unit="desk-a1", job=JOB.job_id)
    opened = open_sealed(payload, load_opening_key(pem(HUB), "hub"), lambda kid: load_public_key(public(UNIT), kid))
    assert decode(JobAnswer, opened.payload).accepted


async def test_a_job_that_the_hub_did_not_seal_is_not_taken(tmp_path: Path) -> None:
    desk = JobDesk()
    _, line = intake(tmp_path, desk)
    with pytest.raises(RemoteError):
        await line.arrive("k/desk-a1/dn/job/next", sealed(JOB, UNIT, "desk-a1"))
    assert desk.seen == [] and line.published == [] and DISPATCH is not UNIT


async def test_a_full_disk_leaves_the_job_with_the_broker(tmp_path: Path) -> None:
    _, line = intake(tmp_path, JobDesk(fault=DeviceError("The disk is full.")))
    with pytest.raises(TransientError):
        await line.arrive("k/desk-a1/dn/job/next", sealed(JOB))
    assert line.published == []


async def test_only_an_officer_of_the_role_may_work_and_proves_it_with_a_finger(bench: Bench) -> None:
    factors = FactorBook(bench.store, bench.roster.time)
    door = RosterOfficers(bench.services, factors, has_scanner=True)
    with pytest.raises(Refused) as caught:
        await door.authorise(OPERATOR, "section-head", {})
    assert caught.value.refusal is Refusal.OPERATOR_UNKNOWN
    with pytest.raises(Refused) as caught:
        await door.authorise("op-late", "operator", {})
    assert caught.value.refusal is Refusal.LEASE_ENDED
    with pytest.raises(Retry):
        await door.authorise(HEAD, "section-head", {})
    bench.sensors.person = HEAD
    assert await door.authorise(HEAD, "section-head", {}) == HEAD
    with pytest.raises(Refused, match=r"devices\.finger") as caught:
        await RosterOfficers(bench.services, factors, has_scanner=False).authorise(HEAD, "section-head", {})
    assert caught.value.refusal is Refusal.NO_SCANNER


async def test_an_officer_with_a_pin_gives_it_at_the_station_too(bench: Bench) -> None:
    entry = operator_entry(HEAD, "section-head", pin=hash_secret("482913", bytes(16), 2))
    bench.roster.take(roster_of(entry, version=2))
    bench.sensors.person = HEAD
    factors = FactorBook(bench.store, bench.roster.time)
    door = RosterOfficers(bench.services, factors, has_scanner=True)
    with pytest.raises(Refused) as caught:
        await door.authorise(HEAD, "section-head", {})
    assert caught.value.refusal is Refusal.PIN_ASKED and bench.sensors.calls == []
    with pytest.raises(Retry):
        await door.authorise(HEAD, "section-head", {"pin": "482914"})
    assert await door.authorise(HEAD, "section-head", {"pin": "482913"}) == HEAD
    (count,) = factors.report().counts
    assert (count.signed_on, count.failed) == (1, 1)


@pytest.mark.parametrize("devices", [{}, {"printer": {}}, {"printer": {"uri": "http://x/"}}])
def test_a_station_without_its_devices_says_what_is_missing(bench: Bench, devices: dict[str, Any]) -> None:
    with pytest.raises(DeviceError) as caught:
        make_station(
            bench.store,
            bench.services,
            FactorBook(bench.store, bench.roster.time),
            None,
            None,
            devices,
            None,
            load_public_key(public(HUB), "issuer"),  # type: ignore[arg-type]
        )
    assert "unit.toml" in caught.value.next_step
