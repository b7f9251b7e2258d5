"""The operator and the section head at the personalisation station, by the requests that its page makes."""

from __future__ import annotations

import asyncio
from time import monotonic

import cv2
import numpy as np

from contract.errors import RemoteError
from contract.sample import FingerPosition
from virtual.demo.cast import CHECKED, STATION, Resident
from virtual.demo.chronicle import Chronicle, Picture, ResidentStory
from virtual.demo.players import stuck
from virtual.demo.report import encode_png
from virtual.demo.theatre import Theatre
from virtual.demo.unit_client import Snapshot

PATH = "/api/station"
STEPS_MAX = 40
JOB_TIMEOUT_S = 60.0
FAULT_TIMEOUT_S = 30.0


class Station:
    """One station with its reader, its printer and two officers: who makes a card does not release it."""

    def __init__(self, theatre: Theatre, chronicle: Chronicle) -> None:
        self._theatre, self._chronicle = theatre, chronicle
        self._unit = theatre.units[STATION]

    async def make_card(
        self, resident: Resident, story: ResidentStory, *, ribbon_out: bool = False, swapped: bool = False
    ) -> str:
        """Make, print, read back and release the card of a resident; returns the chip's UID.

        ribbon_out: the printer's ribbon ends meanwhile; swapped: another card is laid for the read-back first.
        """
        await self._wait_for_job(resident)
        slot = self._theatre.slots[STATION]
        uid = slot.insert()
        printed_before = len(self._theatre.printer.printed())
        try:
            snapshot = await self._do("start", "op-station", nik=resident.nik)
            for _ in range(STEPS_MAX):
                snapshot = await self._settled(snapshot)
                if snapshot["step"] == "waiting":
                    break
                if snapshot["step"] == "preview":
                    slot.remove()  # from the reader into the printer
                if snapshot["step"] == "read_back":
                    if swapped:
                        await self._lay_the_wrong_card()
                    slot.insert(uid)
                snapshot = await self._next(snapshot, ribbon_out=ribbon_out)
            else:
                raise stuck(STATION, snapshot)
        finally:
            slot.remove()
        for side, path in zip(("front", "back"), self._theatre.printer.printed()[printed_before:], strict=False):
            pixels = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)
            story.faces.append(Picture(side, encode_png(np.ascontiguousarray(pixels[:, :, ::-1]))))
        return uid

    async def _next(self, snapshot: Snapshot, *, ribbon_out: bool) -> Snapshot:
        """What the officers do in each step of the table."""
        step = snapshot["step"]
        if step == "release":
            return await self._do("release", "head-station")
        if step == "preview" and ribbon_out:
            return await self._print_without_ribbon()
        action = {"blank": "check", "encode": "encode", "preview": "print", "turn": "print", "read_back": "read_back"}
        if step not in action or snapshot.get("problem"):
            raise stuck(STATION, snapshot)
        return await self._do(action[step])

    async def _lay_the_wrong_card(self) -> None:
        """Two cards are mixed up between printer and reader: the swap guard sees it, nothing moves on."""
        slot = self._theatre.slots[STATION]
        slot.insert()
        snapshot = await self._settled(await self._do("read_back"))
        slot.remove()
        said = snapshot.get("advice_en") or (snapshot.get("problem") or {}).get("message", "nothing")
        self._chronicle.check("a swapped card is noticed at the read-back", snapshot["step"] == "read_back", said)

    async def _print_without_ribbon(self) -> Snapshot:
        """The ribbon is out: the page says so, the job waits, and goes on when there is a new one."""
        self._theatre.printer.fault("marker-supply-empty")
        pressed = asyncio.create_task(self._do("print"))
        end = monotonic() + FAULT_TIMEOUT_S
        faults: list[Snapshot] = []
        while not faults and monotonic() < end:
            await asyncio.sleep(0.1)
            faults = (await self._unit.get(PATH))["printer"]["faults"]
        seen = str(faults[0].get("advice_en", "")) if faults else "nothing"
        self._chronicle.check("a printer without ribbon says what it wants", bool(faults), seen)
        self._theatre.printer.cure()
        return await pressed

    async def _wait_for_job(self, resident: Resident) -> None:
        end = monotonic() + JOB_TIMEOUT_S
        while monotonic() < end:
            waiting = (await self._unit.get(PATH))["jobs"]
            if any(job["nik_end"] == resident.nik[-4:] for job in waiting):
                return
            await asyncio.sleep(0.1)
        raise RemoteError(f"No print job for {resident.title} reached the station.", next_step="See the hub's log.")

    async def _settled(self, snapshot: Snapshot) -> Snapshot:
        end = monotonic() + JOB_TIMEOUT_S
        while snapshot["state"] == "busy" and monotonic() < end:
            snapshot = await self._unit.get(PATH, after=snapshot["revision"], wait_s=5)
        return snapshot

    async def _do(self, action: str, operator: str = "", **fields: str) -> Snapshot:
        """Press a button; where it needs an officer, that officer's finger lies on the scanner."""
        if operator:
            who = self._theatre.cast.staff[operator]
            self._theatre.stage.lay_finger(STATION, who, FingerPosition.RIGHT_INDEX, CHECKED)
            fields["operator"] = operator
        snapshot: Snapshot = await self._unit.post(f"{PATH}/{action}", fields)
        return snapshot
