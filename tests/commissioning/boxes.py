"""Boxes that knock at a real broker: the agent's own commissioning, on folders and media of their own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path

from contract.channel_mqtt import Backoff
from contract.clock import Clock, SystemClock
from contract.commissioning import CLAIM_FILE
from contract.durable_files import DurableFolder
from contract.technician import ApproveOrder, KnockRow, KnocksOrder, KnocksResult, Verb
from edge.box import Box
from edge.box_files import BoxFiles
from edge.commissioning import Commissioner, Pace
from edge.factory import Factory
from provisioning.claims import ClaimWish, make_claims
from provisioning.line import HubLine
from tests.commissioning.stage import SITE

QUICK = Pace(repeat_s=0.3, media_s=0.1, retest_s=0.5, reconnect=Backoff(first_s=0.05, max_s=0.5))


def make_commissioner(
    folder: Path, serial: str, media: Path, clock: Clock | None = None, pace: Pace = QUICK
) -> Commissioner:
    """A box at first boot, or after any power cut."""
    factory = Factory(serial=serial, model="test box", media=(media,))
    box = Box(BoxFiles(DurableFolder(folder)), factory, clock or SystemClock(), "rekam test")
    return Commissioner(box, factory, clock or SystemClock(), pace)


async def put_claims(line: HubLine, media: Sequence[Path], serials: Sequence[str] = (), life_h: int = 72) -> None:
    """Make claims with the technician's tool and put one on each media folder."""
    wishes = [ClaimWish(f"c-{secrets.token_hex(8)}", serial) for serial in serials or [""] * len(media)]
    claims = await make_claims(line, wishes, life_h)
    for claim, folder in zip(claims, media, strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CLAIM_FILE).write_bytes(claim.encoded)


async def knocking(line: HubLine, count: int = 1, state: str = "waiting") -> list[KnockRow]:
    """Wait until that many boxes knock in this state."""
    async with asyncio.timeout(60):
        while True:
            found = await line.ask(Verb.KNOCKS, KnocksOrder(), KnocksResult)
            rows = [row for row in found.rows if row.state == state]
            if len(rows) >= count:
                return rows
            await asyncio.sleep(0.1)


def approval(row: KnockRow, unit: str, **changes: object) -> ApproveOrder:
    """The order that approves a knocking box."""
    order = ApproveOrder(
        nonce=row.nonce, unit=unit, site=SITE, role="desk", serial=row.serial, key_digest=row.key_digest, tables={}
    )
    return order.model_copy(update=changes)
