"""What a box is before anybody has told it who it will be: serial number, model, where claim media may be plugged in.

`factory.toml` beside the later unit.toml may say it; otherwise the machine is asked (device tree of a Raspberry Pi,
then the machine id of systemd).
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contract.errors import DeviceError
from contract.packet import Name, Text

FILE = "factory.toml"
FILE_BYTES_MAX = 16 * 1024
_SERIAL_PLACES = (Path("/sys/firmware/devicetree/base/serial-number"), Path("/etc/machine-id"))
_MODEL_PLACES = (Path("/sys/firmware/devicetree/base/model"), Path("/sys/class/dmi/id/product_name"))
_MEDIA = (Path("/media"), Path("/run/media"), Path("/mnt"))
Setting = str | int | float | bool


class Factory(BaseModel):
    """A box. media: folders under which claim media appear; identity: an identity chip as [devices.identity] has it."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", hide_input_in_errors=True)
    serial: Name
    model: Text = "unknown"
    media: tuple[Path, ...] = _MEDIA
    screen_port: Annotated[int, Field(ge=0, le=65535)] = 8101
    identity: dict[Name, Setting] = Field(default_factory=dict)


def load_factory(folder: Path) -> Factory:
    """The box that this is. Raises DeviceError where the file is wrong, or the machine has no serial number."""
    path = folder / FILE
    fields: dict[str, object] = {}
    try:
        if path.is_file():
            if path.stat().st_size > FILE_BYTES_MAX:
                raise DeviceError(f"{path} is too large.", next_step="Give the box's own factory.toml.")
            fields = tomllib.loads(path.read_text(encoding="utf-8"))
        fields.setdefault("serial", _first(_SERIAL_PLACES))
        fields.setdefault("model", _first(_MODEL_PLACES) or "unknown")
        return Factory.model_validate(fields)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise DeviceError(
            f"{path} does not say what this box is ({type(error).__name__}).",
            next_step='Write serial = "…", the number on the box, into it.',
        ) from None


def _first(places: tuple[Path, ...]) -> str:
    for place in places:
        try:
            found = re.sub(r"[^A-Za-z0-9._-]+", "-", place.read_text(encoding="utf-8").strip("\0 \n")).strip("-")
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            return found[:64]
    return ""
