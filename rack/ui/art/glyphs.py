"""The three sets of characters: braille and blocks, box drawing only, and plain ASCII."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

TIERS = ("unicode", "compat", "ascii")


@dataclass(frozen=True)
class Glyphs:
    """What one tier draws with. Every string is made of characters one cell wide."""

    name: str
    dots: tuple[int, int]  # dots of a canvas cell, across and down
    rises: str  # a cell filled from below, empty to full
    fills: tuple[str, str, str]  # a full meter cell in its three zones
    hold: str  # the peak line within a cell, low, middle, high
    track: str
    bar: str
    thumb: str
    link: str  # between two slots of the chain
    on: str
    off: str
    wait: str
    fail: str
    cursor: str
    ellipsis: str
    point: str
    cross: tuple[str, str, str]  # reticle: horizontal, vertical, centre
    shades: str
    border: str  # Textual's name for it


UNICODE = Glyphs(
    name="unicode",
    dots=(2, 4),
    rises=" ▁▂▃▄▅▆▇█",
    fills=("█", "█", "█"),
    hold="▁─▔",
    track="─",
    bar="━",
    thumb="●",
    link="─▸",
    on="●",
    off="○",
    wait="◌",
    fail="✗",
    cursor="▏",
    ellipsis="…",
    point="·",
    cross=("─", "│", "┼"),
    shades=" ░▒▓█",
    border="round",
)
COMPAT = dataclasses.replace(UNICODE, name="compat", dots=(1, 2), link="─>", wait="·", fail="x")
ASCII = Glyphs(
    name="ascii",
    dots=(1, 1),
    rises=" ....oooO",
    fills=("#", "#", "#"),
    hold="_-^",
    track="-",
    bar="=",
    thumb="O",
    link="->",
    on="*",
    off="o",
    wait=".",
    fail="x",
    cursor="_",
    ellipsis="~",
    point=".",
    cross=("-", "|", "+"),
    shades=" .:+#",
    border="ascii",
)


def choose(name: str, environ: Mapping[str, str], mono: bool = False) -> Glyphs:
    """The tier called `name`, or for "auto" the one that this terminal can show.

    `mono` gives the three zones of a meter three densities, because there are no colours to tell them apart.
    """
    if name == "auto":
        locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
        poor = environ.get("TERM", "").startswith(("linux", "vt", "dumb"))
        name = "ascii" if poor or "utf" not in locale.lower() else "unicode"
    glyphs = {"unicode": UNICODE, "compat": COMPAT, "ascii": ASCII}[name]
    if not mono:
        return glyphs
    return dataclasses.replace(glyphs, fills=("=", "%", "#") if name == "ascii" else ("▒", "▓", "█"))
