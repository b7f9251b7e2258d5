"""What units are told of operators: the whole roster once, then one delta that always starts from it (M67).

Both are retained at the broker, so a unit that was away needs neither us nor what it missed: the whole and the newest
delta lead it to now. When too much has changed, or a unit asks, the whole is said again and the delta is cleared. Which
roster a unit holds is what the unit says, so that an officer sees where a revocation has arrived.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import cbor2
from sqlalchemy import select
from sqlalchemy.orm import Session

from contract import topics
from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.operators import (
    HELD_BYTES_MAX,
    OPERATORS_MAX,
    OperatorEntry,
    Roster,
    RosterDelta,
    RosterHeld,
    SignOnPolicy,
)
from contract.pins import PinState
from hub import dispatches, outbox
from hub.context import HubContext
from hub.leases import lease_of, works_at_units
from hub.operator_factors import factors_of
from hub.register import EVERYWHERE
from hub.schema.operator_tables import OperatorLease, UnitRoster
from hub.schema.tables import Operator, Site, Unit

CHANGED_MAX = 16  # in a delta; the whole is said again beyond that
ASKED_EVERY_MS = 10_000
Seen = dict[str, list[str | int]]


def roster_of(session: Session, context: HubContext, unit: Unit, version: int) -> Roster:
    """The operators who may work at this unit, each with the newest lease; as many as a unit takes."""
    site = session.get_one(Site, unit.site)
    here, _ = _fitting(session, unit.site, _working(session))
    entries = sorted((_entry(session, context, who) for who in here), key=lambda entry: entry.operator)
    return Roster(version=version, sign_on=SignOnPolicy(site.sign_on), operators=tuple(entries))


def check_room(session: Session, sites: Iterable[str]) -> None:
    """Raise RemoteError where these sites, "*" for all, would have more operators than a unit takes."""
    working, wanted = _working(session), set(sites)
    codes = session.scalars(select(Site.code).order_by(Site.code))
    for code in codes if EVERYWHERE in wanted else sorted(wanted):
        if len(_at(code, working)) > OPERATORS_MAX:
            raise RemoteError(
                f"{code} sudah penuh: sebuah unit memuat {OPERATORS_MAX} petugas. "
                f"{code} is full: a unit takes {OPERATORS_MAX} operators.",
                next_step="Cabut yang sudah berhenti, atau pilih tempat lain. "
                "Revoke those who have left, or give rights at fewer sites.",
            )


def left_out(session: Session) -> dict[str, list[str]]:
    """Operators whom no unit of a site can hold, by site: setup's files may name more than a unit takes."""
    working = _working(session)
    found = {code: _fitting(session, code, working)[1] for code in session.scalars(select(Site.code))}
    return {code: [who.id for who in beyond] for code, beyond in sorted(found.items()) if beyond}


def say(session: Session, context: HubContext, unit: Unit, *, whole: bool = False) -> bool:
    """Tell a unit its roster where it is another than before, as a delta where one will do; whether it was."""
    now_ms = context.clock.wall_ms()
    row = session.get(UnitRoster, unit.id, with_for_update=True)
    version = max(now_ms, row.version + 1) if row is not None else now_ms
    roster = roster_of(session, context, unit, version)
    seen = _seen(session, roster)
    if row is not None and not whole and (json.loads(row.entries), row.sign_on) == (seen, roster.sign_on):
        return False
    delta = None if row is None or whole else _delta(row, roster, seen)
    touched = [] if row is None or delta is None else sorted(_touched(row, seen))
    row = row or UnitRoster(unit=unit.id)
    if delta is None:
        row.base, row.base_entries, row.whole_said_ms = version, json.dumps(seen), now_ms
    row.version, row.digest, row.sign_on = version, roster.digest(), roster.sign_on
    row.entries, row.touched = json.dumps(seen), json.dumps(touched)
    session.add(row)
    session.flush()
    _post(session, context, unit, roster if delta is None else delta)
    return True


def say_to_all(session: Session, context: HubContext, sites: Iterable[str] = (EVERYWHERE,)) -> int:
    """Tell every unit in service at these sites what has changed; returns how many had to hear something."""
    wanted = set(sites)
    units = dispatches.units_in_service(session)
    return sum(say(session, context, unit) for unit in units if {unit.site, EVERYWHERE} & wanted)


