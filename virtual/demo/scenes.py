"""The four scenes of the demo, each ending with what it claims and what was seen."""

from __future__ import annotations

import asyncio
from time import monotonic

from contract.lifecycle import RecordState
from virtual.demo.cast import DESK, HANDOVER, KIOSK, Resident
from virtual.demo.chronicle import Chronicle, Picture, ResidentStory
from virtual.demo.players import PAPERS, Capture, Handover
from virtual.demo.processes import until
from virtual.demo.station_player import Station
from virtual.demo.theatre import Theatre
from virtual.demo.unit_client import Refused, Snapshot

SLOW_LINE_BYTES_PER_S = 150_000
SEARCH_TIMEOUT_S = 60.0
TRANSFER_TIMEOUT_S = 90.0
PAPER_TIMEOUT_S = 20.0
FREED = frozenset({"purgeable", "purged"})
DEEP = 0.25, 0.6
_S = RecordState
FOUND_UNIQUE = {_S.PRINT_READY_RECORD, _S.SENT_FOR_CARD_PRINTING, _S.CARD_SHIPPED}


class Scenes:
    """The play: one method a scene."""

    def __init__(self, theatre: Theatre, chronicle: Chronicle) -> None:
        self._theatre, self._chronicle = theatre, chronicle
        self._cards: dict[str, str] = {}
        for key, resident in theatre.cast.residents.items():
            biodata = resident.person.biodata
            chronicle.residents[key] = ResidentStory(key, resident.title, biodata.name, biodata.nik, resident.colour)

    async def capture_and_search(self) -> None:
        """Scene 1, first half: A and C are captured, sealed, sent, received, searched."""
        self._chronicle.enter(1, "Captured, sealed, sent, searched")
        for key in ("first", "third"):
            resident = self._resident(key)
            result = await self._capture(resident)
            await self._receipt(resident, result)
            state = await self._theatre.hub.wait_for(self._story(key).capture_id, FOUND_UNIQUE)
            self._chronicle.check(f"{resident.title} is found to be nobody else", state in FOUND_UNIQUE, state)

    async def transfer_under_fire(self) -> None:
        """Scene 4, played while B is sent from the kiosk: the line is slow, cut, and the hub is killed."""
        self._chronicle.enter(4, "The hub is killed and the network cut during a transfer")
        resident = self._resident("second")
        link = self._theatre.links[KIOSK]
        before = link.carried_up_bytes
        held = await self._theatre.hub.packets()
        link.up_bytes_per_s = SLOW_LINE_BYTES_PER_S
        started = monotonic()
        result = await self._capture(resident)
        size = await self._packet_bytes(KIOSK, result)
        self._story("second").packet_bytes = size
        await self._carried(KIOSK, before + int(size * DEEP[0]))
        link.cut()
        self._chronicle.tell(KIOSK, f"network cut after {link.carried_up_bytes - before:,} bytes")
        await asyncio.sleep(1.0)
        waiting = await self._capture_row(KIOSK, result)
        self._chronicle.check(
            "the unit keeps what is not receipted", waiting["state"] in {"queued", "sent"}, str(waiting["state"])
        )
        link.restore()
        self._chronicle.tell(KIOSK, "network back")
        await self._carried(KIOSK, before + int(size * DEEP[1]))
        self._theatre.kill_hub()
        self._chronicle.tell("hub", "SIGKILL in the middle of the transfer")
        await asyncio.sleep(1.0)
        await self._theatre.start_hub()
        self._chronicle.tell("hub", "started again")
        await self._receipt(resident, result)
        link.up_bytes_per_s = 0
        story = self._story("second")
        more = await self._theatre.hub.packets() - held
        self._chronicle.check("nothing lost, nothing twice", more == 1, f"{more} packet more at the hub")
        carried = link.carried_up_bytes - before
        self._chronicle.transfer_rows += [
            ("sealed packet", f"{size:,} bytes"),
            ("line from the kiosk", f"{SLOW_LINE_BYTES_PER_S:,} bytes/s"),
            ("network cuts, hub kills", f"{link.cuts}, 1"),
            ("bytes that went up, TLS and repeats included", f"{carried:,}"),
            ("more than the packet itself", f"{100 * (carried - size) / size:.1f} %"),
            ("from the first step to the signed receipt", f"{monotonic() - started:.1f} s"),
        ]
        state = await self._theatre.hub.wait_for(story.capture_id, FOUND_UNIQUE)
        self._chronicle.check("B is found to be nobody else", state in FOUND_UNIQUE, state)

    async def tries_again(self) -> None:
        """Scene 2: A tries again at the same site, and under another NIK elsewhere."""
        self._chronicle.enter(2, "One resident tries again")
        here = self._resident("repeat-here")
        capture = self._player(here)
        snapshot = await capture.run()
        self._chronicle.check(
            "at site A the repeat is refused on the spot", snapshot["step"] == "refused", self._refusal(snapshot)
        )
        await capture.finish()
        self._story(here.key).outcome = "Refused at the desk by the site's own 1:N: LOCAL_DUPLICATE. No new record."
        await self._cannot_begin("the same NIK cannot even begin again", DESK, self._resident("first"), "CAPTURED_HERE")
        there = self._resident("repeat-there")
        result = await self._capture(there)
        await self._receipt(there, result)
        story = self._story(there.key)
        found = await self._theatre.hub.wait_for(story.capture_id, {_S.ADJUDICATE_RECORD, *FOUND_UNIQUE})
        self._chronicle.check("at site B the hub finds the repeat", found is _S.ADJUDICATE_RECORD, found)
        for officer in ("adj-1", "adj-2"):
            await self._theatre.hub.judge_same(officer, story.capture_id)
            self._chronicle.tell(officer, "decides: the same person, without seeing the other decision")
        state = await self._theatre.hub.wait_for(story.capture_id, {_S.DUPLICATE_RECORD})
        self._chronicle.check("two decisions make it a duplicate", state is _S.DUPLICATE_RECORD, str(state))
        standing = await self._theatre.hub.state_of(self._story("first").capture_id)
        self._chronicle.check("the first capture stands", standing is not _S.DUPLICATE_RECORD, f"A is {standing}")
        story.outcome = (
            "Found at the centre under another NIK, judged twice: DUPLICATE_RECORD. The first capture stands."
        )

    async def cards(self) -> None:
        """Scene 1, second half: chip encoded, face printed, read back, released."""
        self._chronicle.enter(1, "Cards: chip encoded, face printed, chip read back, released")
        station = Station(self._theatre, self._chronicle)
        for key in ("first", "second", "third"):
            story = self._story(key)
            await self._theatre.hub.wait_for(story.capture_id, {_S.CARD_SHIPPED})
            self._cards[key] = await station.make_card(
                self._resident(key), story, ribbon_out=key == "second", swapped=key == "third"
            )
            state = await self._theatre.hub.wait_for(story.capture_id, {_S.CARD_PRINTED})
            self._chronicle.check(
                f"card of {story.title} is printed and read back",
                state is _S.CARD_PRINTED,
                f"{state}, chip {self._cards[key]}",
            )

    async def handed_over(self) -> None:
        """Scene 1, the end: A and B get their cards while the hub is out of reach; receipts arrive later."""
        self._chronicle.enter(1, "Handed over with the hub out of reach")
        for key in ("first", "second", "third"):
            await self._consigned(self._cards[key])
        self._theatre.links[HANDOVER].cut()
        self._chronicle.tell(HANDOVER, "the line to the centre is cut")
        for key in ("first", "second"):
            resident, story = self._resident(key), self._story(key)
            snapshot = await self._come(resident, resident.nik, self._cards[key], "none")
            self._chronicle.check(
                f"{story.title}: 1:1 against the chip, with no network",
                snapshot["step"] == "berhasil",
                snapshot["step"],
            )
            state = await self._theatre.hub.state_of(story.capture_id)
            self._chronicle.check("the hub does not know yet", state is _S.CARD_PRINTED, str(state))
        await self._impostor()
        self._theatre.links[HANDOVER].restore()
        self._chronicle.enter(1, "The receipts arrive")
        for key in ("first", "second"):
            story = self._story(key)
            state = await self._theatre.hub.wait_for(story.capture_id, {_S.CARD_ISSUED})
            self._chronicle.check(f"{story.title}: the receipt arrived later", state is _S.CARD_ISSUED, str(state))
            story.outcome = "Captured, found unique, card printed and read back, handed over off-line: CARD_ISSUED."
        await self._impostor_at_the_hub()

    async def _impostor(self) -> None:
        """Scene 3: somebody else comes for C's card."""
        self._chronicle.enter(3, "An impostor at handover")
        impostor, third = self._resident("impostor"), self._resident("third")
        snapshot = await self._come(impostor, third.nik, self._cards["third"], "surrendered")
        result = snapshot["result"] or {}
        self._chronicle.check("the impostor gets nothing: gagal", snapshot["step"] == "gagal", snapshot["step"])
        self._chronicle.check(
            "the old card goes back", bool(result.get("old_card_returned")), str(result.get("old_card_returned"))
        )
        await self._cannot_begin("gagal opens no new capture where C was captured", DESK, third, "CAPTURED_HERE")
        await self._cannot_begin("nor at the desk that said gagal", HANDOVER, third, "NOT_THIS_ROLE")
        self._story("impostor").outcome = "gagal: nothing handed over, old card back, card retained, no new capture."

    async def _impostor_at_the_hub(self) -> None:
        self._chronicle.scene = 3
        story = self._story("third")
        history = await self._theatre.hub.wait_for_event(story.capture_id, "1:1 gagal, card retained")
        self._chronicle.check("the hub knows of the failed handover", history, "1:1 gagal, card retained")
        state = await self._theatre.hub.state_of(story.capture_id)
        self._chronicle.check("the record stays CARD_PRINTED", state is _S.CARD_PRINTED, str(state))
        card = await self._theatre.hub.card_state(self._cards["third"])
        self._chronicle.check("the card is retained and counted", card == "retained", card)
        story.outcome = "Somebody else came for this card: gagal. The card is retained, the record stays CARD_PRINTED."

    async def _cannot_begin(self, claim: str, unit: str, resident: Resident, code: str) -> None:
        """Try to begin a capture that must be refused with this code."""
        fields = {"nik": resident.nik, "operator": "op-desk", "papers": list(PAPERS)}
        try:
            await self._theatre.units[unit].post("/api/session", fields)
            seen = "a session began"
        except Refused as refusal:
            seen = refusal.code
        self._chronicle.check(claim, seen == code, seen)

    async def _capture(self, resident: Resident) -> Snapshot:
        printed = len(self._theatre.papers(resident.unit))
        snapshot = await self._player(resident).run()
        if snapshot["step"] != "saved":
            self._chronicle.check(
                f"{resident.title} is captured", False, f"{snapshot['step']}: {snapshot.get('advice_en')}"
            )
        story = self._story(resident.key)
        story.capture_id = str(snapshot["result"]["capture_id"])
        self._chronicle.tell(
            resident.unit, f"{resident.title} captured, verified, signed, signed off: {story.capture_id}"
        )
        await self._paper(resident.unit, story, printed, "proof of capture")
        return snapshot

    async def _receipt(self, resident: Resident, result: Snapshot) -> None:
        """Wait for the hub's signed receipt and close the session."""
        started = monotonic()
        row = await self._capture_row(resident.unit, result)
        while row["state"] not in FREED and monotonic() - started < TRANSFER_TIMEOUT_S:
            await asyncio.sleep(0.1)
            row = await self._capture_row(resident.unit, result)
        story = self._story(resident.key)
        story.packet_bytes = story.packet_bytes or int(row["length"])
        story.sealed_to_receipt_s = max(0, int(row["receipted_ms"]) - int(row["kept_ms"])) / 1000
        self._chronicle.check(
            f"{resident.title}: the hub's signed receipt frees the unit",
            row["state"] in FREED,
            f"packet {row['state']}, receipt: {row['disposition']}",
        )
        await self._theatre.units[resident.unit].post("/api/session/finish")
        self._theatre.stage.leave(resident.unit)

    async def _paper(self, unit: str, story: ResidentStory, before: int, *captions: str) -> None:
        """Wait for the papers that follow the first `before`, and keep their pictures."""
        papers = self._theatre.papers
        await until(captions[-1], lambda: len(papers(unit)) >= before + len(captions), PAPER_TIMEOUT_S)
        printed = papers(unit)[before:]
        self._chronicle.check(
            f"{story.title}: {' and '.join(captions)} printed", len(printed) == len(captions), f"{len(printed)} papers"
        )
        story.papers += [Picture(words, path.read_bytes()) for words, path in zip(captions, printed, strict=False)]

    async def _come(self, comer: Resident, nik: str, card_uid: str, old_card: str) -> Snapshot:
        operator = self._theatre.cast.staff["op-handover"]
        unit, printed = self._theatre.units[HANDOVER], len(self._theatre.papers(HANDOVER))
        snapshot = await Handover(unit, self._theatre.stage, comer, nik, operator).run(card_uid, old_card)
        self._chronicle.tell(HANDOVER, f"{comer.title} comes for card {card_uid}: {snapshot['step']}")
        captions = (
            ("receipt", "result for the letter") if snapshot["step"] == "berhasil" else ("result for the letter",)
        )
        await self._paper(HANDOVER, self._story(comer.key), printed, *captions)
        return snapshot

    async def _consigned(self, card_uid: str) -> None:
        """Wait until the desk knows the card."""
        end = monotonic() + SEARCH_TIMEOUT_S
        while monotonic() < end:
            cards = await self._theatre.units[HANDOVER].get("/api/consignments")
            if any(card["card_uid"] == card_uid for card in cards):
                return
            await asyncio.sleep(0.1)

    async def _carried(self, unit: str, total_bytes: int) -> None:
        link = self._theatre.links[unit]
        await until("bytes on the line", lambda: link.carried_up_bytes >= total_bytes, TRANSFER_TIMEOUT_S)

    async def _capture_row(self, unit: str, result: Snapshot) -> Snapshot:
        row: Snapshot = await self._theatre.units[unit].get(f"/api/captures/{result['result']['capture_id']}")
        return row

    async def _packet_bytes(self, unit: str, result: Snapshot) -> int:
        return int((await self._capture_row(unit, result))["length"])

    def _player(self, resident: Resident) -> Capture:
        unit = self._theatre.units[resident.unit]
        return Capture(unit, self._theatre.stage, resident, self._theatre.cast.staff["op-desk"])

    def _refusal(self, snapshot: Snapshot) -> str:
        return str((snapshot.get("result") or {}).get("code", snapshot["step"]))

    def _resident(self, key: str) -> Resident:
        return self._theatre.cast.residents[key]

    def _story(self, key: str) -> ResidentStory:
        return self._chronicle.residents[key]
