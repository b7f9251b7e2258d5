"""The devices of one unit as twins, and the people who stand before them.

`UnitTwin.obey` takes one control message (see virtual/devices.py for the protocol) and changes what the devices see.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from contract.errors import RekamError, RemoteError
from contract.sample import FingerPosition, IrisPosition
from edge.sensors.interface import TicketCondition
from edge.sensors.ticket_frames import ADVICE
from virtual.camera_twin import CameraFault, CameraTwin, empty_room, small_path
from virtual.code_twin import CodeScannerTwin
from virtual.fingerprint_twin import FingerprintModule
from virtual.people import Person, person
from virtual.pty_twin import PtyTwin, WireFaults
from virtual.signature_twin import PenTablet, SigLiteTwin, Stroke, strokes_of
from virtual.ticket_twin import TicketTwin

FACE_PATH = "/face.png"
EYE_PATHS = {IrisPosition.RIGHT: "/right.png", IrisPosition.LEFT: "/left.png"}
IMAGE_PIXELS_MAX = 50_000_000
STROKES_MAX = 100_000
TEXT_MAX = 4296
DARK_EYE = (480, 640)
EMPTY_ROOM = (800, 600)

Port = Annotated[int, Field(ge=0, le=65535)]
Message = Mapping[str, Any]
T = TypeVar("T")


class _Table(BaseModel):
    """A table of the devices file: frozen and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FingerTable(_Table):
    """A ZFM module. link: where its port appears; paced: at line speed."""

    link: Path
    width_px: Annotated[int, Field(ge=16, le=1024, multiple_of=2)] = 256
    height_px: Annotated[int, Field(ge=16, le=1024)] = 288
    baud: int = 57600
    led: Literal["", "r503", "r558"] = ""
    paced: bool = False


class SignatureTable(_Table):
    """A pen tablet. baud: 0 for the model's own. time_scale: how many times faster than people the pen moves."""

    link: Path
    model: Literal["isdv4", "siglite"] = "isdv4"
    baud: Annotated[int, Field(ge=0)] = 0
    time_scale: Annotated[float, Field(gt=0, le=1000)] = 1.0
    paced: bool = False


class CodeTable(_Table):
    """A serial barcode scanner."""

    link: Path
    baud: int = 9600


class TicketTable(_Table):
    """An ESC/POS printer on a pty. papers: a folder that gets each ticket as a picture; none where it is empty."""

    link: Path
    width_mm: Literal[58, 80] = 58
    baud: int = 9600
    papers: Path | None = None


class CameraTable(_Table):
    """A network camera on 127.0.0.1; port 0 picks a free one."""

    port: Port = 0


class UnitTable(_Table):
    """The devices that one unit has."""

    finger: FingerTable | None = None
    signature: SignatureTable | None = None
    code: CodeTable | None = None
    ticket: TicketTable | None = None
    camera: CameraTable | None = None
    iris: CameraTable | None = None


