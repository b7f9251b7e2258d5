"""The search of each received capture, off the event loop, and what follows from it (M24–M29).

A record in SENT_FOR_DEDUP is searched against everybody searched before it, so every pair of captures meets once. What
goes wrong is SEARCH_FAILURE_AT_CENTRAL and tried again by itself; no person is needed, and none is shut out.
"""

from __future__ import annotations

import json

import structlog
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from contract.errors import RekamError
from contract.lifecycle import RecordEvent, RecordState
from contract.sample import Modality
from hub import history, register, verdicts
from hub.adjudication import Adjudication, Cause
from hub.context import HubContext
from hub.notices import biodata_as_captured
from hub.packets import open_capture
from hub.records import PORTRAIT, REVOKED, SIGN_OFF, Moved, Records, known
from hub.schema.tables import Record, RecordHistory, Resident, Template
from hub.search.features import STAMPS, Features, StoredTemplate, extract_features, from_stored, to_stored
from hub.search.fusion import PersonMatch
from hub.search.gallery import PersonGallery

_UNDONE = (RecordEvent.DELETION_AUTHORISED, RecordEvent.LOSS_DECLARED)
log = structlog.get_logger("dedup")


class Dedup:
    """Searches records. Blocking; one thread calls it."""

    def __init__(self, context: HubContext, records: Records, adjudication: Adjudication) -> None:
        self._context = context
        self._records = records
        self._adjudication = adjudication
        self.gallery = PersonGallery(context.settings.search)
        self._lacking: set[str] = set()
        records.observe(self._forget_deleted)

    def rebuild(self) -> int:
        """Fill the gallery from the database; returns how many captures it holds."""
        with self._context.database.reading() as session:
            searched = select(Template.capture_id).join(Record, Record.capture_id == Template.capture_id)
            query = searched.where(Record.state != RecordState.UNREGISTERED).distinct().order_by(Template.capture_id)
            self._lacking = set(session.scalars(query))
        self._take_up_lacking()
        return len(self.gallery)

    def _take_up_lacking(self) -> None:
        """Add what the gallery should hold and does not; what cannot be read now is alarmed about, and tried again."""
        for capture_id in sorted(self._lacking):
            try:
                features, is_new = self._features(capture_id)
                if is_new:
                    with self._context.database.transaction() as session:
                        self._store(session, capture_id, features)
            except RekamError as error:
                log.critical("the gallery lacks a capture", capture_id=capture_id, **error.diagnostics())
                continue
            self.gallery.add(capture_id, features)
            self._lacking.discard(capture_id)

    def due(self) -> list[str]:
        """Captures to search now, oldest first; failed searches come again after the retry time."""
        self._take_up_lacking()
        retry_before = self._context.clock.wall_ms() - int(self._context.settings.deadlines.search_retry_s * 1000)
        with self._context.database.transaction() as session:
            failed = select(Record).where(
                Record.state == RecordState.SEARCH_FAILURE_AT_CENTRAL, Record.changed_ms <= retry_before
            )
            for record in session.scalars(failed).all():
                self._records.move(session, record, RecordEvent.SEARCH_RETRIED)
            waiting = (
                select(Record.capture_id)
                .where(Record.state == RecordState.SENT_FOR_DEDUP)
                .order_by(Record.received_ms, Record.capture_id)
            )
            return list(session.scalars(waiting))

    def search(self, capture_id: str) -> RecordState:
        """Search one capture and move its record. What the search or its conclusion stumbles over fails this one."""
        try:
            features, is_new = self._features(capture_id)
            matches = self.gallery.search(features, exclude=capture_id)
            with self._context.database.transaction() as session:
                record = known(session, capture_id)
                if is_new:
                    self._store(session, capture_id, features)
                state = self._conclude(session, record, features, matches)
        except Exception as error:  # noqa: BLE001 - whatever the search stumbles over is this state, and is logged
            told = error.diagnostics() if isinstance(error, RekamError) else {"error": type(error).__name__}
            log.critical("search failed", capture_id=capture_id, **told)
            return self._fail(capture_id, error)
        self.gallery.add(capture_id, features)
        return state

    def _features(self, capture_id: str) -> tuple[Features, bool]:
        """Templates from the database where today's extractors made them, else from the images: (features, is new)."""
        with self._context.database.reading() as session:
            stored = self._stored(session, capture_id)
            pid = session.get_one(Record, capture_id).pid
        if stored:
            return from_stored(stored), False
        return extract_features(open_capture(self._context, pid)), True

    def _conclude(
        self, session: Session, record: Record, features: Features, matches: list[PersonMatch]
    ) -> RecordState:
        if record.state != RecordState.SENT_FOR_DEDUP:
            return RecordState(record.state)
        cause, must_see = self._other_cause(session, record)
        if not features.searchable:
            cause = cause or Cause.UNSEARCHABLE
        for capture_id in must_see - {match.capture_id for match in matches}:
            matches.append(self.gallery.compare_with(features, capture_id))
        if matches or cause is not None:
            self._records.move(
                session,
                record,
                RecordEvent.SIMILAR_FOUND,
                note={"candidates": len(matches), "best": round(max((m.value for m in matches), default=0.0), 1)},
            )
            self._adjudication.open(session, record.capture_id, cause or Cause.SIMILAR, matches)
        elif finding := self._anomaly(session, record):
            self._records.move(session, record, RecordEvent.ANOMALY_FOUND, note={"finding": finding})
        else:
            self._records.move(session, record, RecordEvent.NO_CANDIDATE, note={"searched": len(self.gallery)})
        return RecordState(record.state)

    def _other_cause(self, session: Session, record: Record) -> tuple[Cause | None, set[str]]:
        """Why a person has to look whatever the search says, and at which captures (M14, M15, M18)."""
        resident = session.get(Resident, record.nik_digest)
        if resident is not None and resident.standing not in (None, record.capture_id):
            return Cause.NIK_CAPTURED, {resident.standing or ""}
        links = history.way_of(session, RecordHistory, record.capture_id)
        if {link.event for link in links} & set(_UNDONE):
            return Cause.TURNED_UP, set()
        if any(json.loads(link.note).get(SIGN_OFF) == REVOKED for link in links):
            return Cause.OFFICER_REVOKED, set()
        if record.appeal_of:
            return Cause.REFUSAL_APPEALED, set()
        earlier = set(verdicts.barred_by(session, record))
        return (Cause.EARLIER_ARRIVED if earlier else None), earlier

    def _anomaly(self, session: Session, record: Record) -> str:
        """What the region has to look into (M29), or an empty string."""
        resident = session.get_one(Resident, record.nik_digest)
        if register.biodata_of(self._context, resident) != biodata_as_captured(self._context, record):
            return "biodata differ"
        links = history.way_of(session, RecordHistory, record.capture_id)
        told = [str(note[PORTRAIT]) for link in links if PORTRAIT in (note := json.loads(link.note))]
        return f"the operator finds the portrait unlike the biodata: {told[-1]}" if told else ""

    def _fail(self, capture_id: str, error: Exception) -> RecordState:
        message = error.message if isinstance(error, RekamError) else type(error).__name__
        with self._context.database.transaction() as session:
            record = known(session, capture_id)
            if record.state == RecordState.SENT_FOR_DEDUP:
                self._records.move(session, record, RecordEvent.SEARCH_FAILED, note={"error": message})
            return RecordState(record.state)

    def _store(self, session: Session, capture_id: str, features: Features) -> None:
        session.execute(delete(Template).where(Template.capture_id == capture_id))
        for row in to_stored(features):
            place = f"{capture_id}/{row.modality}/{row.position}/{row.impression}"
            session.add(
                Template(
                    capture_id=capture_id,
                    modality=row.modality,
                    position=row.position,
                    impression=row.impression,
                    extractor=row.extractor,
                    data=self._context.vault.lock(row.data, "template", place),
                )
            )
        session.flush()

    def _stored(self, session: Session, capture_id: str) -> list[StoredTemplate]:
        """What today's extractors made of a capture; nothing where others did, whose templates do not compare."""
        rows = session.scalars(select(Template).where(Template.capture_id == capture_id)).all()
        if any(row.extractor != STAMPS.get(Modality(row.modality)) for row in rows):
            return []
        return [
            StoredTemplate(
                modality=Modality(row.modality),
                position=row.position,
                impression=row.impression,
                extractor=row.extractor,
                data=self._context.vault.unlock(
                    row.data, "template", f"{capture_id}/{row.modality}/{row.position}/{row.impression}"
                ),
            )
            for row in rows
        ]

    def _forget_deleted(self, _session: Session, moved: Moved) -> None:
        if moved.event in _UNDONE:
            self.gallery.remove(moved.record.capture_id)
