"""What a technician reads where a serial device cannot be opened: the port, the reason once, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import DeviceError
from edge.sensors.serial_link import SerialLink


def test_a_port_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    port = tmp_path / "ttyUSB0"
    with pytest.raises(DeviceError) as missing:
        SerialLink(str(port), 57600)
    assert missing.value.message == f"Serial port {port} cannot be opened: No such file or directory."
    assert "cable" in missing.value.next_step


def test_a_file_is_no_port(tmp_path: Path) -> None:
    port = tmp_path / "notes.txt"
    port.touch()
    with pytest.raises(DeviceError, match="cannot be opened: Could not configure port"):
        SerialLink(str(port), 57600)
