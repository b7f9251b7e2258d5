"""An upheld appeal against a refusal: the unit that refused a resident learns that they are somebody else (M15).

Without it the verdict would lead nowhere: the site's own 1:N would refuse the same resident again and again.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.dispatch import Notice
from contract.lifecycle import RecordState
from contract.packet import PacketKind, RefusalBody
from hub import dispatches
from hub.context import HubContext
from hub.packets import open_packet
from hub.schema.tables import Case, Packet, Site

MESSAGE_ID = "Keberatan diterima: penduduk ini orang lain. NIK boleh direkam."
MESSAGE_EN = "The appeal is upheld: this resident is another person. The NIK may be captured."


def clear_refused(session: Session, context: HubContext, case: Case) -> bool:
    """Tell the site that refused a resident of the verdict 'different'; False where there is nobody to be told.

    Raises DeviceError where the refusal's packet cannot be read.
    """
    query = select(Packet).where(Packet.event_id == case.capture_id, Packet.kind == PacketKind.REFUSAL)
    packet = session.scalars(query.where(Packet.quarantine == "").order_by(Packet.received_ms)).first()
    if packet is None:
        return False
    envelope = open_packet(context, packet.pid)
    if not isinstance(envelope.body, RefusalBody) or session.get(Site, envelope.site) is None:
        return False
    now = context.clock.wall_ms()
    notice = Notice(
        capture_id=case.capture_id,
        nik=envelope.body.biodata.nik,
        status=RecordState.UNREGISTERED,
        version=now,
        at_ms=now,
        message_id=MESSAGE_ID,
        message_en=MESSAGE_EN,
        cleared_of=envelope.body.similar_capture,
    )
    dispatches.post_notice(session, context, envelope.site, notice)
    return True
