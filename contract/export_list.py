"""The list that an export leaves beside its packets: whose they are and which, so that a visit can be accounted for.

It says nothing of a person: packet ids are hashes of sealed bytes. It is no proof either; what counts is the hub's word
on each packet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from contract.dispatch import decode
from contract.errors import RemoteError
from contract.packet import Millis, Model, Name

PACKETS_MAX = 20_000
PID_BYTES = 32
LIST_PREFIX, LIST_SUFFIX = "rekam-export-", ".cbor"
LIST_BYTES_MAX = PACKETS_MAX * PID_BYTES + 4096


class ExportList(Model):
    """What was copied from one unit. pids: SHA-256 of each packet's sealed bytes, one after another."""

    unit: Name
    site: Name
    at_ms: Millis
    pids: Annotated[bytes, Field(max_length=PACKETS_MAX * PID_BYTES)]

    @property
    def packets(self) -> tuple[str, ...]:
        """The packet ids, hexadecimal."""
        return tuple(self.pids[at : at + PID_BYTES].hex() for at in range(0, len(self.pids), PID_BYTES))


def list_of(unit: str, site: str, at_ms: int, packets: Sequence[str]) -> ExportList:
    """The list of these packets, the first PACKETS_MAX of them."""
    return ExportList(
        unit=unit, site=site, at_ms=at_ms, pids=b"".join(bytes.fromhex(pid) for pid in packets[:PACKETS_MAX])
    )


def file_name(unit: str) -> str:
    """The list's file beside the packets."""
    return f"{LIST_PREFIX}{unit}{LIST_SUFFIX}"


def read_list(content: bytes) -> ExportList:
    """A list from media. Raises RemoteError."""
    found = decode(ExportList, content, LIST_BYTES_MAX)
    if len(found.pids) % PID_BYTES:
        raise RemoteError("The list of an export is cut.", next_step="Export again at its unit.")
    return found
