"""An older certificate renews for nobody: not for a copy of the keys, not for a disk that was restored from an image.

And a power cut at every write of a renewal, with any message lost, never makes a unit look like such a copy.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from contract import topics
from contract.certificates import load_certificate, serial_text
from contract.channel_mqtt_settings import MqttSettings
from contract.commissioning import verify_confirmation, verify_renewal_answer
from contract.commissioning_problems import WORDING, Problem
from contract.credential import Credential
from contract.dispatch import decode, encode
from contract.durable_files import DurableFolder, Observer, unobserved
from contract.seal import load_statement_public_key
from contract.technician import StatusOrder, StatusResult, UnitOrder, Verb
from contract.unit_alerts import UnitAlert
from edge.standing import give_up
from hub import alarms, certificates, history
from hub.certificates import moment
from hub.schema.commissioning_tables import Alarm, UnitHistory
from tests.commissioning.desk_world import DAY_MS, DeskWorld
from tests.commissioning.stage import UNIT


@pytest.fixture
def world(tmp_path: Path) -> DeskWorld:
    return DeskWorld(tmp_path)


class Cut(Exception):
    """The power is gone."""


class Line:
    """A unit on its line: what it does at each connect, and at the renewal door, as edge.standing wires it.

    lose: which of the hub's answers are lost on their way, counted from 1.
    """

    def __init__(self, world: DeskWorld, folder: Path, observe: Observer = unobserved, lose: int = 0) -> None:
        self.world, self.folder = world, folder
        self.hub = load_statement_public_key((folder / "hub-statement.pub").read_bytes())
        files = (folder / "ca.crt", folder / "tls.crt", folder / "tls.key")
        settings = MqttSettings("127.0.0.1", 1, *files, client_id=UNIT)
        self.credential = Credential(settings, world.clock, DurableFolder(folder, observe))
        self.said = 0
        self.lose = lose
        self.refusals: list[Problem] = []

    def heard(self, answer: bytes) -> bytes:
        self.said += 1
        if self.said == self.lose:
            raise Cut
        return answer

    def turn(self) -> None:
        """One attempt to be on the line, and what follows of it."""
        if self.is_let_in():
            self.credential.note_connected()
            self.speak()
        else:
            self.credential.note_lost()
            self.ask()

    def is_let_in(self) -> bool:
        """Whether the broker takes the certificate that is tried now."""
        held, _ = self.credential.present()
        now = moment(self.world.clock.wall_ms())
        with self.world.database.reading() as session:
            listed = {line.serial for line in certificates.revoked(session, self.world.clock.wall_ms())}
        return held.not_valid_before_utc <= now < held.not_valid_after_utc and held.serial_number not in listed

    def speak(self) -> None:
        (said,) = self.world.deliver(topics.UP_BIRTH.at(unit=UNIT), self.credential.birth("S-1", "test"))
        confirmed = verify_confirmation(self.heard(said.payload), self.hub, UNIT)
        if confirmed.problem is not None:
            self.ask()
            return
        self.credential.take_over(confirmed.certificate)
        if self.credential.is_due and not self.credential.is_tried:
            self.ask()

    def ask(self) -> None:
        asked = self.credential.request()
        answer = verify_renewal_answer(
            self.heard(self.world.desks.commissioning.renew(encode(asked))), self.hub, asked.request
        )
        if answer.problem is not None:
            self.refusals.append(answer.problem)
            give_up(self.credential, asked)
        else:
            self.credential.keep_next(answer.certificate, answer.issuing)

    def present(self) -> str:
        return serial_text(load_certificate((self.folder / "tls.crt").read_bytes()))

    def settle(self) -> None:
        for _ in range(6):
            self.turn()


def alarmed(world: DeskWorld) -> list[str]:
    with world.database.reading() as session:
        return list(session.scalars(select(Alarm.kind).where(Alarm.unit == UNIT)))


def unit_folder(world: DeskWorld) -> Path:
    return world.folder / "units" / UNIT


def image(world: DeskWorld, name: str) -> Path:
    """A copy of the unit's disk as it is now."""
    return Path(shutil.copytree(unit_folder(world), world.folder / name))


