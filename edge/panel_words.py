"""The controller's answers, events and snapshots in the unit's words; what each refusal asks of whom."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum

from contract.errors import CaptureRetry, DeviceError, RekamError, RemoteError, TransientError
from firmware import dictionary

ALARMS = frozenset({"tamper-open", "door-open", "overheat", "jam", "software-fault", "fell-back", "factory-reset"})

# Result → who acts next, what happened, what to do.
_REFUSALS: dict[int, tuple[type[RekamError], str, str]] = {
    dictionary.RESTING: (TransientError, "The light rests for the eye's sake.", "Wait a moment."),
    dictionary.TOO_HOT: (DeviceError, "The near-infrared light is too hot.", "Let it cool; check its heat sink."),
    dictionary.NO_THERMOMETER: (
        DeviceError, "The light's thermometer is cut or shorted, so the light stays dark.", "Check the thermistor.",
    ),
    dictionary.NO_SUCH_PART: (DeviceError, "The controller has no such part or does not allow that value.", ""),
    dictionary.BUSY: (TransientError, "The hopper or the gate is moving.", "Ask again when it rests."),
    dictionary.JAMMED: (DeviceError, "The hopper or the gate is jammed.", "Free it by hand, then home it."),
    dictionary.NOT_HOMED: (DeviceError, "The hopper or the gate has not been homed.", "Home it first."),
    dictionary.EMPTY: (CaptureRetry, "No card came out of the hopper.", "Fill the hopper, or free a card in it."),
    dictionary.BAD_IMAGE: (RemoteError, "The update is damaged or no firmware image.", "Build it anew."),
    dictionary.NOT_GENUINE: (RemoteError, "The update was not made for this controller.", "Use this board's key."),
    dictionary.NO_KEY: (
        DeviceError, "The controller has no key to verify an update by.", "Run 'rekam-provision flash-controller'.",
    ),
    dictionary.TOO_OLD: (RemoteError, "The update is older than what the controller runs.", "Use a newer one."),
    dictionary.BUTTON_NEEDED: (
        CaptureRetry, "A factory reset needs a hand on the board.", "Hold its button for 3 s, then ask again.",
    ),
    dictionary.FLASH_FAILED: (DeviceError, "The controller's flash did not take the write.", "Replace the board."),
    dictionary.STOPPED: (
        TransientError, "The controller stopped a move, because it did not hear the unit.", "Home it, then ask again.",
    ),
    dictionary.OUT_OF_ORDER: (TransientError, "The update was interrupted.", "Begin it again."),
}  # fmt: skip


class PanelState(StrEnum):
    """How the controller is. silent: it was there and is not heard; foreign: it speaks another dictionary."""

    ABSENT = "absent"
    SILENT = "silent"
    FOREIGN = "foreign"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class PanelEvent:
    """Something that the controller keeps until it is journaled. age_s: None for one of an earlier start."""

    log_id: int
    number: int
    name: str
    detail: int
    age_s: int | None


@dataclass(frozen=True, slots=True)
class PanelSnapshot:
    """The controller's own picture of itself. celsius: at the near-infrared light; None where it has no thermometer."""

    inputs: int
    celsius: int | None
    light_percent: int
    hopper: int
    gate: int
    uptime_s: int
    free_bytes: int
    safe: bool

    @property
    def presence(self) -> bool:
        """Whether somebody stands before the unit."""
        return bool(self.inputs & dictionary.IN_PRESENCE)

    @property
    def tamper_open(self) -> bool:
        """Whether the enclosure is open."""
        return bool(self.inputs & dictionary.IN_TAMPER)

    @property
    def door_open(self) -> bool:
        """Whether the service door is open."""
        return bool(self.inputs & dictionary.IN_DOOR)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the board is. version: as in firmware/version.py; on_trial: an update that has not been confirmed."""

    serial: str
    version: int
    slot: int
    has_key: bool
    on_trial: bool
    boots: int
    free_bytes: int


def version_text(version: int) -> str:
    """A version as people write it."""
    return f"{version >> 16}.{version >> 8 & 255}.{version & 255}"


def parse_event(body: bytes) -> PanelEvent | None:
    """An EVENT message, or None where it has another layout."""
    if len(body) != struct.calcsize(dictionary.EVENT_LAYOUT):
        return None
    log_id, number, code, detail, age_s = struct.unpack(dictionary.EVENT_LAYOUT, body)
    name = dictionary.EVENTS.get(code, f"event-{code}")
    return PanelEvent(log_id, number, name, detail, None if age_s == dictionary.AGE_UNKNOWN_S else age_s)


def parse_snapshot(body: bytes) -> PanelSnapshot | None:
    """A STATUS message, or None where it has another layout."""
    if len(body) != struct.calcsize(dictionary.STATUS_LAYOUT):
        return None
    inputs, celsius, light, hopper, gate, uptime_s, free, safe = struct.unpack(dictionary.STATUS_LAYOUT, body)
    known = None if celsius == dictionary.NO_TEMPERATURE else celsius
    return PanelSnapshot(inputs, known, light, hopper, gate, uptime_s, free, bool(safe))


def parse_identity(body: bytes) -> Identity:
    """The answer to DO_IDENTIFY. Raises DeviceError where it has another layout."""
    if len(body) != struct.calcsize(dictionary.IDENTITY_LAYOUT):
        raise DeviceError("The controller answers in another layout.", next_step="Update its firmware.")
    serial, version, slot, flags, boots, free_bytes, _ = struct.unpack(dictionary.IDENTITY_LAYOUT, body)
    return Identity(
        serial.hex(), version, slot, bool(flags & dictionary.IDENTITY_HAS_KEY),
        bool(flags & dictionary.IDENTITY_ON_TRIAL), boots, free_bytes,
    )  # fmt: skip


def refusal(command: int, result: int, data: bytes) -> RekamError:
    """What a result other than OK means for whoever asked."""
    kind, message, next_step = _REFUSALS.get(
        result, (DeviceError, f"The controller refused command {command} with {result}.", "Update its firmware.")
    )
    if result == dictionary.RESTING and len(data) == 4:
        next_step = f"Wait {struct.unpack('<I', data)[0] / 1000:.1f} s."
    return kind(message, next_step=next_step)
