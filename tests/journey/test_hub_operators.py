"""Operators at the hub: four eyes, leases that are renewed, rosters that follow, revocation; on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from contract import topics
from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.lifecycle import UnitEvent
from contract.operators import OperatorEntry, Roster, RosterDelta, RosterHeld, SignOnCount, SignOns
from contract.packet import OperatorBody, PacketSample, PinBody, SignOff
from contract.sample import INDEX_FINGERS, Modality
from contract.secret import hash_secret, secret_matches
from edge.matcher_lite import extract
from hub import history, rosters, sign_ons
from hub.console.application import create_application
from hub.schema.operator_tables import OperatorEnrolment, OperatorHistory
from hub.schema.tables import Operator, Packet
from tests.hub_world import (
    ADJUDICATORS,
    DATABASES,
    DAY_MS,
    DESK,
    HANDOVER,
    HEAD,
    OFFICERS,
    OPERATOR,
    SECRET,
    SEED,
    SITE_A,
    SITE_B,
    STATION,
    World,
    biodata,
    build_world,
    enrolment,
    finger_record,
    hub_statement,
    index_fingers,
    opened,
    private_key,
    said,
    state_of,
)
from virtual.people import person

NEW = "op-rina"
PIN = hash_secret("482913", b"salt salt salt s", 2)


@pytest.fixture(params=DATABASES)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    for built in build_world(tmp_path, request.param):
        built.register(biodata(1))
        yield built


class Follower:
    """A unit as far as its roster goes: it has what it heard last, and applies what the broker holds."""

    def __init__(self, world: World, unit: str) -> None:
        self.world, self.unit = world, unit
        self.roster = Roster(version=0, operators=())

    def listen(self) -> Follower:
        """Hear the whole and the delta, as after a connect."""
        whole = decode(Roster, opened(self.world, self.unit, topics.DN_ROSTER))
        self.roster = whole if whole.version > self.roster.version else self.roster
        return self.hear_delta()

    def hear_delta(self) -> Follower:
        if said(self.world, topics.DN_ROSTER_DELTA, unit=self.unit):
            self.roster = decode(RosterDelta, opened(self.world, self.unit, topics.DN_ROSTER_DELTA)).applied_to(
                self.roster
            )
        return self

    def tell(self, *, asks: bool = False, **changes: object) -> None:
        held = RosterHeld(version=self.roster.version, digest=self.roster.digest(), asks=asks).model_copy(
            update=changes
        )
        with self.world.central.context.database.transaction() as session:
            rosters.take_held(session, self.world.central.context, self.unit, encode(held))

    @property
    def names(self) -> set[str]:
        return {entry.operator for entry in self.roster.operators}

    def entry(self, name: str) -> OperatorEntry:
        return next(entry for entry in self.roster.operators if entry.operator == name)


@cache
def fingers_of(index: int) -> tuple[tuple[PacketSample, ...], dict[int, bytes]]:
    """Both index fingers of a synthetic person: images and templates."""
    pixels = {finger: person(SEED, index).finger(finger, 0) for finger in INDEX_FINGERS}
    samples = tuple(
        PacketSample(
            modality=Modality.FINGER, position=finger, record=finger_record(image, finger), quality=60, attempts=1
        )
        for finger, image in pixels.items()
    )  # fmt: skip
    return samples, {int(finger): extract(image).to_iso() for finger, image in pixels.items()}


def body(operator: str = NEW, index: int = 7, signer: str = HEAD, **changes: object) -> OperatorBody:
    """A synthetic person taken as an operator, signed off by `signer`."""
    samples, templates = fingers_of(index)
    fields: dict[str, object] = {
        "operator": operator, "name": "Rina Contoh", "roles": ("operator",), "pin": PIN, "fingers": samples,
        "templates": templates,
    }  # fmt: skip
    made = OperatorBody.model_validate(fields | changes)
    return made.model_copy(update={"signoff": word(made.digest(), signer)})


def word(digest: bytes, signer: str) -> SignOff:
    signature = private_key(signer).sign(digest, ec.ECDSA(SHA256()))
    return SignOff(operator=signer, position=2, value=70.0, signature=signature)


def approve(
    world: World, enrolment_id: str, by: str, roles: list[str] | None = None, sites: tuple[str, ...] = (SITE_A,)
) -> Operator:
    with world.central.context.database.transaction() as session:
        return world.central.operators.approve(session, enrolment_id, by, roles or ["operator"], sites)


def revoke(world: World, operator: str, by: str = OFFICERS[0]) -> None:
    with world.central.context.database.transaction() as session:
        world.central.operators.revoke(session, operator, by, "dismissed today")


def events(world: World, operator: str) -> list[tuple[str, str]]:
    with world.central.context.database.reading() as session:
        assert history.verify(session, OperatorHistory) > 0
        return [(link.event, link.actor) for link in history.way_of(session, OperatorHistory, operator)]


def quarantined(world: World) -> list[str]:
    with world.central.context.database.reading() as session:
        return list(session.scalars(select(Packet.quarantine).where(Packet.quarantine != "")))


def test_nobody_works_before_a_second_officer_has_said_yes(world: World) -> None:
    desk, station = Follower(world, DESK).listen(), Follower(world, STATION).listen()
    enrolled = world.send(DESK, body())
    assert NEW not in desk.listen().names
    with pytest.raises(RemoteError, match="whom they enrolled"):
        approve(world, enrolled, HEAD)
    with pytest.raises(RemoteError, match="may not act"):
        approve(world, enrolled, OPERATOR)
    approve(world, enrolled, OFFICERS[0])
    assert NEW in desk.listen().names and NEW not in station.listen().names
    entry = desk.entry(NEW)
    lease = entry.rights(hub_statement(), SITE_A)
    assert lease.until_ms == world.clock.wall_ms() + 7 * DAY_MS and lease.roles == ("operator",)
    assert secret_matches("482913", entry.pin) and sorted(entry.templates) == [2, 7]
    with pytest.raises(RemoteError, match="other sites"):
        entry.rights(hub_statement(), SITE_B)
    assert events(world, NEW) == [("enrolled", HEAD), ("approved", OFFICERS[0]), ("lease signed", "hub")]
    with pytest.raises(RemoteError, match="no such open"):
        approve(world, enrolled, OFFICERS[1])


def test_the_database_itself_refuses_the_enrolling_officers_own_approval(world: World) -> None:
    enrolled = world.send(DESK, body())
    with pytest.raises(IntegrityError), world.central.context.database.transaction() as session:
        session.get_one(OperatorEnrolment, enrolled).decided_by = HEAD
    with pytest.raises(IntegrityError), world.central.context.database.transaction() as session:
        session.get_one(OperatorEnrolment, enrolled).decided_by = NEW


def test_a_refused_enrolment_gives_nothing_and_says_why(world: World) -> None:
    enrolled = world.send(DESK, body())
    with world.central.context.database.transaction() as session:
        with pytest.raises(RemoteError, match="needs a reason"):
            world.central.operators.refuse(session, enrolled, OFFICERS[0], " no ")
        world.central.operators.refuse(session, enrolled, OFFICERS[0], "no diploma on file")
    assert NEW not in Follower(world, DESK).listen().names
    assert events(world, NEW)[-1] == ("refused", OFFICERS[0])


def test_rights_are_given_only_by_those_who_may_give_them(world: World) -> None:
    enrolled = world.send(DESK, body())
    for roles, sites in (
        (["adjudicator"], (SITE_A,)),
        (["operator", "operator"], (SITE_A,)),
        (["operator"], ("9999-X",)),
    ):
        with pytest.raises(RemoteError):
            approve(world, enrolled, OFFICERS[0], roles, sites)
    assert approve(world, enrolled, OFFICERS[0], ["operator", "section-head"]).roles == "operator,section-head"


def test_what_nobody_with_the_right_signed_is_quarantined_and_kept(world: World) -> None:
    world.send(DESK, body(signer=OPERATOR))
    world.send(DESK, body().model_copy(update={"signoff": None}))
    world.send(DESK, body().model_copy(update={"name": "Somebody Else"}))
    world.send(DESK, body(templates={2: b"FMR nothing", 7: b"FMR nothing"}))
    assert len(quarantined(world)) == 4
    assert Follower(world, DESK).listen().names and NEW not in Follower(world, DESK).listen().names


def test_fingers_of_somebody_who_is_an_operator_already_are_shown_to_who_decides(world: World) -> None:
    approve(world, world.send(DESK, body()), OFFICERS[0])
    again = world.send(DESK, body("op-lain"))
    with world.central.context.database.reading() as session:
        assert session.get_one(OperatorEnrolment, again).similar == NEW


def test_an_enrolment_by_an_officer_revoked_since_arrives_with_a_warning(world: World) -> None:
    made = body()
    revoke(world, HEAD)
    enrolled = world.send(DESK, made)
    with world.central.context.database.reading() as session:
        assert session.get_one(OperatorEnrolment, enrolled).warning == "revoked"
    assert quarantined(world) == []


def test_the_same_enrolment_twice_is_one(world: World) -> None:
    made, event = body(), world.new_id()
    world.send(DESK, made, event)
    world.send(DESK, made, event)
    with world.central.context.database.reading() as session:
        assert len(session.scalars(select(OperatorEnrolment)).all()) == 1


def test_taken_anew_keeps_the_key_and_setup_does_not_undo_it(world: World) -> None:
    before = Follower(world, DESK).listen().entry(OPERATOR)
    approve(world, world.send(DESK, body(OPERATOR)), OFFICERS[0])
    world.register(biodata(1))  # the hub starts again and merges its files
    after = Follower(world, DESK).listen().entry(OPERATOR)
    assert after.public_key == before.public_key and after.templates and after.templates != before.templates


def test_a_revoked_operator_leaves_every_roster_and_comes_back_by_two(world: World) -> None:
    units = [Follower(world, unit).listen() for unit in (DESK, HANDOVER, STATION)]
    assert all(OPERATOR in unit.names for unit in units)
    with pytest.raises(RemoteError, match="themselves"):
        revoke(world, OFFICERS[0])
    revoke(world, OPERATOR)
    assert not any(OPERATOR in unit.hear_delta().names for unit in units)
    central = world.central
    with central.context.database.transaction() as session:
        made = central.proposals.propose(session, "reinstatement", OPERATOR, "was a mistake", OFFICERS[0])
    with central.context.database.transaction() as session, pytest.raises(RemoteError, match="what they proposed"):
        central.proposals.decide(session, made.id, OFFICERS[0], confirm=True)
    assert OPERATOR not in units[0].listen().names
    with central.context.database.transaction() as session:
        central.proposals.decide(session, made.id, OFFICERS[1], confirm=True)
    assert all(OPERATOR in unit.hear_delta().names for unit in units)
    assert events(world, OPERATOR)[-3:] == [
        ("revoked", OFFICERS[0]), ("reinstated", f"{OFFICERS[0]}+{OFFICERS[1]}"), ("lease signed", "hub"),
    ]  # fmt: skip


def test_a_capture_signed_by_somebody_revoked_since_goes_before_adjudicators(world: World) -> None:
    revoke(world, OPERATOR)
    capture_id = world.send(DESK, enrolment(biodata(1), index_fingers(1)))
    assert state_of(world, capture_id) == "ADJUDICATE_RECORD"


def test_a_unit_that_missed_deltas_needs_only_the_newest(world: World) -> None:
    away = Follower(world, DESK).listen()
    sometimes = Follower(world, DESK).listen()
    approve(world, world.send(DESK, body()), OFFICERS[0])
    sometimes.hear_delta()
    for operator in (NEW, OPERATOR):
        revoke(world, operator)
    assert away.hear_delta().roster == sometimes.hear_delta().roster == Follower(world, DESK).listen().roster
    assert away.hear_delta().roster is away.roster  # twice is once
    assert not {NEW, OPERATOR} & away.names


def test_a_unit_whose_roster_does_not_fit_asks_for_the_whole(world: World) -> None:
    unit = Follower(world, DESK).listen()
    revoke(world, OPERATOR)
    unit.roster = unit.roster.model_copy(update={"operators": unit.roster.operators[1:]})
    with pytest.raises(RemoteError, match="another roster"):
        unit.hear_delta()
    whole = said(world, topics.DN_ROSTER, unit=DESK)
    unit.tell(asks=True)
    assert said(world, topics.DN_ROSTER, unit=DESK) == whole  # it was said just now
    world.clock.pass_ms(rosters.ASKED_EVERY_MS)
    unit.tell()
    assert said(world, topics.DN_ROSTER, unit=DESK) == whole
    unit.tell(asks=True)
    assert said(world, topics.DN_ROSTER_DELTA, unit=DESK) == b""
    assert unit.listen().names and OPERATOR not in unit.names


def test_where_too_many_change_the_whole_is_said_again(world: World) -> None:
    unit = Follower(world, DESK).listen()
    with world.central.context.database.transaction() as session:
        for operator in session.scalars(select(Operator)):
            operator.name += " BARU"
        rosters.CHANGED_MAX, kept = 1, rosters.CHANGED_MAX
        rosters.say_to_all(session, world.central.context)
        rosters.CHANGED_MAX = kept
    assert said(world, topics.DN_ROSTER_DELTA, unit=DESK) == b""
    assert unit.listen().entry(OPERATOR).name.endswith("BARU")


def test_a_hub_that_runs_for_months_renews_every_lease_in_time(world: World) -> None:
    def renewed() -> int:
        with world.central.context.database.transaction() as session:
            return world.central.operators.renew(session)

    unit = Follower(world, HANDOVER).listen()
    whole = len(said(world, topics.DN_ROSTER, unit=HANDOVER))
    assert renewed() == 0
    with world.central.context.database.transaction() as session:
        world.central.fleet.move_unit(session, DESK, UnitEvent.SUSPENDED, OFFICERS[0], "stolen on the road")
    for day in range(1, 4):
        world.clock.pass_ms(DAY_MS)
        assert (renewed(), renewed()) == (3, 0)
        lease = unit.hear_delta().entry(OPERATOR).rights(hub_statement(), SITE_A)
        assert (lease.until_ms, lease.sequence) == (world.clock.wall_ms() + 30 * DAY_MS, day + 1)
    assert len(said(world, topics.DN_ROSTER_DELTA, unit=HANDOVER)) < whole  # leases alone
    assert said(world, topics.DN_ROSTER, unit=DESK) == said(world, topics.DN_ROSTER_DELTA, unit=DESK) == b""


def test_changed_rights_are_a_new_lease_at_once(world: World) -> None:
    unit = Follower(world, DESK).listen()
    with world.central.context.database.transaction() as session:
        session.get_one(Operator, OPERATOR).sites = SITE_A
        rosters.say_to_all(session, world.central.context)
    assert unit.hear_delta().entry(OPERATOR).rights(hub_statement(), SITE_A).sites == (SITE_A,)
    assert OPERATOR not in Follower(world, STATION).listen().names


def test_a_pin_changed_at_one_unit_is_known_at_the_others(world: World) -> None:
    approve(world, world.send(DESK, body()), OFFICERS[0])
    made = PinBody(operator=OPERATOR, pin=hash_secret("739105", b"salt salt salt s", 2))
    mine = made.model_copy(update={"signoff": word(made.digest(), OPERATOR)})
    world.send(DESK, mine)
    assert secret_matches("739105", Follower(world, HANDOVER).listen().entry(OPERATOR).pin)
    theirs = mine.model_copy(update={"operator": NEW})
    world.send(DESK, theirs.model_copy(update={"signoff": word(theirs.digest(), HEAD)}))
    assert secret_matches("482913", Follower(world, HANDOVER).listen().entry(NEW).pin)
    assert quarantined(world) == ["A PIN was changed by somebody else."]
    assert ("PIN changed", OPERATOR) in events(world, OPERATOR)


def test_failed_sign_ons_are_counted_once_in_the_history(world: World) -> None:
    def say(failed: int, *, locked: bool = False) -> None:
        count = SignOnCount(operator=OPERATOR, last_ms=5, signed_on=2, failed=failed, locked=locked)
        with world.central.context.database.transaction() as session:
            sign_ons.take(session, world.central.context, DESK, encode(SignOns(counts=(count,))))

    for failed in (3, 3, 5):
        say(failed)
    say(5, locked=True)
    say(5)
    with world.central.context.database.reading() as session:
        lines = [
            (link.event, json.loads(link.note).get("count"), link.actor)
            for link in history.way_of(session, OperatorHistory, OPERATOR)[1:]
        ]
    assert lines == [
        ("sign-on failed", 3, DESK), ("sign-on failed", 2, DESK),
        ("PIN locked", None, DESK), ("PIN unlocked", None, DESK),
    ]  # fmt: skip


@pytest.mark.parametrize("garbage", [b"", b"\xa0", b"\x00" * 50, encode(RosterHeld(version=1, digest=bytes(32)))[:-3]])
def test_garbage_from_a_unit_is_refused(world: World, garbage: bytes) -> None:
    context = world.central.context
    for take in (rosters.take_held, sign_ons.take):
        with context.database.transaction() as session, pytest.raises(RemoteError):
            take(session, context, DESK, garbage)


def test_the_consoles_doors_for_operators(world: World) -> None:
    client = TestClient(create_application(world.central))

    def log_in(officer: str) -> None:
        client.post("/api/login", json={"operator": officer, "secret": SECRET})

    assert client.get("/api/operators").status_code == 401
    log_in(OFFICERS[0])
    gone = {"operator": OPERATOR, "revoked": True, "reason": "dismissed today"}
    assert client.post("/api/operators", json=gone).json() == {"operator": OPERATOR, "revoked": True}
    back = client.post("/api/operators", json=gone | {"revoked": False}).json()
    assert client.post(f"/api/proposals/{back['proposal']}/decision", json={"confirm": True}).status_code == 409
    seen = next(row for row in client.get("/api/operators").json()["operators"] if row["id"] == OPERATOR)
    assert seen["state"] == "revoked" and seen["reinstatement"] and DESK in seen["unheard"]
    log_in(OFFICERS[1])
    assert client.post(f"/api/proposals/{back['proposal']}/decision", json={"confirm": True}).json()["confirmed"]
    enrolled = world.send(DESK, body())
    grant = {"roles": ["operator"], "sites": [SITE_A]}
    for path, form in (
        (f"/api/enrolments/{enrolled}/approval", {}),
        (f"/api/enrolments/{enrolled}/approval", grant | {"roles": ["king"]}),
        (f"/api/enrolments/{enrolled}/approval", grant | {"sites": ["../x"]}),
        (f"/api/enrolments/{enrolled}/refusal", {"reason": ""}),
        ("/api/enrolments/1/approval", grant),
        ("/api/operators", {"operator": OPERATOR}),
    ):
        assert client.post(path, json=form).status_code == 422, path
    log_in(ADJUDICATORS[0])
    assert client.post(f"/api/enrolments/{enrolled}/approval", json=grant).status_code == 409
    log_in(OFFICERS[1])
    assert client.post(f"/api/enrolments/{enrolled}/approval", json=grant).json()["roles"] == ["operator"]
    assert "private" not in client.get("/api/operators").text and "scrypt" not in client.get("/api/operators").text
