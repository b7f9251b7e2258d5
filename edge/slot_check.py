"""A release looks at itself before it is started in a slot: python -m edge.slot_check VERSION --config unit.toml

Run by the slot's own interpreter, when it is new and when it is to take over again. It imports the agent, reads the
unit's settings as the release understands them, looks whether it reads the form of the unit's data, and compiles the
matcher's kernels, so that the first citizen does not wait for them. Devices are tried by the trial.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from contract.errors import DeviceError, RekamError
from edge import data_format
from edge.config import load_config
from edge.software import version

PARTS = ("edge.agent", "edge.first_boot", "edge.comparison_worker", "edge.panel_update", "edge.card_printer")


def check(wanted: str, config: Path, *, warm: bool = True) -> None:
    """Raises RekamError or ImportError for a release that cannot be what it says, or cannot serve this unit."""
    if version() != wanted:
        raise DeviceError(f"The release holds rekam {version()} and says that it is {wanted}.")
    for part in PARTS:
        importlib.import_module(part)
    data_format.check(load_config(config).unit.data_dir)
    if warm:
        from edge.examination import warm as warm_kernels

        warm_kernels()


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, and say what is wrong in one line."""
    parser = argparse.ArgumentParser(prog="python -m edge.slot_check", description="Check a release in its slot.")
    parser.add_argument("version", help="that the release says it is")
    parser.add_argument("--config", type=Path, required=True, help="the unit's TOML file")
    parser.add_argument("--cold", action="store_true", help="do not compile the matcher's kernels")
    options = parser.parse_args(arguments)
    try:
        check(options.version, options.config, warm=not options.cold)
    except (RekamError, ImportError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
