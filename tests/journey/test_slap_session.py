"""A capture on a slap scanner: real driver, twin, extraction and comparison; the unit has no other finger scanner."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.clock import SystemClock
from contract.comparison import ComparisonScore
from contract.finger_image import SLAP_FINGERS, SlapPosition
from contract.sample import ALL_FINGERS, FingerPosition, Modality
from edge.config import PolicyTable
from edge.device_bench import DeviceBench
from edge.examination import compare_templates, examine_finger
from edge.ports import Examined
from edge.sensors.interface import Frame
from edge.sensors.sbi_frames import FINGER_NAMES
from tests.unit.edge_fakes import Bench, FakeExaminer, FakeSensors, make_bench
from tests.unit.test_enrolment import begin, do, walk
from virtual.finger_presets import GUIDED
from virtual.people import person
from virtual.sbi_issuer import Issuer
from virtual.sbi_twin import SbiTwin

SOMEONE = person(61, 0)


@dataclass
class HandSensors(FakeSensors):
    """A person who lays hands on the unit's own slap scanner; what else is taken does not matter here."""

    bench: DeviceBench | None = None
    twin: SbiTwin | None = None
    impression: int = 0

    def lay(self, fingers: Sequence[FingerPosition]) -> DeviceBench:
        assert self.twin is not None and self.bench is not None
        for finger in fingers:
            self.twin.show(FINGER_NAMES[finger], SOMEONE.finger(finger, self.impression, preset=GUIDED))
        return self.bench

    @property
    def takes_slaps(self) -> bool:
        return self.bench is not None and self.bench.takes_slaps

    async def slap(self, slap: SlapPosition, missing: Sequence[FingerPosition]) -> Mapping[FingerPosition, Frame]:
        self.calls.append(f"slap {int(slap)}")
        return await self.lay([finger for finger in SLAP_FINGERS[slap] if finger not in missing]).slap(slap, missing)

    async def finger(self, position: FingerPosition) -> Frame:
        self.calls.append(f"finger {int(position)}")
        return await self.lay([position]).finger(position)


class RealExaminer(FakeExaminer):
    """Fingers are extracted and compared as the comparison worker does it."""

    async def finger(self, frame: Frame, position: FingerPosition) -> Examined:
        return examine_finger(frame.pixels, frame.ppi, position)

    async def compare(self, probe: bytes, references: Sequence[bytes]) -> list[ComparisonScore]:
        return compare_templates(probe, references)


@pytest.fixture
async def unit(tmp_path: Path) -> AsyncIterator[Bench]:
    twin = SbiTwin("Finger", sub_kind="Slap", issuer=Issuer("Test", SystemClock()))
    (tmp_path / "trust.pem").write_bytes(twin.trust_pem)
    table = {"driver": "sbi", "port": twin.port, "trust_file": str(tmp_path / "trust.pem")}
    made = make_bench(tmp_path)
    devices = DeviceBench({"slap": table}, PolicyTable())
    sensors = HandSensors(bench=devices, twin=twin)
    object.__setattr__(made.services, "sensors", sensors)
    object.__setattr__(made.services, "examiner", RealExaminer())
    made.sensors = sensors
    yield made
    await devices.close()
    twin.close()
    made.store.close()


async def test_ten_fingers_of_three_slaps_verify_on_the_same_scanner(unit: Bench) -> None:
    session = await begin(unit)
    await walk(unit, session, until="fingers")
    for _ in range(3):
        await do(session, "capture")
        assert session.problem is None and session.advice is None, (session.problem, session.advice)
    assert session.step == "irises" and set(session.context.fingers()) == set(ALL_FINGERS)
    assert await do(session, "capture") == "verify"
    assert isinstance(unit.sensors, HandSensors)
    unit.sensors.impression = 1
    await do(session, "capture")
    assert await do(session, "capture") == "attest"
    assert unit.sensors.calls[-2:] == ["finger 2", "finger 7"]
    assert all(check.matched for check in session.context.verification)


async def test_a_right_hand_given_as_the_left_one_is_known_by_its_fingers(unit: Bench) -> None:
    session = await begin(unit)
    await walk(unit, session, until="fingers")
    await do(session, "capture")
    sensors = unit.sensors
    assert isinstance(sensors, HandSensors) and sensors.bench is not None and sensors.twin is not None

    async def crossed(slap: SlapPosition, missing: Sequence[FingerPosition]) -> Mapping[FingerPosition, Frame]:
        assert sensors.twin is not None and sensors.bench is not None
        for left, right in zip((10, 9, 8, 7), (5, 4, 3, 2), strict=True):
            shown = SOMEONE.finger(FingerPosition(right), 1, preset=GUIDED)
            sensors.twin.show(FINGER_NAMES[FingerPosition(left)], shown)
        return await sensors.bench.slap(slap, missing)

    sensors.slap = crossed  # type: ignore[method-assign]
    await do(session, "capture")
    assert session.advice is not None and "already" in session.advice.text_en
    assert sum(modality is Modality.FINGER for modality, _ in session.context.taken) == 4