@pytest.mark.parametrize("days", [1, 15, 40, 100])
def test_a_copy_of_last_months_keys_never_comes_back_as_the_unit(world: DeskWorld, days: int) -> None:
    """Whether the newer certificate is in use or has ended unrenewed: nobody revoked anything."""
    stolen = image(world, "stolen")
    world.clock.now_ms += 21 * DAY_MS
    unit = Line(world, unit_folder(world))
    unit.settle()
    newest = unit.present()
    world.clock.now_ms += days * DAY_MS
    copy = Line(world, stolen)
    copy.settle()
    assert copy.refusals and set(copy.refusals) == {Problem.CERTIFICATE_SUPERSEDED}
    assert (world.certificates(UNIT), unit.present()) == (["ACTIVE", "SUPERSEDED"], newest)
    assert alarmed(world) == [UnitAlert.CERTIFICATE_COPIED]
    unit.settle()  # the unit itself goes on, also from an ended certificate
    assert world.certificates(UNIT).count("ACTIVE") == 1 and not unit.refusals


def test_the_centre_sees_the_copy_until_an_officer_has_dealt_with_it_and_what_to_do(world: DeskWorld) -> None:
    stolen = image(world, "stolen")
    world.clock.now_ms += 21 * DAY_MS
    Line(world, unit_folder(world)).settle()
    for hours in (0, 3, 30):
        world.clock.now_ms += hours * DAY_MS // 24
        Line(world, stolen).ask()
    (row,) = decode_status(world).rows
    assert row.alerts[0] is UnitAlert.CERTIFICATE_COPIED and row.alerts[0].grave
    with world.database.transaction() as session:
        (alarm,) = session.scalars(select(Alarm)).all()
        assert alarm.source == serial_text(load_certificate((stolen / "tls.crt").read_bytes()))
        alarms.note_seen(session, UNIT, alarm.alarm_id, "adm-1", world.clock.wall_ms())
        assert history.verify(session, UnitHistory)
    assert UnitAlert.CERTIFICATE_COPIED not in decode_status(world).rows[0].alerts
    world.clock.now_ms += 2 * DAY_MS
    Line(world, stolen).ask()
    assert UnitAlert.CERTIFICATE_COPIED in decode_status(world).rows[0].alerts
    words = WORDING[Problem.CERTIFICATE_SUPERSEDED]
    for text in (words.do_id, words.do_en):
        assert "rekam-provision revoke" in text and "rekam-edge recommission" in text


def decode_status(world: DeskWorld) -> StatusResult:
    return decode(StatusResult, world.order(Verb.STATUS, StatusOrder(unit=UNIT)).body)


def test_an_image_from_the_middle_of_a_renewal_is_an_old_copy_too(world: DeskWorld) -> None:
    world.clock.now_ms += 21 * DAY_MS
    unit = Line(world, unit_folder(world))
    unit.speak()
    middle = image(world, "middle")  # holds the next certificate, unused
    unit.settle()
    world.clock.now_ms += 21 * DAY_MS
    unit.settle()
    copy = Line(world, middle)
    copy.settle()
    assert set(copy.refusals) == {Problem.CERTIFICATE_SUPERSEDED} and not (middle / "tls.next.pem").exists()
    assert unit.is_let_in() and alarmed(world) == [UnitAlert.CERTIFICATE_COPIED]


def test_two_copies_that_renew_at_once_raise_the_alarm_and_one_of_them_stays_in(world: DeskWorld) -> None:
    twin = image(world, "twin")
    world.clock.now_ms += 21 * DAY_MS
    first, second = Line(world, unit_folder(world)), Line(world, twin)
    first.ask()
    assert not alarmed(world)
    second.ask()
    assert alarmed(world) == [UnitAlert.CERTIFICATE_COPIED]
    second.settle()
    first.settle()
    assert world.certificates(UNIT).count("ACTIVE") == 1 and second.is_let_in() and not first.is_let_in()


