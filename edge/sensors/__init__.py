"""Drivers for the devices of a unit, each behind the Protocol of its kind, and the checks of what they deliver."""
