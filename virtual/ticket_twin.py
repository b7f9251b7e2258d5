"""An ESC/POS printer in software: reads the commands byte by byte and draws the paper, so that it can be looked at.

It answers DLE EOT at once and GS r in its turn, as printers do; without paper or with an open cover it keeps what
came and goes on when it is cured. Font A is 12×24 dots, a 58 mm roll has 384 dots, an 80 mm roll 576 (203 ppi).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from functools import cache
from pathlib import Path

import segno
from PIL import Image, ImageDraw, ImageFont

from edge.sensors.interface import TicketCondition
from edge.sensors.ticket_frames import Command, CommandReader, encode_status

DOTS = {58: 384, 80: 576}
CELL_W, CELL_H = 12, 24
LINE_H = 30
ROWS_MAX = 20_000
CODE_PAGES = {
    0: "cp437",
    2: "cp850",
    3: "cp860",
    4: "cp863",
    5: "cp865",
    16: "cp1252",
    17: "cp866",
    18: "cp852",
    19: "cp858",
}
REAL_TIME = {"DLE EOT", "DLE ENQ"}
_FONT_PT = 20


@cache
def _font(bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype("DejaVuSansMono-Bold.ttf" if bold else "DejaVuSansMono.ttf", _FONT_PT)


class Paper:
    """The strip under the print head, and the state that commands set."""

    def __init__(self, dots: int) -> None:
        self.dots = dots
        self._strip = Image.new("L", (dots, ROWS_MAX), 255)
        self._row = 0
        self.tickets: list[Image.Image] = []
        self.texts: list[str] = []
        self._lines: list[str] = []
        self._cells: list[tuple[str, bool, int, int]] = []
        self.reset()

    def reset(self) -> None:
        """ESC @: everything as after switching on."""
        self.align, self.bold, self.scale_w, self.scale_h = 0, False, 1, 1
        self.code_page = 0
        self._qr_size, self._qr_text = 3, b""
        self._cells.clear()

    def do(self, command: Command) -> None:
        """One command; those that change nothing visible are passed over."""
        match command.name:
            case "text":
                letters = command.data.decode(CODE_PAGES.get(self.code_page, "cp437"), errors="replace")
                for letter in letters:
                    self._type(letter)
            case "LF":
                self._end_line()
            case "ESC d":
                self._end_line()
                self._feed(LINE_H * max(0, command.number - 1))
            case "ESC J":
                self._feed(command.number)
            case "ESC @":
                self.reset()
            case "ESC a":
                self.align = command.number % 48
            case "ESC E" | "ESC G":
                self.bold = bool(command.number & 1)
            case "ESC t":
                self.code_page = command.number
            case "ESC !":
                self.scale_w, self.scale_h = 1 + (command.number >> 5 & 1), 1 + (command.number >> 4 & 1)
                self.bold = bool(command.number & 0x08)
            case "GS !":
                self.scale_w, self.scale_h = 1 + (command.number >> 4 & 7), 1 + (command.number & 7)
            case "GS v 0":
                width, rows = command.size
                self._paste(Image.frombytes("1", (width * 8, rows), bytes(byte ^ 0xFF for byte in command.data)))
            case "GS ( k":
                self._code(command.data)
            case "GS V":
                self._cut()

    def _type(self, letter: str) -> None:
        if (sum(cell[2] for cell in self._cells) + self.scale_w) * CELL_W > self.dots:
            self._end_line()
        self._cells.append((letter, self.bold, self.scale_w, self.scale_h))

    def _end_line(self) -> None:
        cells, self._cells = self._cells, []
        height = max((cell[3] for cell in cells), default=1) * CELL_H
        x = self._left(sum(cell[2] for cell in cells) * CELL_W)
        for letter, bold, scale_w, scale_h in cells:
            glyph = Image.new("L", (CELL_W, CELL_H), 255)
            ImageDraw.Draw(glyph).text((0, 0), letter, fill=0, font=_font(bold))
            size = (CELL_W * scale_w, CELL_H * scale_h)
            self._strip.paste(glyph.resize(size, Image.Resampling.NEAREST), (x, self._row + height - size[1]))
            x += size[0]
        self._lines.append("".join(cell[0] for cell in cells))
        self._feed(height + LINE_H - CELL_H)

    def _left(self, width: int) -> int:
        return (0, max(0, (self.dots - width) // 2), max(0, self.dots - width))[self.align if self.align < 3 else 0]

    def _paste(self, picture: Image.Image) -> None:
        self._strip.paste(picture.convert("L"), (self._left(picture.width), self._row))
        self._feed(picture.height)

    def _code(self, data: bytes) -> None:
        """GS ( k: cn 49 is QR; fn 67 size, 80 store, 81 print."""
        if len(data) < 2 or data[0] != 49:
            return
        if data[1] == 67 and len(data) > 2:
            self._qr_size = max(1, min(16, data[2]))
        elif data[1] == 80:
            self._qr_text = data[3:]
        elif data[1] == 81 and self._qr_text:
            rows = [bytes(row) for row in segno.make_qr(self._qr_text, error="l").matrix]
            small = Image.new("L", (len(rows[0]), len(rows)), 255)
            small.putdata([0 if dark else 255 for row in rows for dark in row])
            size = (small.width * self._qr_size, small.height * self._qr_size)
            self._paste(small.resize(size, Image.Resampling.NEAREST))

    def _feed(self, rows: int) -> None:
        self._row = min(ROWS_MAX - 200, self._row + rows)

    def _cut(self) -> None:
        self.tickets.append(self._strip.crop((0, 0, self.dots, max(1, self._row))))
        self.texts.append("\n".join(self._lines))
        self._strip.paste(255, (0, 0, self.dots, ROWS_MAX))
        self._row, self._lines = 0, []


class TicketTwin:
    """A SerialDevice. width_mm: of the roll; lines_left: what it still holds, None for plenty."""

    def __init__(self, width_mm: int = 58, *, baud: int = 9600, papers: Path | None = None) -> None:
        """papers: a folder for pictures of the tickets, made where it is missing."""
        self._papers = papers
        if papers is not None:
            papers.mkdir(parents=True, exist_ok=True)
        self.paper = Paper(DOTS[width_mm])
        self.condition = TicketCondition()
        self.lines_left: int | None = None
        self.unknown = 0
        self._baud = baud
        self._reader = CommandReader()
        self._waiting: deque[Command] = deque()
        self._out = bytearray()

    @property
    def baud(self) -> int:
        """The line speed in use."""
        return self._baud

    @property
    def tickets(self) -> list[Image.Image]:
        """Every ticket that was cut off, as a picture."""
        return self.paper.tickets

    @property
    def texts(self) -> list[str]:
        """The letters on every ticket that was cut off."""
        return self.paper.texts

    def fill(self) -> None:
        """A new roll, cover closed: it goes on with what it has kept."""
        self.condition, self.lines_left = TicketCondition(), None
        self._work()

    def receive(self, data: bytes, now_s: float) -> None:
        """Bytes from the host."""
        for command in self._reader.feed(data):
            if command.name == "DLE EOT":
                self._out.append(encode_status(command.number, self.condition))
            elif command.name not in REAL_TIME:
                self._waiting.append(command)
        self._work()

    def take(self, now_s: float) -> bytes:
        """Answers that are due."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def wait_s(self, now_s: float) -> float | None:
        """Only the host causes answers."""
        return None

    def _work(self) -> None:
        while self._waiting and not self.condition.faults:
            command = self._waiting.popleft()
            self.unknown += command.name == "unknown"
            if command.name == "GS r":
                self._out.append(0x0C if "paper-out" in self.condition.faults else 0)
                continue
            self.paper.do(command)
            if command.name == "GS V" and self._papers is not None:
                scratch = self._papers / ".part.png"
                self.tickets[-1].save(scratch)
                scratch.rename(self._papers / f"{len(self.tickets):04d}.png")
            if command.name == "LF" and self.lines_left is not None:
                self.lines_left -= 1
                if self.lines_left <= 0:
                    self.condition = TicketCondition(("paper-out",), paper_low=True)


class TicketSocket:
    """A printer on the network: raw TCP on a port of loopback, one host at a time, served by a thread."""

    def __init__(self, device: TicketTwin) -> None:
        self.device = device
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._host: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="ticket-socket", daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Pull the network cable: the host's connection breaks and no new one is taken."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        if self._host is not None:
            with contextlib.suppress(OSError):
                self._host.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    close = unplug

    def _serve(self) -> None:
        while True:
            try:
                self._host, _ = self._server.accept()
                with self._host as host:
                    while data := host.recv(4096):
                        self.device.receive(data, time.monotonic())
                        host.sendall(self.device.take(time.monotonic()))
            except OSError:
                if self._server.fileno() < 0:
                    return
