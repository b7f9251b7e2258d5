"""What people do with their hands in the demo: stand before a camera, lay a finger, sign, put a card on a reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.sample import FingerPosition, IrisPosition
from virtual.card_slot import SlotControl
from virtual.demo.cast import Cast, Resident, Staff
from virtual.devices import tell


@dataclass(frozen=True, slots=True)
class Stage:
    """The devices of every unit and the card slots of those that have one."""

    control: Path
    cast: Cast
    slots: Mapping[str, SlotControl]

    def sit_down(self, unit: str, who: Resident) -> None:
        """Face and eyes are before the cameras, the pen in the hand."""
        eyes = {
            "right": str(self.cast.eye(who, IrisPosition.RIGHT, 1)),
            "left": str(self.cast.eye(who, IrisPosition.LEFT, 1)),
        }
        tell(self.control, {"unit": unit, "face": {"image": str(self.cast.face(who))}})
        tell(self.control, {"unit": unit, "iris": eyes})

    def lay_finger(self, unit: str, who: Resident | Staff, position: FingerPosition, impression: int) -> None:
        """Lift whatever lies on the glass and lay this finger."""
        image = self.cast.finger(who, position, impression)
        tell(self.control, {"unit": unit, "remove": "finger"})
        tell(self.control, {"unit": unit, "finger": {"image": str(image)}})

    def sign(self, unit: str, who: Resident | Staff, signing: int) -> None:
        """Write one's name on the tablet."""
        pen = {"person": [who.person.seed, who.person.index], "impression": signing}
        tell(self.control, {"unit": unit, "signature": pen})

    def leave(self, unit: str) -> None:
        """Nobody is there any more."""
        tell(self.control, {"unit": unit, "remove": "all"})
