"""What boxes there are and what can be turned on them, for the processes that never import JAX.

The workshop writes the catalogue of our own boxes (`python -m rack.workshop.catalogue`), the package ships it as
`catalogue.json`; knobs of model files come from the workshop when it has read the file.
"""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path

import msgspec


class KnobInfo(msgspec.Struct, frozen=True):
    """A knob as people see it: values in `unit`; `position` 0..1 is what the box receives."""

    name: str
    unit: str = ""
    low: float = 0.0
    high: float = 1.0
    default: float = 0.5
    curve: str = "linear"  # or "log"
    labels: tuple[str, ...] = ()

    def value(self, position: float) -> float:
        """Position 0..1 to a value in `unit`."""
        position = min(max(position, 0.0), 1.0)
        if self.curve == "log":
            return self.low * math.exp(math.log(self.high / self.low) * position)
        return self.low + (self.high - self.low) * position

    def position(self, value: float) -> float:
        """A value in `unit` to a position, clipped to 0..1."""
        value = min(max(float(value), self.low), self.high)
        if self.high == self.low:
            return 0.0
        if self.curve == "log":
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    @property
    def bipolar(self) -> bool:
        return self.low < 0 < self.high and self.curve == "linear" and abs(self.low + self.high) < 1e-9

    def format(self, value: float) -> str:
        """The value as text with its unit, short enough for the mouth of a knob: -3.5 dB, 2.40 kHz, 350 ms, 0.62."""
        if self.labels:
            return self.labels[min(round(value - self.low), len(self.labels) - 1)]
        if self.unit == "Hz" and abs(value) >= 1000:
            return f"{value / 1000:.2f} kHz"
        if self.unit == "ms" and abs(value) >= 1000:
            return f"{value / 1000:.2f} s"
        if self.unit == "dB":
            return f"{value:+.1f} dB" if self.bipolar else f"{value:.1f} dB"
        digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
        return f"{value:.{digits}f} {self.unit}".strip()

    def parse(self, text: str) -> float:
        """Text as a person types it (`-3.5dB`, `2k`, `120 ms`, `30%`, `0.5s`, a label) to a value in `unit`.

        Raises ValueError naming the knob, the text and what it takes.
        """
        cleaned = text.strip().lower().replace(" ", "").replace(",", ".")
        for i, label in enumerate(self.labels):
            if cleaned == label.lower().replace(" ", ""):
                return self.low + i
        match = re.fullmatch(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(%|k|[a-z]*)", cleaned)
        value = self._in_unit(float(match[1]), match[2]) if match else None
        if value is None or not math.isfinite(value):
            raise ValueError(f"{self.name} = {text!r}: {self.allowed}")
        if not self.low - 1e-9 <= value <= self.high + 1e-9:
            raise ValueError(f"{self.name} = {text!r} is out of range: {self.allowed}")
        return min(max(value, self.low), self.high)

    def _in_unit(self, number: float, suffix: str) -> float | None:
        if suffix == "%":
            return self.value(number / 100)
        scales = {"Hz": {"hz": 1, "k": 1e3, "khz": 1e3}, "ms": {"ms": 1, "s": 1e3}, "s": {"s": 1, "ms": 1e-3}}
        known = scales.get(self.unit, {self.unit.lower(): 1})
        return number * known[suffix] if suffix in known else number if suffix == "" else None

    @property
    def allowed(self) -> str:
        """What this knob takes, in words."""
        if self.labels:
            return f"one of {', '.join(self.labels)}"
        return f"a number from {self.low:g} to {self.high:g} {self.unit}".strip()


class SettingInfo(msgspec.Struct, frozen=True):
    """A setting of a box: what is not a knob. `type` is int, float, str or bool."""

    name: str
    type: str
    default: int | float | str | bool
    low: float | None = None
    high: float | None = None
    choices: tuple[int | float | str, ...] = ()
    help: str = ""


class BoxInfo(msgspec.Struct, frozen=True):
    """A kind of box: its name in racks.toml, a line about it, its knobs and settings."""

    kind: str
    help: str
    knobs: tuple[KnobInfo, ...] = ()
    settings: tuple[SettingInfo, ...] = ()


@cache
def catalogue() -> dict[str, BoxInfo]:
    """Every kind of box that the package ships, by name."""
    boxes = msgspec.json.decode((Path(__file__).parent / "catalogue.json").read_bytes(), type=tuple[BoxInfo, ...])
    return {box.kind: box for box in boxes}
