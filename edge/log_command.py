"""`rekam-edge logs`: the unit's sealed log, read at the unit, whether or not its agent runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from contract.clock import SystemClock, utc
from contract.durations import duration_s
from contract.errors import DeviceError
from contract.unit_command import LogLine, LogsAsk
from edge.command_options import DEFAULT_CONFIG, ConfigPath
from edge.config import load_config
from edge.keys import load_store_key
from edge.log_ring import FILE, LEVELS, read_page
from edge.sealed_store import SealedStore

LOOK_AGAIN_S = 2.0
STYLES = {"warning": "yellow", "error": "red", "critical": "bold red", "debug": "dim"}
out = Console()


def logs(
    config: ConfigPath = DEFAULT_CONFIG,
    since: Annotated[str, typer.Option(help="How far back: 90s, 15m, 2h, 3d; empty for all that is kept.")] = "",
    level: Annotated[str, typer.Option(help="debug, info, warning, error or critical.")] = "info",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print the log that this unit keeps, sealed, of its agent: the newest 8,000 lines or so.

    The agent may run. No line names a person or holds a key.

        rekam-edge logs --since 1h --level warning --config /var/lib/rekam/unit/unit.toml
    """
    if level not in LEVELS:
        raise typer.BadParameter(", ".join(LEVELS), param_hint="--level")
    loaded = load_config(config)
    path = loaded.unit.data_dir / FILE
    if not path.exists():
        raise DeviceError(f"There is no log at {path}.", next_step="Start the agent with 'rekam-edge run' first.")
    ask = LogsAsk(since_s=duration_s(since) if since else 0, level=level)
    store = SealedStore(path, load_store_key(loaded.keys))
    try:
        for line in _lines(store, ask, follow=follow):
            _print(line, as_json)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        store.close()


def _lines(store: SealedStore, ask: LogsAsk, *, follow: bool) -> Iterator[LogLine]:
    while True:
        page = read_page(store, ask, SystemClock().wall_ms())
        yield from page.lines
        ask = ask.model_copy(update={"after": page.looked_to})
        if page.more:
            continue
        if not follow:
            return
        time.sleep(LOOK_AGAIN_S)


def _print(line: LogLine, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(line.model_dump(), ensure_ascii=False))
        return
    style = STYLES.get(line.level, "")
    level = f"[{style}]{line.level:8}[/]" if style else f"{line.level:8}"
    out.print(
        f"{utc(line.at_ms):%Y-%m-%d %H:%M:%S} {level} {escape(line.event)}  [dim]{escape(line.fields)}[/]",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
