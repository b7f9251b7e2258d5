"""Controller firmware in MicroPython; frames, link and dictionary are shared with the unit's end of the wire."""
