"""The one root of every error, with a branch for each party who has to act next.

Biometric outcomes (non-match, poor quality, duplicate) are values, never exceptions.
A driver or codec translates a library's errors once, where they enter the product.
"""

from __future__ import annotations


class RekamError(Exception):
    """Root of the product's errors: says what happened and what to do next.

    message: what happened, in one sentence without personal data.
    next_step: what the person who reads it should do.
    """

    default_next_step = "Report this message to the technician."

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step or self.default_next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}"

    def diagnostics(self) -> dict[str, str]:
        """The error as fields for a log line, a screen or an answer to a peer."""
        return {"error": type(self).__name__, "message": self.message, "next_step": self.next_step}


class CaptureRetry(RekamError):
    """The person in front of the device acts next. `next_step` is the advice to show them."""

    default_next_step = "Please try again."


class DeviceError(RekamError):
    """The technician acts next: a device is missing, broken or speaks nonsense."""

    default_next_step = "Check cable and power of the device, then run 'rekam-edge selftest'."


class RemoteError(RekamError, ValueError):
    """The peer sent something invalid. Quarantine it; sending the same bytes again cannot help."""

    default_next_step = "Keep the bytes in quarantine and report them to the sender's technician."


class TransientError(RekamError):
    """The system acts next: back off and try again, nothing is lost meanwhile."""

    default_next_step = "The system tries again by itself."
