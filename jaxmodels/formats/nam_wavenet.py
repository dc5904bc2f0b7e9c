"""NAM's WaveNet: the `config` and the flat weights of a `.nam` file, to our box and back.

The envelope around them (versions, rates, metadata, containers) is read by `nam`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..effect import Effect, Knob
from . import ModelFileError

ReadModel = Callable[[str, dict], Effect]


def read_wavenet(
    name: str,
    config: dict,
    weights: np.ndarray,
    *,
    sample_rate: int | None,
    fast_tanh: bool = False,
    knobs: tuple[Knob, ...] = (),
    submodel: int | None = None,
    read_model: ReadModel | None = None,
) -> Effect:
    """The network that a `config` and its flat float32 weights describe.

    name         the file's, for error messages
    fast_tanh    play NAM's approximation instead of every Tanh
    knobs        of the parametric fork's ConcatWaveNet: further columns of input and condition (see `wavenet.encode`)
    submodel     which width of a slimmable network, from 0 (see `widths`); the largest where None
    read_model   reads a nested condition network that is no WaveNet: `(name, the nested .nam object) -> mono Effect`

    Raises ModelFileError where a field is wrong, or the weights are not exactly as many as the config wants.
    """
    raise ModelFileError(f"{name}: WaveNets are not read yet")


def architecture(config: dict) -> str:
    """A short description such as "WaveNet 16x10 + 8x10" (channels x layers); "WaveNet" where the config is broken."""
    return "WaveNet"


def widths(config: dict) -> tuple[str, ...]:
    """The widths of a slimmable network, smallest first ("3 channels"); empty for any other."""
    return ()


def flatten(effect: Effect) -> tuple[dict, np.ndarray]:
    """The `config` and the flat float32 weights of one of our WaveNets: what `read_wavenet` takes, exactly."""
    raise ModelFileError("WaveNets are not written yet")
