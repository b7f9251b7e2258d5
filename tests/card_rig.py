"""One pcscd with a virtual reader for all tests of a process, since a process speaks to one pcscd only."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtual.card_box import CardBox
from virtual.card_reader_rig import CardReaderRig, missing_for_rig

MASTER = bytes(range(32))


@pytest.fixture(scope="session")
def card_rig() -> Iterator[CardReaderRig]:
    if os.geteuid() != 0:
        pytest.skip("virtual PC/SC readers need root, for network namespaces")
    assert missing_for_rig() == ""
    with tempfile.TemporaryDirectory(prefix="pcsc-") as name:  # a socket's path must be short
        folder = Path(name)
        CardBox(folder / "cards").add_blanks(8, MASTER, 1)
        with CardReaderRig(f"test-{os.getpid()}", folder, folder / "cards") as made:
            yield made
