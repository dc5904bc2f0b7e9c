"""The colours, by what they are for; a set for each number of colours that terminals have."""

from __future__ import annotations

# Two accents: `lit` (what is set) and `focus` (where you are; `rim` is its shade). The rest are greys and signals.
NIGHT = {
    "ground": "#0e1217", "panel": "#161c23", "well": "#1a212a", "tint": "#232019", "line": "#313b47",
    "faint": "#455260", "dim": "#7f8c9a", "text": "#c6d0da", "bright": "#f4f7fa",
    "lit": "#3fc1ad", "track": "#3a4654", "focus": "#ffb454", "rim": "#a87b3f",
    "ok": "#46b96f", "warm": "#e3b341", "hot": "#f4584f", "dry": "#5a6a7c",
    "heat-0": "#10161d", "heat-1": "#121d26", "heat-2": "#142530", "heat-3": "#162e3a", "heat-4": "#183845",
    "heat-5": "#1a4350", "heat-6": "#1d505c",
}  # fmt: skip
# Names of the xterm palette where it can be hit exactly: what falls between its steps would shift in hue.
NIGHT_256 = NIGHT | {
    "ground": "#121212", "panel": "#1c1c1c", "well": "#262626", "tint": "#303030", "line": "#444444",
    "faint": "#585858", "dim": "#8a8a8a", "text": "#d0d0d0", "bright": "#ffffff",
    "lit": "#5fd7af", "track": "#4e4e4e", "focus": "#ffaf5f", "rim": "#af875f",
    "ok": "#5faf5f", "warm": "#d7af5f", "hot": "#ff5f5f", "dry": "#767676",
    "heat-0": "#121212", "heat-1": "#1c1c1c", "heat-2": "#262626", "heat-3": "#303030", "heat-4": "#3a3a3a",
    "heat-5": "#444444", "heat-6": "#4e4e4e",
}  # fmt: skip
# The terminal's own sixteen; the user chose them, so we stay with their default ground.
SIXTEEN = {
    "ground": "ansi_default", "panel": "ansi_default", "well": "ansi_default", "tint": "ansi_default",
    "line": "ansi_bright_black", "faint": "ansi_bright_black", "dim": "ansi_white", "text": "ansi_default",
    "bright": "ansi_bright_white", "lit": "ansi_cyan", "track": "ansi_bright_black", "focus": "ansi_bright_yellow",
    "rim": "ansi_yellow",
    "ok": "ansi_green", "warm": "ansi_yellow", "hot": "ansi_bright_red", "dry": "ansi_bright_black",
} | {f"heat-{i}": "ansi_default" for i in range(7)}  # fmt: skip

SETS = {"truecolor": NIGHT, "256": NIGHT_256, "16": SIXTEEN, "none": SIXTEEN}
