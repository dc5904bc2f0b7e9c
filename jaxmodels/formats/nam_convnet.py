"""NAM's ConvNet and Linear: flat weights to our boxes.

Source: NeuralAmpModelerCore (convnet, linear).
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from ..activations import Activation
from ..convnet import LONGEST_RESPONSE, MOST_LAYERS, ConvNet, Linear
from . import shown
from .nam_envelope import Model

LONGEST_DILATION = 2**16


def linear_sizes(model: Model) -> tuple[int, bool]:
    """Taps of the response, and whether there is a constant; raises ModelFileError where the config is wrong."""
    channels = model.whole("in_channels", 1, 64, default=1)
    model.whole("out_channels", channels, channels, default=channels)  # the same response for each: a mono box on each
    return model.whole("receptive_field", 1, LONGEST_RESPONSE), model.flag("bias")


def read_linear(model: Model, rate: int) -> Linear:
    """The response of a model at `rate` Hz; raises ModelFileError."""
    taps, bias = linear_sizes(model)
    flat = model.weights(taps + bias)
    return Linear(flat[:taps], float(flat[taps]) if bias else None, sample_rate=rate)


def convnet_sizes(model: Model) -> tuple[int, tuple[int, ...], int]:
    """Channels, dilations and the number of weights; raises ModelFileError where the config is wrong."""
    model.mono()
    model.whole("groups", 1, 1, default=1)  # a mono input cannot be split
    channels, dilations = model.whole("channels", 1, 1024), model.config.get("dilations")
    found = dilations if isinstance(dilations, list) else []
    if not 0 < len(found) <= MOST_LAYERS or not all(type(d) is int and 0 < d <= LONGEST_DILATION for d in found):
        must = f"must be 1 to {MOST_LAYERS} whole numbers of 1 to {LONGEST_DILATION}"
        raise model.refuse(f"config.dilations = {shown(dilations)}, {must}")
    after = 4 * channels + 1 if model.flag("batchnorm") else channels
    inputs = 1 + channels * (len(found) - 1)
    return channels, tuple(found), 2 * channels * inputs + after * len(found) + channels + 1


def read_convnet(model: Model, rate: int, fast_tanh: bool) -> ConvNet:
    """The network of a model at `rate` Hz; raises ModelFileError."""
    channels, dilations, wanted = convnet_sizes(model)
    try:
        activation = Activation.read(model.config.get("activation"))
        if fast_tanh and activation.type == "Tanh":
            activation = Activation("Fasttanh")
    except ValueError as error:
        raise model.refuse(f"config.activation = {shown(model.config.get('activation'))}: {error}") from error
    written = activation.written()
    settings = ConvNet.Settings(channels, dilations, written if isinstance(written, str) else json.dumps(written))
    take, blocks = model.cutter(wanted), []
    for n in range(len(dilations)):
        weight = take(channels, channels if n else 1, 2)
        blocks.append(_normalised(model, weight, take) if model.flag("batchnorm") else (weight, take(channels)))
    weights = blocks, take(1, channels), take(1)
    try:
        return ConvNet(settings, sample_rate=rate, weights=weights)
    except ValueError as error:
        raise model.refuse(str(error)) from error


def _normalised(model: Model, weight: np.ndarray, take: Callable[..., np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a convolution with the batch normalisation behind it."""
    mean, variance, scale, shift = (take(len(weight)).astype(np.float64) for _ in range(4))
    spread = variance + take(1)
    if (spread <= 0).any():
        raise model.refuse("weights: a variance of its batch normalisation is not above zero")
    scale = scale / np.sqrt(spread)
    with np.errstate(over="ignore"):
        folded = (weight * scale[:, None, None]).astype(np.float32), (shift - mean * scale).astype(np.float32)
    if not all(np.isfinite(part).all() for part in folded):
        raise model.refuse("weights: its batch normalisation makes numbers too large for float32")
    return folded
