"""Who was shut out stays out: old certificates, old approvals, names that two boxes were promised."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from contract.certificates import certificate_key, der, load_certificate, make_request, new_key, public_der
from contract.commissioning import Renewal, RenewalAnswer, renewal_text, verify_renewal_answer
from contract.commissioning_problems import Problem
from contract.credential import FileSigner
from contract.dispatch import encode
from contract.errors import DeviceError
from contract.seal import load_statement_public_key
from contract.technician import ReplaceOrder, UnitOrder, Verb
from edge.box import Box
from edge.box_files import TLS_KEY, Phase
from edge.data_lock import only_agent
from edge.recommission import recommission
from hub import certificates
from tests.commissioning.desk_world import DAY_MS, DeskWorld, hear, make_box
from tests.commissioning.stage import LOCAL, SITE, UNIT

NAME = "desk-b1"


@pytest.fixture
def world(tmp_path: Path) -> DeskWorld:
    return DeskWorld(tmp_path)


def speak(world: DeskWorld, box: Box, times: int = 1) -> None:
    """The box says what it has to say, and hears the answers."""
    for _ in range(times):
        if (saying := box.say()) is not None:
            for said in world.deliver(saying.topic, saying.payload):
                hear(box, said)


def approved_box(world: DeskWorld, folder: Path, name: str = NAME, serial: str = "S-1") -> Box:
    box = make_box(world, folder, serial)
    box.take_claim(world.claim())
    speak(world, box)
    reply = world.approve(box, name)
    assert reply.done, reply
    return box


def born_box(world: DeskWorld, folder: Path, name: str = NAME, serial: str = "S-1") -> Box:
    box = approved_box(world, folder, name, serial)
    speak(world, box, 4)
    assert box.phase is Phase.CONFIRMED, box.problem
    return box


def renewed(world: DeskWorld, certificate: bytes, signer: FileSigner) -> RenewalAnswer:
    """The hub's answer to a renewal that this certificate asks for with its own key."""
    request, now = der(make_request(NAME, new_key())), world.clock.wall_ms()
    proof = signer.sign(renewal_text(certificate, request, now))
    renewal = Renewal(certificate=certificate, request=request, wall_ms=now, proof=proof)
    public = load_statement_public_key((world.folder / "units" / UNIT / "hub-statement.pub").read_bytes())
    return verify_renewal_answer(world.desks.commissioning.renew(encode(renewal)), public, renewal.request)


def test_a_certificate_that_was_followed_by_a_revoked_one_brings_nobody_back(world: DeskWorld, tmp_path: Path) -> None:
    """A copy of last month's key, or a unit that was cut between two certificates, at the renewal door."""
    box = born_box(world, tmp_path / "box")
    old, signer = der(box.files.certificate()), FileSigner(box.files.kept(TLS_KEY))
    world.clock.now_ms += 20 * DAY_MS
    answer = renewed(world, old, signer)
    assert answer.problem is None
    with world.database.transaction() as session:
        row = certificates.find(session, load_certificate(answer.certificate))
        assert row is not None
        certificates.activate(session, row, world.clock.wall_ms())
    world.clock.now_ms += DAY_MS
    assert world.order(Verb.REVOKE, UnitOrder(unit=NAME, reason="stolen on the road")).done
    for days in (0, 9, 100):
        world.clock.now_ms += days * DAY_MS
        assert renewed(world, old, signer).problem is Problem.CERTIFICATE_REVOKED
    assert world.certificates(NAME) == ["REVOKED", "SUPERSEDED"]


@pytest.mark.parametrize("verb", [Verb.REVOKE, Verb.RETIRE])
def test_an_approved_box_that_is_revoked_before_its_birth_needs_another_approval(
    world: DeskWorld, tmp_path: Path, verb: Verb
) -> None:
    box = approved_box(world, tmp_path / "box")
    speak(world, box, 2)
    assert box.phase is Phase.BORN and world.certificates(NAME) == ["PENDING"]
    assert world.order(verb, UnitOrder(unit=NAME, reason="lost on its way there")).done
    speak(world, box)
    assert box.problem is not None and box.problem.problem is Problem.CERTIFICATE_REVOKED
    again = make_box(world, tmp_path / "box")
    again.files.folder.remove("identity.json")  # whoever has the box makes it ask once more
    speak(world, again, 4)
    assert again.problem is not None and again.problem.problem is Problem.NOT_APPROVED
    assert world.certificates(NAME) == ["REVOKED"]


def test_a_name_is_promised_to_one_box_at_a_time(world: DeskWorld, tmp_path: Path) -> None:
    first = approved_box(world, tmp_path / "first", serial="S-1")
    speak(world, first, 2)
    second = approved_box(world, tmp_path / "second", serial="S-2")
    speak(world, first)
    assert first.problem is not None and first.problem.problem is Problem.CERTIFICATE_REVOKED
    speak(world, second, 4)
    assert second.phase is Phase.CONFIRMED
    assert world.certificates(NAME) == ["ACTIVE", "SUPERSEDED"]


