"""Papers are filed with the capture (M68): sealed and signed with it, bounded, and shown to whom they concern only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import cv2
import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi.testclient import TestClient
from pydantic import ValidationError

from contract.errors import DeviceError, RekamError
from contract.image_formats import decode_image
from contract.packet import SCAN_BYTES_MAX, SCANS_BYTES_MAX, SCANS_MAX, EnrolmentBody, PaperScan
from edge.paper_scans import encode_page
from edge.sensors.interface import Frame, Pixels
from edge.sensors.scanner_sane import JAMMED, PaperTrouble
from hub.console.application import create_application
from tests.hub_world import ADJUDICATORS, DESK, OFFICERS, SECRET, biodata, build_world, enrolment, index_fingers
from tests.unit.edge_fakes import KEY, Bench, make_bench
from tests.unit.test_enrolment import begin, do, walk

PAPER = "family-card"


def page(seed: int = 1, *, width_px: int = 827, height_px: int = 1169, noise: bool = False) -> Frame:
    """A page of A4 at 100 ppi with lines of something like print, or one that no compressor likes."""
    rng = np.random.default_rng(seed)
    if noise:
        return Frame(rng.integers(0, 255, (height_px, width_px), dtype=np.uint8), 100)
    pixels: Pixels = np.full((height_px, width_px), 250, np.uint8)
    for row in range(60, height_px - 60, 24):
        cv2.putText(pixels, f"KARTU KELUARGA {rng.integers(1e9)}", (50, row), cv2.FONT_HERSHEY_PLAIN, 1.2, 20, 1)
    return Frame(pixels, 100)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = make_bench(tmp_path)
    made.sensors.pages = [page(1), page(2)]
    yield made
    made.store.close()


async def test_scanned_papers_travel_sealed_and_signed_with_the_capture(bench: Bench) -> None:
    session = await begin(bench)
    assert {"scan", "confirm"} <= set(session.actions())
    assert await do(session, "scan", paper=PAPER) == "biodata"
    await do(session, "scan", paper="application-form")
    await do(session, "unscan", paper="application-form")
    await walk(bench, session)
    body = bench.keeper.kept[0][2]
    assert isinstance(body, EnrolmentBody) and body.signoff is not None
    assert [(scan.paper, scan.page) for scan in body.scans] == [(PAPER, 1), (PAPER, 2)]
    KEY.public_key().verify(body.signoff.signature, body.digest(), ec.ECDSA(hashes.SHA256()))
    assert body.model_copy(update={"scans": body.scans[:1]}).digest() != body.digest()
    shown = decode_image(body.scans[0].image, max_pixels=10_000_000)
    assert np.abs(shown.astype(int) - page(1).pixels).mean() < 6
    assert session.context.scans == {}


async def test_without_a_scanner_nothing_is_asked_and_nothing_changes(bench: Bench) -> None:
    bench.sensors.pages = None
    session = await begin(bench)
    assert "scan" not in session.actions()
    await walk(bench, session)
    body = bench.keeper.kept[0][2]
    assert isinstance(body, EnrolmentBody) and body.scans == ()
    fields = body.model_copy(update={"signoff": None}).model_dump()
    del fields["scans"], fields["eyes_confirmed_ms"]
    assert body.digest() == hashlib.sha256(cbor2.dumps(fields, canonical=True)).digest()


async def test_pages_before_a_jam_are_kept_and_the_next_one_is_named(bench: Bench) -> None:
    session = await begin(bench)
    bench.sensors.faults = [PaperTrouble(JAMMED, [page(1), page(2)])]
    assert await do(session, "scan", paper=PAPER) == "biodata"
    assert len(session.context.scans[PAPER]) == 2
    assert session.advice is not None
    assert "2 halaman sudah tersimpan" in session.advice.text_id and "halaman ke-3" in session.advice.text_id
    assert "from page 3" in session.advice.text_en
    bench.sensors.pages = [page(3)]
    await do(session, "scan", paper=PAPER)
    shown = decode_image(session.context.scans[PAPER][2], max_pixels=10_000_000)
    assert len(session.context.scans[PAPER]) == 3 and np.abs(shown.astype(int) - page(3).pixels).mean() < 6


async def test_a_jam_is_advice_in_indonesian_and_a_cancel_forgets_every_page(bench: Bench) -> None:
    session = await begin(bench)
    await do(session, "scan", paper=PAPER)
    bench.sensors.faults = [PaperTrouble(JAMMED)]
    await do(session, "scan", paper=PAPER)
    assert session.advice is not None and "macet" in session.advice.text_id and "jammed" in session.advice.text_en
    assert len(session.context.scans[PAPER]) == 2
    await session.cancel()
    assert session.context.scans == {}
    assert bench.keeper.kept == []


async def test_a_file_that_is_full_and_a_paper_that_nobody_ticked_are_refused(bench: Bench) -> None:
    bench.sensors.pages = [page(n) for n in range(7)]
    session = await begin(bench)
    await do(session, "scan", paper=PAPER)
    await do(session, "scan", paper=PAPER)
    assert session.advice is not None and str(SCANS_MAX) in session.advice.text_id
    assert len(session.context.scans[PAPER]) == 7
    await do(session, "scan", paper="old-card")
    assert session.problem is not None
    await do(session, "unscan", paper="old-card")
    assert session.problem is not None


@pytest.mark.parametrize("noise", [False, True])
def test_a_page_fits_its_room_and_can_still_be_read(noise: bool) -> None:
    large = page(3, width_px=2480, height_px=3508, noise=noise)
    encoded = encode_page(large)
    assert len(encoded) <= SCAN_BYTES_MAX
    assert max(decode_image(encoded, max_pixels=20_000_000).shape) >= (800 if noise else 2000)
    small = page(4, width_px=300, height_px=400)
    assert decode_image(encode_page(small), max_pixels=10**6).shape[:2] == (400, 300)


def test_a_page_that_cannot_be_made_small_enough_says_how_to_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.paper_scans.SCAN_BYTES_MAX", 1000)
    with pytest.raises(DeviceError) as caught:
        encode_page(page(1))
    assert "200 ppi" in caught.value.next_step


def test_the_packet_bounds_pages_bytes_and_names() -> None:
    body = enrolment(biodata(1)).model_dump()

    def with_scans(*scans: PaperScan) -> EnrolmentBody:
        return EnrolmentBody.model_validate({**body, "scans": tuple(scan.model_dump() for scan in scans)}, strict=False)

    one = PaperScan(paper=PAPER, page=1, image=b"x" * 1000)
    assert with_scans(one).scans == (one,)
    heavy = [PaperScan(paper=PAPER, page=n, image=bytes(SCAN_BYTES_MAX)) for n in range(1, SCANS_MAX + 1)]
    assert sum(len(scan.image) for scan in heavy) > SCANS_BYTES_MAX
    for wrong in ([one] * (SCANS_MAX + 1), heavy, [one.model_copy(update={"paper": "diploma"})]):
        with pytest.raises(ValidationError):
            with_scans(*wrong)


class Office:
    """A hub with one capture that has papers, one page of them rubbish."""

    def __init__(self, folder: Path) -> None:
        self.world = next(build_world(folder, "sqlite"))
        ana = biodata(1)
        self.world.register(ana)
        scans = (
            PaperScan(paper=PAPER, page=1, image=encode_page(page(1))),
            PaperScan(paper=PAPER, page=2, image=b"\xff\xd8\xffrubbish"),
        )
        self.capture = self.world.send(DESK, enrolment(ana, index_fingers(1), scans=scans))
        self.client = TestClient(create_application(self.world.central), follow_redirects=False)

    def page_for(self, officer: str) -> Any:
        self.client.post("/api/login", json={"operator": officer, "secret": SECRET})
        return self.client.get(f"/records/{self.capture}/papers")


def test_the_papers_are_shown_to_officers_of_the_region_and_to_nobody_else(tmp_path: Path) -> None:
    office = Office(tmp_path)
    found = office.page_for(OFFICERS[0])
    assert found.status_code == 200
    assert found.text.count("data:image/jpeg;base64,") == 1
    assert "tidak dapat dibaca" in found.text
    refused = office.page_for(ADJUDICATORS[0])
    assert refused.status_code >= 400
    assert "data:image" not in refused.text
    office.client.cookies.clear()
    assert office.client.get(f"/records/{office.capture}/papers").status_code == 303


def test_errors_of_the_scanner_are_of_the_house() -> None:
    assert issubclass(PaperTrouble, RekamError)
