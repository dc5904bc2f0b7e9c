"""How a terminal is drawn on: its colours and its characters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import colours
from .glyphs import UNICODE, Glyphs, choose


@dataclass(frozen=True)
class Look:
    """Colours by name, glyphs, and how few colours there are."""

    palette: Mapping[str, str]
    glyphs: Glyphs
    few_colours: bool = False  # no shades: sixteen or none
    mono: bool = False


DEFAULT = Look(colours.NIGHT, UNICODE)


def look_of(tier: str, glyphs: str, environ: Mapping[str, str]) -> Look:
    """The look for a number of colours ("truecolor", "256", "16", "none") and a set of glyphs ("auto" or its name)."""
    mono = tier == "none"
    return Look(colours.SETS[tier], choose(glyphs, environ, mono), tier in ("16", "none"), mono)
