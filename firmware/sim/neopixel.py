"""`neopixel` for the VM: says which colours are shown."""


class NeoPixel:
    """A chain of pixels on a pin."""

    def __init__(self, pin, count):
        self.level = [(0, 0, 0)] * count

    def __setitem__(self, place, colour):
        self.level[place] = colour

    def write(self):
        """Show."""
        print("ring", self.level)
