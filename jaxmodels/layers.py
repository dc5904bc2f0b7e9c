"""A stack of Keras's layers that streams, and a box between two fixed gains.

What RTNeural, AIDA-X and raw PyTorch files hold when it is more than one LSTM or GRU with an output layer: dense,
convolutional, recurrent and normalising layers in any order. Every past starts at zero, as in those engines.
Between layers a block is `[T, C]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from .convolution import CausalConv, extend, steady
from .effect import Effect, Knob
from .film import LONGEST_FIELD

MOST_PAST = 2**24  # numbers that all pasts of a stack may hold together: 64 MiB

ACTIVATIONS: dict[str, Callable] = {
    "linear": lambda x: x,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "elu": jax.nn.elu,
    "softmax": lambda x: jax.nn.softmax(x, axis=-1),
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
}


class Spec(NamedTuple):
    """One layer as a file describes it: a kind of LAYERS, its weights, and what else its constructor takes."""

    kind: str
    weights: Mapping[str, np.ndarray] = {}
    options: Mapping[str, Any] = {}

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return sum(array.size for array in self.weights.values())

    @property
    def outputs(self) -> int | None:
        """How many channels it gives; None: as many as it takes."""
        if self.kind == "dense":
            return self.weights["weight"].shape[1]
        if self.kind == "conv1d":
            return len(self.weights["weight"])
        return len(self.weights["weight_hh"]) if self.kind == "recurrent" else None


class Dense(nnx.Module):
    """`x W + b`: weight `[I, O]`, bias `[O]` or None."""

    lookback: int | None = 0

    def __init__(self, weight, bias=None):
        self.inputs, self.outputs = np.shape(weight)
        self.weight, self.bias = _param(weight), _bias(bias, self.outputs)

    def initial_state(self):
        return ()

    def __call__(self, state, x):
        y = x @ self.weight[...]
        return y if self.bias is None else y + self.bias[...][None], state


class Conv1d(nnx.Module):
    """A causal convolution, PyTorch's layout: weight `[O, I / groups, K]`, its last tap the present sample."""

    def __init__(self, weight, bias=None, *, dilation: int = 1, groups: int = 1):
        self.conv = CausalConv(weight, bias, dilation=dilation, groups=groups)
        self.inputs, self.outputs, self.lookback = self.conv.inputs, len(weight), self.conv.lookback

    def initial_state(self):
        return steady(jnp.zeros(self.inputs, jnp.float32), self.lookback)

    def __call__(self, state, x):
        window = extend(state, x.T)
        return self.conv(window).T, window.after


class Recurrent(nnx.Module):
    """LSTM (gates i, f, g, o) or GRU (r, z, n) of H units: weight_ih `[I, GH]`, weight_hh `[H, GH]`, bias `[GH]`.

    bias_hn `[H]` is a GRU's second bias of n, which the reset gate scales with the product (`reset_after`); without it
    the reset gate scales the hidden state before the product, as in Keras's older GRU.
    """

    lookback: int | None = None

    def __init__(self, weight_ih, weight_hh, bias, bias_hn=None, *, cell: str):
        hidden, columns = np.shape(weight_hh)
        self.inputs, self.outputs, self.cell = len(weight_ih), hidden, cell
        gates, self.states = {"lstm": (4, 2), "gru": (3, 1)}[cell]
        if columns != gates * hidden or np.shape(weight_ih)[1:] != (columns,) or np.shape(bias) != (columns,):
            shapes = ", ".join(str(list(np.shape(tensor))) for tensor in (weight_ih, weight_hh, bias))
            raise ValueError(f"{cell} of {hidden} units: weights of shapes {shapes} do not fit one another")
        self.weight_ih, self.weight_hh, self.bias = _param(weight_ih), _param(weight_hh), _param(bias)
        self.bias_hn = _bias(bias_hn, hidden)

    def initial_state(self):
        return jnp.zeros((self.states, self.outputs), jnp.float32)

    def __call__(self, state, x):
        z = x @ self.weight_ih[...] + self.bias[...][None]
        step = _lstm if self.cell == "lstm" else _gru if self.bias_hn is not None else _old_gru
        last, y = lax.scan(partial(step, self), tuple(state), z)
        return y, jnp.stack(last)


