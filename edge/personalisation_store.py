"""The station's jobs at rest: print data, the work on each, and every chip that was ever used here; all sealed."""

from __future__ import annotations

import cbor2
from pydantic import ValidationError

from contract import dispatch
from contract.cbor_bounds import loads_map
from contract.dispatch import PrintJob
from contract.errors import RemoteError
from contract.packet import refused
from edge.personalisation_steps import Work
from edge.sealed_store import Change, SealedStore

JOBS_MAX = 500
WORK_BYTES_MAX = 64 * 1024
_JOB, _WORK, _USED, _DONE = "station-job", "station-work", "station-chip", "station-done"


class StationStore:
    """Jobs and work in the unit's sealed store. Blocking; every write is durable when it returns."""

    def __init__(self, store: SealedStore) -> None:
        self._store = store

    def add(self, job: PrintJob, work: Work) -> None:
        """Keep a new job with its work."""
        self._store.change((Change(_JOB, job.job_id, dispatch.encode(job)), Change(_WORK, job.job_id, _encode(work))))

    def has(self, job_id: str) -> bool:
        """Whether this job is here, or was and is done."""
        return self._store.get(_WORK, job_id) is not None or self._store.get(_DONE, job_id) is not None

    def is_full(self) -> bool:
        """Whether no more jobs are taken in."""
        return self._store.count(_WORK) >= JOBS_MAX

    def job(self, job_id: str) -> PrintJob:
        """A job that is here. Raises RemoteError."""
        encoded = self._store.get(_JOB, job_id)
        if encoded is None:
            raise RemoteError("The print job is not on this station.", next_step="Ask the centre to send it again.")
        return dispatch.decode_kept(PrintJob, encoded)

    def works(self) -> list[Work]:
        """All work that is not done, by job id, which is the order of making."""
        return sorted((_decode(encoded) for _, encoded in self._store.items(_WORK)), key=lambda work: work.job_id)

    def put(self, work: Work, *, binds: str = "") -> None:
        """Keep the work as it stands; binds: a chip's UID that belongs to this job from now on."""
        changes = [Change(_WORK, work.job_id, _encode(work))]
        if binds:
            changes.append(Change(_USED, binds, work.job_id.encode()))
        self._store.change(changes)

    def finish(self, job_id: str) -> None:
        """The card is released and reported: drop the print data, remember that the job was here."""
        self._store.change((Change(_JOB, job_id, None), Change(_WORK, job_id, None), Change(_DONE, job_id, b"1")))

    def job_of_chip(self, card_uid: str) -> str:
        """The job that this chip was ever bound to, or empty."""
        return (self._store.get(_USED, card_uid) or b"").decode()


def _encode(work: Work) -> bytes:
    return cbor2.dumps(work.model_dump(), canonical=True)


def _decode(encoded: bytes) -> Work:
    try:
        return Work.model_validate(loads_map(encoded, WORK_BYTES_MAX), strict=False, extra="ignore")
    except ValidationError as error:
        raise refused("station's work", error) from None
