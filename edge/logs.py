"""Log lines of the agent and its worker: one line an event on standard error, never the values of variables.

Tracebacks are plain: a renderer that shows locals would write samples and NIKs into a log.
"""

from __future__ import annotations

import contextlib
import logging
import sys

import structlog
from structlog.typing import Processor


class _Lines(structlog.PrintLogger):
    """Lines on standard error. Where nobody reads it any more, as when the journal starts anew, the unit goes on."""

    def msg(self, message: str) -> None:
        """Write one line, or none."""
        with contextlib.suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def configure_logs(level: str = "info", keep: Processor | None = None) -> None:
    """Set the process's log format. level: debug, info, warning or error; keep: sees every line first."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *([keep] if keep is not None else []),
            structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event")),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_names: _Lines(sys.stderr),
        cache_logger_on_first_use=False,
    )
