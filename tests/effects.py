"""Every box, one row each: every law runs on every row (`tests/jaxmodels/test_laws.py`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jaxmodels.boxes import make
from jaxmodels.effect import Chain, Effect, PerChannel


@dataclass(frozen=True)
class Row:
    """How to make the box, and the arguments that `verify_effect` needs for it (tolerance, flat_response, ...)."""

    make: Any  # () -> Effect
    laws: dict[str, Any] = field(default_factory=dict)


def box(kind: str, settings: dict | None = None, channels: int = 1, **laws) -> Row:
    """A row for a box of the table in `jaxmodels.boxes`."""
    return Row(lambda: make(kind, settings, sample_rate=48000, channels=channels), laws)


def build(name: str) -> Effect:
    return EFFECTS[name].make()


EFFECTS: dict[str, Row] = {
    "gain": box("gain", channels=2),
    "gain on each channel": Row(lambda: PerChannel(make("gain"), 2)),
    "chain of gains": Row(lambda: Chain([make("gain"), make("gain")])),
}
