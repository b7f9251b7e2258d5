"""The raw REPL of a board's USB port in the VM, as mpremote speaks to it; what a real one does, over the same flash.

    \\x03 interrupt   \\x01 raw mode   \\x05A\\x01 raw paste (not supported)   \\x04 run   \\x02 leave

A flash that would start its firmware is running it: an interrupt stops it, and the watchdog, which nothing stops,
resets the board two seconds later. With the file `service` in the flash the board stays as it is.
"""

import io
import os
import sys
import time

import machine

WATCHDOG_MS = 2000
BANNER = b"raw REPL; CTRL-B to exit\r\n>"


class Repl:
    """One start of the board. write: to the technician's computer."""

    def __init__(self, line):
        self.line = line
        self.sent = b""
        self.told = 0
        names = os.listdir()
        self.watched = "main.py" in names and "service" not in names
        self.globals = {"print": self.print}

    def print(self, *what, end="\r\n"):
        """Print for the code that runs here."""
        self.write((" ".join([str(part) for part in what]) + end).encode())

    def write(self, data):
        """All of it, however full the line is."""
        while data:
            taken = self.line.number.write(data)
            data = data[taken or 0 :]

    def take(self, byte):
        """One byte from the computer."""
        if byte == b"\x03":
            self.sent = b""
            self.told = self.told or time.ticks_ms()
        elif byte == b"\x01":
            if self.sent.endswith(b"\x05A"):
                self.sent = b""
                self.write(b"R\x00")
            else:
                self.sent = b""
                self.write(BANNER)
        elif byte == b"\x02":
            self.sent = b""
            self.write(b"\r\n>>> ")
        elif byte == b"\x04":
            self.run()
        else:
            self.sent += byte

    def run(self):
        """Run what was sent; the answer is OK, what it printed, and its traceback."""
        code, self.sent = self.sent, b""
        self.write(b"OK")
        wrong = io.StringIO()
        try:
            exec(code, self.globals)  # noqa: S102 - that is what a REPL is for
        except Exception as error:  # noqa: BLE001 - its traceback is the answer
            sys.print_exception(error, wrong)
        self.write(b"\x04" + wrong.getvalue().encode() + b"\x04>")

    def bitten(self):
        """Whether the watchdog of the firmware that was interrupted has run out."""
        return self.watched and self.told and time.ticks_diff(time.ticks_ms(), self.told) > WATCHDOG_MS


repl = Repl(machine.UART(0, 115200))
while not repl.bitten():
    if repl.line.any():
        for byte in repl.line.read(256):
            repl.take(bytes((byte,)))
    else:
        time.sleep_ms(2)
machine.reset()
