"""What goes wrong between box and service: each has a message that says what to do, at the tool and on the unit."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import select

from contract import topics
from contract.certificates import der, load_certificate, make_request, new_key, public_der
from contract.channel_probe import probe
from contract.commissioning import Answer, CertificateAsk, Knock, binding_text, decode_claim, verify_answer
from contract.commissioning_problems import WORDING, Problem, Refusal
from contract.configuration import Desired
from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.identifiers import uuid7
from contract.seal import load_recipient_key, load_statement_public_key, seal
from contract.technician import ROWS_MAX, Order, StatusOrder, StatusResult, Verb, sign_order, verify_reply
from contract.unit_alerts import UnitAlert
from edge.box import Box
from edge.box_files import Phase
from hub.schema.commissioning_tables import Alarm, ClaimRow, Commissioning
from provisioning.box_commands import knocks_table
from provisioning.technician_identity import load_identity
from tests.commissioning.boxes import make_commissioner, put_claims
from tests.commissioning.desk_world import DAY_MS, HOUR_MS, DeskWorld, SetClock, hear, make_box
from tests.commissioning.stage import LOCAL, TECHNICIAN, UNIT, Stage, make_stage, until

NAME = "desk-b7"


@pytest.fixture
def world(tmp_path: Path) -> DeskWorld:
    return DeskWorld(tmp_path / "world")


def knock(world: DeskWorld, box: Box) -> None:
    saying = box.say()
    assert saying is not None
    for answer in world.deliver(saying.topic, saying.payload):
        hear(box, answer)


def knocking_box(world: DeskWorld, folder: Path, serial: str = "S-1", **claim: object) -> Box:
    box = make_box(world, folder, serial)
    box.take_claim(world.claim(**claim))  # type: ignore[arg-type]
    knock(world, box)
    return box


def problem_of(box: Box) -> Problem | None:
    return box.problem.problem if box.problem is not None else None


def test_a_clock_a_year_behind_is_named_before_anything_is_sent(world: DeskWorld, tmp_path: Path) -> None:
    box = make_box(world, tmp_path / "box", clock=SetClock(datetime(2025, 11, 25, tzinfo=UTC)))
    with pytest.raises(Refusal) as refused:
        box.take_claim(world.claim())
    assert refused.value.problem is Problem.CLOCK_WRONG
    assert "2025-11-25" in refused.value.detail and "2026-11-25" in refused.value.detail
    assert "Setel tanggal" in WORDING[refused.value.problem].do_id


def test_a_clock_a_year_ahead_shows_both_dates_and_a_box_that_knocks_with_it_is_told_so(
    world: DeskWorld, tmp_path: Path
) -> None:
    ahead = SetClock(datetime(2027, 11, 25, tzinfo=UTC))
    with pytest.raises(Refusal) as refused:
        make_box(world, tmp_path / "box", clock=ahead).take_claim(world.claim())
    assert refused.value.problem is Problem.CLAIM_EXPIRED and "2027-11-25" in refused.value.detail
    assert "Periksa jam unit" in WORDING[refused.value.problem].do_id
    for days in (365, -365):
        clock = SetClock()
        box = make_box(world, tmp_path / f"box{days}", f"S{days}", clock=clock)
        box.take_claim(world.claim())
        clock.now_ms += days * DAY_MS
        knock(world, box)
        assert problem_of(box) is Problem.CLOCK_WRONG and box.problem is not None
        assert f"365 days {'ahead' if days > 0 else 'behind'}" in box.problem.detail


def test_a_clock_hours_off_is_told_at_both_ends_and_goes_on_once_it_is_set(world: DeskWorld, tmp_path: Path) -> None:
    clock = SetClock()
    box = make_box(world, tmp_path / "box", clock=clock)
    box.take_claim(world.claim())
    clock.now_ms += 3 * HOUR_MS
    knock(world, box)
    assert (
        problem_of(box) is Problem.CLOCK_WRONG and box.problem is not None and "180 minutes ahead" in box.problem.detail
    )
    (row,) = world.knocks().rows
    assert (row.problem, row.clock_off_ms) == (Problem.CLOCK_WRONG, 3 * HOUR_MS)
    refused = world.approve(box, NAME)
    assert (refused.done, refused.problem) == (False, Problem.CLOCK_WRONG)
    clock.now_ms -= 3 * HOUR_MS
    knock(world, box)
    assert world.approve(box, NAME).done


def test_an_expired_claim_is_refused_by_the_box_and_by_the_hub(world: DeskWorld, tmp_path: Path) -> None:
    late = world.claim(life_h=1)
    box = knocking_box(world, tmp_path / "box", life_h=1)
    world.clock.now_ms += 2 * HOUR_MS
    knock(world, box)
    assert problem_of(box) is Problem.CLAIM_EXPIRED
    with pytest.raises(Refusal, match="72 hours") as refused:
        make_box(world, tmp_path / "other", "S-2").take_claim(late)
    assert "rekam-provision box" in refused.value.next_step
    assert world.state(NAME) == ""


def test_a_claim_lives_72_hours_at_most(world: DeskWorld) -> None:
    claim = decode_claim(world.claim())
    certificate = load_certificate(claim.certificate)
    life = certificate.not_valid_after_utc - datetime.fromtimestamp(claim.made_ms / 1000, UTC)
    assert life <= timedelta(hours=72)


def test_a_second_box_with_the_same_serial_number_is_a_copy_until_somebody_says_otherwise(
    world: DeskWorld, tmp_path: Path
) -> None:
    first = knocking_box(world, tmp_path / "first")
    assert world.approve(first, NAME).done
    second = knocking_box(world, tmp_path / "second")
    assert problem_of(second) is Problem.SERIAL_TAKEN
    refused = world.approve(second, "desk-c1")
    assert (refused.done, refused.problem) == (False, Problem.SERIAL_TAKEN)
    assert "rekam-provision replace" in refused.next_step


def test_a_successor_takes_the_place_and_the_serial_number_of_a_dead_unit(world: DeskWorld, tmp_path: Path) -> None:
    first = knocking_box(world, tmp_path / "first")
    assert world.approve(first, NAME).done
    to_birth(world, first)
    second = knocking_box(world, tmp_path / "second")
    assert world.approve(second, "desk-c1", replaces=NAME).done
    assert world.state(NAME) != "retired"  # not before the successor lives
    to_birth(world, second)
    assert (world.state(NAME), world.state("desk-c1")) == ("retired", "keyed")
    assert world.certificates(NAME) == ["REVOKED"] and world.certificates("desk-c1") == ["ACTIVE"]


def to_birth(world: DeskWorld, box: Box) -> None:
    for _ in range(6):
        if box.phase is Phase.CONFIRMED:
            return
        knock(world, box)
    raise AssertionError(f"not born: {box.phase}, {box.problem}")


def test_two_boxes_with_one_serial_number_are_both_shown_and_the_technician_chooses_by_the_code(
    world: DeskWorld, tmp_path: Path
) -> None:
    first = knocking_box(world, tmp_path / "first")
    second = knocking_box(world, tmp_path / "second")
    knock(world, first)
    rows = world.knocks().rows
    assert {row.fingerprint for row in rows} == {first.code, second.code}
    assert {(row.state, row.problem) for row in rows} == {("waiting", Problem.SERIAL_SHARED)}
    for box, other in ((first, second), (second, first)):
        assert problem_of(box) is Problem.SERIAL_SHARED and box.problem is not None
        assert f"This box shows {box.code}, the other {other.code}" in box.problem.detail
    table = rendered(knocks_table(list(rows)))
    assert first.code in table and second.code in table and "approve only the right one" in table

    assert world.approve(second, NAME).done
    knock(world, first)
    assert problem_of(first) is Problem.SERIAL_TAKEN and first.problem is not None
    assert NAME in first.problem.detail and second.code in first.problem.detail
    refused = world.approve(first, "desk-c1")
    assert (refused.done, refused.problem) == (False, Problem.SERIAL_TAKEN)
    to_birth(world, second)
    assert (world.state(NAME), world.certificates(NAME)) == ("keyed", ["ACTIVE"])


def test_a_wrong_choice_between_two_boxes_is_taken_back_by_approving_the_other(
    world: DeskWorld, tmp_path: Path
) -> None:
    wrong = knocking_box(world, tmp_path / "wrong")
    right = knocking_box(world, tmp_path / "right")
    assert world.approve(wrong, NAME).done
    knock(world, right)
    assert world.approve(right, NAME).done
    knock(world, wrong)
    assert problem_of(wrong) is Problem.SERIAL_TAKEN and not wrong.is_approved
    to_birth(world, right)
    assert world.certificates(NAME) == ["ACTIVE"]
    late = world.approve(wrong, NAME)  # once the other lives it is too late
    assert (late.done, late.problem) == (False, Problem.UNIT_TAKEN)


def test_a_box_whose_double_went_silent_is_alone_again(world: DeskWorld, tmp_path: Path) -> None:
    first = knocking_box(world, tmp_path / "first")
    knocking_box(world, tmp_path / "second")
    world.clock.now_ms += HOUR_MS
    knock(world, first)
    assert problem_of(first) is Problem.NOT_APPROVED


def rendered(table: object) -> str:
    """As a wide terminal shows it, without the breaks."""
    sink = Console(width=400, record=True, file=io.StringIO())
    sink.print(table)
    return sink.export_text()


def test_a_claim_for_another_serial_number_is_refused_by_the_box_and_by_the_hub(
    world: DeskWorld, tmp_path: Path
) -> None:
    claim = world.claim(serial="S-1")
    with pytest.raises(Refusal) as refused:
        make_box(world, tmp_path / "box", "S-2").take_claim(claim)
    assert refused.value.problem is Problem.CLAIM_FOR_OTHER_SERIAL
    thief = make_box(world, tmp_path / "box", "S-1")
    thief.take_claim(claim)
    lying = make_box(world, tmp_path / "box", "S-2")  # it takes the files and tells its own number
    knock(world, lying)
    assert problem_of(lying) is Problem.CLAIM_FOR_OTHER_SERIAL


def test_a_request_for_another_name_or_without_the_challenge_gets_nothing(world: DeskWorld, tmp_path: Path) -> None:
    box = knocking_box(world, tmp_path / "box")
    assert world.approve(box, NAME).done
    knock(world, box)  # approved
    keys, claim = box.files.keys(), box.files.claim()
    answer = box._answer
    assert answer is not None
    digest = world.knocks().rows[0].key_digest
    bound = keys.sign.sign(binding_text(claim.nonce, NAME, answer.challenge, digest))
    wrong = {
        Problem.NAME_DIFFERS: (make_request("hub", keys.tls.key, answer.challenge), bound),
        Problem.PROOF_WRONG: (make_request(NAME, keys.tls.key, bytes(32)), bound),
        Problem.KEYS_CHANGED: (make_request(NAME, new_key(), answer.challenge), bound),
    }
    for problem, (request, binding) in wrong.items():
        assert _asked(world, claim.nonce, der(request), binding).problem is problem
    good = der(make_request(NAME, keys.tls.key, answer.challenge))
    assert _asked(world, claim.nonce, good, keys.tls.sign(b"another text")).problem is Problem.PROOF_WRONG
    assert world.certificates(NAME) == []


def _asked(world: DeskWorld, nonce: str, request: bytes, binding: bytes) -> Answer:
    ask = encode(CertificateAsk(request=request, binding=binding))
    (said,) = world.deliver(topics.CLAIM_ASK.at(nonce=nonce), ask)
    public = load_statement_public_key((world.folder / "units" / UNIT / "hub-statement.pub").read_bytes())
    return verify_answer(said.payload, public, nonce)


def test_a_configuration_for_another_unit_changes_nothing_and_is_reported(world: DeskWorld, tmp_path: Path) -> None:
    box = knocking_box(world, tmp_path / "box")
    assert world.approve(box, NAME).done
    to_birth(world, box)
    assert box.hear_desired(world.desired(NAME)) is not None
    before = box.files.reported()
    other = Desired(unit="desk-z9", site="9901-A", version=7, tables={"policy": {"attempts_max": 9}})
    recipient = load_recipient_key(box.files.keys().opening.public(), NAME)
    assert box.hear_desired(seal(encode(other), world.desks.context.keys.dispatch, [recipient])) is None
    reported = box.files.reported()
    assert problem_of(box) is Problem.CONFIGURATION_FOR_OTHER_UNIT and before is not None and reported is not None
    assert (reported.version, reported.digest, reported.refused_version) == (1, before.digest, 7)


def test_a_configuration_that_the_hub_did_not_sign_is_not_even_looked_at(world: DeskWorld, tmp_path: Path) -> None:
    box = knocking_box(world, tmp_path / "box")
    assert world.approve(box, NAME).done
    to_birth(world, box)
    for payload in (b"", b"\xa0", world.desired(NAME)[:-1]):
        with pytest.raises(RemoteError):
            box.hear_desired(payload)


def test_a_technician_who_works_elsewhere_approves_nothing(world: DeskWorld, tmp_path: Path) -> None:
    box = knocking_box(world, tmp_path / "box")
    refused = world.approve(box, NAME, technician=LOCAL)
    assert (refused.done, refused.problem) == (False, Problem.NO_RIGHTS)
    assert "Ask a technician who has" in refused.next_step


def test_an_order_from_a_laptop_with_a_wrong_clock_is_told_so(world: DeskWorld, tmp_path: Path) -> None:
    box = knocking_box(world, tmp_path / "box")
    ours = world.clock.now_ms
    identity = load_identity(world.folder / "technicians" / TECHNICIAN)
    for off_ms in (-2 * DAY_MS, HOUR_MS):
        order = Order(
            id=uuid7(world.clock), technician=TECHNICIAN, verb=Verb.STATUS, at_ms=ours + off_ms,
            body=encode(StatusOrder()),
        )  # fmt: skip
        (said,) = world.desks.technicians.on_order(TECHNICIAN, order.id, sign_order(order, identity.order))
        assert verify_reply(said.payload, identity.hub, order.id).problem is Problem.ORDER_STALE
    assert problem_of(box) is Problem.NOT_APPROVED


def test_a_replayed_claim_after_the_birth_gets_nothing(world: DeskWorld, tmp_path: Path) -> None:
    claim = world.claim()
    box = make_box(world, tmp_path / "box")
    box.take_claim(claim)
    knock(world, box)
    assert world.approve(box, NAME).done
    to_birth(world, box)
    thief = make_box(world, tmp_path / "thief", "S-1")
    thief.take_claim(claim)
    knock(world, thief)
    knock(world, thief)
    assert problem_of(thief) is Problem.CLAIM_USED
    assert world.certificates(NAME) == ["ACTIVE"]
    with world.database.reading() as session:
        (alarm,) = session.scalars(select(Alarm).where(Alarm.unit == NAME))  # once, however often it knocks
    assert alarm.kind == UnitAlert.CLAIM_COPIED and "S-1" in alarm.detail
    (row,) = decode(StatusResult, world.order(Verb.STATUS, StatusOrder(unit=NAME)).body).rows
    assert row.alerts[0] is UnitAlert.CLAIM_COPIED


# --- the line, against a real broker ---


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


def test_the_probe_names_what_keeps_a_unit_from_the_broker(stage: Stage, tmp_path: Path) -> None:
    settings = stage.unit_settings()
    refused = probe(settings)
    assert refused is not None and refused.problem is Problem.BROKER_UNREACHABLE
    with stage.broker:
        assert probe(settings) is None
        claims_door = probe(replace(settings, port=stage.ports[1]))
        assert claims_door is not None and claims_door.problem is Problem.BROKER_REFUSES
        other = make_stage(tmp_path / "other")
        stranger = probe(replace(settings, ca=other.folder / "ca" / "ca.crt"))
        assert stranger is not None and stranger.problem is Problem.BROKER_UNKNOWN


def test_a_clock_that_the_brokers_certificate_contradicts_is_named_with_both_dates(tmp_path: Path) -> None:
    """The broker's certificate is of next year: to this unit that is a wrong clock, here or there."""
    stage = make_stage(tmp_path, datetime.now(UTC) + timedelta(days=366))
    with stage.broker:
        settings = stage.unit_settings()
        refused = probe(settings)
    assert refused is not None and refused.problem is Problem.CLOCK_WRONG
    assert f"{datetime.now(UTC):%Y-%m-%d}" in refused.detail and "broker's certificate is for" in refused.detail


