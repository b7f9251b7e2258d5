"""How many frames of a live picture are painted: a film whose frames differ, and a look before each repaint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page

PAINTED = """(length_ms) => new Promise((done) => {
  const small = document.createElement("canvas"); small.width = small.height = 8;
  const pen = small.getContext("2d", { willReadFrequently: true });
  let before = -1, painted = -1;
  const started = performance.now();
  const look = () => {
    const live = document.querySelector("img.live");
    if (live && live.complete && live.naturalWidth) {
      pen.drawImage(live, 0, 0, 8, 8);
      const level = pen.getImageData(4, 4, 1, 1).data[0];
      if (Math.abs(level - before) > 4) { painted += 1; before = level; }
    }
    const now = performance.now();
    if (now - started < length_ms) requestAnimationFrame(look); else done(painted / (now - started) * 1000);
  };
  requestAnimationFrame(look);
})"""


def film() -> list[NDArray[np.uint8]]:
    """Sixteen pictures, each of another brightness than the one before."""
    return [np.full((800, 600, 3), 20 + 13 * (7 * number % 16), np.uint8) for number in range(16)]


def photos_without_end(page: Page) -> None:
    """Touch the button again as soon as it is there."""
    page.evaluate("""() => setInterval(() => {
      const button = [...document.querySelectorAll("#actions button")].find((b) => /foto|lagi/i.test(b.innerText));
      if (button) button.click(); }, 400)""")
