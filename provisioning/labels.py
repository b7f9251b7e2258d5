"""The printed label of each claim: what to put on the box, with a QR code of the claim's name for a telephone.

A page of HTML for any printer, without anything secret: the claim's key is on the media only.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import segno

from provisioning.claims import MadeClaim

QR_PREFIX = "REKAM1"
_STYLE = """
@page { size: A4; margin: 12mm }
body { font: 11pt/1.35 system-ui, "DejaVu Sans", sans-serif; color: #10243a; margin: 0;
       display: grid; grid-template-columns: 1fr 1fr; gap: 6mm }
section { border: 1px solid #51657a; border-radius: 3mm; padding: 5mm; display: flex; gap: 5mm; break-inside: avoid }
svg { width: 32mm; height: 32mm; flex: none }
h1 { font-size: 14pt; margin: 0 0 2mm }
p { margin: 0 0 1mm }
small { color: #51657a }
code { font: 9pt "DejaVu Sans Mono", monospace; word-break: break-all }
"""


def qr_text(claim: MadeClaim) -> str:
    """What the QR code says: a prefix, the claim's name, and the serial number where it is bound to one."""
    return ":".join((QR_PREFIX, claim.nonce, claim.serial))


def label_page(claims: Sequence[MadeClaim]) -> str:
    """One page with a label for each claim."""
    return (
        '<!doctype html>\n<html lang="id"><head><meta charset="utf-8"><title>Rekam · label klaim</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(map(_label, claims)) + "\n</body></html>\n"
    )


def _label(claim: MadeClaim) -> str:
    picture = segno.make(qr_text(claim), error="m").svg_inline(border=1, omitsize=True)
    serial = html.escape(claim.serial) or "………………………"
    return (
        f"<section>{picture}<div><h1>Rekam KTP-el</h1>"
        f"<p>Nomor seri <small>Serial number</small><br><strong>{serial}</strong></p>"
        f"<p>Klaim <small>Claim</small><br><code>{html.escape(claim.nonce)}</code></p>"
        f"<p>Berlaku sampai <small>Valid until</small><br>{html.escape(claim.until)}</p>"
        f"<p>Server <small>Broker</small><br>{html.escape(claim.host)}</p></div></section>"
    )