async def test_a_box_shows_a_broker_that_is_not_there_and_goes_on_when_it_is(stage: Stage, tmp_path: Path) -> None:
    box = make_commissioner(tmp_path / "box", "S-1", tmp_path / "media")
    with stage.broker:
        async with stage.hub(), stage.line() as line:
            await put_claims(line, [tmp_path / "media"])
            running = asyncio.create_task(box.run())
            await until(lambda: box.problem is not None and box.problem.problem is Problem.NOT_APPROVED)
            stage.broker.kill()
            await until(lambda: box.problem is not None and box.problem.problem is Problem.BROKER_UNREACHABLE)
            stage.broker.start()
            await until(lambda: box.problem is not None and box.problem.problem is Problem.NOT_APPROVED)
            running.cancel()


def test_fifty_boxes_with_the_longest_words_do_not_hide_who_knocks(world: DeskWorld) -> None:
    """A reply has a limit; a page that outgrew it would leave every technician without an answer."""
    key = public_der(new_key().public_key())
    knock = Knock(
        serial="S" * 64, model="語" * 200, software="語" * 200, tls_key=key, sign_key=key, open_key=key,
        key_home="tls=software sign=software", wall_ms=world.clock.wall_ms(),
    )  # fmt: skip
    with world.database.transaction() as session:
        for number in range(ROWS_MAX):
            nonce = f"c-{number:062d}"
            session.add(
                ClaimRow(
                    nonce=nonce, serial="", made_by=TECHNICIAN, made_ms=0, expires_ms=world.clock.wall_ms() + DAY_MS
                )
            )
            session.flush()
            session.add(
                Commissioning(
                    nonce=nonce, serial=knock.serial, key_digest=knock.digest(), knock=encode(knock),
                    knocked_ms=world.clock.wall_ms(), clock_off_ms=0, challenge=b"",
                )
            )  # fmt: skip
    assert len(world.knocks().rows) == ROWS_MAX
