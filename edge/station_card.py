"""What a station does to the card on its reader: look at a blank, encode it first, read it back later (M34–M36).

Blocking, for the reader's worker thread. Each call powers the card, does one thing that can be done again after a
power cut, and powers it off.
"""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass

from contract.card_keys import CardRole, Sam
from contract.chip_file import ChipData, verify_chip
from contract.chip_layout import ChipFiles, chip_files
from contract.dispatch import PrintJob
from contract.errors import DeviceError, RemoteError
from contract.image_formats import decode_image
from contract.seal import PublicKey
from edge.card_access import CardAccess, Progress, ReadChip, differences, open_card, read_card
from edge.card_document import FACE_PIXELS_MAX
from edge.procedure import Advice, Retry
from edge.sensors.interface import CardChannel, CardReader

_SPOIL = "Write the card off as spoiled and take another blank."


@dataclass(frozen=True, slots=True)
class StationCard:
    """The station's keys and limits for cards. extended: the reader takes extended APDUs."""

    sam: Sam
    issuer: PublicKey
    timeout_s: float
    extended: bool = False

    def look_at_blank(self, reader: CardReader, cancel: threading.Event) -> str:
        """UID of the blank on the reader. Raises RemoteError for a card that is none of our blanks."""
        with closing(reader.connect(self.timeout_s, cancel)) as channel:
            access = self._opened(channel)
            if access.is_activated():
                raise RemoteError(
                    "This card has been personalised already; it is no blank.",
                    next_step="Take it off, look up where it belongs, and lay a blank on the reader.",
                )
            return channel.uid

    def encode(
        self,
        reader: CardReader,
        cancel: threading.Event,
        files: ChipFiles,
        card_uid: str,
        progress: Progress | None = None,
    ) -> bytes:
        """Write the files to the bound card, read them back, compare, and close the chip; returns their digest.

        A card that was closed before a power cut, with these very files, is done already.
        """
        with closing(reader.connect(self.timeout_s, cancel)) as channel:
            check_is_bound(channel, card_uid)
            access = self._opened(channel)
            activated = access.is_activated()
            if not activated:
                access.write_files(files, progress)
            found = access.read_files()
            different = differences(files.contents, found.files.contents)
            if different:
                raise DeviceError(f"The chip does not hold what was written: {', '.join(different)}.", next_step=_SPOIL)
            if not activated:
                access.activate()
            return found.files.digest

    def read_back(self, reader: CardReader, cancel: threading.Event, job: PrintJob, card_uid: str) -> bytes:
        """Read the printed card, verify the issuer's signature, compare with what was printed; returns the digest."""
        with closing(reader.connect(self.timeout_s, cancel)) as channel:
            check_is_bound(channel, card_uid)
            found = read_card(channel, self.sam, extended=self.extended)
        check_against_print(found, found.verified(self.issuer), job)
        return found.files.digest

    def _opened(self, channel: CardChannel) -> CardAccess:
        return open_card(channel, self.sam, CardRole.PERSONALISER, extended=self.extended)


def check_is_bound(channel: CardChannel, card_uid: str) -> None:
    """The swap guard: the card on the reader is the one that this job began with. Raises Retry."""
    if channel.uid != card_uid:
        end = card_uid[-4:]
        raise Retry(
            Advice(
                f"Kartu ini bukan kartu pekerjaan ini. Letakkan kartu dengan UID berakhiran {end}.",
                f"This is not the card that this job began with. Lay the card whose UID ends in {end}.",
            )
        )


def check_against_print(found: ReadChip, data: ChipData, job: PrintJob) -> None:
    """Chip and print say the same (M35). Raises RemoteError that names what differs."""
    expected = {
        "card number": (data.card_number, job.card_number),
        "capture": (data.capture_id, job.capture_id),
        **{
            f"biodata.{name}": (getattr(data.biodata, name), getattr(job.biodata, name))
            for name in type(job.biodata).model_fields
        },
    }
    different = [name for name, (on_chip, printed) in expected.items() if on_chip != printed]
    different += differences(chip_files(job.chip_files).contents, found.files.contents)
    if different:
        raise RemoteError(f"Chip and print differ: {', '.join(different)}.", next_step=_SPOIL)


def check_job(job: PrintJob, card: StationCard) -> ChipData:
    """A job that can be made: chip signed by the issuer, about the same person, with faces that are pictures.

    Raises RemoteError.
    """
    data = verify_chip(chip_files(job.chip_files), card.issuer)
    if (data.biodata, data.card_number, data.capture_id) != (job.biodata, job.card_number, job.capture_id):
        raise RemoteError("The job's chip is about another card than its print.", next_step="Report it to the centre.")
    if job.nik != job.biodata.nik:
        raise RemoteError("The job's NIK is not that of its biodata.", next_step="Report it to the centre.")
    for face in (job.front, job.back):
        decode_image(face, max_pixels=FACE_PIXELS_MAX)
    return data
