"""Recurrent networks: LSTM and GRU captures, the way GuitarML, CoreAudioML, AIDA-X and NAM use them.

Both compute `y = Linear(rnn([x, knobs])) + x`, in PyTorch's maths. A `lax.scan` goes through the block a sample at a
time and becomes one native loop, so its inside is written for the vector units: products row by row, gates with one
division each, and the inputs' share made where it is needed (reading it from a table costs more than making it).
Vectors are columns `[N, 1]` there: the compiler writes out the loop over the last axis, copies number by number, and
leaves the others be; with loops that stay loops a sample of LSTM-32 costs a tenth less.

What a network hears of a knob may go through a learned curve (see `taper`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float

from . import rational, taper
from .activations import fast_tanh
from .effect import Knob, when_moving
from .settings import setting
from .taper import Taper, heard

Tensor = Array | np.ndarray
LANES = 8  # units of a layer are filled up to a multiple of this with silent ones: a rest costs more than a vector
GROUPS = 16, 8  # rows of a product inside the scan that are written out at once


@dataclass(frozen=True)
class Settings:
    """The architecture, and nothing else: networks with equal settings, knobs and rate share one trace."""

    inputs: int = setting(1, low=1, high=32, help="the audio and the knobs")
    hidden: int = setting(16, low=1, high=1024, help="hidden units of each layer")
    layers: int = setting(1, low=1, high=8, help="recurrent layers, one on top of the other")
    bias: bool = setting(True, help="the output layer has a bias")
    skip: bool = setting(True, help="the dry signal is added to the output")
    fast_tanh: bool = setting(False, help="with the approximate tanh and sigmoid that NAM's plug-in plays")
    taper: tuple[int, ...] = setting((), help="points of the curve by which it hears each knob, 0 for a line; or none")


class Layer(NamedTuple):
    """Weights of one recurrent layer of H units and G gates. Columns are gates: i, f, g, o (LSTM) or r, z, n (GRU)."""

    weight_ih: Float[Tensor, "I GH"]
    weight_hh: Float[Tensor, "H GH"]
    bias: Float[Tensor, " GH"]
    bias_hn: Float[Tensor, " H"] | None = None  # GRU only: the bias of n that the reset gate scales


class Weights(NamedTuple):
    """All the weights of a network."""

    layers: Sequence[Layer]
    head: Float[Tensor, "H 1"]
    head_bias: Float[Tensor, " 1"] | None
    initial: Float[Tensor, "L S H"] | None = None  # the state before the first sample, None: zeros
    tapers: Mapping[int, Taper] = {}  # by the number of the knob, from 0; straight lines where there is none


def default_knobs(inputs: int) -> tuple[Knob, ...]:
    """Knobs for a network whose file does not name them: `drive`, `tone`, `level`, then `knob 4` and so on, 0 to 1."""
    names = ["drive", "tone", "level", *(f"knob {n}" for n in range(4, inputs))]
    return tuple(Knob(name) for name in names[: inputs - 1])


class LSTM(nnx.Module):
    """Layers of long short-term memory, a linear output layer, and the dry signal added to it. Mono.

    A network's inputs are the audio and its knobs' values. With `weights` it is that capture, otherwise it is made for
    training, with PyTorch's initial weights (uniform within 1 / sqrt(hidden)). The state `[layers, 2, hidden]` holds h
    and c of every layer; it starts at `initial`, which is zero except in formats that carry it (NAM).

    Raises ValueError where a setting is out of bounds or there are not `inputs - 1` knobs. Source: torch.nn.LSTM;
    Wright, Damskägg and Välimäki, "Real-time black-box modelling with recurrent neural networks", DAFx 2019.
    """

    Settings = Settings
    gates, states = 4, 2
    channels = 1
    latency = 0
    receptive_field: int | None = None
    unroll = True  # two scans in a row are quicker than one over both channels: a row of h is as wide as a vector

    def __init__(
        self,
        settings: Settings = Settings(),
        *,
        knobs: tuple[Knob, ...] | None = None,
        sample_rate: int | None = None,
        rngs: nnx.Rngs | None = None,
        weights: Weights | None = None,
    ):
        self.settings, self.sample_rate, self.knobs = settings, sample_rate, _checked(settings, knobs)
        weights = _draw(settings, self.gates, rngs or nnx.Rngs(0)) if weights is None else weights
        self.layers, self.head, self.head_bias, self.initial = _variables(settings, self.states, weights)
        self.tapers = taper.variables(settings.taper, self.knobs, weights.tapers)

    def initial_state(self, knobs=None):
        return jnp.copy(self.initial[...])  # a state is donated, the weights stay

    def step(self, state, x, knobs):
        return _step(self, _lstm_cell, state, x, knobs)


class GRU(nnx.Module):
    """Layers of gated recurrent units, a linear output layer, and the dry signal added to it. Mono.

    As `LSTM`, in torch.nn.GRU's maths (the reset gate scales the product, so n has two biases); the state is
    `[layers, 1, hidden]`.
    """

    Settings = Settings
    gates, states = 3, 1
    channels = 1
    latency = 0
    receptive_field: int | None = None
    unroll = True  # two scans in a row are quicker than one over both channels: a row of h is as wide as a vector

    def __init__(
        self,
        settings: Settings = Settings(),
        *,
        knobs: tuple[Knob, ...] | None = None,
        sample_rate: int | None = None,
        rngs: nnx.Rngs | None = None,
        weights: Weights | None = None,
    ):
        self.settings, self.sample_rate, self.knobs = settings, sample_rate, _checked(settings, knobs)
        weights = _draw(settings, self.gates, rngs or nnx.Rngs(0)) if weights is None else weights
        self.layers, self.head, self.head_bias, self.initial = _variables(settings, self.states, weights)
        self.tapers = taper.variables(settings.taper, self.knobs, weights.tapers)

    def initial_state(self, knobs=None):
        return jnp.copy(self.initial[...])  # a state is donated, the weights stay

    def step(self, state, x, knobs):
        return _step(self, _gru_cell, state, x, knobs)


def from_torch(
    tensors: Mapping[str, np.ndarray],
    head: np.ndarray,
    head_bias: np.ndarray | None = None,
    *,
    skip: bool = True,
    knobs: tuple[Knob, ...] | None = None,
    sample_rate: int | None = None,
    initial: np.ndarray | None = None,
) -> LSTM | GRU:
    """A network from PyTorch's tensors; kind and sizes are read off the tensors themselves.

    `tensors` are `weight_ih_l0 [GH, I]`, `weight_hh_l0 [GH, H]`, and both or neither of `bias_ih_l0`, `bias_hh_l0
    [GH]`, then `_l1` and so on; `head` is `[1, H]`, `head_bias` `[1]` or None, `initial` `[L, S, H]` or None. G = 4
    is an LSTM, G = 3 a GRU. Raises ValueError naming the tensor that is missing, left over or does not fit.
    """
    tensors = {name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()}
    first = tensors.get("weight_hh_l0")
    if first is None:
        raise ValueError(f"there is no tensor weight_hh_l0, only {', '.join(sorted(tensors)) or 'none'}")
    if first.ndim != 2 or 0 in first.shape or first.shape[0] % first.shape[1]:
        raise ValueError(f"weight_hh_l0 has shape {list(first.shape)}, which is not [gates x hidden, hidden]")
    hidden, gates = first.shape[1], first.shape[0] // first.shape[1]
    kinds = {cls.gates: cls for cls in (LSTM, GRU)}
    if gates not in kinds:
        raise ValueError(f"weight_hh_l0 has {gates} gate(s): an LSTM has 4, a GRU 3, and other cells are not read")
    count = sum(name.startswith("weight_hh_l") for name in tensors)
    layers, inputs = [], 1
    for n in range(count):
        width = hidden if n else None
        weight_ih = _take(tensors, f"weight_ih_l{n}", (gates * hidden, width))
        weight_hh = _take(tensors, f"weight_hh_l{n}", (gates * hidden, hidden))
        inputs = inputs if n else weight_ih.shape[1]
        biases = [f"bias_ih_l{n}", f"bias_hh_l{n}"]
        if any(name in tensors for name in biases):
            bias_ih, bias_hh = (_take(tensors, name, (gates * hidden,)) for name in biases)
        else:
            bias_ih = bias_hh = np.zeros(gates * hidden, np.float32)
        layers.append(_layer(gates, weight_ih.T, weight_hh.T, bias_ih, bias_hh))
    if tensors:
        raise ValueError(f"tensors that belong to no LSTM or GRU of {count} layer(s): {', '.join(sorted(tensors))}")
    head = _take({"head": np.asarray(head, np.float32)}, "head", (1, hidden))
    if head_bias is not None:
        head_bias = _take({"head bias": np.asarray(head_bias, np.float32)}, "head bias", (1,))
    settings = Settings(inputs, hidden, count, head_bias is not None, skip)
    weights = Weights(layers, head.T, head_bias, initial)
    return kinds[gates](settings, knobs=knobs, sample_rate=sample_rate, weights=weights)


def _take(tensors, name, shape):
    """Remove a tensor from the mapping, checked against a shape in which None fits anything but zero."""
    if name not in tensors:
        raise ValueError(f"there is no tensor {name}")
    tensor = tensors.pop(name)
    fits = [size == wanted or (wanted is None and size) for size, wanted in zip(tensor.shape, shape, strict=False)]
    if tensor.ndim != len(shape) or not all(fits):
        wanted = ["any" if size is None else size for size in shape]
        raise ValueError(f"{name} has shape {list(tensor.shape)}, must be {wanted}")
    return tensor


def _layer(gates, weight_ih, weight_hh, bias_ih, bias_hh) -> Layer:
    """A layer from PyTorch's two biases: they add up, save for the two of a GRU's n."""
    if gates == LSTM.gates:
        return Layer(weight_ih, weight_hh, bias_ih + bias_hh)
    hidden = len(weight_hh)
    summed = bias_ih[: 2 * hidden] + bias_hh[: 2 * hidden]
    xp = jnp if isinstance(summed, jax.Array) else np
    return Layer(weight_ih, weight_hh, xp.concatenate([summed, bias_ih[2 * hidden :]]), bias_hh[2 * hidden :])


def _draw(settings: Settings, gates: int, rngs: nnx.Rngs) -> Weights:
    """PyTorch's initial weights: everything uniform within 1 / sqrt(hidden), LSTM, GRU and Linear alike."""
    hidden, bound = settings.hidden, settings.hidden**-0.5
    columns = gates * hidden
    widths = [settings.inputs] + [hidden] * (settings.layers - 1)
    total = sum((width + hidden + 2) * columns for width in widths) + hidden + 1
    drawn = jax.random.uniform(rngs.params(), (total,), jnp.float32, -bound, bound)  # one draw compiles once
    rest = drawn if isinstance(drawn, Tracer) else np.asarray(drawn)

    def take(*shape):
        nonlocal rest
        size = int(np.prod(shape))
        part, rest = rest[:size], rest[size:]
        return part.reshape(shape)

    layers = [
        _layer(gates, take(width, columns), take(hidden, columns), take(columns), take(columns)) for width in widths
    ]
    return Weights(layers, take(hidden, 1), take(1) if settings.bias else None)


