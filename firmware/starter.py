"""Starts the firmware of a slot, and restarts the board when that ends: main.py in the flash's root imports this.

It lies in the root beside slots.py and is never replaced by an update. With a file `service` beside it, it does
nothing, so that a technician's program can write to the flash without the watchdog biting; Ctrl-C does the same until
the watchdog does. The watchdog is started here: a slot that hangs while it loads is a failed start like any other.
"""

import gc
import os
import sys

import machine

LOADING_MS_MAX = 8000  # the longest that the RP2040's watchdog knows is 8,388
LOADING_HEAP_STEP = 1024


def choose() -> str:
    """The folder of the slot whose turn it is. The slot brings a copy of `slots` of its own, so this one goes."""
    import slots  # type: ignore[import-not-found]  # the copy that lies beside this file

    state = slots.Slots()
    state.load()
    folder: str = state.choose()
    del sys.modules["slots"]
    return folder


def start() -> None:
    """Run the firmware of a slot; returns only after an exception."""
    # Collecting often while loading keeps the heap in one piece.
    gc.threshold(LOADING_HEAP_STEP)
    sys.path.insert(0, choose())
    try:
        from firmware.controller import run

        run()
    except Exception as error:  # noqa: BLE001 - whatever it was, the board restarts and tells the host afterwards
        print("firmware ended:", error)
        import slots

        state = slots.Slots()
        state.load()
        state.mark_fault()


def run() -> None:
    """Called by main.py; returns only for the technician."""
    if "service" not in os.listdir():
        machine.WDT(timeout=LOADING_MS_MAX)
        start()
        machine.reset()
