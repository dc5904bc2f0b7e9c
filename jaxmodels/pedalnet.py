"""The WaveNet of PedalNet and GuitarML's Smart pedals: dilated gated layers whose outputs a last linear layer mixes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from .convolution import CausalConv, extend, steady
from .film import LONGEST_FIELD
from .settings import setting

GATED: dict[str, tuple[Callable, Callable]] = {
    "gated": (jnp.tanh, jax.nn.sigmoid),
    "softgated": (jax.nn.soft_sign, jax.nn.soft_sign),
}
PLAIN: dict[str, Callable] = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "softsign": jax.nn.soft_sign,
    "linear": lambda x: x,
}


class PedalNet(nnx.Module):
    """A WaveNet that keeps the output of every layer for its last, linear one. Mono.

    Per layer `a = activation(conv(y))`, `y = y + W a + b`; the output is linear in all the `a` together. `weights` are
    `input.weight [C, 1]`, `input.bias [C]`, and for each layer n `n.conv.weight [G, C, K]`, `n.conv.bias [G]`,
    `n.mix.weight [C, C]`, `n.mix.bias [C]`, then `output.weight [1, n C]` and `output.bias [1]`; G is 2 C where the
    activation is gated. It starts as after endless silence. Raises ValueError naming a tensor that does not fit.
    """

    @dataclass(frozen=True)
    class Settings:
        """The architecture."""

        dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
        width: int = setting(16, low=1, high=256, help="channels of each layer")
        kernel_size: int = setting(3, low=1, high=64, help="taps of each layer")
        activation: str = setting("gated", choices=(*GATED, *PLAIN))

    channels = 1
    latency = 0
    knobs = ()

    def __init__(self, settings: Settings, weights: Mapping[str, np.ndarray], *, sample_rate: int | None = None):
        s = self.settings = settings
        for name, shape in self.shapes(s).items():
            if name not in weights or np.shape(weights[name]) != shape:
                found = list(np.shape(weights[name])) if name in weights else "not there"
                raise ValueError(f"tensor {name} is {found}, must be {list(shape)}")
        self.receptive_field = 1 + (s.kernel_size - 1) * sum(s.dilations)
        if self.receptive_field > LONGEST_FIELD:
            raise ValueError(f"it hears {self.receptive_field} samples, at most {LONGEST_FIELD} can be held")
        layers = range(len(s.dilations))
        self.convs = nnx.List(
            CausalConv(weights[f"{n}.conv.weight"], weights[f"{n}.conv.bias"], dilation=s.dilations[n]) for n in layers
        )
        self.first, self.first_bias = _param(weights["input.weight"]), _param(weights["input.bias"])
        self.mix = _param(np.stack([weights[f"{n}.mix.weight"] for n in layers]))
        self.mix_bias = _param(np.stack([weights[f"{n}.mix.bias"] for n in layers]))
        self.last, self.last_bias = _param(weights["output.weight"]), _param(weights["output.bias"])
        self.sample_rate = sample_rate

    @staticmethod
    def shapes(s: Settings) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor."""
        gates, layers = (2 if s.activation in GATED else 1) * s.width, range(len(s.dilations))
        shapes: dict[str, tuple[int, ...]] = {"input.weight": (s.width, 1), "input.bias": (s.width,)}
        for n in layers:
            shapes[f"{n}.conv.weight"], shapes[f"{n}.conv.bias"] = (gates, s.width, s.kernel_size), (gates,)
            shapes[f"{n}.mix.weight"], shapes[f"{n}.mix.bias"] = (s.width, s.width), (s.width,)
        return shapes | {"output.weight": (1, len(layers) * s.width), "output.bias": (1,)}

    def initial_state(self, knobs=None):
        return _silent_state(self)

    def step(self, state, x, knobs):
        y, kept, after = self.first[...] @ x.T + self.first_bias[...][:, None], [], []
        for n, (conv, past) in enumerate(zip(self.convs, state, strict=True)):
            window = extend(past, y)
            kept.append(self._activated(conv(window)))
            after.append(window.after)
            y = y + self.mix[...][n] @ kept[-1] + self.mix_bias[...][n][:, None]
        out = self.last[...] @ jnp.concatenate(kept) + self.last_bias[...][:, None]
        return out.T, tuple(after)

    def _activated(self, z):
        name = self.settings.activation
        if name in PLAIN:
            return PLAIN[name](z)
        (signal, gate), (top, bottom) = GATED[name], jnp.split(z, 2)
        return signal(top) * gate(bottom)


@jax.jit
def _silent_state(net):
    column, pasts = net.first_bias[...], []
    for n, conv in enumerate(net.convs):
        pasts.append(steady(column, conv.lookback))
        column = column + net.mix[...][n] @ net._activated(conv.constant(column)) + net.mix_bias[...][n]
    return tuple(pasts)


def _param(tensor) -> nnx.Param:
    return nnx.Param(jnp.asarray(tensor, jnp.float32))
