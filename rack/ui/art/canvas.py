"""A grid of dots drawn with characters: braille (2 x 4 dots a cell), half blocks (1 x 2) or single characters (1 x 1).

Each cell has one layer, the highest of its dots; layers are small ints that widgets turn into inks, 0 is nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from .glyphs import Glyphs

Cell = tuple[str, int]  # glyph, layer
BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class Canvas:
    """Dots over `width` x `height` cells; `across` x `down` of them."""

    def __init__(self, width: int, height: int, glyphs: Glyphs):
        self.width, self.height = width, height
        self.dx, self.dy = glyphs.dots
        self.across, self.down = width * self.dx, height * self.dy
        self._bits = [[0] * width for _ in range(height)]
        self._layers = [[0] * width for _ in range(height)]

    def dot(self, x: int, y: int, layer: int) -> None:
        """One dot, counted from the top left; outside the canvas nothing happens."""
        if 0 <= x < self.across and 0 <= y < self.down:
            column, row = x // self.dx, y // self.dy
            self._bits[row][column] |= BRAILLE[y % self.dy][x % self.dx]
            if layer > self._layers[row][column]:
                self._layers[row][column] = layer

    def column(self, x: int, top: int, bottom: int, layer: int) -> None:
        """All dots of column x from `top` to `bottom`, both included."""
        for y in range(max(top, 0), min(bottom, self.down - 1) + 1):
            self.dot(x, y, layer)

    def rows(self) -> list[list[Cell]]:
        """Rows of (glyph, layer)."""
        glyph = {(2, 4): _braille, (1, 2): _half, (1, 1): _plain}[self.dx, self.dy]
        return [
            [(glyph(b, k), k) for b, k in zip(bits, layers, strict=True)]
            for bits, layers in zip(self._bits, self._layers, strict=True)
        ]


def _braille(bits: int, layer: int) -> str:
    return chr(0x2800 + bits) if bits else " "


def _half(bits: int, layer: int) -> str:
    return {0: " ", 1: "▀", 2: "▄", 3: "█"}[bits]


def _plain(bits: int, layer: int) -> str:
    return ".#"[layer > 1] if bits else " "


def envelope(samples: Sequence[float], columns: int) -> list[tuple[float, float]]:
    """Lowest and highest sample of each column, touching those of the column before, so that the curve has no gaps."""
    count = len(samples)
    if not count:
        return [(0.0, 0.0)] * columns
    out = []
    for i in range(columns):
        start = i * count // columns
        part = samples[start : max((i + 1) * count // columns, start + 1)]
        low, high = min(part), max(part)
        before = samples[start - 1] if start else part[0]
        out.append((min(low, before), max(high, before)))
    return out


def trace(canvas: Canvas, samples: Sequence[float], scale: float, layer: int) -> None:
    """The envelope of a signal over the whole canvas; +-`scale` reaches its edges."""
    middle = (canvas.down - 1) / 2
    for x, (low, high) in enumerate(envelope(samples, canvas.across)):
        top, bottom = (round(middle - middle * min(max(v / scale, -1.0), 1.0)) for v in (high, low))
        canvas.column(x, top, bottom, layer)


def trigger(samples: Sequence[float], search: int) -> int:
    """Where to start drawing so that a steady tone stands still: the first rising zero crossing within `search`."""
    for i in range(1, min(search, len(samples))):
        if samples[i - 1] < 0.0 <= samples[i]:
            return i
    return 0
