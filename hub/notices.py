"""Every answer returns to the site (M25, M31): which states are told, in which words, and what else a change stirs.

An observer of hub.records: it runs in the transaction of the change. A duplicate is told the regency of the first
capture, after the verdict and not before (M27); while a case is open the site only learns that it is being processed.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.dispatch import Notice
from contract.lifecycle import RecordEvent, RecordState
from contract.packet import Biodata
from hub import dispatches
from hub.context import HubContext
from hub.enrolment_checks import ADVICE, Failure
from hub.records import Moved, standing_record
from hub.schema.tables import Case, Record, Resident, Site

_R = RecordState
TEXTS: dict[RecordState, tuple[str, str]] = {
    _R.UNREGISTERED: ("NIK dapat direkam kembali.", "The NIK may be captured again."),
    _R.RECEIVED_AT_CENTRAL: ("Rekaman diterima pusat.", "The centre has received the capture."),
    _R.SEARCH_FAILURE_AT_CENTRAL: (
        "Pencarian tertunda; pusat mengulang sendiri.",
        "The search is delayed; the centre repeats it by itself.",
    ),
    _R.ADJUDICATE_RECORD: ("Rekaman sedang diperiksa pusat.", "The centre is examining the capture."),
    _R.REQUEST_VALIDATION: (
        "Daerah diminta memeriksa data; jawab melalui konsol.",
        "The region is asked to check the data; answer on the console.",
    ),
    _R.PRINT_READY_RECORD: ("Data tunggal, siap cetak.", "Single record, ready for printing."),
    _R.CARD_PRINTED: ("Kartu tercetak.", "The card is printed."),
    _R.CARD_ISSUED: ("Kartu diserahkan dan aktif.", "The card is handed over and live."),
    _R.INACTIVE: ("Rekaman tidak aktif.", "The record is inactive."),
}
_QUIET = frozenset({_R.BIO_CAPTURED, _R.PROCESSING, _R.SENT_FOR_ENROLLMENT, _R.PACKET_ENTRY, _R.SENT_FOR_DEDUP})
TEXT_CHARACTERS_MAX = 200


class Notices:
    """Tells sites about transitions. Register it with `Records.observe`."""

    def __init__(self, context: HubContext) -> None:
        self._context = context

    def __call__(self, session: Session, moved: Moved) -> None:
        """One transition was made."""
        record = moved.record
        if moved.after in _QUIET or moved.event is RecordEvent.CASE_CLAIMED:
            return
        resident = session.get(Resident, record.nik_digest)
        if resident is not None:
            dispatches.mark_stale(session, resident.site, resident.page)
        if session.get(Site, record.site) is None:
            return  # a capture in the name of a place that the fleet does not have: nobody there can be told
        if moved.event in (RecordEvent.DELETION_AUTHORISED, RecordEvent.LOSS_DECLARED):
            dispatches.post_tombstone(session, self._context, record.site, record.capture_id, self._nik(record))
        session.flush()  # counts the record's revision up
        indonesian, english = self._texts(session, record, moved.after)
        now = self._context.clock.wall_ms()
        notice = Notice(
            capture_id=record.capture_id,
            nik=self._nik(record),
            status=moved.after,
            version=record.revision,
            at_ms=now,
            message_id=indonesian[:TEXT_CHARACTERS_MAX],
            message_en=english[:TEXT_CHARACTERS_MAX],
        )
        for site in {record.site, resident.site if resident is not None else record.site}:
            dispatches.post_notice(session, self._context, site, notice)

    def _nik(self, record: Record) -> str:
        return biodata_as_captured(self._context, record).nik

    def _texts(self, session: Session, record: Record, state: RecordState) -> tuple[str, str]:
        if record.failure and state in (_R.ENROLL_FAILURE_AT_CENTRAL, _R.ENROLL_FAILURE_AT_REGIONAL):
            indonesian, english = ADVICE[Failure(record.failure)]
            return f"{record.failure}: {indonesian}", f"{record.failure}: {english}"
        if state is _R.DUPLICATE_RECORD:
            return _duplicate_texts(session, record)
        return TEXTS.get(state, (f"Status: {state}.", f"Status: {state}."))


def biodata_as_captured(context: HubContext, record: Record) -> Biodata:
    """The biodata that were captured with a record."""
    return Biodata.model_validate_json(context.vault.unlock(record.biodata, "record", record.capture_id))


def _duplicate_texts(session: Session, record: Record) -> tuple[str, str]:
    """Where the first capture was made (M27)."""
    query = select(Case).where(Case.capture_id == record.capture_id, Case.verdict == "same").order_by(Case.id.desc())
    case = session.scalars(query).first()
    first = session.get(Record, case.same_as) if case is not None and case.same_as else None
    first = first or standing_record(session, record.nik_digest)
    site = session.get(Site, first.site) if first is not None else None
    place = f"{site.name} ({site.region})" if site is not None else "-"
    return (
        f"Sudah direkam lebih dahulu di {place}. Perekaman pertama yang berlaku; klarifikasi di tempat itu.",
        f"Captured earlier at {place}. The first capture stands; clarify there.",
    )
