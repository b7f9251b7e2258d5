"""Gives the site's time servers, which the unit's configuration names, to systemd-timesyncd.

    python3 -I time_servers.py UNIT_TOML TARGET

Run by the package's rekam-time-servers.service with the system's Python. The configuration was checked by the agent
(edge.config), but it lies where the agent's user may write, so nothing is believed here: only names and addresses that
are such come out, and few of them. Without any, TARGET goes, and the servers are those that DHCP or the system gives.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

BYTES_MAX = 256 * 1024
SERVERS_MAX = 4
# RFC 1123 names and literal addresses, a blank between two; what edge.config takes.
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_SERVER = rf"(?:{_LABEL}(?:\.{_LABEL}){{0,8}}|[0-9A-Fa-f]{{0,4}}(?::[0-9A-Fa-f]{{0,4}}){{2,7}})"
SERVERS_PATTERN = re.compile(rf"^(?:{_SERVER}(?: {_SERVER}){{0,{SERVERS_MAX - 1}}})?$", re.ASCII)


def servers_of(text: str) -> str:
    """The servers that a unit.toml names under [time]; empty where it says nothing that can be used."""
    try:
        named = tomllib.loads(text).get("time", {}).get("servers", "")
    except (tomllib.TOMLDecodeError, AttributeError, RecursionError):
        return ""
    return named if isinstance(named, str) and SERVERS_PATTERN.fullmatch(named) else ""


def drop_in(servers: str) -> str:
    """The text for systemd-timesyncd."""
    return f"# From the unit's configuration.\n[Time]\nNTP={servers}\n"


def main(arguments: Sequence[str]) -> int:
    """Read, and write where something changed. Exit code 1 where the file cannot be read."""
    source, target = (Path(name) for name in arguments)
    try:
        with source.open("rb") as file:
            servers = servers_of(file.read(BYTES_MAX).decode("utf-8", errors="replace"))
    except OSError as error:
        sys.stderr.write(f"{source}: {error.strerror}\n")
        return 1
    if servers:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(drop_in(servers), encoding="ascii")
    else:
        target.unlink(missing_ok=True)
    sys.stdout.write(f"time servers: {servers or 'as DHCP or the system says'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
