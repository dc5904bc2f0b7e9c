"""From the words of a rack to a box: kinds of the table, and model files."""

from __future__ import annotations

import jax
import numpy as np

from jaxmodels import load
from jaxmodels.boxes import make
from jaxmodels.dsp.resample import at_rate
from jaxmodels.effect import Effect
from rack.catalogue import KnobInfo
from rack.protocol import BoxSpec


def box_for(spec: BoxSpec, rate: int, channels: int) -> Effect:
    """The box of a slot, at the rack's rate and width. Raises ValueError or OSError in words for the musician."""
    if spec.type != "model":
        return make(spec.type, spec.settings, sample_rate=rate, channels=channels)
    return at_rate(load(spec.model), rate, channels)


def knob_infos(effect: Effect) -> tuple[KnobInfo, ...]:
    """A box's knobs for the processes that never import JAX."""
    return tuple(
        KnobInfo(knob.name, knob.unit, knob.low, knob.high, knob.default, knob.curve, knob.labels)
        for knob in effect.knobs
    )


def parameters(effect: Effect) -> int:
    """How many numbers are in a box's weights."""
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(effect))