def _checked(settings: Settings, knobs: tuple[Knob, ...] | None) -> tuple[Knob, ...]:
    """The knobs, default ones where None; raises ValueError where the settings or they cannot be."""
    for field in fields(settings):
        value, rule = getattr(settings, field.name), field.metadata
        if "low" in rule and not rule["low"] <= value <= rule["high"]:
            raise ValueError(f"a network of {value} {field.name}: must be {rule['low']} to {rule['high']}")
    knobs = default_knobs(settings.inputs) if knobs is None else tuple(knobs)
    if len(knobs) != settings.inputs - 1:
        raise ValueError(f"a network of {settings.inputs} inputs has {settings.inputs - 1} knobs, not {len(knobs)}")
    taper.check(settings.taper, knobs)
    return knobs


def _variables(settings: Settings, states: int, weights: Weights):
    """The attributes of a network that are not static: layers, head, head_bias, initial."""
    layers = [nnx.Dict({name: _param(tensor) for name, tensor in layer._asdict().items()}) for layer in weights.layers]
    shape = (settings.layers, states, settings.hidden)
    initial = np.zeros(shape, np.float32) if weights.initial is None else weights.initial
    if np.shape(initial) != shape:
        raise ValueError(f"initial has shape {list(np.shape(initial))}, must be {list(shape)}")
    start = nnx.Variable(jnp.asarray(initial, jnp.float32))
    return nnx.List(layers), _param(weights.head), _param(weights.head_bias), start


