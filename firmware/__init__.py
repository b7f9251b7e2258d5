"""MicroPython for the controller board."""
