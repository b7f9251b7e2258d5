"""What happened in a demo, gathered while it runs: the report is drawn from this and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the story. at_s: seconds since the demo's start; scene: 1–4 as the report counts them, 0 outside."""

    at_s: float
    scene: int
    actor: str
    text: str


@dataclass(frozen=True, slots=True)
class Check:
    """One thing the demo claims, whether it was so, and what was seen."""

    scene: int
    claim: str
    holds: bool
    seen: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture for the report: PNG bytes with a caption."""

    caption: str
    png: bytes


@dataclass(slots=True)
class ResidentStory:
    """One resident's way. history: the hub's rows (state, event, time); clocks: the hub's laps (hub.clocks.Lap)."""

    key: str
    title: str
    name: str
    nik: str
    colour: str
    capture_id: str = ""
    outcome: str = ""
    history: list[Mapping[str, Any]] = field(default_factory=list)
    clocks: list[Mapping[str, Any]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    faces: list[Picture] = field(default_factory=list)
    papers: list[Picture] = field(default_factory=list)
    packet_bytes: int = 0
    sealed_to_receipt_s: float = 0.0


@dataclass(slots=True)
class Chronicle:
    """The whole story, told to the terminal as it happens."""

    console: Console
    started: float = field(default_factory=monotonic)
    happenings: list[Happening] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    residents: dict[str, ResidentStory] = field(default_factory=dict)
    simulated: list[tuple[str, str]] = field(default_factory=list)
    transfer_rows: list[tuple[str, str]] = field(default_factory=list)
    scene: int = 0

    def enter(self, scene: int, title: str) -> None:
        """Begin a scene."""
        self.scene = scene
        self.console.rule(f"[bold]{scene}  {title}" if scene else f"[bold]{title}", align="left")

    def tell(self, actor: str, text: str) -> None:
        """Something happened."""
        at_s = monotonic() - self.started
        self.happenings.append(Happening(at_s, self.scene, actor, text))
        self.console.print(f"[dim]{at_s:6.1f} s[/dim]  [cyan]{actor:12}[/cyan] {text}")

    def check(self, claim: str, holds: bool, seen: str) -> None:
        """Something was claimed and looked at; a claim that does not hold fails the demo at its end."""
        self.checks.append(Check(self.scene, claim, holds, seen))
        mark = "[green]✔[/green]" if holds else "[bold red]✘[/bold red]"
        self.console.print(f"          {mark} {claim} [dim]({seen})[/dim]")

    @property
    def failed(self) -> Sequence[Check]:
        """The claims that did not hold."""
        return [check for check in self.checks if not check.holds]


Pixels = NDArray[np.uint8]
