"""A hub's desks with an office's releases and a few units: what the tests of the hub's side of updates stand on."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from contract.dispatch import decode, encode
from contract.lifecycle import UnitState as UnitLife
from contract.packet import Model
from contract.rollouts import (
    RolloutAction,
    RolloutOrder,
    RolloutRow,
    RolloutsOrder,
    RolloutsResult,
    RolloutUnitRow,
    UpdateOrder,
    Wave,
)
from contract.seal import load_opening_key, load_public_key, open_sealed
from contract.technician import Reply, Verb
from contract.topics import DN_UPDATE
from contract.transfer import UnitState
from contract.updates import MESSAGE_BYTES_MAX, Running, UpdateJob, UpdateReport
from contract.updates import UpdateState as Said
from hub import outbox, presence
from hub.schema.tables import Outbox, Unit
from hub.update_desk import UpdateDesk
from hub.update_media import Taken, begin_updates, take_release
from hub.update_repository import UpdateRepository
from tests.commissioning.desk_world import DeskWorld
from tests.commissioning.stage import OTHER_SITE, SITE, TECHNICIAN
from tests.hub_world import private_key, private_pem, public_bytes
from tests.updates.office import Office

OLD = Running(version="0.6.0", number=0, slot="a", floor=0)


def running(number: int, version: str = "0.7.0") -> Running:
    return Running(version=version, number=number, slot="b", floor=0)


class UpdateStage:
    """The office, the hub, and units u-01 …, half of them at each site."""

    def __init__(self, folder: Path, database: str = "sqlite", units: int = 4) -> None:
        self.office = Office(folder)
        self.world = DeskWorld(folder / "hub", database)
        self.clock = self.world.clock
        self.repository = UpdateRepository(self.world.desks.context)
        self.desk = UpdateDesk(self.world.desks.context, self.repository)
        self.units = [f"u-{number:02}" for number in range(1, units + 1)]
        with self.world.database.transaction() as session:
            for number, name in enumerate(self.units):
                pem = public_bytes(name, Encoding.PEM).decode()
                site = (SITE, OTHER_SITE)[number % 2]
                session.add(
                    Unit(id=name, site=site, role="desk", state=UnitLife.IN_SERVICE, sign_public_pem=pem,
                         open_public_pem=pem)
                )  # fmt: skip
        for name in self.units:
            self.is_present(name)

    def begin(self) -> Taken:
        """Give the hub its keys."""
        return begin_updates(self.world.settings, self.world.database, self.office.folder, self.clock)

    def take(self, media: Path) -> Taken:
        """Take what media hold."""
        return take_release(self.world.settings, self.world.database, media, self.clock)

    def is_present(self, unit: str, state: str = "online") -> None:
        """A unit comes or goes."""
        said = UnitState.model_validate(
            {"state": state, "boot": 1, "software": "rekam", "sequence": self.clock.now_ms % 2**40, "time_ms": 1}
        )
        with self.world.database.transaction() as session:
            presence.take_state(session, unit, encode(said), self.clock.wall_ms())

    def lives(self, unit: str, state: UnitLife) -> None:
        """A unit is suspended, resumed or retired."""
        with self.world.database.transaction() as session:
            session.get_one(Unit, unit).state = state

    def order(self, verb: Verb, body: Model, technician: str = TECHNICIAN) -> Reply:
        """A technician's order."""
        return self.world.order(verb, body, technician)

    def update(
        self, release: str, *waves: int | tuple[str, ...], technician: str = TECHNICIAN, **fields: object
    ) -> Reply:
        """Order an update of every unit but the one that setup made, which nobody plays here."""
        self.clock.now_ms += 1
        order = UpdateOrder(
            release=release,
            units=tuple(fields.pop("units", self.units)),  # type: ignore[arg-type]  # names
            waves=tuple(Wave(percent=w) if isinstance(w, int) else Wave(names=w) for w in waves or (100,)),
            soak_s=60,
            good_percent=90,
            stop_percent=5,
            overdue_s=3600,
        )
        return self.order(Verb.UPDATE, order.model_copy(update=fields), technician)

    def steer(self, action: RolloutAction, technician: str = TECHNICIAN, reason: str = "as the test wants") -> Reply:
        """Pause, resume or cancel the newest rollout."""
        order = RolloutOrder(rollout=self.rollout().id, action=action, reason=reason)
        return self.order(Verb.ROLLOUT, order, technician)

    def shown(self, rollout: str = "newest") -> RolloutsResult:
        """What the tool shows of a rollout."""
        return decode(RolloutsResult, self.order(Verb.ROLLOUTS, RolloutsOrder(rollout=rollout)).body)

    def rollout(self) -> RolloutRow:
        """The newest rollout."""
        return self.shown().rows[0]

    def unit(self, name: str) -> RolloutUnitRow:
        """A unit in the newest rollout."""
        return next(row for row in self.shown().units if row.unit == name)

    def steps(self) -> dict[str, str]:
        """How far each unit of the newest rollout has come."""
        return {row.unit: row.step for row in self.shown().units}

    def job(self, unit: str) -> UpdateJob | None:
        """The job that the broker holds for a unit, as the unit opens it."""
        with self.world.database.reading() as session:
            row = session.scalars(select(Outbox).where(Outbox.topic == DN_UPDATE.at(unit=unit))).first()
        if row is None or not row.payload:
            return None
        key = load_opening_key(private_pem(private_key(unit)), unit)
        hub = (self.world.folder / "units" / "desk-a1" / "hub-dispatch.pub").read_bytes()
        opened = open_sealed(row.payload, key, lambda name: load_public_key(hub, name) if name == "hub" else None)
        return decode(UpdateJob, opened.payload, MESSAGE_BYTES_MAX)

    def told(self) -> list[str]:
        """Units with a job."""
        return [unit for unit in self.units if self.job(unit) is not None]

    def broker_has_all(self) -> None:
        """What was queued so far is on its way."""
        with self.world.database.transaction() as session:
            outbox.mark_published(session, [message.id for message in outbox.due(session, 1000)], self.clock.wall_ms())

    def due(self) -> list[tuple[str, bytes]]:
        """What is queued about updates, by unit."""
        with self.world.database.reading() as session:
            found = [(DN_UPDATE.parse(message.topic), message.payload) for message in outbox.due(session, 1000)]
        return [(names["unit"], payload) for names, payload in found if names]

    def says(self, unit: str, state: Said | None, runs: Running = OLD, job: str = "", **fields: object) -> None:
        """A unit's report, about the job that it has."""
        found = self.job(unit)
        report = UpdateReport(job=job or (found.job if found else ""), state=state, running=runs, at_ms=1)
        self.desk.on_report(unit, encode(report.model_copy(update=fields)))

    def passes(self, seconds: float) -> None:
        """Time passes, and the hub looks again."""
        self.clock.now_ms += int(seconds * 1000)
        self.desk.advance()
