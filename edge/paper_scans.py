"""Papers scanned and filed with the application (M68): pages small enough to travel sealed with the capture.

They are held in memory with the samples and go where those go: into the sealed packet, or nowhere.
"""

from __future__ import annotations

import asyncio

import cv2
import numpy as np

from contract.errors import DeviceError
from contract.packet import SCAN_BYTES_MAX, SCANS_BYTES_MAX, SCANS_MAX
from edge.capture_state import Capture
from edge.eligibility import Refusal
from edge.procedure import Advice, Fields, Refused, Retry
from edge.sensors.interface import Frame, Pixels
from edge.sensors.scanner_sane import PaperTrouble

PAGE_SIDE_PX_MAX = 2340  # A4 at 200 ppi
QUALITIES = (80, 65, 50)
SHRINK = 0.8
SIDE_PX_MIN = 800
FULL = Advice(
    f"Berkas penuh: paling banyak {SCANS_MAX} halaman. Hapus pindaian yang tidak perlu.",
    f"The file is full: at most {SCANS_MAX} pages. Drop scans that are not needed.",
)


def may_scan(capture: Capture) -> bool:
    """Whether there is a scanner and a paper that was ticked."""
    return capture.services.sensors.scans_papers and bool(capture.papers)


async def scan_paper(capture: Capture, fields: Fields) -> str:
    """Scan the pages of one paper; scanning it again adds pages. Pages that came before a jam are kept."""
    paper = fields.get("paper", "")
    if paper not in capture.papers:
        raise Refused(Refusal.INVALID, "This paper was not ticked.")
    if sum(map(len, capture.scans.values())) >= SCANS_MAX:
        raise Retry(FULL)
    stopped: PaperTrouble | None = None
    try:
        frames = await capture.services.sensors.scan_papers()
    except PaperTrouble as trouble:
        frames, stopped = trouble.pages, trouble
    pages = await asyncio.to_thread(lambda: [encode_page(frame) for frame in frames])
    held = {**capture.scans, paper: (*capture.scans.get(paper, ()), *pages)}
    every = [page for scanned in held.values() for page in scanned]
    if len(every) > SCANS_MAX or sum(map(len, every)) > SCANS_BYTES_MAX:
        raise Retry(FULL)
    if pages:
        capture.scans = held
    if stopped is not None:
        raise Retry(_after_trouble(stopped, len(held[paper])))
    return "biodata"


def _after_trouble(trouble: PaperTrouble, kept: int) -> Advice:
    """What the scanner asks for, and which page of the paper goes in next. kept: pages of it that are filed."""
    if not kept:
        return Advice(trouble.advice_id, trouble.next_step)
    return Advice(
        f"{trouble.advice_id} {kept} halaman sudah tersimpan: masukkan lagi mulai halaman ke-{kept + 1}.",
        f"{trouble.next_step} {kept} pages are kept: put in again from page {kept + 1}.",
    )


async def drop_scan(capture: Capture, fields: Fields) -> str:
    """Forget the pages of one paper."""
    if capture.scans.pop(fields.get("paper", ""), None) is None:
        raise Refused(Refusal.INVALID, "This paper was not scanned.")
    return "biodata"


def encode_page(frame: Frame) -> bytes:
    """A page as JPEG within SCAN_BYTES_MAX: compressed as far as print stays readable, then made smaller.

    Raises DeviceError for a page that stays too large at SIDE_PX_MIN.
    """
    side = max(frame.pixels.shape[:2])
    wanted = min(side, PAGE_SIDE_PX_MAX)
    while wanted >= min(side, SIDE_PX_MIN):
        pixels = _scaled(frame.pixels, wanted / side)
        shown = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])
        for quality in QUALITIES:
            done, encoded = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if done and encoded.size <= SCAN_BYTES_MAX:
                return encoded.tobytes()
        wanted = round(wanted * SHRINK)
    raise DeviceError("The page stays too large to be filed.", next_step="Scan it in grey, at 200 ppi.")


def _scaled(pixels: Pixels, scale: float) -> Pixels:
    if scale >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
