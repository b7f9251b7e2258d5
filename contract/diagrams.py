"""Writes the five lifecycle diagrams into contract/README.md, so that pictures and tables cannot part."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from contract.lifecycle import LIFECYCLES, diagram

README = Path(__file__).with_name("README.md")


def with_diagrams(text: str) -> str:
    """The README's text with each diagram between its two marks replaced by the table's."""
    for lifecycle in LIFECYCLES:
        marks = re.compile(rf"(<!-- diagram {lifecycle.name} -->\n).*?(<!-- end {lifecycle.name} -->)", re.DOTALL)
        drawn = f"```mermaid\n{diagram(lifecycle)}```\n"
        text = marks.sub(lambda found, drawn=drawn: found[1] + drawn + found[2], text)  # type: ignore[misc]
    return text


def main() -> int:
    """Rewrite with --write; otherwise say (exit 1) whether the README has fallen behind."""
    before = README.read_text(encoding="utf-8")
    after = with_diagrams(before)
    if "--write" in sys.argv[1:]:
        README.write_text(after, encoding="utf-8")
        return 0
    return int(before != after)


if __name__ == "__main__":
    raise SystemExit(main())
