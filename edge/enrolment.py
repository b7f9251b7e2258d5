"""The capture session as a step table, in the SOP's order (M11).

biodata → photo → operator's word on it → signature → ten fingers → irises (operator's word where they look swapped) →
the site's own 1:N → both indexes 1:1 → statement e-signed → operator's fingerprint → seal → spool. Only then is
BIO_CAPTURED claimed (M14); before it nothing exists outside memory. A session starts from an eligible NIK and from
nothing else: never from a failed handover (M48).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from contract.errors import RemoteError
from contract.identifiers import uuid7
from contract.lifecycle import RecordEvent, advance
from contract.packet import PacketKind, RefusalBody
from contract.sample import Modality
from edge import capture_steps as steps
from edge import paper_scans, slap_steps
from edge.capture_state import Capture, Services
from edge.eligibility import OPERATOR_ROLE, Refusal, check_eligibility
from edge.officer import identify_officer, sign_off
from edge.procedure import Action, Fields, Procedure, Refused, Row
from edge.prompts import RETRY_EYES, RETRY_FINGER, RETRY_PEN, RETRY_PHOTO

Enrolment = Procedure[Capture]
LAST_BEFORE_SEAL = "sign_off"


async def search_site(capture: Capture, _fields: Fields) -> str:
    """The site's own 1:N: a repeat is refused at once, on-line or off-line, unless an appeal was upheld (M15)."""
    services = capture.services
    probes = capture.fingers()
    candidates = await services.examiner.search_site(probes, services.policy.local_duplicate_fmr) if probes else []
    similar = [candidate for candidate in candidates if candidate.reference_id != capture.capture_id]
    cleared = services.register.cleared(capture.biodata.nik)
    appeals = [cleared[candidate.reference_id] for candidate in similar if candidate.reference_id in cleared]
    capture.appeal_of = appeals[0] if appeals else None
    others = [candidate for candidate in similar if candidate.reference_id not in cleared]
    if not others:
        return "verify" if capture.next_check is not None else "attest"
    capture.similar_capture = others[0].reference_id
    capture.similar_value = others[0].score.value
    capture.refusal_id = uuid7(services.clock)
    capture.kept = await services.keeper.keep(
        PacketKind.REFUSAL, capture.refusal_id, refusal_body(capture, appealed=False)
    )
    return "refused"


async def appeal(capture: Capture, _fields: Fields) -> str:
    """The resident objects: the samples go to adjudicators who did not see the case (M15)."""
    keeper = capture.services.keeper
    packet_id = uuid7(capture.services.clock)
    capture.kept = await keeper.keep(PacketKind.REFUSAL, packet_id, refusal_body(capture, appealed=True))
    capture.forget()
    return "appealed"


def refusal_body(capture: Capture, *, appealed: bool) -> RefusalBody:
    """What is told of a refusal; samples travel only where a person shall judge them."""
    samples = tuple(taken.as_packet() for taken in capture.taken.values()) if appealed else ()
    return RefusalBody(
        biodata=capture.biodata,
        similar_capture=capture.similar_capture,
        value=capture.similar_value,
        appealed=appealed,
        samples=samples,
        operator=capture.operator.operator,
    )


async def operator_signs_off(capture: Capture, fields: Fields) -> str:
    """The operator's finger, then the operator's signature over the digest of everything captured."""
    services = capture.services
    officer = services.roster.may_finish(capture.operator.operator, OPERATOR_ROLE)
    if isinstance(officer, Refusal):
        raise Refused(officer)
    match = await identify_officer(services, officer, fields)
    body = capture.completed_body()
    signed = sign_off(match, body.digest())
    capture.body = body.model_copy(update={"signoff": signed})
    return "seal"


async def seal_and_spool(capture: Capture, _fields: Fields) -> str:
    """Seal, spool durably, and only then say that the resident has been captured.

    Finishes even where the task around it is cancelled: a packet is either kept and known, or not kept.
    """
    if capture.body is None:
        return LAST_BEFORE_SEAL
    services = capture.services
    eligibility = check_eligibility(
        services.register, capture.biodata.nik, capture.papers, spool_full=await services.keeper.is_full()
    )
    if eligibility.refusal is not None or eligibility.entry is None:
        raise Refused(eligibility.refusal or Refusal.NIK_UNKNOWN)
    advance(eligibility.entry.status, RecordEvent.CAPTURE_COMPLETED)
    keeping = services.keeper.keep_capture(capture.capture_id, capture.body, capture.gallery_entry())
    capture.kept = await asyncio.shield(asyncio.ensure_future(keeping))
    capture.forget()
    return "saved"


async def finish(_capture: Capture, _fields: Fields) -> str:
    """The person has gone; the screen is free."""
    return "finished"


