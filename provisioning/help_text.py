"""A command's docstring as its --help: prose in the terminal's own lines, examples that can be pasted as they stand.

Rich breaks what is too long for the terminal wherever it ends; a shell takes such a line for two commands. So a long
example is continued with a backslash, before an option.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import typer

COLUMNS = 78  # of 80, two are the frame's
EXAMPLE = "Example:"
_OPTION = re.compile(r" (?=--?[a-z])")


def teach(app: typer.Typer) -> None:
    """Give every command of `app`, and of the groups in it, its docstring as help."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.help = help_text(inspect.getdoc(command.callback) or "")
    for group in app.registered_groups:
        if group.typer_instance is not None:
            teach(group.typer_instance)


def help_text(docstring: str) -> str:
    """A docstring whose example paragraphs begin with 'Example:', for a terminal of 80 columns and more."""
    paragraphs = [
        _example(text) if text.startswith(EXAMPLE) else " ".join(text.split()) for text in docstring.split("\n\n")
    ]
    if len(paragraphs) == 2:
        paragraphs[1] = f"\n{paragraphs[1]}"  # else typer takes the commands' indentation for the paragraph's own
    return "\n\n".join(paragraphs)


def _example(paragraph: str) -> str:
    """One line for each command; what is longer than the terminal is continued."""
    text = " ".join(paragraph.removeprefix(EXAMPLE).split())
    commands = re.split(r" (?=rekam-provision )", text)
    return "\n".join((EXAMPLE, *(line for command in commands for line in _continued(command))))


def _continued(command: str) -> Iterator[str]:
    line = " "
    for words in _OPTION.split(command):
        if len(line) + len(words) + len("  \\") > COLUMNS:
            yield f"{line} \\"
            line = "   "
        line += f" {words}"
    yield line