def straightened(network: LSTM | GRU) -> LSTM | GRU:
    """The network without tapers: such a knob runs evenly from the least to the greatest of what its taper made."""
    if not network.tapers:
        return network
    layers = [Layer(*(_array(layer[name]) for name in Layer._fields)) for layer in network.layers]
    weight_ih, bias = jnp.asarray(layers[0].weight_ih), jnp.asarray(layers[0].bias)
    for k, curve in network.tapers.items():
        knob, values, row = network.knobs[int(k)], curve["heard"][...], weight_ih[1 + int(k)]
        steep = (values.max() - values.min()) / (knob.high - knob.low)
        weight_ih = weight_ih.at[1 + int(k)].set(steep * row)
        bias = bias + (values.min() - steep * knob.low) * row
    layers[0] = layers[0]._replace(weight_ih=weight_ih, bias=bias)
    weights = Weights(layers, _array(network.head), _array(network.head_bias), _array(network.initial))
    straight = replace(network.settings, taper=())
    return type(network)(straight, knobs=network.knobs, sample_rate=network.sample_rate, weights=weights)


def _param(weight):
    return None if weight is None else nnx.Param(jnp.asarray(weight, jnp.float32))


def _lstm_cell(state, z, product, bias_hn, tanh, sigmoid, axis=0):
    """One sample. `state` is (h, c), `z` the inputs' share of the gates, `product` adds the hidden state's.

    The four gates, of H units each, lie one after the other on `axis`.
    """
    h, c = state
    i, f, g, o = jnp.split(product(z, h), 4, axis)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return (h, c), h