ENROLMENT: Mapping[str, Row[Capture]] = {
    "biodata": Row(
        "Data diri",
        "Biodata",
        {
            "confirm": Action(steps.confirm_biodata),
            "wrong": Action(steps.wrong_biodata),
            "scan": Action(paper_scans.scan_paper, paper_scans.may_scan),
            "unscan": Action(paper_scans.drop_scan, lambda c: bool(c.scans)),
        },
    ),
    "photo": Row(
        "Foto",
        "Photo",
        {"capture": Action(steps.take_photo), "force": Action(steps.force_photo, lambda c: c.may_force)},
        retry_id=RETRY_PHOTO,
    ),
    "photo_review": Row(
        "Periksa foto",
        "Check the photo",
        {"confirm": Action(steps.confirm_portrait), "retake": Action(steps.retake_photo)},
        shown=False,
    ),
    "signature": Row(
        "Tanda tangan",
        "Signature",
        {"capture": Action(steps.take_signature), "force": Action(steps.force_signature, lambda c: c.may_force)},
        retry_id=RETRY_PEN,
    ),
    "fingers": Row(
        "Sidik jari",
        "Fingerprints",
        {
            "capture": Action(slap_steps.take_fingers),
            "one_by_one": Action(slap_steps.one_by_one, lambda c: c.next_slap is not None),
            "force": Action(steps.force_finger, lambda c: c.may_force),
            "except": Action(slap_steps.except_finger, lambda c: bool(c.asked_fingers)),
        },
        retry_id=RETRY_FINGER,
    ),
    "exception_photo": Row(
        "Foto pengecualian",
        "Photo of the exception",
        {"capture": Action(steps.take_exception_photo), "withdraw": Action(steps.withdraw_exception)},
        shown=False,
        retry_id=RETRY_PHOTO,
    ),
    "second_officer": Row(
        "Petugas kedua",
        "Second officer",
        {"capture": Action(steps.confirm_exception), "withdraw": Action(steps.withdraw_exception)},
        shown=False,
        retry_id=RETRY_FINGER,
    ),
    "irises": Row(
        "Iris mata",
        "Irises",
        {
            "capture": Action(steps.take_irises),
            "force": Action(steps.force_iris, lambda c: c.may_force),
            "except": Action(steps.except_iris),
        },
        retry_id=RETRY_EYES,
    ),
    "iris_review": Row(
        "Periksa kedua mata",
        "Check the eyes",
        {"confirm": Action(steps.confirm_irises), "retake": Action(steps.retake_irises)},
        shown=False,
    ),
    "search": Row(
        "Pemeriksaan", "Check", {"retry": Action(search_site)}, on_arrival=search_site, shown=False, critical=True
    ),
    "verify": Row(
        "Verifikasi",
        "Verification",
        {
            "capture": Action(steps.check_finger),
            "recapture": Action(steps.recapture_finger, lambda c: c.retries_used),
        },
        retry_id=RETRY_FINGER,
    ),
    "attest": Row("Pernyataan", "Statement", {"agree": Action(steps.agree)}, retry_id=RETRY_PEN),
    "sign_off": Row("Pengesahan", "Sign-off", {"capture": Action(operator_signs_off)}, retry_id=RETRY_FINGER),
    "seal": Row(
        "Penyimpanan",
        "Saving",
        {"retry": Action(seal_and_spool)},
        on_arrival=seal_and_spool,
        shown=False,
        critical=True,
    ),
    "saved": Row("Selesai", "Done", {"finish": Action(finish)}, ends=True),
    "refused": Row("Ditolak", "Refused", {"appeal": Action(appeal), "finish": Action(finish)}, ends=True, shown=False),
    "appealed": Row("Keberatan", "Appeal", {"finish": Action(finish)}, ends=True, shown=False),
    "correction": Row("Perbaikan data", "Correction", {"finish": Action(finish)}, ends=True, shown=False),
    "cancelled": Row("Dibatalkan", "Cancelled", {"finish": Action(finish)}, ends=True, shown=False),
    "finished": Row("Selesai", "Finished", ends=True, shown=False),
}


async def start_enrolment(services: Services, nik: str, operator: str, papers: Sequence[str]) -> Enrolment:
    """A new session for an eligible resident. Raises Refused with the reason (M8, M13, M67)."""
    officer = services.roster.may_work(operator, OPERATOR_ROLE)
    if isinstance(officer, Refusal):
        raise Refused(officer)
    eligibility = check_eligibility(services.register, nik, papers, spool_full=await services.keeper.is_full())
    if eligibility.refusal is not None:
        raise Refused(eligibility.refusal)
    if eligibility.entry is None:
        raise RemoteError("The register gave no entry for an eligible NIK.")
    capture = Capture(
        services=services,
        capture_id=uuid7(services.clock),
        biodata=eligibility.entry.biodata,
        operator=officer,
        papers=tuple(papers),
    )
    procedure: Enrolment = Procedure(
        ENROLMENT, "biodata", capture, services.clock, cancel_devices=services.sensors.cancel, forget=Capture.forget
    )
    capture.clocks = procedure.closed_clocks
    return procedure


def asked_sample(procedure: Enrolment) -> tuple[Modality, int, str, str] | None:
    """What the next `capture` takes: modality, position, purpose, and whose it is."""
    capture = procedure.context
    match procedure.step:
        case "photo":
            return Modality.FACE, 0, "reference", "resident"
        case "signature":
            return Modality.SIGNATURE, 0, "reference", "resident"
        case "fingers" if capture.next_slap is not None:
            return Modality.FINGER, int(capture.next_slap), "reference", "resident"
        case "fingers" if capture.next_finger is not None:
            return Modality.FINGER, int(capture.next_finger), "reference", "resident"
        case "irises" if capture.missing_eyes:
            position = int(capture.missing_eyes[0]) if len(capture.missing_eyes) == 1 else 0
            return Modality.IRIS, position, "reference", "resident"
        case "verify" if capture.next_check is not None:
            return Modality.FINGER, int(capture.next_check), "check", "resident"
        case "exception_photo":
            return Modality.FACE, 0, "exception", "resident"
        case "second_officer":
            return Modality.FINGER, 2, "second officer", "officer"
        case "attest":
            return Modality.SIGNATURE, 0, "attestation", "resident"
        case "sign_off":
            templates = capture.operator.templates
            return Modality.FINGER, 2 if 2 in templates else min(templates, default=2), "sign-off", "officer"
        case _:
            return None
