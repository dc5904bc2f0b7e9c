"""The table of boxes: the name used in racks.toml and in the terminal, and the class behind it.

Every class here takes `(settings, *, sample_rate, channels)`, where `settings` is its own frozen `Settings` dataclass.
A field's metadata may say `low`, `high`, `choices` and `help` (see `settings.setting`).
"""

from __future__ import annotations

from typing import Any

from .dsp.cab import Cab
from .dsp.delay import Delay
from .dsp.filter import EQ, DCBlock, LowPass
from .dsp.gain import Gain, Level
from .dsp.gate import NoiseGate
from .dsp.limiter import Limiter
from .dsp.reverb import Reverb
from .effect import Effect
from .randomized import RandomizedOverdrive
from .settings import SettingError, checked

BOXES: dict[str, type] = {
    "gain": Gain,
    "level": Level,
    "noise_gate": NoiseGate,
    "dc_block": DCBlock,
    "low_pass": LowPass,
    "eq": EQ,
    "delay": Delay,
    "reverb": Reverb,
    "cab": Cab,
    "limiter": Limiter,
    "random_overdrive": RandomizedOverdrive,
}


def make(kind: str, settings: dict[str, Any] | None = None, *, sample_rate: int = 48000, channels: int = 1) -> Effect:
    """A box by its name in the table.

    Raises SettingError naming the box, the setting, the value and what is allowed.
    """
    if kind not in BOXES:
        raise SettingError(f"no box is called {kind!r}; there are: {', '.join(BOXES)}")
    box = BOXES[kind]
    return box(checked(kind, box.Settings, settings or {}), sample_rate=sample_rate, channels=channels)
