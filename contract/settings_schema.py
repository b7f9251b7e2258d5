"""What settings the centre allows beyond what the software does: a JSON Schema over unit.toml's tables, as a release.

It tightens without new software: which drivers a fleet uses, how low a threshold may be. A configuration that it does
not allow is refused before it is tried. It came signed: by itself, and lies beside the unit's keys (SCHEMA_FILE), or
with a release of the software, and lies in its slot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

import fastjsonschema

from contract.errors import RemoteError
from contract.update_problems import UpdateProblem, UpdateRefusal
from contract.updates import SCHEMA_BYTES_MAX

SCHEMA_FILE = "settings-schema.json"
_NEXT_STEP = "Make the schema anew (JSON Schema, draft 7 or older, without references to other documents)."


class SettingsSchema:
    """One schema, compiled. Raises RemoteError for what is none."""

    def __init__(self, content: bytes) -> None:
        if len(content) > SCHEMA_BYTES_MAX:
            raise RemoteError(f"A schema of {len(content)} bytes is too long.", next_step=_NEXT_STEP)
        try:
            found = json.loads(content)
            if not isinstance(found, dict):
                raise RemoteError("The schema is no JSON object.", next_step=_NEXT_STEP)
            self._validate = fastjsonschema.compile(found, handlers=_NoDocuments())
            self._validate({})
        except fastjsonschema.JsonSchemaValueException:
            pass  # it asks for settings, which is its right; one that asks itself without end has shown it by now
        except RemoteError:
            raise
        except Exception as error:  # noqa: BLE001 - the compiler raises whatever a strange schema makes Python raise
            raise RemoteError(f"The schema cannot be used ({type(error).__name__}).", next_step=_NEXT_STEP) from None

    def objection(self, tables: Mapping[str, Mapping[str, Any]]) -> str:
        """What these tables (`devices.finger`, `policy`, …) break first, by name and rule; nothing if none."""
        nested: dict[str, Any] = {}
        for name, table in tables.items():
            place = nested
            for part in name.split("."):
                place = place.setdefault(part, {})
            place.update(table)
        try:
            self._validate(nested)
        except fastjsonschema.JsonSchemaValueException as error:
            return f"{'.'.join(map(str, error.path[1:])) or 'unit.toml'}: {error.rule} {error.rule_definition}"[:300]
        except RecursionError:
            return "unit.toml: the centre's schema of settings asks itself without end; publish it anew"
        return ""


def read_schema(content: bytes) -> SettingsSchema:
    """A schema out of a release. Raises UpdateRefusal (RELEASE_INVALID)."""
    try:
        return SettingsSchema(content)
    except RemoteError as error:
        raise UpdateRefusal(UpdateProblem.RELEASE_INVALID, str(error)) from None


class _NoDocuments(dict[str, Any]):
    """Answers for every scheme of an address, so that the library opens none."""

    def __contains__(self, _scheme: object) -> bool:
        return True

    def __getitem__(self, scheme: str) -> NoReturn:
        raise RemoteError(f"The schema points to another document ({scheme[:20]}:).", next_step=_NEXT_STEP)