def picture_file(path: str, mode: str) -> NDArray[np.uint8]:
    """A picture file as uint8 pixels. mode: "L" or "RGB". Raises RemoteError where it is none."""
    try:
        with Image.open(path) as picture:
            if picture.size[0] * picture.size[1] > IMAGE_PIXELS_MAX:
                raise RemoteError(f"{path} is larger than {IMAGE_PIXELS_MAX} pixels.")
            return np.asarray(picture.convert(mode), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RemoteError(f"{path} cannot be read as a picture: {type(error).__name__}.") from error


def strokes_file(path: str) -> tuple[Stroke, ...]:
    """A JSON file [[time_s, x, y, pressure], …] with x, y in 0.01 mm and pressure 0–1."""
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        if len(rows) > STROKES_MAX:
            raise RemoteError(f"{path} has more than {STROKES_MAX} points.")
        return tuple(Stroke(float(t), round(x), round(y), float(force)) for t, x, y, force in rows)
    except (OSError, ValueError, TypeError) as error:
        raise RemoteError(f"{path} is no list of pen points: {type(error).__name__}.") from error


def person_of(message: Message) -> tuple[Person, int]:
    """The person and the impression that a message names by {"person": [seed, index], "impression": n}."""
    try:
        seed, index = (int(number) for number in message["person"])
        return person(seed, index), int(message.get("impression", 0))
    except (KeyError, TypeError, ValueError) as error:
        raise RemoteError('A person is named as "person": [seed, index].') from error


class UnitTwin:
    """One unit's devices, started."""

    def __init__(self, table: UnitTable) -> None:
        self.module: FingerprintModule | None = None
        self.tablet: PenTablet | SigLiteTwin | None = None
        self.camera: CameraTwin | None = None
        self.iris: CameraTwin | None = None
        self.ports: dict[str, PtyTwin] = {}
        if (finger := table.finger) is not None:
            self.module = FingerprintModule(
                width_px=finger.width_px, height_px=finger.height_px, baud=finger.baud, led=finger.led
            )
            self.ports["finger"] = PtyTwin(self.module, finger.link, paced=finger.paced)
        if (pad := table.signature) is not None:
            self.tablet = (
                PenTablet(baud=pad.baud or 38400, time_scale=pad.time_scale)
                if pad.model == "isdv4"
                else SigLiteTwin(baud=pad.baud or 19200, time_scale=pad.time_scale)
            )
            self.ports["signature"] = PtyTwin(self.tablet, pad.link, paced=pad.paced)
        self.scanner: CodeScannerTwin | None = None
        if table.code is not None:
            self.scanner = CodeScannerTwin(baud=table.code.baud)
            self.ports["code"] = PtyTwin(self.scanner, table.code.link)
        self.printer: TicketTwin | None = None
        if table.ticket is not None:
            self.printer = TicketTwin(table.ticket.width_mm, baud=table.ticket.baud, papers=table.ticket.papers)
            self.ports["ticket"] = PtyTwin(self.printer, table.ticket.link)
        if table.camera is not None:
            self.camera = CameraTwin({FACE_PATH: empty_room(*EMPTY_ROOM)}, table.camera.port)
        if table.iris is not None:
            dark = np.full(DARK_EYE, 12, dtype=np.uint8)
            self.iris = CameraTwin(dict.fromkeys(EYE_PATHS.values(), dark), table.iris.port)

    def close(self) -> None:
        """Unplug everything."""
        for port in self.ports.values():
            port.close()
        for camera in (self.camera, self.iris):
            if camera is not None:
                camera.close()

    def status(self) -> dict[str, str]:
        """Where each device is reached."""
        found = {kind: port.port for kind, port in self.ports.items()}
        if self.camera is not None:
            found["camera"] = self.camera.url(FACE_PATH)
            found["camera_preview"] = self.camera.url(small_path(FACE_PATH))
        if self.iris is not None:
            found["iris_right"] = self.iris.url(EYE_PATHS[IrisPosition.RIGHT])
            found["iris_left"] = self.iris.url(EYE_PATHS[IrisPosition.LEFT])
        return found

    def obey(self, message: Message) -> None:
        """Do what a message asks, without its key `unit`. Raises RemoteError for what it cannot understand."""
        actions: dict[str, Callable[[Any], None]] = {
            "finger": self._lay_finger,
            "face": self._show_face,
            "iris": self._show_eyes,
            "signature": self._sign,
            "code": self._show_code,
            "ticket": self._load_paper,
            "person": self._stand,
            "remove": self._remove,
            "fault": self._fault,
        }
        unknown = sorted(set(message) - set(actions))
        if unknown or not message:
            raise RemoteError(f"A message asks for {', '.join(actions)}; not for {', '.join(unknown) or 'nothing'}.")
        for key, value in message.items():
            try:
                actions[key](value)
            except RekamError:
                raise
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                raise RemoteError(f"{key} cannot be understood: {error}.") from error

    def _lay_finger(self, what: Message) -> None:
        module = _present(self.module, "finger")
        if "image" in what:
            pixels = picture_file(str(what["image"]), "L")
        else:
            who, impression = person_of(what)
            pixels = who.finger(FingerPosition(int(what["position"])), impression)
        module.place(pixels)

    def _show_face(self, what: Message) -> None:
        camera = _present(self.camera, "camera")
        if "image" in what:
            pixels = picture_file(str(what["image"]), "RGB")
        else:
            who, impression = person_of(what)
            pixels = who.portrait(impression)
        camera.show(FACE_PATH, pixels)

    def _show_eyes(self, what: Message) -> None:
        iris = _present(self.iris, "iris")
        for position, path in EYE_PATHS.items():
            side = position.name.lower()
            if side in what:
                iris.show(path, picture_file(str(what[side]), "L"))
            elif "person" in what:
                who, impression = person_of(what)
                iris.show(path, who.iris(position, impression))

    def _sign(self, what: Message) -> None:
        tablet = self.tablet
        if tablet is None:
            raise RemoteError("This unit has no signature.")
        if "strokes" in what:
            tablet.sign(strokes_file(str(what["strokes"])))
        else:
            who, impression = person_of(what)
            written = who.signature(impression)
            tablet.sign(strokes_of(written.time_ms, written.x_mm, written.y_mm, written.pressure))
        self.ports["signature"].wake()

    def _show_code(self, what: Message) -> None:
        _present(self.scanner, "code").show(str(what["text"])[:TEXT_MAX])
        self.ports["code"].wake()

    def _load_paper(self, what: Message) -> None:
        """{"paper": "full"}, or the word of a fault; {"lines_left": n}: the roll ends after so many lines."""
        printer = _present(self.printer, "ticket")
        with self.ports["ticket"].lock:
            if "lines_left" in what:
                printer.lines_left = int(what["lines_left"])
            elif what["paper"] == "full":
                printer.fill()
            elif what["paper"] in ADVICE:
                printer.condition = TicketCondition((str(what["paper"]),))
            else:
                raise RemoteError(f"paper is full, or one of {', '.join(ADVICE)}.")
        self.ports["ticket"].wake()

    def _stand(self, what: Message) -> None:
        """Somebody sits down: face, eyes and the pen in the hand; fingers are laid one by one."""
        named = {"person": [what["seed"], what["index"]], "impression": what.get("impression", 0)}
        if self.module is not None:
            self.module.lift()
        if self.camera is not None:
            self._show_face(named)
        if self.iris is not None:
            self._show_eyes(named)
        if self.tablet is not None:
            self._sign(named)

    def _remove(self, what: str) -> None:
        if what not in ("finger", "face", "iris", "all"):
            raise RemoteError("remove is one of finger, face, iris, all.")
        if what in ("finger", "all") and self.module is not None:
            self.module.lift()
        if what in ("face", "all") and self.camera is not None:
            self.camera.clear()
        if what in ("iris", "all") and self.iris is not None:
            self.iris.clear()

    def _fault(self, what: Message) -> None:
        """{"device": "finger", …}: `unplug` true or false, `wrong_sums` n, or the wire's faults; cameras see below."""
        device = str(what["device"])
        rest = {key: value for key, value in what.items() if key != "device"}
        if device in ("camera", "iris"):
            camera = _present(self.camera if device == "camera" else self.iris, device)
            camera.fault = CameraFault(rest.get("fault", CameraFault.NONE))
            camera.late_s = float(rest.get("late_s", 0.0))
            return
        port = _present(self.ports.get(device), device)
        if "unplug" in rest:
            (port.unplug if rest.pop("unplug") else port.plug_in)()
        if "wrong_sums" in rest:
            _present(self.module if device == "finger" else None, "finger").wrong_sums = int(rest.pop("wrong_sums"))
        port.faults = WireFaults.named(rest)


def _present(device: T | None, kind: str) -> T:
    if device is None:
        raise RemoteError(f"This unit has no {kind}.")
    return device
