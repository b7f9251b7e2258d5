"""A slap scanner that is driven by its maker's own program: a picture file of four fingers or two thumbs, taken apart.

The files are watched as the single-finger driver watches them; the fingers are told apart by this product's own
segmentation.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from contract.clock import Clock
from contract.errors import CaptureRetry, DeviceError, RemoteError
from contract.finger_image import SLAP_FINGERS, SlapPosition
from contract.sample import FingerPosition
from edge.matcher_lite.slap_segment import Slap, SlapAdvice, segment_slap
from edge.sensors.fingerprint_folder import FolderScanner
from edge.sensors.interface import DeviceInfo, Frame


class FolderSlapScanner:
    """A SlapScanner. The settings are those of FolderScanner."""

    def __init__(
        self,
        *,
        folder: str,
        ppi: int = 500,
        inverted: bool = False,
        keep: bool = False,
        poll_interval_s: float = 0.2,
        clock: Clock | None = None,
    ) -> None:
        self._pictures = FolderScanner(
            folder=folder, ppi=ppi, inverted=inverted, keep=keep, poll_interval_s=poll_interval_s, clock=clock
        )

    def open(self) -> DeviceInfo:
        """Look at the folder; what lies there already is passed over. Raises DeviceError."""
        return self._pictures.open()

    def close(self) -> None:
        """Stop looking."""
        self._pictures.close()

    def capture(
        self, slap: SlapPosition, missing: Collection[FingerPosition], timeout_s: float, cancel: threading.Event
    ) -> Mapping[FingerPosition, Frame]:
        """The fingers of the next picture, upright, each as its own frame.

        Raises CaptureRetry when no picture came in time, or when its fingers are not those that were asked for.
        """
        frame = self._pictures.capture(FingerPosition.UNKNOWN, timeout_s, cancel)
        wanted = [finger for finger in SLAP_FINGERS[slap] if finger not in missing]
        try:
            found = segment_slap(frame.pixels, frame.ppi, slap)
        except RemoteError as error:
            raise DeviceError(f"The slap picture cannot be used: {error.message}", next_step=error.next_step) from error
        _check(found, len(wanted), len(SLAP_FINGERS[slap]))
        return {
            position: Frame(
                pixels=finger.image, ppi=frame.ppi, metadata={"finger_position": str(int(position)), "slap": slap.name}
            )
            for position, finger in zip(wanted, found.fingers, strict=True)
        }


def _check(found: Slap, wanted: int, whole: int) -> None:
    """That as many fingers lie there as were asked for, and nothing is wrong with how. Raises CaptureRetry."""
    expected = {SlapAdvice.TOO_FEW_FINGERS} if wanted < whole else set()
    advice = [item for item in found.advice if item not in expected]
    if len(found.fingers) != wanted and not advice:
        advice = [SlapAdvice.TOO_MANY_FINGERS if len(found.fingers) > wanted else SlapAdvice.TOO_FEW_FINGERS]
    if advice:
        raise CaptureRetry("The slap was not taken well.", next_step=advice[0].english)
