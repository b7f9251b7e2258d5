"""The firmware's version: major << 16 | minor << 8 | patch. A board takes no lower one than it has confirmed."""

VERSION = 0x000100
NAME = b"rekam-controller 0.1.0"
