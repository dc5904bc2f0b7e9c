"""Panels, tables and players as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
import soundfile

from .charts import Panel
from .examine import Excerpt
from .pictures import css, svg

PEAK = 0.9  # of the loudest of a group's players
RATES = (8000, 655350)  # Hz that a FLAC can have

STYLE = """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--text);
  font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:1240px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:28px;line-height:1.2;margin:0 0 6px}
h2{font-size:20px;margin:44px 0 10px;padding-top:14px;border-top:1px solid var(--grid)}
p{margin:6px 0;max-width:75ch}
.verdict{font-size:18px}.soft,figcaption,footer{color:var(--soft)}
.note{border-left:3px solid var(--b);padding:2px 12px;margin:8px 0}
.figures{display:flex;flex-wrap:wrap;gap:22px 30px}
figure{margin:0;max-width:100%}figcaption{font-size:14px;line-height:1.4;max-width:560px;margin-top:2px}
svg{max-width:100%;height:auto;display:block;font-family:inherit}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:15px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:5px 18px 5px 0;border-bottom:1px solid var(--grid);vertical-align:top}
thead th{color:var(--soft);font-weight:500}td.number,th.number{text-align:right}
.swatch{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px}
.players{display:flex;flex-wrap:wrap;gap:10px 26px;margin:12px 0}
.players label{display:block;font-size:14px;color:var(--soft)}audio{width:290px;max-width:100%;display:block}
details{margin:26px 0}summary{cursor:pointer;font-size:18px;font-weight:600}
footer{margin-top:50px;font-size:14px}
"""
SCRIPT = """
document.addEventListener('play',function(event){
  var now=event.target,group=now.closest('.players');
  document.querySelectorAll('audio').forEach(function(other){
    if(other!==now&&!other.paused){if(group&&group.contains(other))now.currentTime=other.currentTime;other.pause()}
  })
},true)
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; media-src data:; img-src data:"


def page(title: str, verdict: str, sections: Sequence[str], made_by: str) -> str:
    """The whole page; sections are HTML, the rest is text."""
    theme = f":root{{color-scheme:light dark;{css(False)}}}"
    theme += f"@media(prefers-color-scheme:dark){{:root{{{css(True)}}}}}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{theme}{STYLE}</style></head><body><main>\n"
        f'<h1>{escape(title)}</h1><p class="verdict">{escape(verdict)}</p>\n'
        + "\n".join(sections)
        + f"\n<footer>{escape(made_by)}</footer></main><script>{SCRIPT}</script></body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Parts, which are HTML, under a heading."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def folded(title: str, parts: Sequence[str]) -> str:
    """Parts, which are HTML, behind a line that opens them."""
    return f"<details><summary>{escape(title)}</summary>{''.join(parts)}</details>"


def words(text: str, kind: str = "") -> str:
    """A paragraph."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def panel(made: Panel) -> str:
    """A panel's figures with their words."""
    figures = "".join(
        f"<figure>{svg(drawing)}<figcaption>{escape(text)}</figcaption></figure>" for drawing, text in made.figures
    )
    return section(made.title, f'<div class="figures">{figures}</div>')


def table(head: Sequence[str], rows: Sequence[Sequence[str]], inks: Sequence[str] = ()) -> str:
    """A table of texts; what looks like a number stands at the right. `inks`: a swatch before each row."""
    numeric = [all(_is_number(row[n]) for row in rows) for n in range(len(head))]
    kinds = [' class="number"' if right else "" for right in numeric]
    lines = []
    for n, row in enumerate(rows):
        swatch = f'<span class="swatch" style="background:var(--{inks[n]})"></span>' if inks else ""
        cells = [f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)]
        cells[0] = cells[0].replace(">", f">{swatch}", 1)
        lines.append(f"<tr>{''.join(cells)}</tr>")
    top = "".join(f"<th{kind}>{escape(cell)}</th>" for kind, cell in zip(kinds, head, strict=True))
    top = f"<thead><tr>{top}</tr></thead>" if any(head) else ""
    return f'<div class="scroll"><table>{top}<tbody>{"".join(lines)}</tbody></table></div>'


def _is_number(text: str) -> bool:
    return not text or text[0].isdigit() or text[:2].strip("-+").isdigit()


def players(signals: Sequence[tuple[str, np.ndarray]], rate: int) -> str:
    """A player for each signal `[N]`, all turned by the same factor; starting one goes on where another was."""
    signals = [(label, np.nan_to_num(signal)) for label, signal in signals]
    peak = max((float(np.abs(signal).max()) for _, signal in signals if len(signal)), default=0.0)
    gain = PEAK / peak if peak > 0 else 1.0
    items = "".join(
        f'<div><label>{escape(label)}</label><audio controls preload="metadata" aria-label="{escape(label)}" '
        f'src="data:audio/flac;base64,{flac(gain * signal, rate)}"></audio></div>'
        for label, signal in signals
    )
    return f'<div class="players">{items}</div>'


def flac(signal: np.ndarray, rate: int) -> str:
    """A signal as 16-bit FLAC, base64."""
    data = io.BytesIO()
    soundfile.write(data, np.clip(signal, -1, 1), int(np.clip(rate, *RATES)), "PCM_16", format="FLAC")
    return base64.b64encode(data.getvalue()).decode()


def listening(excerpt: Excerpt, more: Sequence[tuple[str, np.ndarray]] = ()) -> str:
    """Players of an excerpt: dry, target, model, or several models instead."""
    signals = [("dry", excerpt.dry), ("target", excerpt.target), *(more or [("model", excerpt.model)])]
    title = words(f"At {excerpt.name}:") if excerpt.name else ""
    return title + players(signals, excerpt.rate)
