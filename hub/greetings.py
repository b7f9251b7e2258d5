"""What a unit needs before it can work, said again whenever somebody might not have heard it: key, roster, register."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract import topics
from contract.dispatch import SiteKey
from hub import dispatches, register, rosters
from hub.context import HubContext
from hub.schema.tables import Site, Unit


def greet_units(session: Session, context: HubContext) -> None:
    """Queue what every unit in service needs before it can work: key, roster, its site's register pages."""
    for unit in dispatches.units_in_service(session):
        greet_unit(session, context, unit)
    for site in session.scalars(select(Site.code)).all():
        for page in register.pages_of(session, site):
            dispatches.mark_stale(session, site, page)


def greet_unit(session: Session, context: HubContext, unit: Unit) -> None:
    """Queue a unit's site key and its whole roster."""
    epoch, key = dispatches.newest_site_key(session, context, unit.site)
    message = SiteKey(site=unit.site, epoch=epoch, key=key)
    dispatches.post_to_unit(session, context, topics.DN_SITE_KEY, message, unit.id)
    rosters.say(session, context, unit, whole=True)