def test_a_certificate_that_was_promised_and_taken_back_renews_nobody(world: DeskWorld) -> None:
    """It was granted and never used when the technician gave the name to another box."""
    world.clock.now_ms += 21 * DAY_MS
    unit = Line(world, unit_folder(world))
    unit.ask()
    with world.database.transaction() as session:
        certificates.drop_pending(session, UNIT, world.clock.wall_ms())
    dropped = unit.credential.request()
    answer = verify_renewal_answer(world.desks.commissioning.renew(encode(dropped)), unit.hub, dropped.request)
    assert answer.problem is Problem.CERTIFICATE_SUPERSEDED


def test_after_a_restored_backup_the_older_certificate_renews_nobody_either(world: DeskWorld) -> None:
    """The book has forgotten that it was followed; the list that the broker holds has not."""
    stolen, unit = image(world, "stolen"), Line(world, unit_folder(world))
    world.database.engine.dispose()
    backup = Path(shutil.copy(world.folder / "hub/hub.db", world.folder / "backup.db"))
    world.clock.now_ms += 21 * DAY_MS
    unit.settle()
    with world.database.transaction() as session:
        held = world.desks.authority.revocation_list(session).encoded
    world.database.engine.dispose()
    for suffix in ("-wal", "-shm"):
        (world.folder / f"hub/hub.db{suffix}").unlink(missing_ok=True)
    shutil.copy(backup, world.folder / "hub/hub.db")
    world.restart()
    with world.database.transaction() as session:
        world.desks.authority.adopt_list(session, held)
        world.desks.authority.revocation_list(session)
    copy = Line(world, stolen)
    assert not copy.is_let_in()
    for days in (0, 40):
        world.clock.now_ms += days * DAY_MS
        copy.settle()
    assert set(copy.refusals) == {Problem.CERTIFICATE_SUPERSEDED} and alarmed(world)
    unit.settle()
    assert unit.is_let_in() and not unit.refusals


def test_revoked_and_commissioned_again_is_the_way_back_and_the_copy_stays_out(world: DeskWorld) -> None:
    stolen = image(world, "stolen")
    world.clock.now_ms += 21 * DAY_MS
    Line(world, unit_folder(world)).settle()
    assert world.order(Verb.REVOKE, UnitOrder(unit=UNIT, reason="its disk was restored")).done
    copy = Line(world, stolen)
    copy.settle()
    assert set(copy.refusals) == {Problem.CERTIFICATE_REVOKED}


def cutting(at: int) -> Observer:
    """Cuts at the given end of a write, counted from 1."""
    passed = 0

    def observe(_name: str, _done: bool) -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            raise Cut

    return observe


@pytest.mark.parametrize("off", [timedelta(0), timedelta(days=12), timedelta(days=75)])
def test_a_cut_at_every_step_of_a_renewal_converges_without_an_alarm(world: DeskWorld, off: timedelta) -> None:
    """Power gone before and after each write, each answer of the hub lost; then off for nothing, days or months."""
    lives = [(cut, 0) for cut in range(1, 13)] + [(0, lost) for lost in range(1, 4)]
    for cut, lost in lives:
        before = Line(world, unit_folder(world)).present()
        world.clock.now_ms += 21 * DAY_MS
        unit = Line(world, unit_folder(world), cutting(cut), lost)
        with suppress(Cut):
            unit.turn()
            unit.turn()
        world.clock.now_ms += int(off / timedelta(milliseconds=1))
        again = Line(world, unit_folder(world))
        for _ in range(2):  # the line fails as well: then the certificate before the next one has its turn first
            again.credential.note_lost()
        again.settle()
        case = f"cut {cut}, lost {lost}"
        assert again.present() != before and again.is_let_in(), case
        assert world.certificates(UNIT).count("ACTIVE") == 1 and not world.certificates(UNIT).count("PENDING"), case
        assert not again.refusals and not alarmed(world), case
