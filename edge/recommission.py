"""Commissions a unit again under a new claim, with the keys and data that it has: after a revocation, or half a year.

The unit's packets and records stay; the configuration in force is put aside, and the hub sends it anew. A cut leaves
either the unit as it was or a box that knocks, and the command may be given again.
"""

from __future__ import annotations

from pathlib import Path

from contract.clock import Clock
from contract.commissioning import CLAIM_BYTES_MAX
from contract.durable_files import DurableFolder
from contract.errors import DeviceError
from edge.box import Box
from edge.box_files import CONFIG, BoxFiles
from edge.config import load_config
from edge.data_lock import only_agent
from edge.factory import load_factory
from edge.software import software
from edge.unit_signer import open_chip_signer

BEFORE = "unit.before.toml"


def recommission(path: Path, claim: Path, clock: Clock) -> str:
    """Make the unit of this unit.toml knock with a claim at its next start; its name until now.

    Raises Refusal for a claim that cannot serve, DeviceError where the agent runs or the unit's files lie elsewhere.
    """
    config, folder = load_config(path), path.absolute().parent
    factory = load_factory(folder)
    if path.name != CONFIG or config.unit.data_dir != folder / "data" or config.broker.certificate.parent != folder:
        raise DeviceError(
            "Only a unit whose unit.toml, keys and data lie in one folder is commissioned again.",
            next_step=f"Move keys and data beside {path}, the data into 'data', and correct the paths in it.",
        )
    if config.keys.sign is None and not factory.identity:
        raise DeviceError(
            "The unit signs with an identity chip that factory.toml does not name.",
            next_step="Copy [devices.identity] of unit.toml to [identity] in factory.toml.",
        )
    try:
        with claim.open("rb") as file:
            content = file.read(CLAIM_BYTES_MAX + 1)
    except OSError as error:
        raise DeviceError(
            f"{claim} cannot be read ({error.strerror}).", next_step="Name the rekam-claim.bin on the media."
        ) from None
    with only_agent(config.unit.data_dir), only_agent(folder):
        files = DurableFolder(folder)
        chip = open_chip_signer(factory.identity) if factory.identity else None
        Box(BoxFiles(files, chip, factory.identity), factory, clock, software()).take_claim(content)
        files.write(BEFORE, path.read_bytes())
        files.remove(CONFIG)
    return config.unit.id
