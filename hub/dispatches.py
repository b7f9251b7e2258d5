"""What the hub tells units and sites, sealed: to one unit's key, or under the site's key with its epoch in front.

Every function only queues (hub.outbox), in the caller's transaction.
"""

from __future__ import annotations

import struct

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from contract import topics
from contract.dispatch import ConsignedCard, GalleryEntry, Notice, encode
from contract.errors import RemoteError
from contract.lifecycle import UnitState
from contract.packet import Model
from contract.seal import KEY_BYTES, lock, seal
from contract.topics import Topic
from hub import outbox, register
from hub.context import HubContext
from hub.schema.tables import SiteKey as SiteKeyRow
from hub.schema.tables import StalePage, Unit

_EPOCH = struct.Struct(">I")
EPOCH_BYTES = _EPOCH.size


def post_to_unit(
    session: Session, context: HubContext, topic: Topic, message: Model, unit_id: str, **names: str
) -> None:
    """Queue a message that only this unit can open. Raises RemoteError for a unit the fleet does not have."""
    unit = session.get(Unit, unit_id)
    if unit is None:
        raise RemoteError(
            f"No unit is called '{unit_id}'.", next_step="Correct the fleet file and start the hub again."
        )
    sealed = seal(encode(message), context.keys.dispatch, [register.recipient_of(unit)])
    outbox.post(session, topic, sealed, context.clock.wall_ms(), unit=unit_id, **names)


def post_to_site(session: Session, context: HubContext, topic: Topic, message: Model, site: str, **names: str) -> None:
    """Queue a message under the newest key of a site: epoch (u32, big endian) | locked bytes, bound to the topic."""
    epoch, key = newest_site_key(session, context, site)
    name = topic.at(site=site, **names)
    payload = under_site_key(epoch, key, name, encode(message))
    outbox.post(session, topic, payload, context.clock.wall_ms(), site=site, **names)


def under_site_key(epoch: int, key: bytes, topic: str, plain: bytes) -> bytes:
    """A message of a site as it travels: epoch (u32, big endian) | bytes locked with the key, bound to the topic."""
    return _EPOCH.pack(epoch) + lock(plain, key, topic.encode())


def newest_site_key(session: Session, context: HubContext, site: str) -> tuple[int, bytes]:
    """Epoch and key that seal for a site; the first key is made when it is first asked for."""
    query = select(SiteKeyRow).where(SiteKeyRow.site == site).order_by(SiteKeyRow.epoch.desc()).limit(1)
    row = session.scalars(query).first()
    if row is None:
        key = context.random_bytes(KEY_BYTES)
        row = SiteKeyRow(
            site=site,
            epoch=1,
            key=context.vault.lock(key, "site_key", f"{site}/1"),
            made_ms=context.clock.wall_ms(),
        )
        session.add(row)
        session.flush()
        return 1, key
    return row.epoch, context.vault.unlock(row.key, "site_key", f"{site}/{row.epoch}")


def units_in_service(session: Session) -> list[Unit]:
    """The units that may work, by name; a suspended or retired one is sent nothing (M66)."""
    return list(session.scalars(select(Unit).where(Unit.state == UnitState.IN_SERVICE).order_by(Unit.id)))


def mark_stale(session: Session, site: str, page: str) -> None:
    """Remember that a register page has to be said again."""
    session.merge(StalePage(site=site, page=page))
    session.flush()


def has_stale_pages(session: Session) -> bool:
    """Whether some register page has to be said again."""
    return session.scalars(select(StalePage).limit(1)).first() is not None


def post_stale_pages(session: Session, context: HubContext) -> int:
    """Queue every register page that changed; returns how many."""
    stale = session.scalars(select(StalePage)).all()
    for row in stale:
        page = register.register_page(session, context, row.site, row.page)
        post_to_site(session, context, topics.SITE_REGISTER, page, row.site, page=row.page)
    session.execute(delete(StalePage))
    return len(stale)


def post_notice(session: Session, context: HubContext, site: str, notice: Notice) -> None:
    """Queue the hub's answer about one capture to a site (M31)."""
    post_to_site(session, context, topics.SITE_NOTICE, notice, site, capture=notice.capture_id)


def post_tombstone(session: Session, context: HubContext, site: str, capture_id: str, nik: str) -> None:
    """Take the place of the templates that the broker keeps; goes out before the page that frees the NIK (M23).

    Any unit of a site could write it, so the units remove the capture at the notice UNREGISTERED: we alone say that.
    """
    entry = GalleryEntry(capture_id=capture_id, nik=nik, tombstone=True, templates={})
    post_to_site(session, context, topics.SITE_GALLERY, entry, site, capture=capture_id)


def post_consignment(session: Session, context: HubContext, desk: str, card: ConsignedCard) -> None:
    """Queue what a handover desk must know of a card; `withdrawn` takes the desk's right to hand it over."""
    post_to_unit(session, context, topics.DN_CONSIGNMENT, card, desk, card=card.card_uid)