def take_held(session: Session, context: HubContext, unit_id: str, payload: bytes) -> None:
    """Keep which roster a unit holds; where it asks for the whole, say it, once in a while. Raises RemoteError."""
    held = decode(RosterHeld, payload, HELD_BYTES_MAX)
    unit, row = session.get(Unit, unit_id), session.get(UnitRoster, unit_id)
    if unit is None or row is None:
        return  # nothing was ever said to it
    now_ms = context.clock.wall_ms()
    is_current = (held.version, held.digest) == (row.version, row.digest)
    if is_current or held.version < row.version:
        row.held, row.held_ms = held.version, now_ms
    in_service = unit in dispatches.units_in_service(session)
    if held.asks and in_service and not is_current and now_ms - row.whole_said_ms >= ASKED_EVERY_MS:
        say(session, context, unit, whole=True)


def _post(session: Session, context: HubContext, unit: Unit, message: Roster | RosterDelta) -> None:
    """Queue the whole, which takes the delta's place, or the delta beside the whole."""
    topic = topics.DN_ROSTER if isinstance(message, Roster) else topics.DN_ROSTER_DELTA
    dispatches.post_to_unit(session, context, topic, message, unit.id)
    if isinstance(message, Roster) and outbox.is_posted(session, topics.DN_ROSTER_DELTA, unit=unit.id):
        outbox.post(session, topics.DN_ROSTER_DELTA, b"", context.clock.wall_ms(), unit=unit.id)


def _working(session: Session) -> list[Operator]:
    operators = session.scalars(select(Operator).where(Operator.revoked.is_(False)).order_by(Operator.id))
    return [who for who in operators if works_at_units(who)]


def _at(site: str, working: list[Operator]) -> list[Operator]:
    return [who for who in working if {site, EVERYWHERE} & set(who.sites.split(","))]


def _fitting(session: Session, site: str, working: list[Operator]) -> tuple[list[Operator], list[Operator]]:
    """Who is on a site's rosters, and who finds no room there: whoever was on them before stays on them."""
    here = _at(site, working)
    if len(here) <= OPERATORS_MAX:
        return here, []
    said = session.scalars(select(UnitRoster.entries).join(Unit, Unit.id == UnitRoster.unit).where(Unit.site == site))
    before = {name for entries in said for name in json.loads(entries)}
    here.sort(key=lambda who: (who.id not in before, who.id))
    return here[:OPERATORS_MAX], here[OPERATORS_MAX:]


def _entry(session: Session, context: HubContext, operator: Operator) -> OperatorEntry:
    vault, factors = context.vault, factors_of(context, operator)
    return OperatorEntry(
        operator=operator.id,
        name=operator.name,
        templates=cbor2.loads(vault.unlock(operator.templates, "operator-templates", operator.id)),
        public_key=operator.public_key,
        private_key=vault.unlock(operator.private_key, "operator-key", operator.id),
        pin=factors.pin,
        card_uid=factors.card_uid,
        pin_state=factors.pin_state if factors.pin_state != PinState() else None,
        lease=lease_of(session, context, operator).signed,
    )


def _seen(session: Session, roster: Roster) -> Seen:
    """What stands for an entry in the table: the digest of everything but its lease, and the lease's sequence."""
    return {
        entry.operator: [
            hashlib.sha256(encode(entry.model_copy(update={"lease": b""}))).hexdigest(),
            session.get_one(OperatorLease, entry.operator).sequence,
        ]
        for entry in roster.operators
    }


def _touched(row: UnitRoster, seen: Seen) -> set[str]:
    """Who came, went or became another entry since the base, even if they are as they were by now."""
    last: Seen = json.loads(row.entries)
    changed = {name for name in last.keys() | seen.keys() if last.get(name, [""])[0] != seen.get(name, [""])[0]}
    return changed | set(json.loads(row.touched))


def _delta(row: UnitRoster, roster: Roster, seen: Seen) -> RosterDelta | None:
    """The way from the base to this roster, whatever between the two a unit has; None where the whole is better."""
    base: Seen = json.loads(row.base_entries)
    touched = _touched(row, seen)
    changed = tuple(entry for entry in roster.operators if entry.operator in touched)
    if len(changed) > CHANGED_MAX:
        return None
    return RosterDelta(
        base=row.base,
        version=roster.version,
        sign_on=roster.sign_on,
        changed=changed,
        renewed={
            entry.operator: entry.lease
            for entry in roster.operators
            if entry.operator not in touched and base[entry.operator][1] != seen[entry.operator][1]
        },
        removed=tuple(sorted(touched - seen.keys())),
        digest=roster.digest(),
    )
