"""A signature as a page that plays it, with the same script as the handover desk's screen."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path

from contract.signature_strokes import Ink, replay_data
from edge.matcher_lite.signature_picture import signature_png

SCRIPT = Path(__file__).with_name("signature_replay.js")
_STYLE = """body{margin:0;background:#eef3f8;color:#10243a;
font:16px/1.45 system-ui,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
main{max-width:860px;margin:0 auto;padding:26px 22px;display:grid;gap:20px}h1,h2,p{margin:0}h2{font-size:1.05rem}
small{color:#51657a;font-weight:400}section{background:#fff;border-radius:16px;padding:20px 24px;display:grid;gap:14px;
box-shadow:0 1px 2px #10243a14,0 8px 28px #10243a14}
.field{justify-self:start;padding:14px 20px;border-radius:12px;background:linear-gradient(135deg,#dfeaf7,#f3dfe6)}
.field img{display:block;width:354px;max-width:100%}"""


def replay_page(ink: Ink, name: str) -> str:
    """The page, complete in one file: the player, the figures, and how the signature looks on the card."""
    picture = base64.b64encode(signature_png(ink)).decode()
    figures = f"{ink.length_mm:.0f} mm, {ink.width_mm:.1f} × {ink.height_mm:.1f} mm, {ink.duration_s:.1f} s"
    return (
        '<!doctype html><html lang="id"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Tanda tangan: {html.escape(name)}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{html.escape(name)}</h1><section><p>{len(ink.strokes)} goresan <small>strokes: {figures}</small></p>"
        '<div id="player"></div></section><section><h2>Pada kartu <small>On the card</small></h2>'
        f'<div class="field"><img alt="Tanda tangan (signature)" src="data:image/png;base64,{picture}"></div></section>'
        f"</main><script>{SCRIPT.read_text(encoding='utf-8')}\n"
        f'signatureReplay(document.getElementById("player"), {json.dumps(replay_data(ink))});</script></body></html>'
    )
