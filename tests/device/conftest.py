"""What several device suites share: the pcscd with a virtual reader that every test has (tests.card_rig)."""

from __future__ import annotations

import pytest

from tests.card_rig import MASTER
from virtual.card_reader_rig import CardReaderRig

__all__ = ["MASTER"]


@pytest.fixture(scope="session")
def rig(card_rig: CardReaderRig) -> CardReaderRig:
    return card_rig