def _gru_cell(state, z, product, bias_hn, tanh, sigmoid, axis=0):
    """One sample, as `_lstm_cell`: `state` is (h,), the gates are three, and the hidden share of n is scaled alone."""
    (h,) = state
    zr, zz, zn = jnp.split(z, 3, axis)
    ur, uz, un = jnp.split(product(jnp.zeros_like(z), h), 3, axis)
    r, keep = sigmoid(zr + ur), sigmoid(zz + uz)
    n = tanh(zn + r * (un + bias_hn))
    h = (1 - keep) * n + keep * h
    return (h,), h


@jax.custom_jvp
def _add_product(total, vector, matrix):
    """`total [N, 1]` plus the sum of the rows of `matrix [M, N, 1]` times `vector [M, 1]`; for the inside of a scan.

    A row after the other is added to the whole of the total: the form of a product that XLA compiles well inside a
    loop. Up to 16 rows are written out, in four sums that do not wait for one another; more go in groups. Where a
    derivative is wanted it is a plain product: the sums, written out, would take minutes and gigabytes to compile.
    """
    rows = len(vector)
    group = rows if rows <= max(GROUPS) else next(n for n in GROUPS if rows % n == 0)
    vectors, matrices = vector.reshape(-1, group, 1, 1), matrix.reshape(-1, group, *matrix.shape[1:])

    def add_group(k, total):
        sums = [total, *[jnp.zeros_like(total)] * (min(group, 4) - 1)]
        for n in range(group):
            value, row = (
                lax.dynamic_slice(part, (k, n, 0, 0), (1, 1, *part.shape[2:]))[0, 0] for part in (vectors, matrices)
            )
            sums[n % 4] = sums[n % 4] + value * row
        return sum(reversed(sums[:-1]), sums[-1])  # the greatest comes last: less is rounded away

    return add_group(0, total) if rows == group else lax.fori_loop(0, rows // group, add_group, total)


@_add_product.defjvp
def _add_product_jvp(at, change):
    (total, vector, matrix), (total_change, vector_change, matrix_change) = at, change
    product = partial(jnp.einsum, "mi,mni->ni")
    change = product(vector_change, matrix) + product(vector, matrix_change)
    return total + product(vector, matrix), total_change + change


def _fast_sigmoid(x):
    return 0.5 * (fast_tanh(0.5 * x) + 1)


def _step(box, cell, state, x, knobs):
    values = when_moving(partial(heard, box), knobs) if box.tapers else heard(box, knobs)
    inputs, hidden = box.settings.inputs, box.settings.hidden
    more, after = -hidden % LANES, []
    signal = _filled(jnp.concatenate([x, values], axis=1), -inputs % LANES if inputs > max(GROUPS) else 0)
    for layer, before in zip(box.layers, state, strict=True):
        columns = _columns(layer, box.gates, signal.shape[1], more)

        def one(state, row, columns=columns):
            weight_ih, weight_hh, bias, bias_hn = columns
            z = _add_product(bias, row, weight_ih)
            return cell(state, z, partial(_add_product, matrix=weight_hh), bias_hn, *_nonlinear(box))

        last, signal = lax.scan(one, tuple(_filled(before, more)[..., None]), signal[..., None])
        signal = signal[..., 0]
        after.append(jnp.stack(last)[:, :hidden, 0])
    y = signal[:, :hidden] @ box.head[...]
    if box.head_bias is not None:
        y = y + box.head_bias[...][None, :]
    return y + x if box.settings.skip else y, jnp.stack(after)


def _columns(layer, gates, inputs, more):
    """A layer's tensors as a scan wants them, `[rows, G (H + more), 1]`: what is added is zero, and stays silent."""

    def columns(tensor, gates):
        units = tensor.reshape(*tensor.shape[:-1], gates, -1)
        return _filled(units, more).reshape(*tensor.shape[:-1], -1, 1)

    weight_ih = _filled(layer.weight_ih[...], inputs - len(layer.weight_ih[...]), axis=0)
    weight_hh = _filled(layer.weight_hh[...], more, axis=0)
    bias_hn = None if layer.bias_hn is None else columns(layer.bias_hn[...], 1)
    return columns(weight_ih, gates), columns(weight_hh, gates), columns(layer.bias[...], gates), bias_hn


def _filled(tensor, more, axis=-1):
    """`more` zeros after the others on an axis."""
    widths = [(0, 0)] * tensor.ndim
    widths[axis] = 0, more
    return jnp.pad(tensor, widths)


def _array(weight) -> Any:
    return None if weight is None else weight[...]


def _nonlinear(box):
    """tanh and sigmoid, as the box plays them."""
    return (fast_tanh, _fast_sigmoid) if box.settings.fast_tanh else (rational.tanh, rational.sigmoid)
