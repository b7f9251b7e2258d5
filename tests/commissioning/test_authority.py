"""The authority keeps itself, the broker and the list certified through the months, and warns before a lock-out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from contract.certificates import load_certificate, new_key, private_pem
from contract.configuration import SelftestRow
from contract.dispatch import decode
from contract.technician import StatusOrder, StatusResult, Verb
from edge.box_files import Phase
from hub import certificates, history
from hub.schema.commissioning_tables import UnitHistory
from tests.commissioning.desk_world import DAY_MS, HOUR_MS, DeskWorld, hear, make_box
from tests.commissioning.stage import UNIT

NAME = "desk-b7"
DATABASES = ("sqlite", "postgresql")


@pytest.fixture
def world(tmp_path: Path) -> DeskWorld:
    return DeskWorld(tmp_path / "world")


def listed(world: DeskWorld) -> x509.CertificateRevocationList:
    with world.database.transaction() as session:
        return x509.load_pem_x509_crl(world.desks.authority.revocation_list(session).encoded)


def alarm(world: DeskWorld) -> str:
    with world.database.reading() as session:
        return world.desks.authority.alarm(session)


def number(found: x509.CertificateRevocationList) -> int:
    return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_the_list_is_signed_anew_at_half_its_life_and_at_every_revocation(world: DeskWorld) -> None:
    first = number(listed(world))
    world.clock.now_ms += 83 * HOUR_MS  # it lives 168 hours
    assert number(listed(world)) == first
    world.clock.now_ms += 2 * HOUR_MS
    assert number(listed(world)) == first + 1
    with world.database.transaction() as session:
        certificates.revoke(session, UNIT, "stolen", world.clock.now_ms)
    found = listed(world)
    assert number(found) == first + 2 and len(list(found)) == 1
    assert number(listed(world)) == first + 2


def test_a_list_that_nobody_renews_raises_an_alarm_before_it_ends(world: DeskWorld) -> None:
    listed(world)
    assert not alarm(world)
    world.clock.now_ms += 127 * HOUR_MS  # less than a quarter of its life is left, and it was not signed anew
    assert "refuses everybody" in alarm(world)
    status = decode(StatusResult, world.order(Verb.STATUS, StatusOrder()).body)
    assert "refuses everybody" in status.alarm
    listed(world)
    assert not alarm(world)


def test_what_ended_by_itself_leaves_the_list(world: DeskWorld) -> None:
    with world.database.transaction() as session:
        certificates.revoke(session, UNIT, "stolen", world.clock.now_ms)
    assert len(list(listed(world))) == 1
    world.clock.now_ms += 31 * DAY_MS
    assert len(list(listed(world))) == 0


def test_ninety_days_of_hub_and_broker_pass_without_a_gap(world: DeskWorld) -> None:
    authority, broker = world.desks.authority, world.folder / "broker"
    renewed = 0
    for _day in range(90):
        world.clock.now_ms += DAY_MS
        renewed += authority.certify_hub() + authority.certify_broker(broker)
        now = datetime.fromtimestamp(world.clock.now_ms / 1000, UTC)
        for path in (world.folder / "hub" / "tls.crt", broker / "tls.crt"):
            held = load_certificate(path.read_bytes())
            assert held.not_valid_after_utc - now > timedelta(days=9), path
        assert listed(world).next_update_utc > now
    assert renewed == 2 * 4  # every twenty days


def test_a_key_that_does_not_fit_its_certificate_after_a_cut_is_made_again(world: DeskWorld) -> None:
    (world.folder / "broker" / "tls.key").write_bytes(private_pem(new_key()))
    assert world.desks.authority.certify_broker(world.folder / "broker")
    assert not world.desks.authority.certify_broker(world.folder / "broker")


@pytest.mark.parametrize("database", DATABASES)
def test_a_units_whole_life_is_in_its_history_on_either_database(tmp_path: Path, database: str) -> None:
    world = DeskWorld(tmp_path / "world", database)
    box = make_box(world, tmp_path / "box")
    box.take_claim(world.claim())
    for _ in range(6):
        saying = box.say()
        if saying is None:
            break
        for answer in world.deliver(saying.topic, saying.payload):
            hear(box, answer)
        if not world.state(NAME):
            assert world.approve(box, NAME).done
    assert box.phase is Phase.CONFIRMED
    box.hear_desired(world.desired(NAME))
    box.note_selftest([SelftestRow(kind="finger", driver="zfm", passed=True)])
    for saying in box.reports():
        world.deliver(saying.topic, saying.payload)
    with world.database.reading() as session:
        steps = [link.event for link in history.way_of(session, UnitHistory, NAME)]
        assert history.verify(session, UnitHistory) == len(steps)
    assert steps == ["claimed", "key made", "configured", "test passed", "entered service"]
    assert world.certificates(NAME) == ["ACTIVE"]
    world.database.close()
