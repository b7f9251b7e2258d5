"""The campaign's picture: kills by step of the protocol and by victim, as one HTML page without any other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Protocol

from contract.transfer import Step
from tests.fault.audit import Audit

COLOURS = {"unit": "#2b6cb0", "hub": "#2f855a", "broker": "#c05621"}
BAR_PX, ROW_PX, LABEL_PX = 26, 24, 330


class TallyView(Protocol):
    """What the page shows of a campaign."""

    packets: int
    seed: int
    kills: dict[str, dict[str, int]]
    chunks_sent: int
    chunks_needed: int
    seconds: float

    @property
    def kill_count(self) -> int: ...

    @property
    def resent_bytes(self) -> int: ...


class VerdictView(Protocol):
    """One power-cut run: which sync was left out (empty for none), and what was seen."""

    @property
    def subject(self) -> str: ...

    @property
    def omitted(self) -> str: ...

    @property
    def cuts(self) -> int: ...

    @property
    def losses(self) -> int: ...

    @property
    def example(self) -> str: ...

    @property
    def as_expected(self) -> bool: ...


def write_report(path: Path, tally: TallyView, found: Audit, verdicts: Sequence[VerdictView]) -> None:
    """Write the page."""
    path.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Faults in the transfer</title>
<style>body{{font:15px/1.5 system-ui;max-width:66em;margin:2em auto;color:#1a202c}}
table{{border-collapse:collapse}}td,th{{padding:.2em .8em;text-align:left;border-bottom:1px solid #e2e8f0}}
.bad{{color:#c53030;font-weight:600}}</style>
<h1>Faults in the transfer</h1>
<p>{tally.packets} packets, {tally.kill_count} kills (SIGKILL) in {tally.seconds:.0f} s, seed {tally.seed}.
<b>{found.lost} lost, {found.twice} twice, {found.left_on_unit} left on the unit.</b>
{tally.chunks_sent} chunks sent, {tally.chunks_needed} needed; {tally.resent_bytes} bytes sent again.</p>
<h2>Where the kills fell</h2>{_chart(tally.kills)}{_table(verdicts)}</html>
""",
        encoding="utf-8",
    )


def _chart(kills: dict[str, dict[str, int]]) -> str:
    rows = []
    for row, step in enumerate(Step):
        y, x = row * ROW_PX, LABEL_PX
        rows.append(f'<text x="{LABEL_PX - 8}" y="{y + 16}" text-anchor="end">{escape(step.value)}</text>')
        for victim, colour in COLOURS.items():
            count = kills.get(step.value, {}).get(victim, 0)
            rows.append(
                f'<rect x="{x}" y="{y + 3}" width="{count * BAR_PX}" height="{ROW_PX - 6}" fill="{colour}">'
                f"<title>{victim}: {count}</title></rect>"
            )
            x += count * BAR_PX
        rows.append(f'<text x="{x + 6}" y="{y + 16}">{sum(kills.get(step.value, {}).values())}</text>')
    legend = " ".join(f'<b style="color:{colour}">■</b> {victim} killed' for victim, colour in COLOURS.items())
    height = len(Step) * ROW_PX
    return f'<p>{legend}</p><svg width="960" height="{height}" font-size="13">{"".join(rows)}</svg>'


def _table(verdicts: Sequence[VerdictView]) -> str:
    if not verdicts:
        return ""
    rows = "".join(
        f"<tr><td>{escape(verdict.subject)}</td><td>{escape(verdict.omitted) or 'none'}</td><td>{verdict.cuts}</td>"
        f"<td>{verdict.losses}</td><td>{escape(verdict.example)}</td>"
        f"<td{'' if verdict.as_expected else ' class=bad'}>{'as expected' if verdict.as_expected else 'NOT expected'}"
        "</td></tr>"
        for verdict in verdicts
    )
    return (
        "<h2>Power cut at every write</h2><table><tr><th>of</th><th>sync left out</th><th>power cuts</th>"
        f"<th>with a loss</th><th>for example</th><th></th></tr>{rows}</table>"
    )
