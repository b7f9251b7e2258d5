"""The card printer by IPP (RFC 8011): any IPP Everywhere printer with card media, its jobs followed to the end.

A job that ends otherwise than well is a value (`PrintOutcome`), as are the printer's complaints, each with advice;
a printer that cannot be reached, or is none, is a DeviceError. Jobs are found again by name after a power cut, so
that no card is printed twice because nobody remembers. The only importer of pyipp, and
imported by a unit that has a printer only: what a job is lies in print_jobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
from pyipp import IPP, IPPConnectionError, IPPError
from pyipp.enums import IppOperation, IppStatus
from yarl import URL

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError, RemoteError, TransientError
from edge.card_document import as_jpeg, as_pdf
from edge.print_jobs import JobResult, PrinterCondition, PrintJobRef, PrintOutcome, PrintProgress
from edge.printer_faults import PrinterFault, faults_of

REQUEST_TIMEOUT_S = 8
POLL_S = 0.3
VANISHED_TIMEOUT_S = 10.0
JOB_TIMEOUT_S = 900.0
CARD_MEDIA = ("53.98x85.6mm", "54x86mm", "85.6x53.98mm", "54x85.6mm")
TWO_SIDED = "two-sided-long-edge"
_USER = "rekam"
_CHECK = "Check the printer's power and network, then press 'check' again."
_JOB_PENDING, _JOB_STOPPED, _JOB_CANCELED, _JOB_ABORTED, _JOB_COMPLETED = 3, 6, 7, 8, 9
_PRINTER_ATTRIBUTES = (
    "printer-state", "printer-state-reasons", "printer-state-message", "printer-is-accepting-jobs",
    "printer-make-and-model", "media-default", "media-ready", "media-supported", "sides-supported",
)  # fmt: skip
_JOB_ATTRIBUTES = ("job-id", "job-uri", "job-name", "job-state", "job-state-reasons")
_REFUSED_FORMAT = (IppStatus.ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED, IppStatus.ERROR_ATTRIBUTES_OR_VALUES)
_BUSY = (
    IppStatus.ERROR_BUSY,
    IppStatus.ERROR_SERVICE_UNAVAILABLE,
    IppStatus.ERROR_TEMPORARY,
    IppStatus.ERROR_TOO_MANY_JOBS,
)


class CardPrinter:
    """One IPP printer. uri: ipp://host:port/ipp/print, or ipps://."""

    def __init__(
        self,
        uri: str,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        poll_s: float = POLL_S,
        vanished_timeout_s: float = VANISHED_TIMEOUT_S,
        job_timeout_s: float = JOB_TIMEOUT_S,
    ) -> None:
        self._uri = uri
        if URL(uri).scheme not in ("ipp", "ipps") or not URL(uri).host:
            raise DeviceError(f"'{uri}' is no printer's URI.", next_step="Write ipp://host:631/ipp/print.")
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._poll_s = poll_s
        self._vanished_timeout_s = vanished_timeout_s
        self._job_timeout_s = job_timeout_s

    async def condition(self) -> PrinterCondition:
        """The printer's state and complaints. Raises DeviceError where it cannot be reached or prints no cards."""
        answer = await self._execute(
            IppOperation.GET_PRINTER_ATTRIBUTES, {"requested-attributes": list(_PRINTER_ATTRIBUTES)}
        )
        found = _first(answer, "printers")
        model = str(found.get("printer-make-and-model", "unknown"))
        media = [*_texts(found.get("media-ready")), *_texts(found.get("media-default"))]
        media = media or _texts(found.get("media-supported"))
        if not any(size in name for name in media for size in CARD_MEDIA):
            raise DeviceError(
                f"The printer '{model}' has no cards: its media are {', '.join(media[:5]) or 'unknown'}.",
                next_step="Set the printer's media to CR80 (54 × 85.6 mm), or name the card printer's URI.",
            )
        reasons = _texts(found.get("printer-state-reasons"))
        if found.get("printer-is-accepting-jobs") is False:
            reasons = [*reasons, "paused"]
        return PrinterCondition(
            model=model,
            state={3: "idle", 4: "processing", 5: "stopped"}.get(_number(found, "printer-state"), "unknown"),
            message=str(found.get("printer-state-message", ""))[:200],
            two_sided=TWO_SIDED in _texts(found.get("sides-supported")) and await self._takes("application/pdf"),
            faults=faults_of(reasons),
        )

    async def start(self, faces: Sequence[bytes], name: str) -> PrintJobRef:
        """Send one face, or both to a printer that turns the card, as one job under `name`.

        faces: PNG. Raises TransientError while the printer is busy with another job, DeviceError otherwise.
        """
        attributes: dict[str, Any] = {"sides": "one-sided"}
        if len(faces) == 2:
            document_format, document = "application/pdf", await asyncio.to_thread(as_pdf, faces)
            attributes["sides"] = TWO_SIDED
        elif await self._takes("image/png"):
            document_format, document = "image/png", faces[0]
        elif await self._takes("image/jpeg"):
            document_format, document = "image/jpeg", await asyncio.to_thread(as_jpeg, faces[0])
        else:
            document_format, document = "application/pdf", await asyncio.to_thread(as_pdf, faces)
        operation = {"job-name": name, "document-format": document_format}
        answer = await self._execute(IppOperation.PRINT_JOB, operation, job=attributes, data=document)
        return _job_ref(_first(answer, "jobs"), name)

    async def find(self, name: str) -> PrintJobRef | None:
        """The newest job of this name that the printer remembers, done or not, or None."""
        found: list[PrintJobRef] = []
        for which in ("not-completed", "completed"):
            wanted = {"which-jobs": which, "requested-attributes": list(_JOB_ATTRIBUTES)}
            answer = await self._execute(IppOperation.GET_JOBS, wanted)
            found += [_job_ref(job, name) for job in answer.get("jobs", []) if job.get("job-name") == name]
        return max(found, key=lambda job: job.job_id, default=None)

    async def progress(self, job: PrintJobRef) -> PrintProgress:
        """The job now. Raises RemoteError where the printer has forgotten it."""
        wanted = {"job-id": job.job_id, "requested-attributes": list(_JOB_ATTRIBUTES)}
        found = _first(await self._execute(IppOperation.GET_JOB_ATTRIBUTES, wanted), "jobs")
        if found.get("job-name") not in (None, job.name):
            raise RemoteError(  # numbers begin again where a printer lost its power
                f"The printer has forgotten job {job.job_id}.", next_step="Look whether the card was printed."
            )
        state = _number(found, "job-state")
        result = {
            _JOB_COMPLETED: JobResult.COMPLETED,
            _JOB_CANCELED: JobResult.CANCELED,
            _JOB_ABORTED: JobResult.ABORTED,
        }.get(state)
        faults: tuple[PrinterFault, ...] = ()
        if result is None:
            answer = await self._execute(
                IppOperation.GET_PRINTER_ATTRIBUTES, {"requested-attributes": ["printer-state-reasons"]}
            )
            faults = faults_of(_texts(_first(answer, "printers").get("printer-state-reasons")))
        return PrintProgress(job, result, tuple(_texts(found.get("job-state-reasons"))), faults)

    async def follow(
        self, job: PrintJobRef, on_progress: Callable[[PrintProgress], None] | None = None
    ) -> PrintOutcome:
        """Wait until the job ended. on_progress: called whenever something changed.

        Raises DeviceError when the printer stays away, or does not end within the job's time.
        """
        seen: dict[str, PrinterFault] = {}
        last: PrintProgress | None = None
        started = heard = self._clock.monotonic_ms()
        while True:
            now = self._clock.monotonic_ms()
            try:
                progress = await self.progress(job)
                heard = now
            except DeviceError as error:
                if now - heard > self._vanished_timeout_s * 1000:
                    raise DeviceError(
                        f"The printer vanished while job {job.job_id} was under way: {error.message}",
                        next_step="Check its power and cable; look whether the card was printed, then go on.",
                    ) from None
            else:
                seen |= {fault.keyword: fault for fault in progress.faults}
                if on_progress is not None and progress != last:
                    on_progress(progress)
                last = progress
                if progress.result is not None:
                    return PrintOutcome(job, progress.result, progress.reasons, tuple(seen.values()))
            if now - started > self._job_timeout_s * 1000:
                raise DeviceError(
                    f"Print job {job.job_id} did not end in time.", next_step="Cancel it, and look at the printer."
                )
            await self._sleep(self._poll_s)

    async def cancel(self, job: PrintJobRef) -> None:
        """Ask the printer to stop the job; a job that has ended stays as it is. Raises DeviceError."""
        try:
            await self._execute(IppOperation.CANCEL_JOB, {"job-id": job.job_id})
        except RemoteError:
            pass  # not possible, or not found: it has ended, and `follow` tells how

    async def _takes(self, document_format: str) -> bool:
        """Whether the printer would accept this format (Validate-Job, RFC 8011, 4.2.3)."""
        try:
            await self._execute(IppOperation.VALIDATE_JOB, {"document-format": document_format})
        except RemoteError:
            return False
        return True

    async def _execute(
        self,
        operation: IppOperation,
        attributes: Mapping[str, Any],
        job: Mapping[str, Any] | None = None,
        data: bytes = b"",
    ) -> dict[str, Any]:
        """One request and its answer, with the library's errors translated."""
        message: dict[str, Any] = {"operation-attributes-tag": {"requesting-user-name": _USER, **attributes}}
        if job is not None:
            message["job-attributes-tag"] = dict(job)
        if data:
            message["data"] = data
        try:
            # Over ipps:// the printer's certificate is checked: faces are personal data.
            async with IPP(self._uri, request_timeout=REQUEST_TIMEOUT_S, verify_ssl=True) as printer:
                answer: dict[str, Any] = await printer.execute(operation, message)
        except (IPPConnectionError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise DeviceError(f"The printer does not answer ({type(error).__name__}).", next_step=_CHECK) from None
        except IPPError as error:
            raise _translated(error, operation) from None
        return answer


def _translated(error: IPPError, operation: IppOperation) -> DeviceError | RemoteError | TransientError:
    details = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], dict) else {}
    status = details.get("status-code")
    if status in _BUSY:
        return TransientError("The printer is busy with another job.")
    if isinstance(status, int) and 0x0400 <= status < 0x0500:
        reason = "does not take this format" if status in _REFUSED_FORMAT else f"refuses it ({status:#06x})"
        return RemoteError(f"The printer {reason}: {operation.name}.", next_step="Look at the printer's own page.")
    shown = f"status {status:#06x}" if isinstance(status, int) else type(error).__name__
    return DeviceError(f"The printer failed at {operation.name} ({shown}).", next_step=_CHECK)


def _first(answer: Mapping[str, Any], group: str) -> dict[str, Any]:
    found = answer.get(group)
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        raise DeviceError(f"The printer's answer has no {group}.", next_step=_CHECK)
    return found[0]


def _job_ref(fields: Mapping[str, Any], name: str) -> PrintJobRef:
    job_id = fields.get("job-id")
    if not isinstance(job_id, int):
        raise DeviceError("The printer gives its job no number.", next_step=_CHECK)
    return PrintJobRef(job_id, str(fields.get("job-uri", ""))[:150], name)


def _number(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name, 0)
    return int(value) if isinstance(value, int) else 0


def _texts(value: object) -> list[str]:
    """A keyword or a list of them; pyipp gives a single value without its list."""
    if isinstance(value, list):
        return [str(item) for item in value]
    return [] if value is None else [str(value)]
