"""The register extract, the operators and the units in the database: merged from the setup's files, looked up by all.

Merging is idempotent and never forgets: a unit or operator that left the file stays known, so that its old packets
still verify. Residents are paged per site, in the order of their digests, for the retained register topics.
"""

from __future__ import annotations

from datetime import timedelta

import cbor2
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from contract.clock import utc
from contract.dispatch import REGISTER_PAGE_ENTRIES_MAX, RegisterEntry, RegisterPage
from contract.errors import RemoteError
from contract.lifecycle import UnitState
from contract.packet import Biodata
from contract.seal import PublicKey, RecipientKey, load_public_key, load_recipient_key
from contract.topics import NAME_PATTERN
from hub import certificates
from hub.context import HubContext
from hub.fleet import Fleet, FleetOperator, Register, Role
from hub.records import status_of
from hub.schema.commissioning_tables import Technician
from hub.schema.tables import BlankMovement, Operator, Resident, Site, Unit

PAGE_ENTRIES = min(200, REGISTER_PAGE_ENTRIES_MAX)
DAY_MS = int(timedelta(days=1).total_seconds() * 1000)
EVERYWHERE = "*"


def merge_fleet(session: Session, context: HubContext, fleet: Fleet) -> None:
    """Enter or update sites, units and operators. A unit's service state and an operator's revocation are kept."""
    now = context.clock.wall_ms()
    for site in fleet.sites:
        is_new = session.get(Site, site.code) is None
        place = {"latitude": site.latitude, "longitude": site.longitude}
        session.merge(Site(code=site.code, name=site.name, region=site.region, sign_on=site.sign_on, **place))
        session.flush()
        if is_new and site.blanks:
            session.add(
                BlankMovement(place=site.code, count=site.blanks, cause="opening stock", actor="hub", at_ms=now)
            )
    for unit in fleet.units:
        known = session.get(Unit, unit.id)
        if known is None:
            known = Unit(id=unit.id, state=UnitState.IN_SERVICE)
            session.add(known)
        known.site, known.role = unit.site, unit.role
        known.sign_public_pem, known.open_public_pem = unit.sign_public_pem, unit.open_public_pem
        if unit.certificate:
            certificates.enter_known(session, unit.id, unit.certificate, now)
    for operator in fleet.operators:
        _merge_operator(session, context, operator)
        if operator.technician_key and Role.TECHNICIAN in operator.roles:
            session.flush()
            if session.get(Technician, operator.id) is None:  # a key that was changed since stays changed
                session.add(Technician(id=operator.id, public_key=operator.technician_key))
        if operator.certificate:
            certificates.enter_known(session, operator.id, operator.certificate, now)
    session.flush()


def _merge_operator(session: Session, context: HubContext, operator: FleetOperator) -> None:
    known = session.get(Operator, operator.id)
    if known is None:
        known = Operator(id=operator.id)
        session.add(known)
    known.console_secret = operator.console_secret
    if known.approved_ms is not None:
        return  # taken anew at a unit and approved here since: what setup knew of them is older
    known.name = operator.name
    known.roles, known.sites = ",".join(operator.roles), ",".join(operator.sites)
    known.templates = context.vault.lock(cbor2.dumps(operator.templates), "operator-templates", operator.id)
    known.private_key = context.vault.lock(operator.private_key, "operator-key", operator.id)
    known.public_key, known.lease_days = operator.public_key, operator.lease_days


def merge_register(session: Session, context: HubContext, register: Register) -> int:
    """Enter or update residents; returns how many are new. Which capture stands for them is not touched."""
    today = utc(context.clock.wall_ms()).date()
    filled: dict[str, int] = {}
    added = 0
    for entry in register.residents:
        if session.get(Site, entry.site) is None:
            raise RemoteError(f"A resident is on the list of site '{entry.site}', which the fleet does not have.")
        digest = context.vault.nik_digest(entry.biodata.nik)
        known = session.get(Resident, digest)
        if known is None:
            if entry.site not in filled:
                count = session.scalar(select(func.count()).where(Resident.site == entry.site))
                filled[entry.site] = count or 0
            known = Resident(nik_digest=digest, page=f"p{filled[entry.site] // PAGE_ENTRIES:04d}", site=entry.site)
            filled[entry.site] += 1
            session.add(known)
            added += 1
        known.biodata = context.vault.lock_biodata(entry.biodata)
        known.desk, known.eligible = entry.desk, entry.is_eligible(today)
        known.old_card_due, known.papers = entry.old_card_due, ",".join(entry.required_papers)
    session.flush()
    return added


def biodata_of(context: HubContext, resident: Resident) -> Biodata:
    """A resident's biodata as the register holds them now."""
    return context.vault.unlock_biodata(resident.biodata, resident.nik_digest)


def register_page(session: Session, context: HubContext, site: str, page: str) -> RegisterPage:
    """One page of a site's extract with today's statuses (M8)."""
    query = select(Resident).where(Resident.site == site, Resident.page == page).order_by(Resident.nik_digest)
    entries = tuple(
        RegisterEntry(
            biodata=biodata_of(context, resident),
            status=status_of(session, resident),
            eligible=resident.eligible,
            required_papers=tuple(filter(None, resident.papers.split(","))),
        )
        for resident in session.scalars(query)
    )
    return RegisterPage(site=site, page=page, version=context.clock.wall_ms(), entries=entries)


def pages_of(session: Session, site: str) -> list[str]:
    """The names of a site's register pages."""
    return list(session.scalars(select(Resident.page).where(Resident.site == site).distinct().order_by(Resident.page)))


def signer_of(session: Session, kid: str) -> PublicKey | None:
    """The key that verifies what a unit signed, or None for a unit nobody enrolled."""
    unit = session.get(Unit, kid) if NAME_PATTERN.fullmatch(kid) else None
    return load_public_key(unit.sign_public_pem.encode(), unit.id) if unit is not None else None


def recipient_of(unit: Unit) -> RecipientKey:
    """The key to which dispatches for this unit are sealed."""
    return load_recipient_key(unit.open_public_pem.encode(), unit.id)


def operator_with(session: Session, operator: str, *roles: Role) -> Operator:
    """An operator who holds one of `roles` and is not revoked. Raises RemoteError."""
    found = session.get(Operator, operator)
    if found is None or found.revoked or not set(roles) & set(found.roles.split(",")):
        raise RemoteError(
            f"'{operator}' may not act as {' or '.join(roles)}.",
            next_step="Log in as somebody who holds this role, or ask for it.",
        )
    return found


def works_in_region(session: Session, operator: Operator, site: str) -> bool:
    """Whether an operator works at a place of the same region as `site`; the centre's officers work everywhere."""
    sites = set(operator.sites.split(","))
    if EVERYWHERE in sites or Role.DC_OFFICER in operator.roles.split(","):
        return True
    here = session.get(Site, site)
    theirs = session.scalars(select(Site.region).where(Site.code.in_(sites)))
    return here is not None and here.region in set(theirs)


def operator_at(session: Session, operator: str, site: str, *roles: Role) -> Operator:
    """An operator who holds one of `roles` in the region of `site`. Raises RemoteError."""
    found = operator_with(session, operator, *roles)
    if not works_in_region(session, found, site):
        raise RemoteError(
            f"'{operator}' does not work in the region of {site}.", next_step="Leave it to that region's officers."
        )
    return found
