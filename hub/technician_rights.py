"""What a technician may touch: units and sites where they work, as the operator that they are in the hub's book."""

from __future__ import annotations

from sqlalchemy.orm import Session

from contract.commissioning_problems import Problem, Refusal
from contract.errors import RemoteError
from hub import certificates
from hub.fleet import Role
from hub.rights import EVERYWHERE
from hub.schema.tables import Operator, Site, Unit


def technician(session: Session, name: str) -> Operator:
    """The operator of this name, who may act as technician. Raises Refusal."""
    found = session.get(Operator, name)
    if found is None or found.revoked or Role.TECHNICIAN not in found.roles.split(","):
        raise Refusal(Problem.NO_RIGHTS, f"'{name}' may not act as technician.")
    if not certificates.has_living(session, name):
        raise Refusal(Problem.NO_RIGHTS, f"'{name}' has no certificate any more.")
    return found


def works_at(who: Operator, site: str) -> bool:
    """Whether a technician works at a site."""
    return bool({site, EVERYWHERE} & set(who.sites.split(",")))


def site_of(session: Session, who: Operator, code: str) -> Site:
    """A site where this technician works. Raises Refusal."""
    site = session.get(Site, code)
    if site is None:
        raise Refusal(Problem.SITE_UNKNOWN, f"'{code}' is not in the register of sites.")
    if not works_at(who, code):
        raise Refusal(Problem.NO_RIGHTS, f"{who.id} does not work at {code}.")
    return site


def unit_of(session: Session, who: Operator, name: str) -> Unit:
    """A unit at a site where this technician works, locked. Raises RemoteError, Refusal."""
    unit = session.get(Unit, name, with_for_update=True)
    if unit is None:
        raise RemoteError(f"No unit is called '{name}'.", next_step="See 'rekam-provision status' for the names.")
    site_of(session, who, unit.site)
    return unit
