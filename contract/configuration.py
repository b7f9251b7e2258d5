"""A unit's configuration as a pair: what the hub desires, numbered, and what the unit reports it runs on.

The desired one travels sealed to the unit and signed by the hub, retained; the unit checks it before it takes it up and
reports its digest. It never carries a secret: keys come with the grant, and where they lie the unit knows itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from contract.commissioning_problems import Problem, Refusal
from contract.dispatch import encode
from contract.packet import Digest, Millis, Model, Name, Text

TABLES_MAX = 40
SETTINGS_MAX = 60
TableName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31})?$")]
SettingName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Setting = bool | Annotated[int, Field(ge=-(2**53), le=2**53)] | float | Annotated[str, Field(max_length=2000)]
Tables = Annotated[
    dict[TableName, Annotated[dict[SettingName, Setting], Field(max_length=SETTINGS_MAX)]],
    Field(max_length=TABLES_MAX),
]
# Tables that a configuration may set; who and where a unit is, and where its keys lie, comes with its certificate.
CONFIGURABLE = frozenset({"devices", "policy", "spool", "uplink", "screen", "queue", "enclosure", "time"})

# A name that says what it holds; where it ends so, it names the file in which the unit has it.
_SECRET_NAME = re.compile(
    r"(^|_)(password|passwd|passphrase|secret|credentials?|token|psk|(api|private|access)_?key)(_|$)"
)
_BY_FILE = ("_file", "_path")
# A private key, a user with a password in an address, a key of 256 bits or more in hexadecimal.
_SECRET_VALUE = re.compile(r"-----BEGIN |://[^/@\s]*:[^/@\s]*@|^[0-9A-Fa-f]{64,}$")


class Desired(Model):
    """Settings of one unit, by the tables of its unit.toml (`devices.finger`, `policy`, …). version counts from 1."""

    unit: Name
    site: Name
    version: Annotated[int, Field(ge=1, le=2**53)]
    tables: Tables

    def digest(self) -> bytes:
        """SHA-256 of the canonical encoding: what the unit reports once it runs on it."""
        return hashlib.sha256(encode(self)).digest()


def objection(tables: Tables) -> Refusal | None:
    """Why no unit may be told these tables: one is not for configuring, or something in them looks like a secret.

    Names the setting, never its value.
    """
    for name, table in tables.items():
        if name.split(".")[0] not in CONFIGURABLE:
            return Refusal(Problem.CONFIGURATION_INVALID, f"[{name}] is not configured from here.")
        for setting, value in table.items():
            named = _SECRET_NAME.search(setting) and not setting.endswith(_BY_FILE)
            if named or (isinstance(value, str) and _SECRET_VALUE.search(value)):
                return Refusal(Problem.CONFIGURATION_SECRET, f"[{name}] {setting}")
    return None


class Reported(Model):
    """What the unit made of the newest configuration it saw. digest, version: of the one it runs on."""

    version: Annotated[int, Field(ge=0, le=2**53)]
    digest: Annotated[bytes, Field(max_length=32)] = b""
    refused_version: Annotated[int, Field(ge=0, le=2**53)] = 0
    problem: Problem | None = None
    detail: Annotated[str, Field(max_length=1000)] = ""
    at_ms: Millis


class SelftestRow(Model):
    """One device as the unit's own test found it."""

    kind: Name
    driver: Text
    passed: bool
    model: Text = ""
    time_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 0
    next_step: Annotated[str, Field(max_length=500)] = ""


class SelftestReport(Model):
    """A unit's test of all its devices, on the configuration with this digest."""

    digest: Digest
    rows: Annotated[tuple[SelftestRow, ...], Field(max_length=40)]
    passed: bool
    at_ms: Millis


def as_toml(tables: Mapping[str, Mapping[str, Setting]]) -> str:
    """Tables of plain settings as TOML. JSON's strings, numbers and booleans are TOML's too, but for a bare DEL."""
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {_written(value)}\n" for key, value in table.items())
        for name, table in tables.items()
    )


def _written(value: Setting) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