def _lstm(layer, state, z):
    h, c = state
    i, f, g, o = jnp.split(z + h @ layer.weight_hh[...], 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def _gru(layer, state, z):
    (h,) = state
    (zr, zz, zn), (ur, uz, un) = jnp.split(z, 3), jnp.split(h @ layer.weight_hh[...], 3)
    keep = jax.nn.sigmoid(zz + uz)
    n = jnp.tanh(zn + jax.nn.sigmoid(zr + ur) * (un + layer.bias_hn[...]))
    h = (1 - keep) * n + keep * h
    return (h,), h


def _old_gru(layer, state, z):
    (h,) = state
    hidden = len(h)
    (zr, zz, zn), weight = jnp.split(z, 3), layer.weight_hh[...]
    ur, uz = jnp.split(h @ weight[:, : 2 * hidden], 2)
    keep = jax.nn.sigmoid(zz + uz)
    n = jnp.tanh(zn + (jax.nn.sigmoid(zr + ur) * h) @ weight[:, 2 * hidden :])
    h = (1 - keep) * n + keep * h
    return (h,), h


class Affine(nnx.Module):
    """`scale x + shift`, each `[C]`: what batch normalisation is once it has been trained."""

    lookback: int | None = 0

    def __init__(self, scale, shift):
        self.inputs = self.outputs = len(scale)
        self.scale, self.shift = _param(scale), _param(shift)

    def initial_state(self):
        return ()

    def __call__(self, state, x):
        return x * self.scale[...][None] + self.shift[...][None], state


class PReLU(nnx.Module):
    """x where it is positive, slope x elsewhere: slope `[C]`, or `[1]` for all channels."""

    lookback: int | None = 0

    def __init__(self, slope):
        self.inputs = self.outputs = None if len(slope) == 1 else len(slope)
        self.slope = _param(slope)

    def initial_state(self):
        return ()

    def __call__(self, state, x):
        return jnp.maximum(x, 0) + self.slope[...][None] * jnp.minimum(x, 0), state


class Activation(nnx.Module):
    """One of ACTIVATIONS, by its name."""

    lookback: int | None = 0
    inputs = outputs = None

    def __init__(self, name: str):
        self.name = name

    def initial_state(self):
        return ()

    def __call__(self, state, x):
        return ACTIVATIONS[self.name](x), state


LAYERS: dict[str, type] = {
    "dense": Dense,
    "conv1d": Conv1d,
    "recurrent": Recurrent,
    "batchnorm": Affine,
    "prelu": PReLU,
    "activation": Activation,
}


class Layers(nnx.Module):
    """Layers one after another, the dry signal added to the output where `skip`. Mono.

    The first layer's inputs are the audio and the knobs' values. Raises ValueError, naming the layer by its number from
    0, where a layer does not take what the one before it gives, or where they remember more than can be held.
    """

    @dataclass(frozen=True)
    class Settings:
        """What the layers are, in words."""

        layers: tuple[str, ...]
        skip: bool

    channels = 1
    latency = 0
    unroll = True  # as `recurrent.LSTM`

    def __init__(
        self, specs: Sequence[Spec], *, skip: bool = False, knobs: tuple[Knob, ...] = (), sample_rate: int | None = None
    ):
        layers, width = [], 1 + len(knobs)
        for n, spec in enumerate(specs):
            layer = LAYERS[spec.kind](**spec.weights, **spec.options)
            if layer.inputs not in (None, width):
                raise ValueError(f"layer {n} ({spec.kind}) takes {layer.inputs} inputs and is given {width}")
            width = layer.outputs or width
            layers.append(layer)
        if width != 1:
            raise ValueError(f"the last layer has {width} outputs; a box has 1")
        lookbacks = [layer.lookback for layer in layers]
        bounded = [lookback for lookback in lookbacks if lookback]
        held = sum(layer.lookback * layer.inputs for layer in layers if layer.lookback)
        if sum(bounded) >= LONGEST_FIELD or held > MOST_PAST:
            raise ValueError(f"the layers remember {sum(bounded)} samples, which is more than can be held")
        self.layers = nnx.List(layers)
        self.receptive_field = None if None in lookbacks else 1 + sum(bounded)
        self.settings = self.Settings(tuple(described(spec) for spec in specs), skip)
        self.knobs, self.sample_rate = knobs, sample_rate

    def initial_state(self, knobs=None):
        return tuple(layer.initial_state() for layer in self.layers)

    def step(self, state, x, knobs):
        values = [knob.value(knobs[:, k : k + 1]) for k, knob in enumerate(self.knobs)]
        y, after = jnp.concatenate([x, *values], axis=1), []
        for layer, before in zip(self.layers, state, strict=True):
            y, new = layer(before, y)
            after.append(new)
        return (y + x if self.settings.skip else y), tuple(after)


def described(spec: Spec) -> str:
    """A layer in a word or two: `gru 8`, `conv1d 4x3 d2`, `tanh`."""
    if spec.kind == "activation":
        return spec.options["name"]
    if spec.kind == "conv1d":
        return f"conv1d {spec.outputs}x{spec.weights['weight'].shape[2]} d{spec.options.get('dilation', 1)}"
    if spec.kind == "recurrent":
        return f"{spec.options['cell']} {spec.outputs}"
    return f"{spec.kind} {spec.outputs}" if spec.outputs else spec.kind


class Scaled(nnx.Module):
    """A box between two fixed gains: `gain_out * box(gain_in * x)`."""

    def __init__(self, box: Effect, gain_in: float, gain_out: float):
        self.box = nnx.data(box)
        self.gains = nnx.Variable(jnp.asarray([gain_in, gain_out], jnp.float32))
        self.knobs, self.settings, self.unroll = box.knobs, box.settings, getattr(box, "unroll", False)
        self.channels, self.sample_rate = box.channels, box.sample_rate
        self.latency, self.receptive_field = box.latency, box.receptive_field

    def initial_state(self, knobs=None):
        return self.box.initial_state(knobs)

    def step(self, state, x, knobs):
        y, state = self.box.step(state, self.gains[0] * x, knobs)
        return self.gains[1] * y, state


def _param(tensor) -> nnx.Param:
    return nnx.Param(jnp.asarray(tensor, jnp.float32))


def _bias(tensor, size: int) -> nnx.Param | None:
    if tensor is None:
        return None
    if np.shape(tensor) != (size,):
        raise ValueError(f"a bias of shape {list(np.shape(tensor))} for {size} outputs")
    return _param(tensor)
