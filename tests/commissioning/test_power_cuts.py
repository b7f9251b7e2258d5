"""Power cuts at every step of commissioning, on the box and at the hub: always one active certificate in the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.certificates import new_key, serial_text
from contract.configuration import SelftestRow
from contract.durable_files import Observer, unobserved
from edge.box import Box, Saying
from edge.box_files import Phase
from hub import certificates
from hub.schema.commissioning_tables import ClaimRow
from tests.commissioning.desk_world import DeskWorld, hear, make_box

ROUNDS_MAX = 30
ROWS = (SelftestRow(kind="finger", driver="zfm", passed=True),)


class PowerCut(BaseException):
    """The plug is pulled: nothing above may catch this."""


class Cutter:
    """Cuts the power at the n-th point that it passes, once."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.passed = 0
        self.places: list[str] = []

    def __call__(self, name: str, done: bool) -> None:
        self.passed += 1
        self.places.append(f"{'after' if done else 'before'} {name}")
        if self.passed == self.at:
            raise PowerCut


@dataclass
class Walk:
    """One box on its way to be one unit."""

    world: DeskWorld
    folder: Path
    unit: str

    def box(self, observe: Observer = unobserved) -> Box:
        """The box after power comes: it knows only its disk."""
        return make_box(self.world, self.folder, serial=f"S-{self.unit}", observe=observe)

    def survive(self, at: int, *, hub_falls: bool) -> Cutter:
        """Commission it while the power (and the hub's, with it) is cut at point `at`; returns what was passed."""
        self.world.clock.now_ms += 1  # so that this box's knock is the newest, on the first page
        cutter, claim = Cutter(at), self.world.claim()
        try:
            self.live(self.box(cutter), claim, cutter)
        except PowerCut:
            if hub_falls:
                self.world.restart()
            self.live(self.box(), claim, unobserved)
        return cutter

    def live(self, box: Box, claim: bytes, passing: Observer) -> None:
        """One life of a box: from whatever its disk says until it is commissioned, or the power goes."""
        box.take_claim(claim)
        for _ in range(ROUNDS_MAX):
            if box.phase is Phase.CONFIRMED:
                assert box.hear_desired(self.world.desired(self.unit)) is not None and box.note_selftest(ROWS)
                self.report(box, passing)
                box.files.finish()
            if box.phase is Phase.COMMISSIONED:
                self.report(box, passing)  # as the agent does at every connect
                return
            saying = box.say()
            assert saying is not None
            self.exchange(box, saying, passing)
            if not self.world.state(self.unit) and any(r.fingerprint == box.code for r in self.world.knocks().rows):
                assert self.world.approve(box, self.unit).done
        raise AssertionError(f"it never ended: {box.phase}, {box.problem}")

    def report(self, box: Box, passing: Observer) -> None:
        for saying in box.reports():
            self.exchange(box, saying, passing)

    def exchange(self, box: Box, saying: Saying, passing: Observer) -> None:
        """A message and its answers; cut before the hub heard it, and after the hub committed."""
        passing(f"line {saying.topic}", False)
        answers = self.world.deliver(saying.topic, saying.payload)
        passing(f"line {saying.topic}", True)
        for answer in answers:
            hear(box, answer)

    def check(self, where: str) -> None:
        """One active certificate, the box holds it, the claim is burned, and the unit is in service."""
        states = self.world.certificates(self.unit)
        assert states.count("ACTIVE") == 1 and "PENDING" not in states, (where, states)
        assert self.world.state(self.unit) == "in service", where
        with self.world.database.reading() as session:
            active = certificates.active_of(session, self.unit)
            claim = session.get(ClaimRow, active.nonce) if active else None
        assert active is not None and active.serial == serial_text(self.box().files.certificate()), where
        assert claim is not None and (claim.unit, claim.burned_ms is not None) == (self.unit, True), where


@pytest.mark.timeout(400)
def test_a_power_cut_at_every_step_ends_in_exactly_one_active_certificate(tmp_path: Path) -> None:
    """At every write of the box and at both ends of every message; at each second one the hub falls too."""
    world = DeskWorld(tmp_path / "world")
    places = Walk(world, tmp_path / "whole", "desk-whole").survive(0, hub_falls=False).places
    for wanted in ("claim.bin", "tls.key", "identity.json", "unit.toml", "up/ask", "up/birth", "up/selftest"):
        assert sum(wanted in place for place in places) >= 2, f"the walk misses {wanted}"
    for at, place in enumerate(places, 1):
        walk = Walk(world, tmp_path / f"box{at}", f"desk-{at}")
        walk.survive(at, hub_falls=at % 2 == 0)
        walk.check(place)


def test_the_check_sees_a_second_certificate_and_a_claim_that_is_not_burned(tmp_path: Path) -> None:
    world = DeskWorld(tmp_path / "world")
    walk = Walk(world, tmp_path / "box", "desk-x")
    walk.survive(0, hub_falls=False)
    with world.database.transaction() as session:
        world.desks.authority.issue(session, "desk-x", new_key().public_key(), "")
    with pytest.raises(AssertionError, match="PENDING"):
        walk.check("never")
