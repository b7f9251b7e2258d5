"""The table `[uplink]` of unit.toml: how patiently and how fast a unit sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contract.errors import DeviceError
from contract.packet import Name
from contract.transfer import WINDOW_CHUNKS

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class UplinkSettings(BaseModel):
    """How a unit sends. Unknown keys are errors.

    window: chunks on their way at once; backoff_*: after the n-th try, uniform in 0 … min(max, first·2ⁿ);
    answer_timeout_s: for a need after an offer, and for the receipt after the last chunk; failures_max: of a packet's
    own, before it is set aside; release_check_s: how often packets that are stored, but not freed, are asked about;
    idle_s: how often the spool is looked into when nobody called `wake`.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    unit: Name
    site: Name
    window: Annotated[int, Field(ge=1, le=64)] = WINDOW_CHUNKS
    backoff_first_s: Seconds = 2.0
    backoff_max_s: Seconds = 300.0
    answer_timeout_s: Seconds = 20.0
    failures_max: Annotated[int, Field(ge=1, le=100)] = 3
    release_check_s: Seconds = 300.0
    idle_s: Seconds = 5.0
    status_interval_s: Seconds = 30.0


def uplink_settings(unit: str, site: str, table: Mapping[str, Any]) -> UplinkSettings:
    """The settings from unit.toml's `[uplink]`, which may be empty. Raises DeviceError that names the wrong key."""
    try:
        return UplinkSettings.model_validate({**table, "unit": unit, "site": site})
    except ValidationError as error:
        problems = "; ".join(f"uplink.{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors()[:5])
        raise DeviceError(f"unit.toml: {problems}.", next_step="Correct the table [uplink].") from None
