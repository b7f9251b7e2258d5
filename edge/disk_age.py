"""Whether this unit's disk is an older copy of itself (M67): a restored image would revive leases, tries and PINs.

An identity chip that counts, and cannot be made to forget, counts the unit's starts; before each start the disk notes
what the chip will say after it. A disk that expects less than the chip has counted was put back. Nobody works there
until the hub has told the time, and with it who may work. What an image holds of the very start that it is put back
within cannot be told apart, and without such a chip nothing can.
"""

from __future__ import annotations

import structlog

from contract.clock import Clock
from contract.errors import DeviceError
from edge import roster
from edge.sealed_store import Change, SealedStore
from edge.trusted_time import TrustedTime
from edge.unit_signer import StartCounter

KIND, EXPECTED, DOUBT = "disk-age", "expected", "doubt"

log = structlog.get_logger("edge.disk_age")


def open_time(store: SealedStore, clock: Clock, counter: StartCounter | None) -> TrustedTime:
    """The time for leases, in doubt where the disk was put back. Counts this start; blocks."""
    doubted = counter is not None and _was_put_back(store, counter)
    return TrustedTime(store, clock, (lambda: store.remove(KIND, DOUBT)) if doubted else None)


def _was_put_back(store: SealedStore, counter: StartCounter) -> bool:
    kept = store.get(KIND, EXPECTED)
    try:
        counted = counter.starts()
        is_new = kept is None and store.count(roster.KIND) == 0
        is_older = not is_new and (kept is None or counted > int.from_bytes(kept, "big"))
        doubted = is_older or store.get(KIND, DOUBT) is not None
        changes = [Change(KIND, EXPECTED, (counted + 1).to_bytes(8, "big"))]
        store.change((*changes, Change(KIND, DOUBT, b"\1")) if doubted else changes)
        counter.count_start()
    except DeviceError as error:
        log.warning("the chip does not count starts", **error.diagnostics())
        return kept is not None
    if is_older:
        log.critical("alarm", message="This disk is an older copy of itself.", next_step="Connect the unit to the hub.")
    return doubted
