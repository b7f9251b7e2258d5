"""All devices of several units as twins in one process: `python -m virtual.devices --config devices.toml`.

The configuration names a control socket and, for each unit, its devices:

    control = "/run/rekam/devices.sock"
    [units.desk-a1]
    finger    = { link = "/run/rekam/desk-a1/finger", width_px = 388, height_px = 374 }
    signature = { link = "/run/rekam/desk-a1/pad", time_scale = 10 }
    code      = { link = "/run/rekam/desk-a1/code" }
    ticket    = { link = "/run/rekam/desk-a1/ticket", width_mm = 58, papers = "/run/rekam/desk-a1/papers" }
    camera    = { port = 9001 }
    iris      = { port = 9002 }

The agent's drivers then use these: `zfm` on the link, `isdv4` on the pad's, `serial` on the code scanner's and on the
ticket printer's (each ticket becomes a picture in `papers`), `snapshot` on http://127.0.0.1:9001/face.png (preview_url:
/face-small.jpg) and http://127.0.0.1:9002/right.png and /left.png.

The control socket (Unix, one JSON object per line, one answer line {"ok": true} or {"ok": false, "error": …} each)
says who is where:

    {"unit": "desk-a1", "finger": {"image": "path.png"}}                lay a finger: picture at the module's ppi
    {"unit": "desk-a1", "finger": {"person": [1, 3], "position": 2, "impression": 1}}
    {"unit": "desk-a1", "face": {"image": "path.png"}}                  or {"person": [1, 3], "impression": 0}
    {"unit": "desk-a1", "iris": {"right": "r.png", "left": "l.png"}}    or {"person": [1, 3], "impression": 0}
    {"unit": "desk-a1", "signature": {"strokes": "path.json"}}          [[time_s, x, y, pressure], …]; or a person
    {"unit": "desk-a1", "code": {"text": "9901…"}}                      hold a barcode before the scanner
    {"unit": "desk-a1", "ticket": {"paper": "paper-out"}}               or cover-open, cutter; "full" cures it
    {"unit": "desk-a1", "ticket": {"lines_left": 12}}                   the roll ends after so many lines
    {"unit": "desk-a1", "person": {"seed": 1, "index": 3}}              face, eyes and pen at once; no finger yet
    {"unit": "desk-a1", "remove": "finger"}                             or face, iris, all
    {"unit": "desk-a1", "fault": {"device": "finger", "lost_per_byte": 0.001}}
    {"unit": "desk-a1", "fault": {"device": "finger", "unplug": true}}  false plugs it in again
    {"unit": "desk-a1", "fault": {"device": "camera", "fault": "stall", "late_s": 0.5}}
    {"status": true}                                                    answers where each device is reached

Each `fault` message replaces the device's faults; with nothing but `device` it ends them. Fault words: see
virtual.pty_twin.WireFaults, virtual.camera_twin.CameraFault, and `wrong_sums` of the finger module. A finger lies
until it is removed or another one is laid, and the window was empty in between. When all devices are there, the
process prints the line `ready`.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import socketserver
import sys
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contract.errors import DeviceError, RekamError, RemoteError
from virtual.unit_twin import Message, UnitTable, UnitTwin

LINE_BYTES_MAX = 64 * 1024
TELL_TIMEOUT_S = 60.0


class DevicesConfig(BaseModel):
    """The whole devices file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    control: Path
    units: dict[str, UnitTable] = Field(min_length=1)


def load_devices(path: Path) -> DevicesConfig:
    """Read the devices file; relative paths in it are taken from its folder. Raises DeviceError naming the key."""
    try:
        config = DevicesConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DeviceError(f"{path} cannot be read: {error}.", next_step="Correct the file.") from error
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise DeviceError(f"{path}: {where}.", next_step="Correct the named keys.") from error
    home = path.resolve().parent
    units = {}
    for name, unit in config.units.items():
        moved: dict[str, object] = {}
        if unit.finger is not None:
            moved["finger"] = unit.finger.model_copy(update={"link": home / unit.finger.link})
        if unit.signature is not None:
            moved["signature"] = unit.signature.model_copy(update={"link": home / unit.signature.link})
        if unit.code is not None:
            moved["code"] = unit.code.model_copy(update={"link": home / unit.code.link})
        if unit.ticket is not None:
            papers = None if unit.ticket.papers is None else home / unit.ticket.papers
            moved["ticket"] = unit.ticket.model_copy(update={"link": home / unit.ticket.link, "papers": papers})
        units[name] = unit.model_copy(update=moved)
    return DevicesConfig(control=home / config.control, units=units)


class Devices:
    """The units' twins and the control socket, started."""

    def __init__(self, config: DevicesConfig) -> None:
        self.units: dict[str, UnitTwin] = {}
        try:
            for name, table in config.units.items():
                self.units[name] = UnitTwin(table)
            self._server = _ControlServer(config.control, self.answer)
        except BaseException:
            self._close_units()
            raise
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="devices-control", daemon=True
        )
        self._thread.start()

    def answer(self, line: bytes) -> dict[str, Any]:
        """The answer to one line of the control socket."""
        try:
            message = json.loads(line)
            if not isinstance(message, dict):
                raise RemoteError("A message is one JSON object per line.")
            if message == {"status": True}:
                return {"ok": True, "units": {name: unit.status() for name, unit in self.units.items()}}
            name = message.pop("unit", None)
            if name not in self.units:
                raise RemoteError(f"There is no unit {name!r}; there are {', '.join(self.units)}.")
            self.units[name].obey(message)
        except RekamError as error:
            return {"ok": False, "error": error.message}
        except ValueError:
            return {"ok": False, "error": "The line is no JSON."}
        return {"ok": True}

    def close(self) -> None:
        """Stop everything and remove the socket and the links."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        self._server.path.unlink(missing_ok=True)
        self._close_units()

    def _close_units(self) -> None:
        for unit in self.units.values():
            unit.close()


class _ControlServer(socketserver.ThreadingUnixStreamServer):
    """Takes lines on the control socket."""

    daemon_threads = True

    def __init__(self, path: Path, answer: Callable[[bytes], dict[str, Any]]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self.path = path
        self.answer = answer
        super().__init__(str(path), _ControlHandler)


class _ControlHandler(socketserver.StreamRequestHandler):
    """One client of the control socket."""

    server: _ControlServer

    def handle(self) -> None:
        """Answer line after line until the client leaves or sends too long a line."""
        while True:
            try:
                line = self.rfile.readline(LINE_BYTES_MAX)
                if not line.endswith(b"\n"):
                    return
                self.wfile.write(json.dumps(self.server.answer(line)).encode() + b"\n")
            except (ConnectionError, OSError):
                return


def tell(control: Path, message: Message) -> dict[str, Any]:
    """Send one message to a running process and return its answer. Raises RemoteError where it refuses."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(TELL_TIMEOUT_S)
        line.connect(str(control))
        line.sendall(json.dumps(dict(message)).encode() + b"\n")
        with line.makefile("rb") as reader:
            answer = json.loads(reader.readline(LINE_BYTES_MAX) or b"{}")
    if not answer.get("ok"):
        raise RemoteError(str(answer.get("error", "The devices did not answer.")))
    return dict(answer)


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m virtual.devices", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--config", type=Path, required=True, help="devices file, see the module's docstring")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        devices = Devices(load_devices(options.config))
    except (RekamError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    stop.wait()
    devices.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