def test_a_box_that_gets_another_name_is_not_born_under_the_first(world: DeskWorld, tmp_path: Path) -> None:
    box = approved_box(world, tmp_path / "box")
    speak(world, box, 2)
    assert world.approve(box, "desk-b2", replaces=NAME).done
    speak(world, box)
    assert world.state(NAME) != "keyed"
    speak(world, box, 6)
    assert (box.phase, box.files.identified().unit) == (Phase.CONFIRMED, "desk-b2")
    assert (world.state(NAME), world.state("desk-b2")) == ("retired", "keyed")


def test_nobody_takes_their_own_place(world: DeskWorld, tmp_path: Path) -> None:
    box = approved_box(world, tmp_path / "box")
    refused = world.approve(box, NAME, replaces=NAME)
    assert not refused.done and "is revoked" in refused.next_step
    refused = world.order(Verb.REPLACE, ReplaceOrder(unit=UNIT, successor=UNIT, reason="mainboard dead"))
    assert not refused.done and world.state(UNIT) == "in service"


def test_a_technician_of_one_site_takes_no_name_of_another(world: DeskWorld, tmp_path: Path) -> None:
    approved_box(world, tmp_path / "first", serial="S-1")
    second = make_box(world, tmp_path / "second", "S-2")
    second.take_claim(world.claim())
    speak(world, second)
    refused = world.approve(second, NAME, technician=LOCAL, site="9902-B")
    assert (refused.done, refused.problem) == (False, Problem.NO_RIGHTS)


def test_a_claim_that_ended_is_not_approved_any_more(world: DeskWorld, tmp_path: Path) -> None:
    box = make_box(world, tmp_path / "box")
    box.take_claim(world.claim(life_h=1))
    speak(world, box)
    world.clock.now_ms += 2 * DAY_MS
    refused = world.approve(box, NAME)
    assert (refused.done, refused.problem) == (False, Problem.CLAIM_EXPIRED)


def test_a_unit_that_was_away_for_half_a_year_is_commissioned_again_under_its_name(
    world: DeskWorld, tmp_path: Path
) -> None:
    box = born_box(world, tmp_path / "box")
    world.clock.now_ms += 230 * DAY_MS
    old, signer = der(box.files.certificate()), FileSigner(box.files.kept(TLS_KEY))
    assert renewed(world, old, signer).problem is Problem.CERTIFICATE_TOO_OLD
    box.take_claim(world.claim())
    speak(world, box)
    assert world.approve(box, NAME, site=SITE).done
    speak(world, box, 4)
    assert box.phase is Phase.CONFIRMED and world.certificates(NAME) == ["ACTIVE", "SUPERSEDED"]
    assert public_der(certificate_key(box.files.certificate())) == FileSigner(box.files.kept(TLS_KEY)).public()


def test_a_revoked_unit_comes_again_by_a_new_claim_with_its_keys_and_data(world: DeskWorld, tmp_path: Path) -> None:
    unit = world.folder / "units" / UNIT
    (unit / "factory.toml").write_text('serial = "S-9"\n')
    (unit / "data").mkdir()
    (unit / "data" / "kept").write_text("a packet")
    (unit / "tls.next.pem").write_bytes(b"of the certificate that was revoked")
    sign = (unit / "sign.key").read_bytes()
    assert world.order(Verb.REVOKE, UnitOrder(unit=UNIT, reason="lost and found")).done
    media = tmp_path / "rekam-claim.bin"
    media.write_bytes(world.claim())
    with only_agent(unit / "data"), pytest.raises(DeviceError, match="Another agent"):
        recommission(unit / "unit.toml", media, world.clock)
    assert (unit / "unit.toml").exists()
    for _ in range(2):  # a cut before its end, and again
        assert recommission(unit / "unit.toml", media, world.clock) == UNIT
        shutil.copy(unit / "unit.before.toml", unit / "unit.toml")
    (unit / "unit.toml").unlink()
    box = make_box(world, unit, "S-9")
    assert box.phase is Phase.KNOCKING
    speak(world, box)
    assert world.approve(box, UNIT).done
    speak(world, box, 4)
    assert box.phase is Phase.CONFIRMED and world.certificates(UNIT) == ["ACTIVE", "REVOKED"]
    assert (unit / "sign.key").read_bytes() == sign and (unit / "data/kept").exists()
    assert not (unit / "tls.next.pem").exists()


def test_a_box_whose_own_claim_cannot_be_read_any_more_takes_another(world: DeskWorld, tmp_path: Path) -> None:
    box = make_box(world, tmp_path / "box")
    box.take_claim(world.claim())
    (tmp_path / "box/claim.bin").write_bytes(b"torn")
    assert box.take_claim(world.claim())
    speak(world, box)
    assert world.approve(box, NAME).done
