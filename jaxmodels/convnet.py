"""NAM's two oldest networks: `ConvNet`, a chain of convolutions of two taps, and `Linear`, an impulse response."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from .activations import Activation
from .convolution import CausalConv, Tensor, extend, steady, torch_uniform
from .dsp.cab import Convolver
from .effect import Knob
from .settings import setting

TAPS = 2
MOST_LAYERS, MOST_PRODUCTS = 64, 2**20
MOST_PAST = 2**22  # numbers that all layers together may have to remember: 16 MiB
LONGEST_RESPONSE = 2**17  # taps
SHORT_RESPONSE = 64  # taps; up to here a response is one product, beyond it FFTs are quicker

Convolution = tuple[Float[Tensor, "C I 2"], Float[Tensor, " C"]]
ConvNetWeights = tuple[Sequence[Convolution], Float[Tensor, "1 C"], Float[Tensor, " 1"]]


@lru_cache(64)
def activation(text: str) -> Activation:
    """From a name, or an object in JSON, as `Settings` has it; raises ValueError."""
    try:
        return Activation.read(json.loads(text) if text.startswith("{") else text)
    except RecursionError:
        raise ValueError("activation: an object that is nested too deeply") from None


class ConvNet(nnx.Module):
    """Dilated convolutions of two taps, each through an activation, then a linear layer. Mono, no knobs.

    `weights` are weight and bias of each convolution (batch normalisation folded in), then those of the last layer;
    without them it is made for training, with PyTorch's initial weights. Source: NeuralAmpModelerCore (convnet).
    """

    @dataclass(frozen=True)
    class Settings:
        channels: int = setting(8, low=1, high=1024, help="channels of every convolution")
        dilations: tuple[int, ...] = setting((1, 2, 4, 8, 16, 32), help="samples between the taps, layer by layer")
        activation: str = setting("Tanh", help="NAM's name of a nonlinearity, or its JSON object")

    knobs: tuple[Knob, ...] = ()
    channels = 1
    latency = 0

    def __init__(
        self,
        settings: Settings = Settings(),
        *,
        knobs: tuple[Knob, ...] = (),
        sample_rate: int | None = None,
        rngs: nnx.Rngs | None = None,
        weights: ConvNetWeights | None = None,
    ):
        if knobs:
            raise ValueError("a ConvNet has no knobs")
        channels, dilations = settings.channels, settings.dilations
        if not 1 <= channels <= 1024 or not dilations or not all(type(d) is int and d > 0 for d in dilations):
            raise ValueError(f"a ConvNet of {channels} channels, dilations {dilations[:8]}: must be above 0")
        if len(dilations) > MOST_LAYERS or channels**2 * len(dilations) > MOST_PRODUCTS:
            raise ValueError(f"a ConvNet of {len(dilations)} layers of {channels} channels is too large to play")
        if channels * sum(dilations) > MOST_PAST:
            raise ValueError(f"a ConvNet that remembers {channels} x {sum(dilations)} numbers: at most {MOST_PAST}")
        slopes = activation(settings.activation).slopes
        if len(slopes) not in (0, 1, settings.channels):
            raise ValueError(f"activation: {len(slopes)} slopes of a PReLU for {settings.channels} channels")
        self.settings, self.sample_rate = settings, sample_rate
        self.receptive_field = 1 + sum(settings.dilations)
        blocks, head, head_bias = _draw(settings, rngs or nnx.Rngs(0)) if weights is None else weights
        pairs = zip(blocks, settings.dilations, strict=True)
        self.convs = nnx.List([CausalConv(weight, bias, dilation=dilation) for (weight, bias), dilation in pairs])
        self.head, self.head_bias = nnx.Param(jnp.asarray(head)), nnx.Param(jnp.asarray(head_bias))

    def initial_state(self, knobs=None):
        column, pasts, act = jnp.zeros(1), [], activation(self.settings.activation)
        for conv in self.convs:
            pasts.append(steady(column, conv.lookback))
            column = act(conv.constant(column)[:, None])[:, 0]
        return tuple(pasts)

    def step(self, state, x, knobs):
        signal, after, act = x.T, [], activation(self.settings.activation)
        for conv, past in zip(self.convs, state, strict=True):
            window = extend(past, signal)
            after.append(window.after)
            signal = act(conv(window))
        y = self.head[...] @ signal + self.head_bias[...][:, None]
        return y.T, tuple(after)


def _draw(settings: ConvNet.Settings, rngs: nnx.Rngs) -> ConvNetWeights:
    channels = settings.channels
    widths = [1] + [channels] * (len(settings.dilations) - 1)
    shapes = {}
    for n, width in enumerate(widths):
        shapes |= {f"w{n}": ((channels, width, TAPS), width * TAPS), f"b{n}": ((channels,), width * TAPS)}
    drawn = torch_uniform(rngs.params(), shapes | {"w": ((1, channels), channels), "b": ((1,), channels)})
    return [(drawn[f"w{n}"], drawn[f"b{n}"]) for n in range(len(widths))], drawn["w"], drawn["b"]


class Linear(nnx.Module):
    """Convolution with an impulse response `[N]` of up to 2^17 taps, plus a constant where there is one. Mono.

    Short responses are one product, long ones run in partitions, by FFT, without latency (see `dsp.cab`).
    """

    @dataclass(frozen=True)
    class Settings:
        taps: int = setting(1, low=1, high=LONGEST_RESPONSE, help="length of the response in samples")
        bias: bool = setting(False, help="a constant is added")

    knobs: tuple[Knob, ...] = ()
    channels = 1
    latency = 0

    def __init__(self, response: Float[np.ndarray, " N"], bias: float | None = None, *, sample_rate: int | None = None):
        self.settings, self.sample_rate = self.Settings(len(response), bias is not None), sample_rate
        self.receptive_field = len(response)
        if len(response) <= SHORT_RESPONSE:
            self.filter = CausalConv(response[None, None, ::-1])
        else:
            self.filter = Convolver(np.asarray(response, np.float64)[None], 1)
        self.bias = None if bias is None else jnp.float32(bias)

    def initial_state(self, knobs=None):
        if isinstance(self.filter, Convolver):
            return self.filter.initial_state()
        return steady(jnp.zeros(1), self.filter.lookback)

    def step(self, state, x, knobs):
        if isinstance(self.filter, Convolver):
            y, state = self.filter.step(state, x)
        else:
            window = extend(state, x.T)
            y, state = self.filter(window).T, window.after
        return (y if self.bias is None else y + self.bias), state
