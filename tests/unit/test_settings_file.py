"""A technician's settings file: every table that a unit may be told, those with tables inside them too."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from contract.configuration import as_toml
from contract.errors import DeviceError
from edge.config import EnclosureTable, QueueTable
from provisioning.settings_file import load_settings_file

SETTINGS = """
[devices.ticket]
driver = "serial"
port = "/dev/serial/by-id/usb-printer"
[queue]
capture_prefix = "K"
[enclosure]
door = 26
[enclosure.lamps]
ready = 17
finger = 6
"""


def test_queue_and_enclosure_reach_the_unit_as_it_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(SETTINGS)
    tables = load_settings_file(path)
    assert set(tables) == {"devices.ticket", "queue", "enclosure", "enclosure.lamps"}
    read = tomllib.loads(as_toml(tables))
    assert EnclosureTable.model_validate(read["enclosure"]).lamps == {"ready": 17, "finger": 6}
    assert QueueTable.model_validate(read["queue"]).capture_prefix == "K"
    assert read["devices"]["ticket"]["driver"] == "serial"


@pytest.mark.parametrize("text", ["queue = 3", "[keys]\nsign = 'x'", "[enclosure.lamps.deep]\nready = 1", "[queue"])
def test_what_is_no_settings_file_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(DeviceError) as caught:
        load_settings_file(path)
    assert "enclosure" in caught.value.next_step
