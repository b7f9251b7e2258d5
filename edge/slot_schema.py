"""The schema of settings that a release of the software brings: it lies in that release's slot, and goes with it.

So a unit that goes back to the slot of before has the schema that was in force before. One that came as a release of
its own lies beside the unit's keys, whatever runs; of the two the newer one counts. A release that brings none, or an
older one, takes over what the slot before it had: an update never loosens what settings are allowed by saying nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from contract.dispatch import decode_kept
from contract.durable_files import FILE_BYTES_MAX
from contract.errors import RemoteError
from contract.packet import Model
from contract.updates import SCHEMA_BYTES_MAX, FloorNumber
from edge.launcher import SCHEMA_FILE


class SlotSchema(Model):
    """The file. number: of the schema's own releases; 0 for none."""

    number: FloorNumber = 0
    content: Annotated[bytes, Field(max_length=SCHEMA_BYTES_MAX)] = b""


def schema_in(slot: Path) -> SlotSchema:
    """What a slot brings; none where there is nothing that can be read."""
    try:
        with (slot / SCHEMA_FILE).open("rb") as file:
            return decode_kept(SlotSchema, file.read(FILE_BYTES_MAX + 1), FILE_BYTES_MAX)
    except (OSError, RemoteError):
        return SlotSchema()
