"""How a resident, an operator and a desk go through a capture and a handover, by the requests that the pages make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contract.errors import RemoteError
from contract.sample import FingerPosition
from virtual.demo.cast import CAPTURED, CHECKED, HANDED_OVER, Resident, Staff
from virtual.demo.stage import Stage
from virtual.demo.unit_client import Snapshot, UnitClient

PAPERS = ("application-form", "family-card")
SESSION, HANDOVER = "/api/session", "/api/handover"
OFFICER_WORK, TRIES_MAX = "/api/officer-work", 5
STEPS_MAX = 60


async def sign_on(unit: UnitClient, stage: Stage, operator: Staff) -> None:
    """The operator signs on by finger, unless they are at work here already. Raises RemoteError."""
    found = await unit.get("/api/sign-on")
    if found["officer"] and found["officer"]["operator"] == operator.id:
        return
    snapshot = await unit.post(f"{OFFICER_WORK}/identify", {"operator": operator.id})
    for _ in range(TRIES_MAX):
        stage.lay_finger(unit.name, operator, FingerPosition(snapshot["ask"]["position"]), CHECKED)
        snapshot = await unit.settle(OFFICER_WORK, await unit.post(f"{OFFICER_WORK}/capture"))
        if snapshot["step"] == "signed_on":
            await unit.post(f"{OFFICER_WORK}/finish")
            return
    raise stuck(unit.name, snapshot)


class Capture:
    """One resident at one capture unit with one operator."""

    def __init__(self, unit: UnitClient, stage: Stage, resident: Resident, operator: Staff) -> None:
        self._unit, self._stage, self._resident, self._operator = unit, stage, resident, operator

    async def run(self) -> Snapshot:
        """Walk the procedure until it is saved or refused. Raises Refused where it does not even begin."""
        await sign_on(self._unit, self._stage, self._operator)
        self._stage.sit_down(self._unit.name, self._resident)
        fields = {"nik": self._resident.nik, "operator": self._operator.id, "papers": list(PAPERS)}
        snapshot: Snapshot = await self._unit.post(SESSION, fields)
        for _ in range(STEPS_MAX):
            snapshot = await self._unit.settle(SESSION, snapshot)
            if snapshot["step"] in {"saved", "refused"} or snapshot["state"] == "ended":
                return snapshot
            snapshot = await self._act(snapshot)
        raise stuck(self._unit.name, snapshot)

    async def finish(self, action: str = "finish") -> None:
        """Close the session and leave."""
        await self._unit.post(f"{SESSION}/{action}")
        self._stage.leave(self._unit.name)

    async def _act(self, snapshot: Snapshot) -> Snapshot:
        step = snapshot["step"]
        if step in {"biodata", "photo_review", "iris_review"}:
            return await self._do("confirm")
        if step in {"signature", "attest"}:
            self._stage.sign(self._unit.name, self._resident, CAPTURED if step == "signature" else CHECKED)
            return await self._do("capture" if step == "signature" else "agree")
        if step in {"fingers", "verify"}:
            position = FingerPosition(snapshot["ask"]["position"])
            impression = CAPTURED if step == "fingers" else CHECKED
            self._stage.lay_finger(self._unit.name, self._resident, position, impression)
        elif step == "sign_off":
            self._stage.lay_finger(self._unit.name, self._operator, FingerPosition.RIGHT_INDEX, CHECKED)
        return await self._do(self._next_try(snapshot))

    def _next_try(self, snapshot: Snapshot) -> str:
        """After the last retry the operator takes the best there is, as the procedure allows."""
        return "force" if "force" in snapshot["actions"] else "capture"

    async def _do(self, action: str) -> Snapshot:
        snapshot: Snapshot = await self._unit.post(f"{SESSION}/{action}")
        return snapshot


class Handover:
    """One person who comes for a card at the handover desk; who comes need not be who is on the card."""

    def __init__(self, unit: UnitClient, stage: Stage, comer: Resident, nik: str, operator: Staff) -> None:
        self._unit, self._stage, self._comer, self._nik, self._operator = unit, stage, comer, nik, operator

    async def run(self, card_uid: str, old_card: str) -> Snapshot:
        """Walk the procedure until berhasil or gagal; the card lies on the reader meanwhile."""
        await sign_on(self._unit, self._stage, self._operator)
        slot = self._stage.slots[self._unit.name]
        slot.insert(card_uid)
        try:
            fields = {"nik": self._nik, "operator": self._operator.id}
            snapshot: Snapshot = await self._unit.post(HANDOVER, fields)
            for _ in range(STEPS_MAX):
                snapshot = await self._unit.settle(HANDOVER, snapshot)
                if snapshot["step"] in {"berhasil", "gagal"} or snapshot["state"] == "ended":
                    await self._unit.post(f"{HANDOVER}/finish")
                    return snapshot
                snapshot = await self._act(snapshot, old_card)
        finally:
            slot.remove()
        raise stuck(self._unit.name, snapshot)

    async def _act(self, snapshot: Snapshot, old_card: str) -> Snapshot:
        step = snapshot["step"]
        fields: Mapping[str, Any] = {}
        action = {
            "card": "read", "data": "confirm", "receipt": "sign", "verify": "capture", "old_card": "old_card",
            "old_card_back": "returned",
        }[step]  # fmt: skip
        if step == "old_card":
            fields = {"state": old_card}
        elif step == "verify":
            position = FingerPosition(snapshot["ask"]["position"])
            self._stage.lay_finger(self._unit.name, self._comer, position, HANDED_OVER)
        elif step == "receipt":
            self._stage.sign(self._unit.name, self._comer, HANDED_OVER)
        answer: Snapshot = await self._unit.post(f"{HANDOVER}/{action}", fields)
        return answer


def stuck(unit: str, snapshot: Snapshot) -> RemoteError:
    """What a procedure that does not end last asked and said."""
    return RemoteError(
        f"The procedure at {unit} does not end: step '{snapshot['step']}', asks {snapshot.get('ask')}, attempt "
        f"{snapshot.get('attempt')}, says '{snapshot.get('advice_en')}', problem {snapshot.get('problem')}.",
        next_step="See the unit's log.",
    )
