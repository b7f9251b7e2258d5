"""What a process costs, as Linux tells it: memory by proc(5) smaps_rollup, CPU by stat."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Memory in MiB (resident, and the proportional share of it), and CPU seconds since the process began."""

    rss_mib: float
    pss_mib: float
    cpu_s: float


def cost_of(pid: int) -> Cost:
    """What this process costs now."""
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, value, *_ = line.split()
        sizes[name] = int(value) / 1024
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return Cost(sizes["Rss:"], sizes["Pss:"], (int(stat[11]) + int(stat[12])) / TICKS)
