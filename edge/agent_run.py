"""Runs a unit's agent from its unit.toml: as it is, or with what is on trial, until it is stopped or begins anew.

A configuration on trial is tried in the process's own place; a release is another slot's code, so that beginning with
one, or going back from it, is the launcher's start. Never both at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from contract.clock import SystemClock
from edge import data_format
from edge.agent import Agent
from edge.bounded_clock import BoundedClock
from edge.config import load_config
from edge.configuration import Configurations
from edge.configuration_trial import ConfigurationOnTrial, replace_process
from edge.data_lock import only_agent
from edge.log_ring import LogRing
from edge.service_notice import ServiceNotice
from edge.slots import slots_of
from edge.trial import prove
from edge.update_record import UPDATES_FOLDER, Updates
from edge.update_trial import ReleaseOnTrial

LAST_SIGNAL_S = 0.05  # for the loop to hear one that came while the parts ended


def run_agent(path: Path, notice: ServiceNotice, ring: LogRing | None = None) -> None:
    """Run the unit of this unit.toml until SIGTERM or SIGINT. Raises RekamError."""
    data_dir = load_config(path).unit.data_dir
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    clock = BoundedClock(SystemClock(), data_dir)
    configurations = Configurations(path, clock)
    with only_agent(data_dir):
        data_format.check(data_dir)
        updates = Updates(data_dir / UPDATES_FOLDER, slots_of(os.environ), clock)
        configurations.schema_of_release = updates.schema_of_release
        if not updates.on_trial:
            data_format.note(data_dir)
        asyncio.run(_run(configurations, updates, clock, notice, ring))


async def _run(
    configurations: Configurations, updates: Updates, clock: BoundedClock, notice: ServiceNotice, ring: LogRing | None
) -> None:
    """One life of the agent; where it begins anew, the process is replaced, whatever its threads still wait for."""
    slots = updates.slots
    is_release = updates.settle()
    if slots is not None and slots.is_left:
        slots.launch()
    config, trial = (configurations.config, None) if is_release else configurations.start()
    agent = Agent(config, configurations, updates, clock, notice, ring)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, agent.end)
    proved = True
    if is_release and slots is not None:
        proved = await prove(agent, ReleaseOnTrial(agent, updates, slots), clock)
    elif trial is not None:
        proved = await prove(agent, ConfigurationOnTrial(agent, trial, configurations), clock)
    else:
        await agent.run()
    if not proved:
        agent.begin_again()
    await asyncio.sleep(LAST_SIGNAL_S)
    clock.keep()
    if not agent.begins_again:
        return
    notice.begins_again()
    if slots is not None and slots.boot.slot != slots.own:
        slots.launch()
    replace_process()
