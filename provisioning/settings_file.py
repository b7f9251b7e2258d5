"""A unit's settings as a technician writes them: the configurable tables of unit.toml, and nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from contract.configuration import CONFIGURABLE, Tables, objection
from contract.errors import DeviceError

FILE_BYTES_MAX = 256 * 1024


class _File(BaseModel):
    model_config = ConfigDict(defer_build=True, strict=True, hide_input_in_errors=True)
    tables: Tables


def load_settings_file(path: Path) -> Tables:
    """The tables of a TOML file, `[devices.finger]` under that name.

    Raises DeviceError that names what is wrong, or Refusal for what looks like a secret.
    """
    advice = (
        "Give only devices.*, policy, spool, uplink, screen, queue, enclosure, time of a unit.toml; see edge/README.md."
    )
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise DeviceError(f"{path} is too large.", next_step=advice)
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DeviceError(f"{path} cannot be read: {error}.", next_step=advice) from None
    unknown = sorted(set(fields) - CONFIGURABLE)
    if unknown:
        raise DeviceError(f"{path}: [{unknown[0]}] is not configured from here.", next_step=advice)
    tables: dict[str, Any] = {}
    for name, table in fields.items():
        inner = (
            {key: value for key, value in table.items() if isinstance(value, dict)} if isinstance(table, dict) else {}
        )
        tables |= {f"{name}.{key}": value for key, value in inner.items()}
        if not inner or len(inner) < len(table):
            tables[name] = {key: value for key, value in table.items() if key not in inner} if inner else table
    try:
        found = _File(tables=tables).tables
    except ValidationError as error:
        wrong = "; ".join(".".join(str(part) for part in item["loc"][1:]) for item in error.errors()[:5])
        raise DeviceError(f"{path}: {wrong} cannot be used.", next_step=advice) from None
    if refusal := objection(found):
        raise refusal
    return found
