"""What every request to the unit's API shares: closed bodies, bounded fields, bounded waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import Body, Query
from pydantic import BaseModel, ConfigDict, Field

WAIT_DEFAULT_S = 0.3
WAIT_MAX_S = 60.0
WaitS = Annotated[float, Query(ge=0, le=WAIT_MAX_S)]
FieldText = Annotated[str, Field(max_length=200)] | int
ActionFields = Annotated[dict[str, FieldText], Body(max_length=10)]


class Form(BaseModel):
    """Base of the bodies: closed to unknown fields."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


def texts(fields: Mapping[str, FieldText] | None) -> dict[str, str]:
    """An action's fields as the step tables take them."""
    return {name: str(value) for name, value in (fields or {}).items()}
