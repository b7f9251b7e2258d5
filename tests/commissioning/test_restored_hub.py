"""A hub that begins again from last night's backup, or whose clock jumped: nobody is locked out, nobody comes back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import func, select

from contract.certificates import certificate_key, der, load_certificate, make_request, new_key, private_pem, public_der
from contract.commissioning import Renewal, RenewalAnswer, renewal_text, verify_renewal_answer
from contract.commissioning_problems import Problem
from contract.configuration import Reported
from contract.credential import FileSigner
from contract.dispatch import encode
from contract.seal import load_statement_public_key
from contract.technician import ConfigureOrder, UnitOrder, Verb
from hub import certificates
from hub.schema.commissioning_tables import RevocationList, UnitSetup
from tests.commissioning.desk_world import DAY_MS, DeskWorld
from tests.commissioning.stage import UNIT


@pytest.fixture
def world(tmp_path: Path) -> DeskWorld:
    return DeskWorld(tmp_path)


class Holder:
    """A unit with its certificate and key, as far as renewing goes."""

    def __init__(self, world: DeskWorld) -> None:
        folder = world.folder / "units" / UNIT
        self.world = world
        self.hub = load_statement_public_key((folder / "hub-statement.pub").read_bytes())
        self.certificate = load_certificate((folder / "tls.crt").read_bytes())
        self.signer = FileSigner((folder / "tls.key").read_bytes())

    def ask(self) -> tuple[RenewalAnswer, FileSigner]:
        key = new_key()
        request, now = der(make_request(UNIT, key)), self.world.clock.wall_ms()
        proof = self.signer.sign(renewal_text(der(self.certificate), request, now))
        renewal = Renewal(certificate=der(self.certificate), request=request, wall_ms=now, proof=proof)
        answer = verify_renewal_answer(self.world.desks.commissioning.renew(encode(renewal)), self.hub, request)
        return answer, FileSigner(private_pem(key))

    def renew(self) -> None:
        """The next certificate, confirmed."""
        answer, self.signer = self.ask()
        assert answer.problem is None
        self.certificate = load_certificate(answer.certificate)
        assert public_der(certificate_key(self.certificate)) == self.signer.public()
        with self.world.database.transaction() as session:
            row = certificates.find(session, self.certificate)
            assert row is not None
            certificates.activate(session, row, self.world.clock.wall_ms())


def sign_list(world: DeskWorld) -> bytes:
    with world.database.transaction() as session:
        return world.desks.authority.revocation_list(session).encoded


def back_up(world: DeskWorld) -> Path:
    world.database.engine.dispose()
    return Path(shutil.copy(world.folder / "hub/hub.db", world.folder / "backup.db"))


def restore(world: DeskWorld, backup: Path, broker_list: bytes) -> None:
    """The hub starts on its backup, beside the broker's list of today."""
    world.database.engine.dispose()
    for suffix in ("-wal", "-shm"):
        (world.folder / f"hub/hub.db{suffix}").unlink(missing_ok=True)
    shutil.copy(backup, world.folder / "hub/hub.db")
    world.restart()
    with world.database.transaction() as session:
        world.desks.authority.adopt_list(session, broker_list)


def serials(encoded: bytes) -> set[int]:
    return {entry.serial_number for entry in x509.load_pem_x509_crl(encoded)}


def number(encoded: bytes) -> int:
    return x509.load_pem_x509_crl(encoded).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_unit_that_renewed_after_the_backup_is_taken_up_again(world: DeskWorld) -> None:
    unit = Holder(world)
    backup = back_up(world)
    world.clock.now_ms += 20 * DAY_MS
    unit.renew()
    restore(world, backup, sign_list(world))
    unit.renew()
    assert world.certificates(UNIT) == ["ACTIVE", "SUPERSEDED", "SUPERSEDED"]
    sign_list(world)


def test_a_unit_that_was_revoked_after_the_backup_stays_out(world: DeskWorld) -> None:
    unit = Holder(world)
    first = unit.certificate
    sign_list(world)
    backup = back_up(world)
    world.clock.now_ms += DAY_MS
    assert world.order(Verb.REVOKE, UnitOrder(unit=UNIT, reason="stolen on the road")).done
    held = sign_list(world)
    restore(world, backup, held)
    assert world.certificates(UNIT) == ["REVOKED"]
    assert unit.ask()[0].problem is Problem.CERTIFICATE_REVOKED
    after = sign_list(world)
    assert first.serial_number in serials(after) and number(after) >= number(held)


def test_a_certificate_that_was_issued_and_revoked_after_the_backup_stays_out(world: DeskWorld) -> None:
    unit = Holder(world)
    backup = back_up(world)
    world.clock.now_ms += 20 * DAY_MS
    unit.renew()
    world.clock.now_ms += DAY_MS
    assert world.order(Verb.REVOKE, UnitOrder(unit=UNIT, reason="stolen on the road")).done
    restore(world, backup, sign_list(world))
    assert unit.certificate.serial_number in serials(sign_list(world))
    assert unit.ask()[0].problem is Problem.CERTIFICATE_REVOKED
    world.clock.now_ms += 31 * DAY_MS
    assert unit.certificate.serial_number not in serials(sign_list(world)), "it has ended by itself"


def test_a_list_of_somebody_else_is_not_believed(world: DeskWorld, tmp_path: Path) -> None:
    before = sign_list(world)
    other = DeskWorld(tmp_path / "other")
    other.order(Verb.REVOKE, UnitOrder(unit=UNIT, reason="stolen on the road"))
    for held in (sign_list(other), b"", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", before):
        with world.database.transaction() as session:
            assert world.desks.authority.adopt_list(session, held) == 0
    assert world.certificates(UNIT) == ["ACTIVE"] and sign_list(world) == before


def test_a_clock_that_was_a_year_ahead_leaves_no_list_or_certificate_of_the_future(world: DeskWorld) -> None:
    sign_list(world)
    world.clock.now_ms += 365 * DAY_MS
    sign_list(world)
    assert world.desks.authority.certify_hub()
    world.clock.now_ms -= 365 * DAY_MS
    listed = x509.load_pem_x509_crl(sign_list(world))
    assert listed.last_update_utc.timestamp() * 1000 <= world.clock.now_ms
    assert world.desks.authority.certify_hub()
    held = load_certificate((world.folder / "hub/tls.crt").read_bytes())
    assert held.not_valid_before_utc.timestamp() * 1000 <= world.clock.now_ms


def test_old_lists_do_not_pile_up(world: DeskWorld) -> None:
    last = 0
    for _ in range(30):
        world.clock.now_ms += 4 * DAY_MS
        now = number(sign_list(world))
        assert now > last
        last = now
    with world.database.reading() as session:
        assert (session.scalar(select(func.count()).select_from(RevocationList)) or 0) <= 20


def test_a_hub_from_its_backup_gives_no_number_that_the_unit_has_refused(world: DeskWorld) -> None:
    order = ConfigureOrder(unit=UNIT, tables={"policy": {"operator_verify_fmr": 1e-4}})
    assert world.order(Verb.CONFIGURE, order).done
    said = Reported(version=1, refused_version=2, problem=Problem.CONFIGURATION_UNHEALTHY, at_ms=1)
    with world.database.transaction() as session:
        world.desks.setups.take_reported(session, UNIT, encode(said))
    assert world.order(Verb.CONFIGURE, order).done
    with world.database.reading() as session:
        assert session.get_one(UnitSetup, UNIT).version == 3
