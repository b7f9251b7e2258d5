"""Bytes and fields from outside: what costs too much, is no number or no name is refused; nobody's data are said."""

from __future__ import annotations

import hashlib
import io
import time
import traceback

import cbor2
import pytest
import structlog
from pydantic import ValidationError

from contract.cbor_bounds import loads_map
from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.packet import PACKET_BYTES_MAX, Biodata, Verification
from contract.seal import PublicKey, open_sealed, seal
from contract.transfer import MESSAGE_BYTES_MAX, UplinkStatus
from edge import procedure
from edge.logs import configure_logs
from hub.console.api import Form
from hub.fleet import FileModel
from tests.hub_world import enrolment
from tests.unit.edge_fakes import NIK, SetClock, biodata
from tests.unit.test_seal import DESK, HUB


def shared_references(levels: int) -> bytes:
    """A map whose value is shared twice at every level: small on the wire, 2**levels items to whoever walks it."""
    nested = b"\xd8\x1c\x80"  # tag 28: an empty list that may be referred to
    for level in range(levels):
        nested = b"\xd8\x1c\x82" + nested + b"\xd8\x1d" + cbor2.dumps(levels - level)
    return b"\xa1\x61a" + nested


@pytest.mark.parametrize(
    "hostile",
    [
        shared_references(400),
        b"\xa1\x61a\x9a\x00\x40\x00\x00" + b"\x80" * 0x400000,  # four million empty lists
        b"\xa1\x61a" + b"\x81" * 5_000 + b"\x00",
        b"\xa1\x61a\xd8\x23\x65(a+)+",  # a regular expression
        b"\xa1\x61a\xc2\x42\xff\xff",  # a bignum
        b"\xa1\x61a\x00\x00",  # a byte behind the end
    ],
)
def test_hostile_cbor_is_refused_before_anything_is_built_of_it(hostile: bytes) -> None:
    begun_s = time.process_time()
    with pytest.raises(RemoteError):
        loads_map(hostile, PACKET_BYTES_MAX)
    assert time.process_time() - begun_s < 1.0


def test_a_large_honest_packet_costs_no_more_than_its_heads() -> None:
    encoded = cbor2.dumps({"samples": [{"record": bytes(100_000), "quality": 80} for _ in range(15)]}, canonical=True)
    begun_s = time.process_time()
    assert len(loads_map(encoded, PACKET_BYTES_MAX)["samples"]) == 15
    assert time.process_time() - begun_s < 0.5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValidationError):
        Verification(position=2, value=value, threshold_fmr=1e-4, matched=True)


@pytest.mark.parametrize("kid", ["a b", "k/../x", "desk\n", "+", "#", "x" * 63 + "/", "\u00e9"])
def test_a_signer_whose_key_id_is_no_name_is_refused_before_it_is_looked_up(kid: str) -> None:
    asked: list[str] = []

    def find(signer: str) -> PublicKey | None:
        asked.append(signer)
        return None

    named = DESK.signing.__class__(kid, DESK.signing.cose)
    with pytest.raises(RemoteError):
        open_sealed(seal(b"x", named, [HUB.recipient]), HUB.opening, find)
    assert asked == []


def test_a_status_that_no_console_can_show_is_refused() -> None:
    status = UplinkStatus(
        database="CONNECTED", correlation_id="9901-A", queue="CONNECTED", scheduler="RUNNING",
        records_sent_since_restart=1,
    )  # fmt: skip
    assert decode(UplinkStatus, encode(status), MESSAGE_BYTES_MAX) == status
    for name in ("records_sent_since_restart", "pending", "pending_bytes", "awaiting_release", "held", "oldest_age_s"):
        with pytest.raises(RemoteError):
            decode(UplinkStatus, cbor2.dumps(status.model_dump() | {name: 2**60}), MESSAGE_BYTES_MAX)


def wrong_biodata() -> Biodata:
    """Raises, with a person's data as what was given."""
    given = biodata()
    return Biodata.model_validate(given.model_dump() | {"sex": given.name, "nik": f"{given.nik}9"})


async def test_no_log_line_of_a_failing_step_says_who_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("debug")

    async def fail(_context: None, _fields: procedure.Fields) -> str:
        wrong_biodata()
        return "done"

    row = procedure.Row("a", "a", {"go": procedure.Action(fail)})
    failing: procedure.Procedure[None] = procedure.Procedure(
        {"first": row}, "first", None, SetClock(), cancel_devices=lambda: None, forget=lambda _context: None
    )
    await failing.start("go", {})
    structlog.reset_defaults()
    said = capsys.readouterr().err
    assert "step raised" in said and "ValidationError" in said
    assert NIK not in said
    assert biodata().name not in said
    assert failing.problem is not None


@pytest.mark.parametrize("model", [FileModel, Form])
def test_no_traceback_of_the_hub_says_who_it_was(model: type[FileModel] | type[Form]) -> None:
    class Registered(model):  # type: ignore[misc, valid-type]
        nik: int

    for give in (lambda: Registered(nik=biodata().name), wrong_biodata):
        written = io.StringIO()
        try:
            give()
        except ValidationError:
            traceback.print_exc(file=written)
        said = written.getvalue()
        assert "ValidationError" in said and "input_value" not in said
        assert NIK not in said and biodata().name not in said


def test_a_capture_from_before_portraits_were_reviewed_keeps_the_digest_that_was_signed() -> None:
    body = enrolment(biodata())
    assert body.portrait_review is None
    fields = body.model_copy(update={"signoff": None}).model_dump()
    del fields["portrait_review"], fields["scans"], fields["eyes_confirmed_ms"]
    assert body.digest() == hashlib.sha256(cbor2.dumps(fields, canonical=True)).digest()
