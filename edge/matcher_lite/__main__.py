"""rekam-match: fingers, irises, portraits and signatures on the command line."""

from __future__ import annotations

import typer

from edge.matcher_lite import (
    finger_commands,
    finger_study_commands,
    iris_commands,
    portrait_commands,
    slap_commands,
)

app = typer.Typer(name="rekam-match", no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
finger_commands.register(app)
finger_study_commands.register(app)
slap_commands.register(app)
iris_commands.register(app)
portrait_commands.register(app)


def main() -> None:
    """Entry point of the console command."""
    finger_commands.run(app)


if __name__ == "__main__":
    main()
