"""A card printer without hardware: CUPS' ippeveprinter, an IPP Everywhere printer, with blanks for media.

ippeveprinter wants a D-Bus, so it gets a private one. What it prints lies in `stacker` as images, side by side in the
order of printing; a fault is set and cleared as a person would cause and cure it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from contract.errors import DeviceError
from virtual import printer_engine

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 3.0
CARD_MEDIA = "iso_id-1_53.98x85.6mm"
_MARGINS = "".join(f"ATTR integer media-{side}-margin-supported 0\n" for side in ("bottom", "left", "right", "top"))
_MEDIA = """ATTR collection {name} {{
    MEMBER collection media-size {{
        MEMBER integer x-dimension 5398
        MEMBER integer y-dimension 8560
    }}
    MEMBER keyword media-size-name iso_id-1_53.98x85.6mm
    MEMBER keyword media-source main
    MEMBER keyword media-type other
    MEMBER integer media-bottom-margin 0
    MEMBER integer media-left-margin 0
    MEMBER integer media-right-margin 0
    MEMBER integer media-top-margin 0
}}
"""
_ATTRIBUTES = f"""ATTR mimeMediaType document-format-supported {{formats}}
ATTR keyword media-default iso_id-1_53.98x85.6mm
ATTR keyword media-supported iso_id-1_53.98x85.6mm
ATTR keyword media-ready iso_id-1_53.98x85.6mm
ATTR collection media-size-supported {{{{
    MEMBER integer x-dimension 5398
    MEMBER integer y-dimension 8560
}}}}
{{media}}{_MARGINS}ATTR resolution printer-resolution-default 300dpi
ATTR resolution printer-resolution-supported 300dpi
ATTR keyword sides-default one-sided
ATTR keyword sides-supported {{sides}}
ATTR keyword print-color-mode-default color
ATTR keyword print-color-mode-supported color
ATTR boolean color-supported true
"""


def missing_for_printer() -> str:
    """Why the printer cannot run on this machine, or empty where it can."""
    for program in ("ippeveprinter", "dbus-daemon"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return ""


class PrinterRig:
    """One virtual card printer. A context manager.

    folder: for everything it makes; port: on loopback; two_sided: it turns the card itself and takes PDF.
    """

    def __init__(
        self, folder: Path, port: int, *, two_sided: bool = True, side_s: float = 0.1, media: str = CARD_MEDIA
    ) -> None:
        """media: what it prints on, as IPP names it."""
        self._folder = folder.resolve()
        self._port = port
        self._two_sided = two_sided
        self._side_s = side_s
        self._media = media
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._bus = self._folder / "bus"

    @property
    def uri(self) -> str:
        """What a station's [devices.printer] names."""
        return f"ipp://127.0.0.1:{self._port}/ipp/print"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start bus and printer, and wait until it listens. Raises DeviceError."""
        why = missing_for_printer()
        if why:
            raise DeviceError(f"There can be no virtual printer: {why}.", next_step="Install cups-ipp-utils and dbus.")
        (self._folder / "spool").mkdir(parents=True, exist_ok=True)
        self._write_configuration()
        self._bus.unlink(missing_ok=True)
        command = (
            "dbus-daemon",
            "--session",
            "--nofork",
            "--nopidfile",
            "--nosyslog",
            f"--address=unix:path={self._bus}",
        )
        with (self._folder / "dbus.log").open("ab") as log:
            bus = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self._stack.callback(_end, bus)
        self._wait(self._bus.exists, "dbus-daemon")
        self.switch_on()

    def stop(self) -> None:
        """End it all; may be called twice."""
        self.switch_off()
        self._stack.close()

    def switch_on(self) -> None:
        """Start the printer on its bus and wait until it listens. Raises DeviceError."""
        environment = {
            **os.environ,
            "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self._bus}",
            "REKAM_SIDE_S": str(self._side_s),
        }
        files = ("-d", str(self._folder / "spool"), "-a", str(self._folder / "cr80.conf"))
        command = ("ippeveprinter", "-p", str(self._port), "-n", "localhost", "-r", "off", "-k", *files)
        with (self._folder / "printer.log").open("ab") as log:
            self._process = subprocess.Popen(
                (*command, "-c", str(self._folder / "engine"), "Rekam Virtual Card Printer"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        self._wait(self._listens, "ippeveprinter")

    def switch_off(self) -> None:
        """Take the printer's power away, as a cable that is pulled does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def fault(self, keyword: str, *, gives_up: bool = False, between_sides: bool = False) -> None:
        """Set a fault before or during a job: it waits, or aborts where `gives_up`; at once, or after one side."""
        scratch = self._folder / ".fault"
        scratch.write_text(keyword + (" abort" if gives_up else " 2" if between_sides else ""))
        scratch.rename(self._folder / "fault")

    def script(self, *faults: tuple[int, str, float]) -> None:
        """The next job's faults: before which side, the reason, and the seconds until somebody cures it."""
        lines = [f"{side} {reason} {seconds}" for side, reason, seconds in faults]
        (self._folder / "script").write_text("\n".join(lines))

    def cure(self) -> None:
        """Clear the fault, and a script that no job has used."""
        for name in ("fault", "script"):
            (self._folder / name).unlink(missing_ok=True)

    def printed(self) -> list[Path]:
        """Every printed side in order of printing."""
        return sorted((self._folder / "stacker").glob("[0-9]*"))

    def _write_configuration(self) -> None:
        sides = "one-sided,two-sided-long-edge,two-sided-short-edge" if self._two_sided else "one-sided"
        formats = "application/octet-stream,image/jpeg,image/png,image/pwg-raster"
        formats += ",application/pdf" if self._two_sided else ""
        media = "".join(_MEDIA.format(name=name) for name in ("media-col-default", "media-col-ready"))
        conf = self._folder / "cr80.conf"
        text = _ATTRIBUTES.format(sides=sides, media=media, formats=formats)
        conf.write_text(text.replace(CARD_MEDIA, self._media))
        engine = self._folder / "engine"
        words = (sys.executable, printer_engine.__file__, str(self._folder))
        engine.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        engine.chmod(0o700)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=0.5):
            return True
        return False

    def _wait(self, ready: object, what: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (callable(ready) and ready()):
            if time.monotonic() > deadline or (self._process is not None and self._process.poll() is not None):
                raise DeviceError(f"{what} does not start.", next_step=f"Read the logs in {self._folder}.")
            time.sleep(0.02)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
