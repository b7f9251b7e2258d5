"""The pictures of an SBI device's live stream (verb STREAM), without I/O; client and twin share this file.

The stream is `multipart/x-mixed-replace`: a part is a boundary line, header lines with Content-Length, an empty line
and one JPEG. The specification writes the boundary with its dashes into the header as well, and devices differ in it,
so parts are told apart by their Content-Length alone.
"""

from __future__ import annotations

from contract.errors import RemoteError

BOUNDARY = "BoundaryString"
CONTENT_TYPE = f"multipart/x-mixed-replace; boundary=--{BOUNDARY}"
HEAD_BYTES_MAX = 4096
PICTURE_BYTES_MAX = 4 * 1024 * 1024
_HEAD_END = b"\r\n\r\n"


def encode_part(jpeg: bytes) -> bytes:
    """One picture as it goes into the stream."""
    head = f"--{BOUNDARY}\r\nAccess-Control-Allow-Origin:*\r\nContent-Type:image/jpeg\r\nContent-Length:{len(jpeg)}"
    return head.encode() + _HEAD_END + jpeg + b"\r\n"


class StreamReader:
    """Takes bytes as they come and gives whole pictures. Holds one picture at most besides what was just fed."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._wanted = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The pictures that `data` completes, in order. Raises RemoteError for what is no such stream."""
        self._held += data
        pictures: list[bytes] = []
        while True:
            if not self._wanted:
                end = self._held.find(_HEAD_END)
                if end > HEAD_BYTES_MAX or (end < 0 and len(self._held) > HEAD_BYTES_MAX):
                    raise RemoteError("The device's stream has no heads of pictures.")
                if end < 0:
                    return pictures
                self._wanted = _content_length(bytes(self._held[:end]))
                del self._held[: end + len(_HEAD_END)]
            if len(self._held) < self._wanted:
                return pictures
            pictures.append(bytes(self._held[: self._wanted]))
            del self._held[: self._wanted]
            self._wanted = 0


def _content_length(head: bytes) -> int:
    """The length that a part's head names. Raises RemoteError."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            text = value.strip()
            if text.isdigit() and len(text) < 10 and 0 < int(text) <= PICTURE_BYTES_MAX:
                return int(text)
            raise RemoteError("A picture of the device's stream has no length that could be right.")
    raise RemoteError("A picture of the device's stream does not tell its length.")
